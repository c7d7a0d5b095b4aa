"""That a deployment did what it should: by what-if, by Azure's word on each resource, and by what users get."""

from rollback.context import Run
from rollback.errors import NotVerified, OperationInProgress
from rollback.infrastructure.planning import InfrastructurePlanner
from rollback.infrastructure.plans import RollBackInfrastructurePlan
from rollback.probes import Prober, connect
from rollback.slots import PRODUCTION
from rollback.verification import verify_host

MOST_TOLD = 3


async def verify(run: Run, plan: RollBackInfrastructurePlan) -> None:
    """Raise `NotVerified` where something is left to change, somebody else deploys, or the app is not healthy."""
    await _require_idle(run, plan)
    planner = InfrastructurePlanner(run)
    target = await planner.read_target(plan.release and plan.commit, plan.archived)
    foreseen = await planner.foresee(target)
    left = [each for each in foreseen.changes if each.counts]
    if left:
        told = [f"{each.type} {each.name} {', '.join(own.path for own in each.counting)}".strip() for each in left]
        more = f"; and {len(told) - MOST_TOLD} more" if len(told) > MOST_TOLD else ""
        raise NotVerified(
            f"What-if says that the template would still change {'; '.join(told[:MOST_TOLD])}{more}.",
            remedy="Look whether somebody changed it meanwhile, or whether Azure does not take it: name it in noise of "
            "the platform file if it means nothing.",
        )
    noise = sum(not own.counts and bool(own.properties) for own in foreseen.changes)
    run.evidence.append(f"what-if finds nothing left to change{f'; known noise in {noise} resources' if noise else ''}")
    run.evidence += foreseen.database
    await _show_health(run)


async def _require_idle(run: Run, plan: RollBackInfrastructurePlan) -> None:
    client = await run.deployments()
    try:
        client.require_idle(await client.list_named(run.settings.infrastructure(plan.environment).deployment))
    except OperationInProgress as error:
        raise NotVerified(f"{error.message} It may overwrite what is there.", remedy=error.remedy) from error


async def _show_health(run: Run) -> None:
    settings = run.backend.probes
    production = await (await run.app_service()).get_slot(PRODUCTION)
    host = run.backend.public_url or f"https://{production.host}"
    async with connect(settings) as client:
        found = await verify_host(Prober(client, host, settings), settings, None, settings.verify_within_seconds)
    if found.problems:
        raise NotVerified(
            f"{found.host}: {'; '.join(found.problems)}.",
            remedy="The template is deployed. If the app was healthy before, look at what the plan changed of it.",
        )
    run.evidence += [f"{found.host}: {each}" for each in found.evidence]
