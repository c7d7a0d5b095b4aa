"""PostgreSQL: plan a restore or its undo, make the new server, fence the one that is left, compare, save, prove.

Blast radius: the database of one environment. The server that is left is never changed beyond its fence, and no server
is ever deleted.
"""

from rollback.context import Run, current
from rollback.database import cut_over, fencing, following, planning, proof, surveying, undoing, weighing
from rollback.database.models import Server
from rollback.database.moves import MovePlan
from rollback.database.parity import Parity
from rollback.database.plans import COMPARE, EXPORT, FENCE, MATCH, PROVE, RESTORE, RestorePlan
from rollback.database.restoring import Restorer, wait_until_it_answers
from rollback.database.settings import StopWrites
from rollback.database.undo_plans import FENCE_RESTORED, OPEN, UndoRestorePlan
from rollback.database.weighing import Weighed
from rollback.errors import RollbackError, TakenBack
from rollback.models import now
from rollback.report.words import seconds
from tasks import step

LIFT, CLOSE = "Lift the fence", "Fence the old server again"


@step("Plan", timeout_seconds=900)
async def plan_restore(restore_point: str, stop_writes: StopWrites | None, waive: tuple[str, ...]) -> RestorePlan:
    """Decide what is restored, as absolute values; on resuming, the plan as it was made."""
    run = current()
    made = run.folder.plan(RestorePlan)
    if made is not None:
        run.note(f"The plan of {made.made_at:%Y-%m-%d %H:%M:%S} UTC: {made.title}.")
        return made
    point = planning.parse_restore_point(restore_point or run.header.asked.get("restore_point", ""))
    plan = await planning.RestorePlanner(run).plan(point, stop_writes or run.database.stop_writes, waive)
    run.note(f"{plan.title}. Lost: {plan.estimated.total_words}.")
    return plan


@step("Plan", timeout_seconds=900)
async def plan_undo(restore: str) -> UndoRestorePlan:
    """Decide what is gone back to, as absolute values; on resuming, the plan as it was made."""
    run = current()
    made = run.folder.plan(UndoRestorePlan)
    if made is not None:
        run.note(f"The plan of {made.made_at:%Y-%m-%d %H:%M:%S} UTC: {made.title}.")
        return made
    plan = await undoing.UndoPlanner(run, restore or run.header.asked.get("restore", "")).plan()
    run.note(f"{plan.title}. Written since the cut-over: {plan.estimated.total_words}.")
    return plan


@step("Check the plan", timeout_seconds=900)
async def check_plan(plan: RestorePlan) -> None:
    """Make sure that what the plan rests on still holds, as long as nothing was changed; raises `PlanIsStale`."""
    run = _begin_to_act(plan)
    if not (run.journal.open_changes() or run.journal.confirmed_changes()):
        await surveying.check_still_holds(run, plan)


@step("Check the plan", timeout_seconds=900)
async def check_undo(plan: UndoRestorePlan) -> Server:
    """The old server; as long as nothing was changed, all that the plan rests on still holds, else `PlanIsStale`."""
    run = _begin_to_act(plan)
    if not (run.journal.open_changes() or run.journal.confirmed_changes()):
        await undoing.check_still_holds(run, plan)
    return await undoing.get_old_server(run, plan)


def _begin_to_act(plan: MovePlan) -> Run:
    """The run, which can say from now on where things stand; raises `FoundBad` where it is being taken back."""
    run = current()

    async def describe() -> str:
        return await proof.describe(run, plan)

    run.where_things_stand = describe
    run.stop_if_found_bad()
    return run


@step(FENCE, timeout_seconds=4000)
async def fence(plan: RestorePlan) -> None:
    """Keep every writer out of the old server; on return nothing can be committed there, and it was seen at rest."""
    run = current()
    if not following.is_begun(run):
        await fencing.Fencer(run, fencing.planned_fence(plan)).put_up()


@step(FENCE_RESTORED, timeout_seconds=4000)
async def fence_restored(plan: UndoRestorePlan) -> None:
    """Keep every writer out of the restored server; on return nothing can be committed there, and it was at rest."""
    run = current()
    if not following.is_begun(run):
        await fencing.Fencer(run, fencing.planned_fence(plan)).put_up()


@step(LIFT, timeout_seconds=4000)
async def lift_fence(plan: MovePlan, why: str) -> None:
    """Undo: the server in use takes writes again; exactly what this run changed there is put back.

    From here on a resumed run takes back too, and does not begin again.
    """
    run = current()
    if run.journal.verdict() is None:
        run.find_bad(why)
    await fencing.Fencer(run, fencing.raised(fencing.planned_fence(plan), run.journal)).take_down()


@step(RESTORE, timeout_seconds=24_000)
async def restore_beside(plan: RestorePlan) -> Server:
    """Have the new server made, once; on return it is Ready, answers us, and its recovery has ended."""
    run = current()
    server = await Restorer(run, plan).restore()
    if not following.is_begun(run):
        await Parity(run, plan).let_in()
        await wait_until_it_answers(run, plan, server)
    return server


@step(MATCH, timeout_seconds=8000)
async def match_settings(restored: Server, plan: RestorePlan) -> None:
    """Set on the new server what Azure left behind; raises `PartsDiffer` with what still differs and is not waived."""
    run = current()
    if not following.is_begun(run):
        await weighing.match(run, plan, restored)


@step(COMPARE, timeout_seconds=15_000)
async def weigh_loss(restored: Server, plan: RestorePlan) -> Weighed[RestorePlan]:
    """Count what is lost, row by row; the plan comes back with it, and asks again where it is worse than approved."""
    run = current()
    if following.is_begun(run):
        return Weighed(plan, None)
    return await weighing.weigh(run, plan, restored)


@step(COMPARE, timeout_seconds=15_000)
async def weigh_written(old: Server, plan: UndoRestorePlan) -> Weighed[UndoRestorePlan]:
    """Count what was written since the cut-over; the plan comes back with it, and asks again where it is worse."""
    run = current()
    if following.is_begun(run):
        return Weighed(plan, None)
    return await undoing.weigh_written(run, plan, old)


@step(EXPORT, timeout_seconds=15_000)
async def export_written(old: Server, weighed: Weighed[UndoRestorePlan]) -> None:
    """Write the rows that only the restored server has into one file.

    Raises `ExportFailed` and leaves nothing half-written.
    """
    await weighing.export(current(), weighed, old)


@step(OPEN, timeout_seconds=4000)
async def open_old_server(old: Server, weighed: Weighed[UndoRestorePlan]) -> None:
    """Take the restore's fence around the old server down, and keep the numbers of lost rows free there.

    Raises `PasswordWrong` where no app could sign in there.
    """
    run = current()
    if not following.is_begun(run):
        await fencing.Fencer(run, weighed.plan.old_fence, down=undoing.OPENED).take_down()
        await weighing.make_ready(run, weighed, old)


@step(CLOSE, timeout_seconds=4000)
async def close_old_server(plan: UndoRestorePlan) -> None:
    """Undo: the fence around the old server as the restore had put it up, as far as this run took it down."""
    run = current()
    fence = fencing.raised(plan.old_fence, run.journal, undoing.OPENED)
    if fence.is_there:
        await fencing.Fencer(run, fence, up=undoing.CLOSED).put_up()


@step(EXPORT, timeout_seconds=15_000)
async def export_lost_rows(restored: Server, weighed: Weighed[RestorePlan]) -> None:
    """Write the rows that would be lost into one file, and keep their numbers free on the restored server.

    Raises `ExportFailed` and leaves nothing half-written; `PasswordWrong` where no app could sign in there.
    """
    await weighing.export(current(), weighed, restored)
    await weighing.make_ready(current(), weighed, restored)
    await cut_over.keep_mark(current(), weighed.plan, restored)


@step(PROVE, timeout_seconds=8000)
async def prove_in_use(restored: Server, plan: RestorePlan) -> None:
    """Show that every app uses the restored server, and none the old one; raises `NotVerified`."""
    run = current()
    run.results = _measured(run, plan)
    run.evidence = await proof.prove(run, plan, restored)
    for each in (*(f"{name}: {value}" for name, value in run.results), *run.evidence):
        run.note(each)


@step(PROVE, timeout_seconds=8000)
async def prove_old_in_use(old: Server, plan: UndoRestorePlan) -> None:
    """Show that every app uses the old server, and none the restored one; raises `NotVerified`."""
    run = current()
    run.results = _measured_undo(run, plan)
    run.evidence = await proof.prove(run, plan, old)
    for each in (*(f"{name}: {value}" for name, value in run.results), *run.evidence):
        run.note(each)


def _measured_undo(run: Run, plan: UndoRestorePlan) -> list[tuple[str, str]]:
    told = [("Written since the cut-over, and left", f"{plan.bill.total_words} ({plan.bill.how})")]
    told += [(f"Left of {each.table}", each.words) for each in plan.bill.tables if each.matters]
    if file := weighing.exported(run):
        told.append(("Rows that were left", f"{file}: what is in it and how to load it is in its README.txt"))
    if file := undoing.listed(run):
        told.append(("Which of them are newer than the cut-over", f"{file}: their keys, by table"))
    return told


def _measured(run: Run, plan: RestorePlan) -> list[tuple[str, str]]:
    """Recovery time and data loss, as they were and not as they were promised."""
    confirmed = {entry.change: entry.at for entry in run.journal.entries if entry.event == "confirmed"}
    stopped = [at for change, at in confirmed.items() if change.startswith(("stop ", "fence: "))]
    took = f"{seconds(now() - run.header.started_at)} from the start of the run until everything was started"
    told = [("Recovery time, actual", took)]
    if stopped:
        told.append(("Without writes", seconds(now() - min(stopped))))
        lost = f"{seconds(max(stopped) - plan.point)} of writes: {plan.bill.total_words}"
        told.append(("Data loss, actual", lost))
        told += [(f"Lost of {each.table}", each.words) for each in plan.bill.tables if each.matters]
    if file := weighing.exported(run):
        told.append(("Rows that were lost", f"{file}: what is in it and how to load it is in its README.txt"))
    return told


def is_cut_over() -> bool:
    """Whether the way back is not ours to take any more: the secret was sent its new version."""
    return following.is_begun(current())


def taken_back(plan: MovePlan, error: RollbackError) -> RollbackError:
    """How a run ends whose changes were undone: as refused where it changed nothing."""
    run = current()
    changed = run.journal.confirmed_changes()
    if not changed:
        return error
    left = f" The new server '{plan.target.name}' is left, unused." if "restore" in changed else ""
    return TakenBack(
        f"{error.message} The apps use '{plan.source.name}' as before, with writes allowed.{left}",
        remedy=error.remedy,
    )
