"""Resources by their ids: archive, plan, revert, verify.

Blast radius: archiving changes nothing in Azure; reverting changes one resource, by one PATCH of what differs.
"""

from rollback import probes
from rollback.context import current
from rollback.errors import NotVerified
from rollback.probes import Prober
from rollback.resources import archiving
from rollback.resources.archive_plans import KEEP, ArchivePlan
from rollback.resources.archiving import Archiver
from rollback.resources.ids import ResourceId
from rollback.resources.planning import RevertPlanner
from rollback.resources.revert_plans import REVERT, VERIFY, RevertResourcePlan
from rollback.resources.reverting import Reverter
from rollback.slots import PRODUCTION
from rollback.verification import verify_host
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


@step("Plan", timeout_seconds=600)
async def plan_revert(
    resource: str, archive: str, from_git: str, only: tuple[str, ...], reason: str
) -> RevertResourcePlan:
    """Decide which earlier configuration comes back and how; on resuming, the plan as it was made."""
    run = current()
    made = run.folder.plan(RevertResourcePlan)
    if made is None:
        asked = run.header.asked
        id_ = ResourceId.parse(resource or asked.get("resource", ""))
        planner = RevertPlanner(run, await run.resources(), id_)
        made = await planner.plan(
            archive or asked.get("archive", ""),
            from_git or asked.get("from_git", ""),
            only or tuple(asked.get("only", "").splitlines()),
            reason,
        )
    run.note(f"{made.title}. Earlier configuration: {made.source}.")
    return made


@step(REVERT, timeout_seconds=3600)
async def revert_resource(plan: RevertResourcePlan) -> None:
    """Patch the resource; on return it has what the plan brings back."""
    run = current()
    reverter = await _reverter(plan)
    run.where_things_stand = reverter.describe
    await reverter.revert()


@step(VERIFY, timeout_seconds=1200)
async def verify_resource(plan: RevertResourcePlan) -> None:
    """Show that nothing is left to come back, and that users are served where it is the app; raises `NotVerified`."""
    run = current()
    await (await _reverter(plan)).verify()
    if not plan.serves:
        return
    settings = run.backend.probes
    production = await (await run.app_service()).get_slot(PRODUCTION)
    async with probes.connect(settings) as client:
        prober = Prober(client, run.backend.public_url or f"https://{production.host}", settings)
        found = await verify_host(prober, settings, None, settings.verify_within_seconds)
    run.evidence = [*run.evidence, *(f"{found.host}: {each}" for each in found.evidence)]
    if found.problems:
        problems = "; ".join(f"{found.host}: {each}" for each in found.problems)
        raise NotVerified(f"{problems}.", remedy="Look at it as a user would; the configuration itself is back.")


async def _reverter(plan: RevertResourcePlan) -> Reverter:
    run = current()
    settle_seconds = run.settings.environments[plan.environment].archive.settle_seconds
    return Reverter(run, await run.resources(), plan, settle_seconds)


@step("Look whether all is there", timeout_seconds=60)
async def check_archive(plan: ArchivePlan) -> None:
    """Make sure that nothing is missing in the archive; raises `NotVerified` with what is."""
    run = current()
    Archiver(run, await run.resources(), plan).require_whole()
