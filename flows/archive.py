"""The configuration of every resource of an environment is kept, without secrets.

Trigger:
    Daily, by its schedule; or before a change of the infrastructure by hand.

Preconditions:
    The credential may read everything in the environment's resource groups: deployments/role-archive.json.

Steps:
    1. Plan: the resource groups, and whether everything in them can be seen. Only reads.
    2. Read every resource and what belongs to it, leave secrets out, and write one file a resource and an index with
       digests into the state folder. Nothing in Azure is changed: no lease, no approval.
    3. Look whether all is there.

Undo:
    Nothing to undo. The oldest archives are removed beyond as many as the platform file keeps.

Targets:
    rto_target 15 min; rpo_target one day, by its schedule.

Approver:
    Nobody: it only reads.

Triage notes:
    `archived, not all`: the archive is there, and the named resources are not in it. `refused`, `failed, nothing
    changed`: there is no new archive, the earlier ones are as they were.
"""

from prefect import flow
from prefect.client.schemas.objects import State

from rollback.resources.archive_plans import ArchivePlan
from rollback.runs import Outcome
from rollback.settings import EnvironmentName
from tasks import resources, runs

RTO_TARGET_SECONDS = 900


@flow(
    name="archive",
    flow_run_name="archive/{environment}",
    description="The configuration of every resource of an environment is kept, without secrets; only reads in Azure.",
    persist_result=False,
    timeout_seconds=5400,
)
async def archive(
    environment: EnvironmentName,
    reason: str = "daily",
    dry_run: bool = False,
    resume: str = "",
) -> Outcome | State[Outcome]:
    """Archive an environment's resources.

    Args:
        environment: Whose resources; fundrbolt.toml says in which resource groups they are.
        reason: Why, in a sentence: it goes into the record and the report.
        dry_run: Only plan: show what would be read, keep nothing.
        resume: An unfinished run to go on with, by its name in 'rollback status'. Empty: a new run.
    """
    async with runs.conduct("archive", environment=environment, reason=reason, dry_run=dry_run, resume=resume) as run:
        plan = await resources.plan_archive(reason)  # 1. only reads: no lease
        await run.show(plan, ArchivePlan)
        if not dry_run:
            plan = await resources.keep_archive(plan)  # 2. one file a resource, secrets left out
            await run.revise(plan)
            await resources.check_archive(plan)  # 3. what is missing is named
    return run.result()
