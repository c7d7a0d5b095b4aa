"""Production serves the previous build again.

Trigger:
    Errors or latency rose after a release reached production; the release before it was fine.

Preconditions:
    The environment has a slot that holds the previous build, running and answering. The previous build can use the
    database as the bad release left it: the release manifest says on which schemas it runs.

Steps:
    1. Plan: which build comes back, by image digest, why it is known to have served, and whether it can use the
       database's schema. Only reads.
    2. Probe the slot: its build is warm and answers real requests.
    3. Swap the slots, once; Azure's own time is shown apart.
    4. Remove ramp-up rules, which would send users to the bad build.
    5. Verify from outside: digest, release, health pages, real requests.
    6. Record which build serves and which one was bad.

Undo:
    Deploy a mended release. Swapping back by hand brings the bad build back.

Targets:
    rto_target 30 s beyond Azure's own swap; rpo_target none (no data is touched).

Approver:
    None by default (risk low); the platform file may ask for one.

Triage notes:
    `refused` touched nothing and says why. `outcome unknown`: a swap was sent and Azure shows neither effect nor end;
    look at the app in the portal, then resume the run. `rolled back, not verified`: the build is in place, users may
    still see errors; look at the evidence. `failed part-way`: the report lists what was done and what was not.
"""

from prefect import flow
from prefect.client.schemas.objects import State

from rollback.backend_plans import SwapPlan
from rollback.runs import Outcome
from rollback.settings import EnvironmentName
from tasks import app_service, approvals, probes, records, runs

RTO_TARGET_SECONDS = 30


@flow(
    name="roll-back-backend",
    flow_run_name="roll-back-backend/{environment}",
    description="Production serves the previous build again: swap the slot that holds it, verify from outside.",
    persist_result=False,
    timeout_seconds=5400,
)
async def roll_back_backend(
    environment: EnvironmentName,
    reason: str,
    release: str = "",
    dry_run: bool = False,
    resume: str = "",
) -> Outcome | State[Outcome]:
    """Bring the previous build back into production.

    Args:
        environment: Where to act; fundrbolt.toml says what belongs to it.
        reason: Why, in a sentence: it goes into the record and the report.
        release: The release that must come back, for instance v1.2.2. Empty: the one known to have served before.
        dry_run: Only plan: show what would be done, touch nothing.
        resume: An unfinished run to go on with, by its name in 'rollback status'. Empty: a new run.
    """
    async with runs.conduct(
        "roll-back-backend", environment=environment, release=release, reason=reason, dry_run=dry_run, resume=resume
    ) as run:
        await run.claim()  # one rollback per environment
        plan = await app_service.plan_swap_back(
            release or None, reason
        )  # 1. absolute: image digests, Azure's time stamps
        plan = await probes.probe_slot(plan)  # 2. warm and good before it gets users
        await run.show(plan, SwapPlan)
        if not dry_run and not plan.already_there:
            if await approvals.require(plan):  # as the platform file asks: nobody has to, as it is shipped
                await probes.probe_slot(plan)  # again: people take their time
            await app_service.swap_slots(plan)  # 3. a toggle: sent once
            if plan.ramp_up:
                await app_service.remove_ramp_up_rules(plan)  # 4. now they lead to the bad build
        if not dry_run:
            await probes.verify(plan)  # 5. what users get
            await records.record_swap(plan)  # 6. for the next rollback
    return run.result()
