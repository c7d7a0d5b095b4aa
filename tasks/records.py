"""The record of which builds served: our own file, and tags on the app that every machine can read."""

from rollback.backend_plans import ImagePlan, RedeployPlan, SwapPlan
from rollback.context import Run, current
from rollback.errors import RollbackError
from rollback.models import now
from rollback.releases import Build
from rollback.served import TAG_DIGEST, Served, Verdict, tags_of
from rollback.slots import PRODUCTION
from tasks import step


@step("Record what served", timeout_seconds=60)
async def record_swap(plan: SwapPlan) -> None:
    """Keep that the target serves and was seen good, and that users were taken off the other build."""
    await _record(plan.target, previous=None if plan.already_there else plan.serving, previous_is_bad=True)


@step("Record what served", timeout_seconds=60)
async def record_image(plan: ImagePlan) -> None:
    """Keep that the target serves and was seen good, and what served before it."""
    bad = isinstance(plan, RedeployPlan)
    await _record(plan.target, previous=None if plan.already_there else plan.serving, previous_is_bad=bad)


@step("Record what was bad", timeout_seconds=60)
async def record_taken_back(plan: ImagePlan) -> None:
    """Keep that a build was found bad after it was put in place, and which one serves again."""
    run = current()
    record = run.store.served(run.header.environment)
    record.add(_served(plan.target, Verdict.BAD, run))
    await _tag(plan.serving, previous=plan.target, previous_is_bad=True)


async def _record(build: Build, *, previous: Build | None, previous_is_bad: bool) -> None:
    run = current()
    record = run.store.served(run.header.environment)
    if previous is not None and previous_is_bad:
        record.add(_served(previous, Verdict.BAD, run))
    record.add(_served(build, Verdict.GOOD, run))
    await _tag(build, previous=previous, previous_is_bad=previous_is_bad)


async def _tag(build: Build, *, previous: Build | None, previous_is_bad: bool) -> None:
    """Tell every machine, by the app's own tags. Users are served already: a failure here is told, and no more."""
    run = current()
    tags = tags_of(build, now(), previous=previous, previous_is_bad=previous_is_bad)
    app = await run.app_service()
    serving = await app.get_slot(PRODUCTION)
    if serving.tags.get(TAG_DIGEST) == build.digest and tags.keys() <= serving.tags.keys():
        return
    run.check_lease()
    try:
        await app.merge_tags(tags)
    except RollbackError as error:
        run.note(f"The app's tags could not be written: {error.message} Other machines do not know what served.")


def _served(build: Build, verdict: Verdict, run: Run) -> Served:
    return Served(at=now(), environment=run.header.environment, build=build, verdict=verdict, run=run.header.run)
