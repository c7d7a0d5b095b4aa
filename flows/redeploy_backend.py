"""A named release serves again, by its image.

Trigger:
    The release to go back to is not the one that the slot holds, or the environment has no slots.

Preconditions:
    The release is in the manifest and its image in the registry. The release can use the database as it is.

Steps:
    1. Plan: the image by digest, proven to exist; where it goes first. Only reads.
    2. Put the image in place: on the slot, or on the app itself where there are no slots.
    3. Probe it there: health pages and real requests.
    4. Swap the slots, once, where there are slots.
    5. Verify from outside.
    6. Record which build serves.

Undo:
    Where the image does not answer as it must in its place, the image before is put back, and the app's last log lines
    are in the report. Production of an environment with slots has not changed then.

Targets:
    rto_target 5 min; rpo_target none (no data is touched).

Approver:
    By the platform file's rules; risk low.

Triage notes:
    `taken back`: the image proved bad and the one before is back; read the log lines in the report. `refused`: nothing
    was touched. `rolled back, not verified`: the build is in place, users may still see errors.
"""

from prefect import flow
from prefect.client.schemas.objects import State

from rollback.backend_plans import RedeployPlan
from rollback.errors import FoundBad, TakenBack
from rollback.runs import Outcome
from rollback.settings import EnvironmentName
from tasks import app_service, approvals, probes, records, runs

RTO_TARGET_SECONDS = 300


@flow(
    name="redeploy-backend",
    flow_run_name="redeploy-backend/{environment} to {release}",
    description="A named release serves again: its image on the slot, probed, swapped in; or on the app itself.",
    persist_result=False,
    timeout_seconds=9000,
)
async def redeploy_backend(
    environment: EnvironmentName,
    release: str,
    reason: str,
    dry_run: bool = False,
    resume: str = "",
) -> Outcome | State[Outcome]:
    """Bring a named release back.

    Args:
        environment: Where to act; fundrbolt.toml says what belongs to it.
        release: The release that must serve, for instance v1.2.1, as 'rollback versions' lists it.
        reason: Why, in a sentence: it goes into the record and the report.
        dry_run: Only plan: show what would be done, touch nothing.
        resume: An unfinished run to go on with, by its name in 'rollback status'. Empty: a new run.
    """
    async with runs.conduct(
        "redeploy-backend", environment=environment, release=release, reason=reason, dry_run=dry_run, resume=resume
    ) as run:
        await run.claim()  # one rollback per environment
        plan = await app_service.plan_redeploy(release, reason)  # 1. the image exists, by digest
        await run.show(plan, RedeployPlan)
        if not dry_run and not plan.already_there:
            await approvals.require(plan)  # as the platform file asks
            try:
                await app_service.put_image(plan)  # 2. on the slot, or on the app
                await probes.probe_image(plan)  # 3. before it gets users, where there are slots
            except FoundBad as bad:
                await app_service.show_log_tail(plan)
                await app_service.take_back(plan)  # undo of 2
                raise TakenBack(bad.message, remedy="Read the app's log lines in the report.") from bad
            if plan.slot:
                await app_service.swap_in(plan)  # 4. a toggle: sent once
        if not dry_run:
            await probes.verify(plan)  # 5. what users get
            await records.record_image(plan)  # 6. for the next rollback
    return run.result()
