"""A server restored beside its source: exactly one, known again by its tag, and waited for until it answers."""

import asyncio

from rollback.context import Run
from rollback.convergence import Change, converge
from rollback.database import signing_in
from rollback.database.models import RUN_TAG, Server
from rollback.database.plans import RestorePlan
from rollback.errors import NameTaken, OperationInProgress, RestoreFailed, RollbackError, Transient

FIRST_POLL_SECONDS = 0.5
LONGEST_POLL_SECONDS = 15.0
NOTE_SECONDS = 30.0
"""Between two words about the progress of which Azure tells no figure."""
RESTORING = "restore"
NAME_TAKEN = "name is already used"
"""In Azure's words about a name that another server has, of whatever subscription."""
LAST_WORD_SECONDS = 10.0
HOPELESS = frozenset({"Dropping", "Disabled", "Inaccessible"})


class Restorer:
    """Makes the plan's new server."""

    def __init__(self, run: Run, plan: RestorePlan) -> None:
        self._run = run
        self._plan = plan
        self._operation: asyncio.Task[None] | None = None

    async def restore(self) -> Server:
        """Have the server restored, once, and wait until Azure says that it is ready.

        Raises `NameTaken` where the name came to be somebody else's, `RestoreFailed` with Azure's words.
        """
        run, plan = self._run, self._plan
        change = Change(
            name=RESTORING,
            doing=f"Restoring '{plan.source.name}' as of {plan.point_words} to new server '{plan.new.name}'.",
            done=f"New server '{plan.new.name}' is made from '{plan.source.name}' as of {plan.point_words}.",
            is_done=self._is_ours,
            send=self._send,
        )
        try:
            await converge(run, change, run.database.change_timeout_seconds, run.database.settle_seconds)
            return await self._until_ready()
        finally:
            if self._operation:
                self._operation.cancel()
                await asyncio.gather(self._operation, return_exceptions=True)

    async def _is_ours(self) -> bool:
        found = await (await self._run.servers()).find(self._plan.new)
        if found is None:
            if RESTORING in self._run.journal.confirmed_changes():
                raise RestoreFailed(
                    f"The new server '{self._plan.new.name}' is gone again: Azure gave up, or somebody deleted it.",
                    remedy="Look at the resource group's activity log; then begin again.",
                )
            return False
        if found.tags.get(RUN_TAG) != self._run.header.run:
            raise self._name_taken("This run did not make it.")
        return True

    def _name_taken(self, why: str) -> NameTaken:
        return NameTaken(
            f"The name '{self._plan.new.name}' is taken by another server. {why}",
            remedy="Find out whose it is. Begin again: the plan then takes another name.",
        )

    async def _send(self) -> None:
        servers, plan = await self._run.servers(), self._plan
        source = await servers.get(plan.source)
        tags = {**plan.settings.tags, RUN_TAG: self._run.header.run}
        try:
            operation = await servers.send_restore(plan.new, source, plan.point, tags)
        except OperationInProgress as error:
            # Busy with our own request whose answer was lost, or somebody else's name: the server itself tells.
            if NAME_TAKEN not in error.message or await servers.find(plan.new):
                raise
            raise self._name_taken(error.message) from error
        self._operation = asyncio.create_task(servers.wait_for(operation, f"restore to {plan.new}"))

    async def _until_ready(self) -> Server:
        seconds = self._run.database.restore_timeout_seconds
        try:
            async with asyncio.timeout(seconds):
                return await self._poll()
        except TimeoutError as error:
            raise RestoreFailed(
                f"The new server '{self._plan.new.name}' is not ready after {seconds:g} s.",
                remedy="Azure may still finish it: look at it in the portal. Delete it if nobody needs it.",
            ) from error

    async def _poll(self) -> Server:
        clock = asyncio.get_running_loop().time
        began = told = clock()
        pause, state = FIRST_POLL_SECONDS, ""
        while True:
            self._raise_if_failed()
            server = await self._look()
            if server and server.state == "Ready":
                self._run.azure_seconds = clock() - began
                return server
            if server and server.state in HOPELESS:
                await self._hear_azure_out()
                raise RestoreFailed(
                    f"The new server '{server.id.name}' is {server.state.lower()}.", remedy="Ask Azure's support why."
                )
            if server and (server.state != state or clock() - told >= NOTE_SECONDS):
                state, told = server.state, clock()
                self._run.note(f"'{server.id.name}' is {state.lower()} after {clock() - began:.0f} s.")
            await asyncio.sleep(pause)
            pause = min(1.5 * pause, LONGEST_POLL_SECONDS)

    async def _hear_azure_out(self) -> None:
        """Give the operation time to say why."""
        if self._operation:
            await asyncio.wait({self._operation}, timeout=LAST_WORD_SECONDS)
        self._raise_if_failed()

    async def _look(self) -> Server | None:
        try:
            found = await (await self._run.servers()).find(self._plan.new)
        except Transient as error:
            self._run.note(f"Not known now: {error.message}")
            return None
        if found is None:
            self._raise_if_failed()
            raise RestoreFailed(
                f"The new server '{self._plan.new.name}' is gone again: Azure gave up, or somebody deleted it.",
                remedy="Look at the resource group's activity log; then begin again.",
            )
        return found

    def _raise_if_failed(self) -> None:
        """Raise Azure's own word about the operation, where it ended badly; its silence means nothing."""
        if self._operation is None or not self._operation.done() or self._operation.cancelled():
            return
        error = self._operation.exception()
        if isinstance(error, RollbackError) and not isinstance(error, Transient):
            raise RestoreFailed(
                f"Azure could not restore: {error.message}", remedy="Choose another restore point, or ask Azure why."
            ) from error


async def wait_until_it_answers(run: Run, plan: RestorePlan, server: Server) -> None:
    """Wait until the restored server answers us and its recovery has ended; raises `RestoreFailed`."""
    if latest := await signing_in.wait_until_usable(run, server.host, plan.database):
        raise RestoreFailed(
            f"'{server.id.name}' is Ready, says Azure, and could not be used within "
            f"{run.database.answer_timeout_seconds:g} s: {latest}",
            remedy="Look at its network and its log in the portal.",
        )
    run.note(f"'{server.id.name}' answers, and its recovery has ended.")
