"""Whether and how a restore is undone: the plan, from what the restore's run kept and from what is there now.

Only reads. Whatever speaks against it is refused here, with what is known and what to do, before anything is touched.
"""

from pathlib import Path

from rollback.context import Run
from rollback.database import fencing, signing_in, surveying, weighing
from rollback.database.bill import TableWritten, WrittenBill
from rollback.database.consumers import Consumer
from rollback.database.cut_over import CutOver, find_cut_over
from rollback.database.following import CUT_OVER
from rollback.database.models import READ_ONLY, Server
from rollback.database.plans import RestorePlan
from rollback.database.surveying import Survey
from rollback.database.undo_plans import UndoRestorePlan
from rollback.database.weighing import Weighed
from rollback.errors import NothingToUndo, OperationInProgress, ResourceMissing
from rollback.journal import Event
from rollback.key_vault import SecretVersion
from rollback.models import Model
from rollback.permissions import ACTIONS, SERVER_ACTIONS
from rollback.postgres.proof import WrittenRows, list_written_since
from rollback.postgres.url import DatabaseUrl

PROCEDURE, RESTORE = "undo-restore-database", "restore-database"
OPENED, CLOSED = "open: ", "close: "
"""How the changes on the old server begin in the journal: its fence taken down, and put up again."""
WRITTEN_FILE = "written-since-cut-over.json"
HOW = "by transaction numbers since the cut-over"


class WrittenSince(Model):
    """What was written to a restored server since its cut-over, as it is kept with the run."""

    server: str
    tables: tuple[WrittenRows, ...]


class UndoPlanner:
    """Plans the undo of one restore, by what its run kept."""

    def __init__(self, run: Run, restore: str) -> None:
        self._run = run
        self._name = restore
        self._survey = Survey(run)
        folder = run.store.get(restore)
        header = folder.header
        if (header.procedure, header.environment) != (RESTORE, run.header.environment):
            raise NothingToUndo(
                f"Run {restore} is {header.procedure} on '{header.environment}', not {RESTORE} on "
                f"'{run.header.environment}'.",
                remedy="Name the restore's own run: see 'rollback status'.",
            )
        self._restore, self._cut_over = folder.plan(RestorePlan), find_cut_over(folder)
        self._journal = folder.journal()

    async def plan(self) -> UndoRestorePlan:
        """The plan; raises a `Refused` that says why not."""
        run, database = self._run, self._run.database
        restore, cut_over = self._require_cut_over()
        await (await run.app_service()).check_permissions(ACTIONS[PROCEDURE])
        secret = await (await run.key_vault()).get_secret(restore.secret)
        url = DatabaseUrl.parse(secret.value.get_secret_value())
        source = await self._require_in_use(restore, cut_over, secret, url)
        old = await self._require_old(restore)
        servers = await run.servers()
        for each in (source, old):
            await servers.check_permissions(each.id, SERVER_ACTIONS[PROCEDURE])
        await self._survey.check_may_cut_over()
        async with signing_in.administrator(run, source.host, url.database) as session:
            written = await list_written_since(session, cut_over.mark)
        await self._look_at_old(old, url)
        return UndoRestorePlan(
            procedure=PROCEDURE,
            environment=run.header.environment,
            reason=run.header.reason,
            restore=self._name,
            point=restore.point,
            cut_over_at=max(each.at for each in self._journal.entries if _is_cut_over(each.event, each.change)),
            source=source.id,
            source_host=source.host,
            private=source.is_private,
            old=old.id,
            old_host=old.host,
            old_fence=fencing.raised(fencing.planned_fence(restore), self._journal),
            mark=cut_over.mark,
            vault=restore.vault,
            secret=restore.secret,
            secret_version=secret.version,
            database=url.database,
            user=url.user,
            consumers=tuple(self.as_it_should_run(each) for each in await self._survey.find_consumers(secret, source)),
            settings=await servers.get_settings(source),
            read_only=await servers.get_parameter(source.id, READ_ONLY),
            tolerance_rows=database.tolerance_rows,
            tolerance_share=database.tolerance_share,
            estimated=_bill(written, "while the apps write; counted again before the cut-over"),
            warnings=(self._damage_warning(old), *self._survey.warnings),
        )

    def _require_cut_over(self) -> tuple[RestorePlan, CutOver]:
        """What the restore's run kept; refused where it did not come as far as its cut-over."""
        seen = CUT_OVER in self._journal.confirmed_changes()
        if self._restore is None or self._cut_over is None or not seen or self._cut_over.secret_version is None:
            raise NothingToUndo(
                f"Restore {self._name} was not seen to give the secret a new version: there is nothing to undo.",
                remedy=f"See how it ended by 'rollback status'; an unfinished one is gone on with by --resume "
                f"{self._name}, and takes itself back where it cannot.",
            )
        return self._restore, self._cut_over

    async def _require_in_use(
        self, restore: RestorePlan, cut_over: CutOver, secret: SecretVersion, url: DatabaseUrl
    ) -> Server:
        """The restored server, as long as the secret still is as the restore made it."""
        source = await self._survey.find_source(url)
        if source.id == restore.source:
            raise NothingToUndo(
                f"Secret '{restore.secret}' names '{source.id.name}', the server from before restore {self._name}.",
                remedy="It is undone already, by whomever: look at 'rollback status'.",
            )
        if secret.version != cut_over.secret_version or source.id != restore.new:
            raise NothingToUndo(
                f"Secret '{restore.secret}' has version {secret.version}, which names '{source.id.name}'; restore "
                f"{self._name} made version {cut_over.secret_version} for '{restore.new.name}'.",
                remedy="Others changed it since: find out who did, in the vault's log. A later restore is undone "
                "first.",
            )
        return source

    async def _require_old(self, restore: RestorePlan) -> Server:
        old = await (await self._run.servers()).find(restore.source)
        if old is None:
            raise ResourceMissing(
                f"The {restore.source} does not exist any more: restore {self._name} cannot be undone.",
                remedy="Restore '" + restore.new.name + "' to an instant instead: rollback plan restore-database.",
            )
        _require_ready(old)
        return old

    async def _look_at_old(self, old: Server, url: DatabaseUrl) -> None:
        """Make sure that we are let in there; tell where somebody has opened it meanwhile."""
        async with signing_in.administrator(self._run, old.host, url.database) as session:
            await session.fetch_value("SELECT 1")
        if (await (await self._run.servers()).get_parameter(old.id, READ_ONLY)).value != "on":
            self._survey.warnings.append(f"'{old.id.name}' is not read-only any more: somebody may have written there.")

    def _damage_warning(self, old: Server) -> str:
        return (
            f"'{old.id.name}' holds the data as they were when it was fenced: what the restore had mended is damaged "
            "again."
        )

    def as_it_should_run(self, consumer: Consumer) -> Consumer:
        """An app that the restore took out of use and never led back is to serve again, though it does not now."""
        restore, _ = self._require_cut_over()
        before = next((each for each in restore.consumers if each.name == consumer.name), None)
        started = f"start {consumer.name} on '{restore.new.name}'" in self._journal.confirmed_changes()
        if before is None or started or not before.was_running:
            return consumer
        return consumer.model_copy(update={"was_running": True, "maintenance": before.maintenance})


async def check_still_holds(run: Run, plan: UndoRestorePlan) -> None:
    """Read the plan's basis again before the first change; raises `PlanIsStale` with what moved."""
    await surveying.check_still_holds(run, plan, UndoPlanner(run, plan.restore).as_it_should_run)


async def get_old_server(run: Run, plan: UndoRestorePlan) -> Server:
    """The server to go back to; raises `OperationInProgress` where it is not ready."""
    old = await (await run.servers()).get(plan.old)
    _require_ready(old)
    return old


async def weigh_written(run: Run, plan: UndoRestorePlan, old: Server) -> Weighed[UndoRestorePlan]:
    """Compare both servers, and count what was written since the cut-over; the plan comes back with the true bill.

    It asks again where that is worse than the tolerance allows. The keys of what was written are kept with the run.
    """
    async with weighing.both_servers(run, plan, old) as (restored, before):
        comparison = await weighing.compare_servers(run, restored, before)
        written = await list_written_since(restored, plan.mark)
    _keep_written(run, plan, written)
    bill = _bill(written, "at rest")
    worse = bill.worse_than(plan.estimated, plan.tolerance_rows, plan.tolerance_share)
    return Weighed(weighing.revised(run, plan, bill, worse), comparison)


def listed(run: Run) -> Path | None:
    """The file with the keys of what was written since the cut-over; none where none was made."""
    path = run.folder.folder / WRITTEN_FILE
    return path if path.exists() else None


def _keep_written(run: Run, plan: UndoRestorePlan, written: tuple[WrittenRows, ...]) -> None:
    kept = WrittenSince(server=plan.source.name, tables=written)
    file = run.folder.folder / WRITTEN_FILE
    file.touch(mode=0o600)
    file.write_text(kept.model_dump_json(indent=2), encoding="utf-8")
    run.note(f"The keys of what was written since the cut-over are in {file}.")


def _bill(written: tuple[WrittenRows, ...], when: str) -> WrittenBill:
    tables = tuple(TableWritten(table=each.table, written=each.rows, deletes=each.deleted, how=HOW) for each in written)
    return WrittenBill(tables=tables, how=f"{HOW}, {when}")


def _require_ready(old: Server) -> None:
    if old.state != "Ready":
        raise OperationInProgress(
            f"The {old.id} is {old.state.lower()}, not ready.",
            remedy="Wait until it is, or start it: az postgres flexible-server start.",
        )


def _is_cut_over(event: Event, change: str) -> bool:
    return event is Event.CONFIRMED and change == CUT_OVER
