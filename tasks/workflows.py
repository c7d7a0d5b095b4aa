"""GitHub Actions: plan, run again, approve, wait.

Blast radius: what the deployment workflow deploys, which is an environment's frontends; no data. The run is run again
once, and its deployment approved once.
"""

from rollback.context import Run, current
from rollback.frontends.rerun_planning import RerunPlanner
from rollback.frontends.rerun_plans import APPROVE, RERUN, WAIT, RerunWorkflowPlan
from rollback.frontends.rerunning import Rerunner
from tasks import step

LONGEST_COMMENT = 1000


@step("Plan", timeout_seconds=600)
async def plan_rerun(release: str, reason: str) -> RerunWorkflowPlan:
    """Find the run that brings the release back; on resuming, the plan as it was made."""
    run = current()
    made = run.folder.plan(RerunWorkflowPlan)
    if made is None:
        environment = run.header.environment
        workflow = run.settings.workflow(environment)
        made = await RerunPlanner(run, workflow, run.settings.frontends(environment)).plan(release, reason)
    run.note(f"{made.title}. First run on {made.first_started_at:%Y-%m-%d %H:%M} UTC: {made.url}")
    return made


@step(RERUN, timeout_seconds=7200)
async def rerun_workflow(plan: RerunWorkflowPlan) -> None:
    """Run all jobs again; on return GitHub has the plan's attempt, once."""
    rerunner = await _rerunner(plan)
    current().where_things_stand = rerunner.describe
    await rerunner.start()


@step(APPROVE, timeout_seconds=7200)
async def approve_deployment(plan: RerunWorkflowPlan) -> None:
    """Approve the workflow's deployment, naming who agreed to the plan."""
    run = current()
    await (await _rerunner(plan)).approve(_comment(run))


@step(WAIT, timeout_seconds=7200)
async def wait_for_workflow(plan: RerunWorkflowPlan) -> None:
    """Wait until all jobs have ended well; raises `DeploymentFailed` with the failing job's last lines."""
    await (await _rerunner(plan)).finish()


async def _rerunner(plan: RerunWorkflowPlan) -> Rerunner:
    run = current()
    return Rerunner(run, await run.github(), run.settings.workflow(plan.environment), plan)


def _comment(run: Run) -> str:
    header = run.header
    agreed = "; ".join(run.approvals) or "nobody was asked"
    text = f"{header.procedure} {header.run}, started by {header.started_by}: {header.reason}. Approval: {agreed}"
    return text[:LONGEST_COMMENT]
