"""ARM deployments: plan, archive, deploy, verify.

Blast radius: every resource of the template, its settings, and through them what users get. It is deployed
incrementally, once, and only as what-if said when it was approved.
"""

from rollback.context import current
from rollback.infrastructure import archive
from rollback.infrastructure.archive import Archived
from rollback.infrastructure.deploying import Deployer
from rollback.infrastructure.planning import InfrastructurePlanner
from rollback.infrastructure.plans import ARCHIVE, DEPLOY, VERIFY, RollBackInfrastructurePlan
from rollback.infrastructure.verifying import verify
from tasks import step


@step("Plan", timeout_seconds=4000)
async def plan_roll_back(release: str, archived: str, reason: str) -> RollBackInfrastructurePlan:
    """Ask Azure what the earlier template would change; on resuming, the plan as it was made."""
    run = current()
    made = run.folder.plan(RollBackInfrastructurePlan)
    if made is None:
        header = run.header
        named = archived or header.asked.get("archived", "")
        made = await InfrastructurePlanner(run).plan(release or header.release or "", named, reason)
    run.note(f"{made.title}.")
    return made


@step(ARCHIVE, timeout_seconds=300)
async def archive_replaced(plan: RollBackInfrastructurePlan) -> None:
    """Keep the template that is replaced in the run's folder, so that this can be undone; only reads Azure."""
    run = current()
    if not plan.replaced:
        run.note("There is no deployment in Azure's history that could be archived.")
        return
    if archive.has(run.folder):
        run.note(f"The template of '{plan.replaced}' is archived already.")
        return
    template, parameters = await (await run.deployments()).export(plan.replaced)
    archive.keep(
        run.folder,
        Archived(deployment=plan.replaced, deployed_at=plan.replaced_at, template=template, parameters=parameters),
    )
    run.note(f"Archived the template of '{plan.replaced}' and {len(parameters)} parameters, without secrets.")


@step(DEPLOY, timeout_seconds=25_000)
async def deploy(plan: RollBackInfrastructurePlan) -> None:
    """Deploy the template once, after asking what-if again; raises `PlanIsStale` where that says something else."""
    run = current()
    deployer = Deployer(run, plan, await run.deployments())
    run.where_things_stand = deployer.describe
    await deployer.deploy()


@step(VERIFY, timeout_seconds=5000)
async def verify_deployed(plan: RollBackInfrastructurePlan) -> None:
    """Show that nothing is left to change and that users are served; raises `NotVerified` with what is missing."""
    run = current()
    await verify(run, plan)
    for each in run.evidence:
        run.note(each)
