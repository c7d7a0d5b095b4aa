"""Azure's metrics, and production watched by them and by requests of our own. Nothing here changes anything."""

import asyncio
from datetime import datetime, timedelta

from rollback import metrics, probes
from rollback.azure import AzureConnection
from rollback.backend_plans import DeployPlan
from rollback.context import current
from rollback.errors import NotVerified, RollbackError
from rollback.metrics import Measured
from rollback.models import now
from rollback.probes import Prober, Tally
from rollback.slots import PRODUCTION
from rollback.watch import Judgement, Verdict, judge_metrics, judge_probes
from tasks import step

BEFORE = timedelta(minutes=15)
"""How far back the error rate is compared with."""
LOOK_SECONDS = 15.0


@step("Watch production", timeout_seconds=10_000)
async def watch_production(plan: DeployPlan) -> None:
    """Look at production for the plan's window; on return it is shown to be no worse than before.

    Raises `FoundBad` as soon as it is worse, `NotVerified` where Azure's metrics do not tell.
    """
    run = current()
    run.stop_if_found_bad()
    began = now()
    window = plan.watch_minutes * 60
    ends = asyncio.get_running_loop().time() + window
    production = await (await run.app_service()).get_slot(PRODUCTION)
    settings, tally = run.backend.probes, Tally()
    connection = await run.connection()
    async with probes.connect(settings) as client:
        before = await _measure(connection, began - BEFORE)
        prober = Prober(client, f"https://{production.host}", settings)
        while True:
            tally.answers += (await prober.ask_requests(settings.count)).answers
            measured = await _judge(connection, before, tally, began)
            left = ends - asyncio.get_running_loop().time()
            if left <= 0 and (measured.verdict is Verdict.GOOD or -left >= run.backend.watch.metrics_within_seconds):
                break
            await asyncio.sleep(min(LOOK_SECONDS, window / 4))
    run.evidence += [f"watched for {plan.watch_minutes:g} min: {judge_probes(tally, run.backend.watch).why}"]
    if measured.verdict is not Verdict.GOOD:
        raise NotVerified(f"{measured.why}.", remedy="Look at the metrics yourself; the build itself is in place.")
    run.evidence.append(measured.why)


async def _judge(connection: AzureConnection, before: Measured, tally: Tally, began: datetime) -> Judgement:
    run = current()
    limits = run.backend.watch
    own = judge_probes(tally, limits)
    measured = judge_metrics(before, (await _measure(connection, began)).since(began), limits)
    for each in (own, measured):
        if each.verdict is Verdict.BAD:
            raise run.find_bad(f"Production turned bad: {each.why}.")
    run.note(f"{own.why}; {measured.why}")
    return measured


async def _measure(connection: AzureConnection, since: datetime) -> Measured:
    """Azure's metrics; nothing known where Azure does not tell now."""
    try:
        return await metrics.measure(connection, current().backend, since)
    except RollbackError as error:
        return Measured(source=error.message)
