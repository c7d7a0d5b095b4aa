"""A rehearsal's scratch server: a restore of the newest instant, made in a resource group of its own, and deleted.

It is known again by its name and its tags; what lacks the tags is never deleted. Nothing points at it: the secret that
the apps read their address from is left alone.
"""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta

from rollback.context import Run
from rollback.database import signing_in
from rollback.database.models import RUN_TAG, Server, ServerId
from rollback.errors import OperationInProgress, PermissionMissing, RehearsalFailed, RollbackError, Transient
from rollback.models import now

SCRATCH_TAG = "rollback-scratch"
"""On a server that is there for a rehearsal only; its value is the name of the server that it is a restore of."""
NEWEST_LAG = timedelta(minutes=5)
"""What was written later may not be restorable yet."""
FIRST_POLL_SECONDS, LONGEST_POLL_SECONDS = 0.5, 15.0
NOTE_SECONDS = 30.0
"""Between two words about the progress of which Azure tells no figure."""
LAST_WORD_SECONDS = 10.0
HOPELESS = frozenset({"Dropping", "Disabled", "Inaccessible"})
LONGEST_NAME = 63


class Scratch:
    """The scratch server of one run, restored from one server."""

    def __init__(self, run: Run, source: Server, database: str) -> None:
        self._run = run
        self._source = source
        self._database = database
        self._group = run.settings.migrations(run.header.environment).rehearsal_resource_group
        suffix = f"-x{run.header.run}"
        self.id = ServerId(
            resource_group=self._group, name=f"{source.id.name[: LONGEST_NAME - len(suffix)].rstrip('-')}{suffix}"
        )
        self._operation: asyncio.Task[None] | None = None
        self._latest = ""

    async def clear(self) -> None:
        """Delete what killed rehearsals of the same server left: this environment's lease says that none is at work.

        One of this run that Azure still restores stays: nothing was run on it yet. Those of runs that are not known
        here are left alone, and told.
        """
        for each in await leftovers(self._run, self._source):
            run = each.tags[RUN_TAG]
            if each.id.name == self.id.name and each.state != "Ready":
                continue
            if self._run.store.find(run) is None:
                self._run.note(f"'{each.id.name}' is a scratch server of run {run}, which is not known here: left.")
                continue
            self._run.note(f"'{each.id.name}' was left behind by run {run}.")
            if left := await self._delete(each.id, run):
                raise RehearsalFailed(left, remedy="Delete it by hand; then begin again.")

    async def make(self) -> Server:
        """Have it restored, and let us and the place where alembic runs in; raises `RehearsalFailed`."""
        seconds = self._run.database.restore_timeout_seconds
        try:
            async with asyncio.timeout(seconds):
                server = await self._until_ready()
        except TimeoutError as error:
            raise RehearsalFailed(
                f"Scratch server '{self.id.name}' is not ready after {seconds:g} s. {self._latest}".strip(),
                remedy="Ask Azure why. Without a rehearsal: rehearse=false.",
            ) from error
        finally:
            if self._operation:
                self._operation.cancel()
                await asyncio.gather(self._operation, return_exceptions=True)
        await self._let_in()
        await self._until_it_answers(server)
        return server

    async def _until_ready(self) -> Server:
        clock = asyncio.get_running_loop().time
        began = told = clock()
        pause = FIRST_POLL_SECONDS
        while True:
            try:
                found = await self._find()
                if found is None:
                    await self._send()
                elif found.state == "Ready":
                    return found
                elif found.state in HOPELESS:
                    raise await self._azures_word(found.state)
            except (Transient, OperationInProgress) as error:
                self._tell(f"Trying again: {error.message}")
            if clock() - told >= NOTE_SECONDS:
                told = clock()
                self._run.note(f"'{self.id.name}' is being restored for {told - began:.0f} s.")
            await asyncio.sleep(pause)
            pause = min(1.5 * pause, LONGEST_POLL_SECONDS)

    async def _find(self) -> Server | None:
        """The server, if it is there; raises `RehearsalFailed` where it is not ours."""
        found = await (await self._run.servers()).find(self.id)
        if found is not None and not self._is_of(found, self._run.header.run):
            raise RehearsalFailed(
                f"'{found.id.name}' is not a scratch server of this run, and is left alone.",
                remedy="Find out whose it is.",
            )
        return found

    def _is_of(self, server: Server, run: str) -> bool:
        return server.tags.get(SCRATCH_TAG) == self._source.id.name and server.tags.get(RUN_TAG) == run

    async def _send(self) -> None:
        run, source, servers = self._run, self._source, await self._run.servers()
        if self._operation and self._operation.done():
            raise await self._azures_word("gone again")
        run.check_lease()
        earliest = source.earliest_restore_point
        point = max(now() - NEWEST_LAG, earliest) if earliest else now() - NEWEST_LAG
        self._tell(f"Restoring '{source.id.name}' as of {point:%H:%M:%S} UTC to scratch server '{self.id.name}'.")
        tags = {RUN_TAG: run.header.run, SCRATCH_TAG: source.id.name}
        operation = await servers.send_restore(self.id, source, point, tags)
        self._operation = asyncio.create_task(servers.wait_for(operation, f"restore to {self.id}"))

    async def _azures_word(self, state: str) -> RehearsalFailed:
        """Why the restore failed, as far as Azure says it."""
        why = ""
        if self._operation:
            await asyncio.wait({self._operation}, timeout=LAST_WORD_SECONDS)
            if self._operation.done() and isinstance(error := self._operation.exception(), RollbackError):
                why = f" {error.message}"
        return RehearsalFailed(
            f"Azure could not restore scratch server '{self.id.name}': it is {state.lower()}.{why}",
            remedy="Begin again. Without a rehearsal: rehearse=false.",
        )

    def _tell(self, text: str) -> None:
        """Each word once, however often it is true."""
        if text != self._latest:
            self._latest = text
            self._run.note(text)

    async def _let_in(self) -> None:
        """Give it the source's firewall rules, and our own administrator: Azure carries neither over."""
        servers, source = await self._run.servers(), self._source
        for rule in await servers.list_firewall_rules(source):
            await self._again(lambda rule=rule: servers.put_firewall_rule(self.id, rule))
        for each in await servers.list_administrators(source.id):
            if each.name == self._run.database.administrator:
                await self._again(lambda each=each: servers.add_administrator(self.id, each))

    async def _again(self, put: Callable[[], Awaitable[None]]) -> None:
        """Send what is safe to repeat, until it is accepted."""
        clock = asyncio.get_running_loop().time
        ends, pause = clock() + self._run.database.change_timeout_seconds, FIRST_POLL_SECONDS
        while True:
            try:
                return await put()
            except (Transient, OperationInProgress) as error:
                if clock() >= ends:
                    raise
                self._tell(f"Trying again: {error.message}")
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_POLL_SECONDS)

    async def _until_it_answers(self, server: Server) -> None:
        if latest := await signing_in.wait_until_usable(self._run, server.host, self._database):
            raise RehearsalFailed(
                f"Scratch server '{server.id.name}' could not be used within "
                f"{self._run.database.answer_timeout_seconds:g} s: {latest}",
                remedy="Look at its network. Without a rehearsal: rehearse=false.",
            )

    async def delete(self) -> str:
        """Delete it and see that it is gone; what is left, in words, where that could not be done."""
        return await self._delete(self.id, self._run.header.run)

    async def _delete(self, server: ServerId, run: str) -> str:
        """Delete a run's scratch server, if it is there; never what is not tagged as one."""
        servers, latest, pause = await self._run.servers(), "no answer", FIRST_POLL_SECONDS
        try:
            async with asyncio.timeout(self._run.database.change_timeout_seconds):
                while True:
                    try:
                        found = await servers.find(server)
                        if found is None:
                            self._run.note(f"Scratch server '{server.name}' is gone: seen by looking for it.")
                            return ""
                        if not self._is_of(found, run):
                            return f"'{server.name}' is not a scratch server of run {run}, and was left alone."
                        await servers.delete(server)
                        latest = "it is still there after its deletion"
                    except PermissionMissing:
                        raise
                    except RollbackError as error:
                        # Busy, away, or a deletion that Azure ended as failed: asking again harms nobody.
                        latest = error.message
                        self._tell(f"Deleting '{server.name}', trying again: {error.message}")
                        await asyncio.sleep(pause)
                        pause = min(2 * pause, LONGEST_POLL_SECONDS)
        except (TimeoutError, RollbackError) as error:
            latest = error.message if isinstance(error, RollbackError) else latest
        left = (
            f"Scratch server '{server.name}' is left in resource group '{server.resource_group}', with a copy of the "
            f"data: it could not be deleted ({latest})."
        )
        self._run.note(left)
        return left

    async def describe(self) -> str:
        """Where things stand, for a run that is cancelled."""
        try:
            found = await (await self._run.servers()).find(self.id)
        except RollbackError:
            return f"production was not touched; whether scratch server '{self.id.name}' is there is not known"
        if found is None:
            return "production was not touched, and no scratch server is left"
        return (
            f"production was not touched; scratch server '{self.id.name}' is still {found.state.lower()} in resource "
            f"group '{self._group}': resume the run, or delete it"
        )


async def leftovers(run: Run, source: Server) -> tuple[Server, ...]:
    """The scratch servers that there are of a server, of whatever run."""
    group = run.settings.migrations(run.header.environment).rehearsal_resource_group
    every = await (await run.servers()).list_servers((group,))
    return tuple(
        each
        for each in every
        if each.id.resource_group.lower() == group.lower()
        and each.tags.get(SCRATCH_TAG) == source.id.name
        and RUN_TAG in each.tags
    )
