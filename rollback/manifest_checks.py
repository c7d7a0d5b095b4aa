"""Whether the release manifest contradicts itself, the registry or the code; what is not known is named as such."""

import asyncio
from itertools import combinations
from pathlib import Path

from pydantic import Field

from rollback import registry
from rollback.errors import ImageMissing, RevisionsUnreadable, RollbackError
from rollback.manifest_entries import CheckoutUnfit, read_chain
from rollback.models import Model
from rollback.programs.repository import RevisionMissing
from rollback.releases import Manifest, Release

OPTIONAL = ("alembic_head", "oldest_schema", "newest_schema", "frontend_version", "cache_version")
MOST_ASKED_AT_ONCE = 8


class Checked(Model):
    """What was found out about one release."""

    release: str
    contradictions: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    agreed: tuple[str, ...] = Field(default=())
    """Who says the same: `registry`, `checkout`."""

    def merged(self, other: "Checked") -> "Checked":
        """Both together."""
        return Checked(
            release=self.release,
            contradictions=(*self.contradictions, *other.contradictions),
            unknown=(*self.unknown, *other.unknown),
            agreed=(*self.agreed, *other.agreed),
        )


def check_each_other(manifest: Manifest) -> list[Checked]:
    """What the entries say of themselves and of each other: one image a release, one order of revisions for all."""
    found = {name: _missing(name, release) for name, release in manifest.releases.items()}
    for (one, first), (other, second) in combinations(manifest.releases.items(), 2):
        told: list[str] = []
        if first.image_digest == second.image_digest:
            told.append(f"image_digest is also that of {one}")
        if not _agree(first.schemas, second.schemas):
            told.append(f"schemas has another order or other revisions than those of {one}")
        found[other] = found[other].merged(Checked(release=other, contradictions=tuple(told)))
    return list(found.values())


def _missing(name: str, release: Release) -> Checked:
    return Checked(release=name, unknown=tuple(field for field in OPTIONAL if getattr(release, field) is None))


def _agree(one: tuple[str, ...], other: tuple[str, ...]) -> bool:
    """Whether two chains have the same revisions in the same order wherever they overlap."""
    common = [each for each in one if each in other]
    if not common:
        return True
    parts = [chain[chain.index(common[0]) : chain.index(common[-1]) + 1] for chain in (one, other)]
    return parts[0] == parts[1]


async def check_registry(manifest: Manifest, repository: str, token: str | None) -> list[Checked]:
    """Whether each image exists in a repository such as `ghcr.io/owner/app`."""
    gate = asyncio.Semaphore(MOST_ASKED_AT_ONCE)
    async with registry.connect(repository, token) as asked:

        async def check(name: str, release: Release) -> Checked:
            try:
                async with gate:
                    await asked.get_digest(release.image_digest)
            except ImageMissing:
                return Checked(release=name, contradictions=(f"image_digest is not in {repository}",))
            except RollbackError as error:
                return Checked(release=name, unknown=(f"registry: {error.message}",))
            return Checked(release=name, agreed=("registry",))

        return list(await asyncio.gather(*(check(*each) for each in manifest.releases.items())))


async def check_checkout(manifest: Manifest, checkout: Path, path: str | None) -> list[Checked]:
    """Whether alembic says the same of each release's tag; one after the other, for each is a worktree."""
    return [await _check_tag(name, release, checkout, path) for name, release in manifest.releases.items()]


async def _check_tag(name: str, release: Release, checkout: Path, path: str | None) -> Checked:
    try:
        chain = await read_chain(checkout, name, path)
    except (RevisionMissing, RevisionsUnreadable) as error:
        return Checked(release=name, unknown=(f"checkout: {error.message}",))
    except CheckoutUnfit as error:
        return Checked(release=name, contradictions=(error.message,))
    told: list[str] = []
    if release.alembic_head not in {None, chain[-1]}:
        told.append(f"alembic_head is {release.alembic_head}, and in the checkout {chain[-1]}")
    if release.schemas and release.schemas[: len(chain)] != chain:
        told.append(f"schemas does not begin with the checkout's revisions: {', '.join(chain)}")
    return Checked(release=name, contradictions=tuple(told), agreed=() if told else ("checkout",))
