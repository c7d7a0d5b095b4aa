"""Our own record of which builds served production."""

from rollback.backend_plans import SwapPlan
from rollback.context import Run, current
from rollback.models import now
from rollback.releases import Build
from rollback.served import Served, Verdict
from tasks import step


@step("Record what served", timeout_seconds=30)
async def record_swap(plan: SwapPlan) -> None:
    """Keep that the target serves and was seen good, and that users were taken off the other build."""
    run = current()
    record = run.store.served(plan.environment)
    if not plan.already_there:
        record.add(_served(plan.serving, Verdict.BAD, run))
    record.add(_served(plan.target, Verdict.GOOD, run))


def _served(build: Build, verdict: Verdict, run: Run) -> Served:
    return Served(at=now(), environment=run.header.environment, build=build, verdict=verdict, run=run.header.run)
