"""The release manifest as a file of each GitHub release: read there, held against the manifest that is in use.

An asset has the table of its own release and of no other: `[releases."v1.2.4"]`, as `rollback manifest build` writes
it, or `["v1.2.4"]`. What it does not say is left as the manifest has it.
"""

import asyncio
import io
import tomllib
from typing import Any, cast

from pydantic import ValidationError

from rollback.errors import ArtifactUnfit
from rollback.github import releases as github_releases
from rollback.github.connection import GitHubConnection
from rollback.github.releases import Asset, Published
from rollback.manifest_checks import check_each_other
from rollback.models import Model
from rollback.releases import Manifest, Release, wrong_fields
from rollback.side_by_side import side_by_side

MOST_BYTES = 64 * 1024
"""A release's table has some hundred."""
MOST_AT_ONCE = 4


class Fetched(Model):
    """What the asset of one release says, beside the manifest."""

    release: str
    entry: Release | None = None
    """With what the manifest says besides; none where it has no asset, or that is wrong."""
    added: bool = False
    changed: tuple[str, ...] = ()
    """Each field that the manifest has otherwise, in words."""
    wrong: tuple[str, ...] = ()
    missing: bool = False
    """The release has no such file: nothing is known to be wrong."""


async def fetch(connection: GitHubConnection, name: str, known: Manifest) -> list[Fetched]:
    """Every release on GitHub, oldest first, but drafts and pre-releases; raises where GitHub cannot be read."""
    gate = asyncio.Semaphore(MOST_AT_ONCE)

    async def one(published: Published) -> Fetched:
        asset = next((each for each in published.assets if each.name == name), None)
        if asset is None:
            return Fetched(release=published.tag, missing=True)
        async with gate:
            try:
                content = await _read(connection, asset)
            except ArtifactUnfit as error:
                return Fetched(release=published.tag, wrong=(error.message.rstrip("."),))
        return compare(published.tag, content, known)

    published = [each for each in await github_releases.list_releases(connection) if not each.preliminary]
    found = await side_by_side(one(each) for each in reversed(published))
    return _against_each_other(found, known)


async def _read(connection: GitHubConnection, asset: Asset) -> bytes:
    target = io.BytesIO()
    await github_releases.download(await github_releases.get_signed_url(connection, asset), asset, target, MOST_BYTES)
    return target.getvalue()


def compare(release: str, content: bytes, known: Manifest) -> Fetched:
    """What an asset's content says of its release, and in which fields the manifest has it otherwise."""
    try:
        told = _own_table(release, content)
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        return Fetched(release=release, wrong=(f"it is no TOML: {error}",))
    except ValueError as error:
        return Fetched(release=release, wrong=(str(error),))
    before = known.releases.get(release)
    there = before.model_dump(exclude_defaults=True) if before else {}
    besides = ""
    try:
        entry = Release.model_validate(told)
        besides = ", with what the manifest says besides"
        entry = Release.model_validate(there | told)
    except ValidationError as error:
        return Fetched(release=release, wrong=(wrong_fields(error) + besides,))
    if before is None:
        return Fetched(release=release, entry=entry, added=True)
    changed = [name for name in Release.model_fields if getattr(entry, name) != getattr(before, name)]
    words = (f"{name} was {_word(getattr(before, name))}, is {_word(getattr(entry, name))}" for name in changed)
    return Fetched(release=release, entry=entry, changed=tuple(words))


def _own_table(release: str, content: bytes) -> dict[str, Any]:
    document = tomllib.loads(content.decode("utf-8"))
    there = document.get("releases", document)
    tables = cast("dict[str, Any]", there) if isinstance(there, dict) else {}
    own = tables.get(release)
    if list(tables) != [release] or not isinstance(own, dict):
        named = ", ".join(tables) or "none"
        raise ValueError(f"it must have the table of {release} and no other; it has: {named}")
    return cast("dict[str, Any]", own)


def _word(value: str | tuple[str, ...] | None) -> str:
    if isinstance(value, tuple):
        return f"{len(value)} revisions" if value else "unknown"
    return value or "unknown"


def _against_each_other(found: list[Fetched], known: Manifest) -> list[Fetched]:
    """The same, with what the manifest would contradict itself in if all of it were written, and does not now."""
    entries = {each.release: each.entry for each in found if each.entry is not None}
    now = {each.release: each.contradictions for each in check_each_other(known)}
    then = check_each_other(known.model_copy(update={"releases": {**known.releases, **entries}}))
    new = {each.release: tuple(set(each.contradictions) - set(now.get(each.release, ()))) for each in then}
    by_release = {each.release: each for each in found} | {
        name: Fetched(release=name) for name in new if new[name] and name not in entries
    }
    return [each.model_copy(update={"wrong": (*each.wrong, *new.get(name, ()))}) for name, each in by_release.items()]
