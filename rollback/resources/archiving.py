"""An archive of an environment's resources: listed, read side by side, stripped of secrets, written, read back.

Only reads in Azure. What cannot be read is named; an archive without it is not called whole.
"""

import asyncio

from rollback.context import Run
from rollback.errors import ArchiveUnreadable, NotVerified, PermissionMissing, RollbackError
from rollback.journal import Event
from rollback.models import now
from rollback.permissions import check_sees_everything
from rollback.redaction import blacken
from rollback.resources.archive_plans import ArchivePlan
from rollback.resources.archives import Archived, Index
from rollback.resources.by_id import Resources
from rollback.resources.ids import ResourceId
from rollback.resources.secrets import without_secrets

AT_ONCE = 8
"""Readings side by side: ARM lets a principal read 250, and 25 more each second."""
TOLD_EVERY = 10
MOST_NAMED = 3


async def plan_archive(run: Run, reason: str) -> ArchivePlan:
    """Which groups are archived, and whether the credential sees everything in them."""
    environment = run.settings.environments[run.header.environment]
    resources, connection = await run.resources(), await run.connection()
    unseen: list[str] = []
    count = 0
    for group in environment.resource_groups:
        count += len(await resources.list_group(group))
        try:
            await check_sees_everything(connection, group)
        except PermissionMissing as error:
            unseen.append(f"What the credential may not read in '{group}' is not even listed. {error.message}")
    return ArchivePlan(
        procedure=run.header.procedure,
        environment=run.header.environment,
        reason=reason,
        groups=environment.resource_groups,
        at=now(),
        keeps=environment.archive.keep,
        unseen=tuple(unseen),
        warnings=tuple(unseen),
        observations=(f"{count} resources are listed; what belongs to them is found on the way",),
    )


class Archiver:
    """Makes one archive."""

    def __init__(self, run: Run, resources: Resources, plan: ArchivePlan) -> None:
        self._run = run
        self._resources = resources
        self._plan = plan
        self._archives = run.store.archives(plan.environment)
        self._limit = asyncio.Semaphore(AT_ONCE)
        self._unread: dict[str, str] = {}
        self._read = 0

    async def keep(self) -> ArchivePlan:
        """Write the archive, once; on return it is whole. The plan comes back with what it came to."""
        run, plan = self._run, self._plan
        change = f"archive {plan.name}"
        if plan.name not in self._archives.names():
            found = await self._read_all()
            run.journal.write(Event.SENDING, change=change, text=f"Writing archive {plan.name}.")
            self._archives.keep(plan.name, plan.at, run.header.run, found, self._unread)
        index = self._read_back()
        run.journal.write(
            Event.CONFIRMED, change=change, text=f"Archive {plan.name} has {len(index.entries)} resources."
        )
        return plan.model_copy(update={"kept": len(index.entries), **self._compare(index)})

    def prune(self) -> None:
        """Remove archives beyond those that are kept."""
        for name in self._archives.prune(self._plan.keeps):
            self._run.note(f"Archive {name} was removed: {self._plan.keeps} are kept.")

    def require_whole(self) -> None:
        """Raise `NotVerified` with what the archive lacks."""
        unread = self._archives.index(self._plan.name).unread
        named = [f"{ResourceId.parse(id_).short}: {why}" for id_, why in list(unread.items())[:MOST_NAMED]]
        more = f"; and {len(unread) - MOST_NAMED} more" if len(unread) > MOST_NAMED else ""
        told = [f"{len(unread)} could not be read: {'; '.join(named)}{more}"] if unread else []
        if problems := [*told, *self._plan.unseen]:
            raise NotVerified(
                " ".join(problems), remedy="Give the credential the role of role-archive.json in the resource groups."
            )

    async def _read_all(self) -> list[Archived]:
        """Everything that can be read; raises the first error where that is nothing at all."""
        listed = [each for group in self._plan.groups for each in await self._resources.list_group(group)]
        ids = [*listed, *await self._children(listed)]
        unique = list({each.key: each for each in ids}.values())
        found = await asyncio.gather(*(self._get(each, len(unique)) for each in unique))
        kept = [each for each in found if each is not None]
        if unique and not kept:
            raise NotVerified(f"Nothing could be read: {next(iter(self._unread.values()))}")
        return kept

    async def _children(self, listed: list[ResourceId]) -> list[ResourceId]:
        async def of(parent: ResourceId) -> list[ResourceId]:
            try:
                return await self._resources.list_children(parent)
            except RollbackError as error:
                self._miss(parent, f"what belongs to it could not be listed: {error.message}")
                return []

        return [child for children in await asyncio.gather(*map(of, listed)) for child in children]

    async def _get(self, resource: ResourceId, total: int) -> Archived | None:
        async with self._limit:
            try:
                shown = await self._resources.get(resource)
            except RollbackError as error:
                self._miss(resource, error.message)
                return None
        self._read += 1
        if self._read % TOLD_EVERY == 0 or self._read == total:
            self._run.note(f"{self._read} of {total} resources are read.")
        content = without_secrets(resource.type, shown.content)
        return Archived(id=str(resource), type=resource.type, api_version=shown.api_version, content=content)

    def _miss(self, resource: ResourceId, why: str) -> None:
        self._unread[str(resource)] = blacken(why)
        self._run.note(f"{resource.short} ({resource.type}) could not be read: {blacken(why)}")

    def _read_back(self) -> Index:
        """The index of what was written, every file read; raises `ArchiveUnreadable`."""
        index = self._archives.index(self._plan.name)
        for each in index.entries:
            self._archives.read(self._plan.name, ResourceId.parse(each.id))
        return index

    def _compare(self, index: Index) -> dict[str, object]:
        """What the plan says of the archive before: what is not as in it; that it is damaged; nothing where none is."""
        before = next((name for name in self._archives.names() if name < self._plan.name), None)
        if before is None:
            return {}
        try:
            return {"changed": _changed(self._archives.index(before), index)}
        except ArchiveUnreadable as error:
            self._run.note(error.message)
            return {"damaged": before}


def _changed(then: Index, index: Index) -> tuple[str, ...]:
    """What is not as it was, in words."""
    here = index.configurations
    before = {each.id.lower(): each.configuration for each in then.entries}
    unread = {each.lower() for each in (*index.unread, *then.unread)}
    told = {id_: "new" if id_.lower() not in before else "" for id_ in here if before.get(id_.lower()) != here[id_]}
    gone = {each.id: "gone" for each in then.entries if each.id.lower() not in {id_.lower() for id_ in here}}
    every = {id_: word for id_, word in (told | gone).items() if id_.lower() not in unread}
    return tuple(f"{ResourceId.parse(id_).short}{f' ({word})' if word else ''}" for id_, word in every.items())
