"""The deployment workflow of GitHub Actions runs again for an earlier release of the frontends.

Trigger:
    A release of a frontend is bad, and the way back is to go through the workflow that deploys: built anew from the
    tag, with the checks and the record that it brings.

Preconditions:
    GitHub answers, and the workflow has run well for the release's commit within 30 days, at most 50 times again.

Steps:
    1. Plan: the last successful run of the deployment workflow for the release's commit. Only reads.
    2. Run the workflow again, all jobs, once.
    3. Approve its deployment, with a comment that names this run and who agreed to it.
    4. Wait for the workflow, its jobs told as they go.
    5. Verify from outside: the version past every cache, what the page refers to, its calls to the backend.
    6. Record what served.

Undo:
    The same procedure with the release that served before, or redeploy-frontend.

Targets:
    rto_target 5 min; rpo_target none (no data is touched).

Approver:
    By the platform file's rules; risk low.

Triage notes:
    `refused`: GitHub would not run it again, and the text says why; redeploy-frontend needs no workflow.
    `failed, nothing changed`: a job failed, its last lines are in the report. `outcome unknown`: the workflow has not
    ended; cancel it on GitHub, or resume the run to wait on.
"""

from prefect import flow
from prefect.client.schemas.objects import State

from rollback.frontends.rerun_plans import RerunWorkflowPlan
from rollback.runs import Outcome
from rollback.settings import EnvironmentName
from tasks import approvals, runs, static_sites, workflows

RTO_TARGET_SECONDS = 300


@flow(
    name="rerun-frontend-workflow",
    flow_run_name="rerun-frontend-workflow/{environment} to {release}",
    description="The deployment workflow of GitHub Actions runs again for an earlier release of the frontends.",
    persist_result=False,
    timeout_seconds=24000,
)
async def rerun_frontend_workflow(
    environment: EnvironmentName,
    release: str,
    reason: str,
    dry_run: bool = False,
    resume: str = "",
) -> Outcome | State[Outcome]:
    """Bring the frontends back by the workflow that deployed them.

    Args:
        environment: Where to act; fundrbolt.toml says what belongs to it.
        release: The release that must be served, for instance v1.2.2.
        reason: Why, in a sentence: it goes into the record, the report, and the approval's comment on GitHub.
        dry_run: Only plan: show what would be done, touch nothing.
        resume: An unfinished run to go on with, by its name in 'rollback status'. Empty: a new run.
    """
    async with runs.conduct(
        "rerun-frontend-workflow",
        environment=environment,
        release=release,
        reason=reason,
        dry_run=dry_run,
        resume=resume,
    ) as run:
        await run.claim()  # one rollback per environment
        plan = await workflows.plan_rerun(release, reason)  # 1. the last good run of the release's commit
        await run.show(plan, RerunWorkflowPlan)
        if not dry_run and not plan.already_there:
            await approvals.require(plan)  # as the platform file asks
            await workflows.rerun_workflow(plan)  # 2. all jobs, once
            if plan.approves:
                await workflows.approve_deployment(plan)  # 3. who agreed is named
            await workflows.wait_for_workflow(plan)  # 4. a failing job's last lines are kept
        if not dry_run:
            await static_sites.verify_frontends(plan)  # 5. what users get
            await static_sites.record_frontends(plan)  # 6. for the next rollback
    return run.result()
