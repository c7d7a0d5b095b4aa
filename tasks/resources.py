"""Resources by their ids: archive, plan, revert, verify.

Blast radius: archiving changes nothing in Azure; reverting changes one resource, by one PATCH of what differs.
"""

from rollback.context import current
from rollback.resources import archiving
from rollback.resources.archive_plans import KEEP, ArchivePlan
from rollback.resources.archiving import Archiver
from tasks import step


@step("Plan", timeout_seconds=600)
async def plan_archive(reason: str) -> ArchivePlan:
    """Decide what is archived; on resuming, the plan as it was made."""
    run = current()
    made = run.folder.plan(ArchivePlan)
    if made is None:
        made = await archiving.plan_archive(run, reason or run.header.reason)
    run.note(f"{made.title}: {', '.join(made.groups)}.")
    return made


@step(KEEP, timeout_seconds=3600)
async def keep_archive(plan: ArchivePlan) -> ArchivePlan:
    """Read everything and write the archive; the plan comes back with what it came to."""
    run = current()
    archiver = Archiver(run, await run.resources(), plan)
    kept = await archiver.keep()
    archiver.prune()
    run.results = [("Resources", str(kept.kept)), ("Changed", kept.change_words)]
    run.note(f"{kept.goal}.")
    return kept


@step("Look whether all is there", timeout_seconds=60)
async def check_archive(plan: ArchivePlan) -> None:
    """Make sure that nothing is missing in the archive; raises `NotVerified` with what is."""
    run = current()
    Archiver(run, await run.resources(), plan).require_whole()
