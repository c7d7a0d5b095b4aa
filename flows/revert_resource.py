"""One resource has an earlier configuration again.

Trigger:
    Somebody changed one resource by hand, or a deployment did, and everything else is right: a setting of the app, a
    parameter of the database, the cache's policy.

Preconditions:
    An archive has the resource as it was ('rollback archives'), or a file in git has it as 'az resource show' prints
    it. The credential may write its type: deployments/role-revert.json. No lock keeps it from being changed.

Steps:
    1. Plan: the earlier configuration, and each property that differs from it; what Azure decides and secrets are left
       out. Only reads.
    2. Keep what it is now, then send one PATCH with the difference, only if it is still as the plan saw it.
    3. Read it again, and ask the app as users do where it is the app.

Undo:
    The same procedure with --archive and the name under which step 2 kept what was replaced.

Targets:
    rto_target 15 min; rpo_target none (no data is touched).

Approver:
    By the platform file's rules; risk medium, high for databases, vaults, networks and apps' settings.

Triage notes:
    `refused`: nothing was touched; the text names the lock, the property that no PATCH brings back, or who changed it
    since the plan. `rolled back, not verified`: it was patched and does not show all of it, or users see errors.
    `outcome unknown`: the PATCH was sent and nobody knows; resume the run, it looks first.
"""

from prefect import flow
from prefect.client.schemas.objects import State

from rollback.resources.revert_plans import RevertResourcePlan
from rollback.runs import Outcome
from rollback.settings import EnvironmentName
from tasks import approvals, resources, runs

RTO_TARGET_SECONDS = 900


@flow(
    name="revert-resource",
    flow_run_name="revert-resource/{environment}",
    description="One resource has an earlier configuration again, from an archive or git, by one PATCH.",
    persist_result=False,
    timeout_seconds=7200,
)
async def revert_resource(
    environment: EnvironmentName,
    resource: str,
    reason: str,
    archive: str = "",
    from_git: str = "",
    only: tuple[str, ...] = (),
    dry_run: bool = False,
    resume: str = "",
) -> Outcome | State[Outcome]:
    """Bring one resource's configuration back.

    Args:
        environment: Where to act; fundrbolt.toml says what belongs to it.
        resource: The resource's id, as the portal or 'az resource show' gives it: /subscriptions/….
        reason: Why, in a sentence: it goes into the record and the report.
        archive: The archive to go back to, by its name or beginning, as 'rollback archives' lists it. Empty: the
            newest; refused where it may be another one that is meant, such as when what is wrong now was archived, too.
        from_git: A file in the platform's repository instead, as TAG:PATH: what 'az resource show' printed.
        only: Property paths that come back, such as properties.alwaysOn. Empty: everything that differs.
        dry_run: Only plan: show what would be done, touch nothing.
        resume: An unfinished run to go on with, by its name in 'rollback status'. Empty: a new run.
    """
    asked = {"resource": resource, "archive": archive, "from_git": from_git, "only": "\n".join(only)}
    async with runs.conduct(
        "revert-resource", environment=environment, reason=reason, dry_run=dry_run, resume=resume, asked=asked
    ) as run:
        await run.claim()  # one rollback per environment
        plan = await resources.plan_revert(resource, archive, from_git, only, reason)  # 1. every property, named
        await run.show(plan, RevertResourcePlan)
        if not dry_run and not plan.already_there:
            await approvals.require(plan)  # as the platform file asks
            await resources.revert_resource(plan)  # 2. one PATCH, only on what the plan saw
        if not dry_run:
            await resources.verify_resource(plan)  # 3. read again; users, where it is the app
    return run.result()
