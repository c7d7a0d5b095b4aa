"""Where alembic can go down from the current revision: only there is that revision's file."""

import asyncio
import hashlib
import io
import tarfile
import tempfile
from collections.abc import AsyncGenerator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from rollback.context import Run
from rollback.errors import AzureUnreachable, ResourceMissing
from rollback.migrations.models import Down
from rollback.migrations.plans import DowngradePlan
from rollback.migrations.settings import Migrations, MigrationWay
from rollback.migrations.ways.ssh import SshWay
from rollback.migrations.ways.tunnel import scm_host
from rollback.migrations.ways.way import Way, WayUnfit
from rollback.migrations.ways.worktree import WorktreeWay
from rollback.programs.repository import worktree
from rollback.slots import PRODUCTION, Slot


@dataclass(frozen=True)
class Place:
    """A place where alembic can be run."""

    way: Way
    sources: Path
    """A copy, or the very folder, with alembic.ini and the revisions."""
    slot: str = ""
    release: str = ""

    def fingerprint(self, path: Iterable[Down]) -> str:
        """SHA-256, in hex, over the files of these revisions and what alembic runs them in."""
        digest = hashlib.sha256()
        files = sorted({self.sources / each.file for each in path} | set(self.sources.rglob("env.py")))
        for file in files:
            digest.update(f"{file.relative_to(self.sources)}\0".encode() + file.read_bytes() + b"\0")
        return digest.hexdigest()


@asynccontextmanager
async def find_place(run: Run, revision: str) -> AsyncGenerator[Place]:
    """A place that has the revision's file, by the platform file's way; raises `WayUnfit` with why none has."""
    settings = run.settings.migrations(run.header.environment)
    if settings.way is MigrationWay.WORKTREE:
        async with _worktree(run, settings, _release_with(run, revision), revision) as place:
            yield place
        return
    app = await run.app_service()
    # The slot that does not serve first: after a swap it is the one with the newer image.
    names = [*([run.backend.slot] if run.backend.slot else []), PRODUCTION]
    slots = [await app.get_slot(name) for name in names]
    why: list[str] = []
    async with AsyncExitStack() as stack:
        for slot in slots:
            try:
                place = await stack.enter_async_context(_container(run, settings, slot, revision))
            except (WayUnfit, AzureUnreachable) as error:
                why.append(error.message)
            else:
                yield place
                return
    raise WayUnfit(
        f"No slot can take the database down from revision {revision}. {' '.join(why)}",
        remedy="Put the release that has this revision into the slot (redeploy-backend), or let way be 'worktree'.",
    )


@asynccontextmanager
async def open_place(run: Run, plan: DowngradePlan) -> AsyncGenerator[Place]:
    """The plan's place again; raises `WayUnfit` where it is not what it was."""
    settings = run.settings.migrations(run.header.environment)
    if plan.release:
        opened = _worktree(run, settings, plan.release, plan.current)
    else:
        slot = await (await run.app_service()).get_slot(plan.slot)
        opened = _container(run, settings, slot, plan.current)
    async with opened as place:
        if place.fingerprint(plan.path) != plan.scripts:
            raise WayUnfit(
                f"The revisions in the {place.way.name} are not those that the plan was made of.",
                remedy="Somebody deployed another image, or moved the tag. Begin again.",
            )
        yield place


def _release_with(run: Run, revision: str) -> str:
    """The release whose own revisions end with this one, or else have it among them."""
    releases = run.manifest.releases
    own = [name for name, each in releases.items() if each.alembic_head == revision]
    later = [
        name
        for name, each in releases.items()
        if each.alembic_head in each.schemas and revision in each.schemas[: each.schemas.index(each.alembic_head) + 1]
    ]
    if not own + later:
        raise ResourceMissing(
            f"The release manifest names no release that has revision {revision}.",
            remedy="Add it: rollback manifest build.",
        )
    return (own or later)[-1]


@asynccontextmanager
async def _worktree(run: Run, settings: Migrations, release: str, revision: str) -> AsyncGenerator[Place]:
    repository = run.settings.repository.path or Path()
    async with worktree(repository, release) as tree:
        way = WorktreeWay(tree, release, settings.path, settings.command, settings.url_variable, revision)
        await way.check()
        yield Place(way, tree / settings.path, release=release)


@asynccontextmanager
async def _container(run: Run, settings: Migrations, slot: Slot, revision: str) -> AsyncGenerator[Place]:
    app = await run.app_service()
    way = SshWay(
        connection=await run.connection(),
        app=app.name,
        slot=slot.name,
        host=scm_host(slot.host),
        folder=settings.folder,
        command=settings.command,
        url_variable=settings.url_variable,
        revision=revision,
    )
    await way.check()
    with tempfile.TemporaryDirectory(prefix="fundrbolt-rollback-") as folder:
        try:
            await asyncio.to_thread(_unpack, await way.fetch(), Path(folder))
        except (tarfile.TarError, EOFError) as error:
            raise WayUnfit(
                f"The {way.name} does not hand out the revisions in '{settings.folder}' whole.", remedy="Try again."
            ) from error
        yield Place(way, Path(folder), slot=slot.name)


def _unpack(archive: bytes, folder: Path) -> None:
    with tarfile.open(fileobj=io.BytesIO(archive)) as packed:
        packed.extractall(folder, filter="data")
