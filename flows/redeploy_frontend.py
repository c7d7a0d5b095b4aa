"""Frontends serve an earlier release again.

Trigger:
    A release of a frontend is bad: pages stay empty, scripts fail, calls to the backend are wrong. Static Web Apps have
    no slots: going back is deploying the earlier release anew.

Preconditions:
    The release is on GitHub with the frontend's archive (way `artifact`), or its tag is in the clone on this machine
    (way `script`). The backend that serves can be used by it.

Steps:
    1. Plan: the release, the archive and its checksum, looked through; what each frontend serves now. Only reads.
    2. Deploy the frontends, side by side, each once: Azure fetches the archive, or the platform's own script runs in a
       clean worktree of the tag.
    3. Verify from outside: the version past every cache, what the page refers to, its calls to the backend.
    4. Record what served.

Undo:
    The same procedure with the release that served before.

Targets:
    rto_target 3 min; rpo_target none (no data is touched).

Approver:
    By the platform file's rules; risk low.

Triage notes:
    `refused`: nothing was touched; the archive or the release is not what it must be, and the text says why.
    `failed part-way`: one frontend is back and another is not; resume the run. `rolled back, not verified`: it is
    deployed, and what users get is not right, or a cache still answers. The next run of the deployment workflow on the
    main branch brings the bad release back.
"""

from prefect import flow
from prefect.client.schemas.objects import State

from rollback.frontends.plans import RedeployFrontendPlan
from rollback.runs import Outcome
from rollback.settings import EnvironmentName
from tasks import approvals, runs, static_sites

RTO_TARGET_SECONDS = 180


@flow(
    name="redeploy-frontend",
    flow_run_name="redeploy-frontend/{environment} to {release}",
    description="Frontends serve an earlier release again: its archive, or the platform's own script, deployed anew.",
    persist_result=False,
    timeout_seconds=12000,
)
async def redeploy_frontend(
    environment: EnvironmentName,
    reason: str,
    release: str = "",
    frontends: tuple[str, ...] = (),
    dry_run: bool = False,
    resume: str = "",
) -> Outcome | State[Outcome]:
    """Bring frontends back to a release.

    Args:
        environment: Where to act; fundrbolt.toml says what belongs to it.
        reason: Why, in a sentence: it goes into the record and the report.
        release: The release that must be served, for instance v1.2.2. Empty: the newest known-good one older than what
            is served now.
        frontends: Which of the environment's frontends, by their names in fundrbolt.toml. Empty: all of them.
        dry_run: Only plan: show what would be done, touch nothing.
        resume: An unfinished run to go on with, by its name in 'rollback status'. Empty: a new run.
    """
    async with runs.conduct(
        "redeploy-frontend",
        environment=environment,
        release=release,
        reason=reason,
        dry_run=dry_run,
        resume=resume,
        asked={"frontends": " ".join(frontends)},
    ) as run:
        await run.claim()  # one rollback per environment
        plan = await static_sites.plan_redeploy_frontend(release, frontends, reason)  # 1. archives looked through
        await run.show(plan, RedeployFrontendPlan)
        if not dry_run and not plan.already_there:
            await approvals.require(plan)  # as the platform file asks
            await static_sites.deploy_frontends(plan)  # 2. side by side, each once
        if not dry_run:
            await static_sites.verify_frontends(plan)  # 3. what users get
            await static_sites.record_frontends(plan)  # 4. for the next rollback
    return run.result()
