"""The infrastructure is as an earlier release's template says: an ARM deployment, as what-if showed it.

Trigger:
    A change of the infrastructure is bad: a setting, a size, a rule that a later template brought, or that somebody
    made by hand.

Preconditions:
    The release's compiled template is in the clone on this machine, or its source and a Bicep compiler are. The
    credential may write what the template deploys.

Steps:
    1. Plan: the commit, its template from a clean worktree, what Azure says that it would change. Only reads.
    2. A second pair of eyes over exactly this what-if.
    3. Archive the template that is replaced.
    4. Deploy, incrementally, once, after what-if said the same again.
    5. Verify: nothing is left to change, and users are served.

Undo:
    The same procedure with `archived`, the name of the run that is undone: it deploys what that run replaced.

Targets:
    rto_target 15 min; rpo_target none (a template that would lead the app to another database is refused).

Approver:
    By the platform file's rules; risk medium, or high where what-if shows a delete, a recreation, a database server, a
    vault's secret, a site's settings or image.

Triage notes:
    `refused`: nothing was touched; a lock, a policy, a template, the database, a deployment that is at work, or a
    what-if that is not the approved one is named. `failed part-way`: what was deployed and what failed is told in full;
    mend it, then resume: the same template is deployed again. `outcome unknown`: Azure may still deploy; resume, the
    run looks and goes on waiting. `rolled back, not verified`: it is deployed, and what-if or the app's pages say
    something else, or somebody else deploys.
"""

from prefect import flow
from prefect.client.schemas.objects import State

from rollback.infrastructure.plans import RollBackInfrastructurePlan
from rollback.runs import Outcome
from rollback.settings import EnvironmentName
from tasks import approvals, infrastructure, runs

RTO_TARGET_SECONDS = 900


@flow(
    name="roll-back-infrastructure",
    flow_run_name="roll-back-infrastructure/{environment} to {release}{archived}",
    description="The infrastructure is as an earlier release's template says, deployed as what-if showed it.",
    persist_result=False,
    timeout_seconds=43_200,
)
async def roll_back_infrastructure(
    environment: EnvironmentName,
    reason: str,
    release: str = "",
    archived: str = "",
    dry_run: bool = False,
    resume: str = "",
) -> Outcome | State[Outcome]:
    """Deploy an earlier template again.

    Args:
        environment: Whose infrastructure; fundrbolt.toml says which template it is deployed from.
        reason: Why, in a sentence: it goes into the record and the report.
        release: The tag or commit whose template must be in place, for instance v1.2.2.
        archived: Instead of a release: the run of this procedure that is undone, by its name.
        dry_run: Only plan: show what would be done, touch nothing.
        resume: An unfinished run to go on with, by its name in 'rollback status'. Empty: a new run.
    """
    async with runs.conduct(
        "roll-back-infrastructure",
        environment=environment,
        release=release,
        reason=reason,
        dry_run=dry_run,
        resume=resume,
        asked={"archived": archived},
    ) as run:
        await run.claim()  # one rollback per environment
        plan = await infrastructure.plan_roll_back(release, archived, reason)  # 1. what-if
        await run.show(plan, RollBackInfrastructurePlan)
        if not dry_run and not plan.already_there:
            await approvals.require(plan)  # 2. of this what-if
            await infrastructure.archive_replaced(plan)  # 3. so that it can be undone
            await infrastructure.deploy(plan)  # 4. asked again first, then once
        if not dry_run:
            await infrastructure.verify_deployed(plan)  # 5. nothing is left, users are served
    return run.result()
