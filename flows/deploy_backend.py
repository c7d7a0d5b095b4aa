"""A new release comes into production, watched, with the way back open.

Trigger:
    CI built a release that passed its tests.

Preconditions:
    The environment has a slot, without auto-swap and without ramp-up rules to it. The image is in the registry. The
    releases before and after can use the same database.

Steps:
    1. Plan: the image by digest, proven to exist; what serves now. Only reads.
    2. Put the image on the slot, and probe it there.
    3. Swap the slots, once.
    4. Verify from outside, then watch production for the stated window: probes and error rate.
    5. Record, on the app itself, that this release served production.

Undo:
    If the image proves bad on the slot, the image before is put back. If production turns bad after the swap, the slots
    are swapped back, once, and what users get is verified again.

Targets:
    rto_target 5 min beyond Azure's own swap and the window; rpo_target none (no data is touched).

Approver:
    By the platform file's rules; risk low.

Triage notes:
    `taken back` (status 8): users get what they got before; the report says what was bad. `deployed, not verified`: the
    release serves, and Azure's metrics did not tell. `outcome unknown`: look at the app, then resume the run.
"""

from prefect import flow
from prefect.client.schemas.objects import State

from rollback.backend_plans import DeployPlan
from rollback.errors import FoundBad, TakenBack
from rollback.runs import Outcome
from rollback.settings import EnvironmentName
from tasks import app_service, approvals, metrics, probes, records, runs

RTO_TARGET_SECONDS = 300


@flow(
    name="deploy-backend",
    flow_run_name="deploy-backend/{environment} to {release}",
    description="A guarded deployment: slot, probes, swap, watch; swapped back when production turns bad.",
    persist_result=False,
    timeout_seconds=18_000,
)
async def deploy_backend(
    environment: EnvironmentName,
    release: str,
    reason: str,
    watch_minutes: float | None = None,
    dry_run: bool = False,
    resume: str = "",
) -> Outcome | State[Outcome]:
    """Bring a new release into production, guarded.

    Args:
        environment: Where to act; fundrbolt.toml says what belongs to it.
        release: The release to deploy, for instance v1.2.3.
        reason: Why, in a sentence: it goes into the record and the report.
        watch_minutes: How long production is watched after the swap. Empty: as the platform file says.
        dry_run: Only plan: show what would be done, touch nothing.
        resume: An unfinished run to go on with, by its name in 'rollback status'. Empty: a new run.
    """
    async with runs.conduct(
        "deploy-backend", environment=environment, release=release, reason=reason, dry_run=dry_run, resume=resume
    ) as run:
        await run.claim()  # one change per environment
        plan = await app_service.plan_deploy(release, reason, watch_minutes)  # 1. the image exists, by digest
        await run.show(plan, DeployPlan)
        if not dry_run and not plan.already_there:
            await approvals.require(plan)  # as the platform file asks
            try:
                await app_service.put_image(plan)  # 2. on the slot
                await probes.probe_image(plan)
                await app_service.swap_in(plan)  # 3. a toggle: sent once
                await probes.verify_deployed(plan)  # 4. what users get
                await metrics.watch_production(plan)
            except FoundBad as bad:
                await app_service.show_log_tail(plan)
                await app_service.take_back(plan)  # undo of 3 after the swap, of 2 before it
                now = await probes.verify_taken_back(plan)
                await records.record_taken_back(plan)
                raise TakenBack(f"{now} {bad.message}", remedy="Mend the release.") from bad
        if not dry_run:
            if plan.already_there:
                await probes.verify(plan)
            await records.record_image(plan)  # 5. "this release served production"
    return run.result()
