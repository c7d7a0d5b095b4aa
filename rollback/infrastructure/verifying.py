"""That a deployment did what it should: by what-if, by Azure's word on each resource, and by what users get."""

from collections.abc import Iterable

from rollback.context import Run
from rollback.errors import NotVerified, OperationInProgress
from rollback.infrastructure.planning import InfrastructurePlanner
from rollback.infrastructure.plans import RollBackInfrastructurePlan
from rollback.infrastructure.what_if import ResourceChange
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
    left = [each for each in foreseen.changes if each.differs]
    if left:
        told = [f"{each.type} {each.name} {', '.join(own.path for own in each.differing)}".strip() for each in left]
        more = f"; and {len(told) - MOST_TOLD} more" if len(told) > MOST_TOLD else ""
        raise NotVerified(
            f"What-if says that the template would still change {'; '.join(told[:MOST_TOLD])}{more}.",
            remedy="Look whether somebody changed it meanwhile, or whether Azure does not take it: name it in noise of "
            "the platform file if it means nothing.",
        )
    noise = sum(any(each.noise for each in own.properties) for own in foreseen.changes)
    run.evidence.append(f"what-if finds nothing left to change{f'; known noise in {noise} resources' if noise else ''}")
    run.evidence += _not_compared(foreseen.changes)
    run.evidence += foreseen.database
    await _show_health(run)


async def _require_idle(run: Run, plan: RollBackInfrastructurePlan) -> None:
    client = await run.deployments()
    try:
        client.require_idle(await client.list_named(run.settings.infrastructure(plan.environment).deployment))
    except OperationInProgress as error:
        raise NotVerified(f"{error.message} It may overwrite what is there.", remedy=error.remedy) from error


def _not_compared(changes: Iterable[ResourceChange]) -> list[str]:
    """What cannot be shown by what-if, in words: it is as Azure deployed it, and nobody compared it."""
    told = [
        " ".join(filter(None, (each.type, each.name, ", ".join(own.path for own in each.properties if own.is_open))))
        for each in changes
        if each.is_open
    ]
    return [f"what-if could not compare, and so did not verify: {'; '.join(told)}"] if told else []


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
