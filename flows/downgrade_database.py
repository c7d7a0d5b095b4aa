"""The schema of the database, taken down to an earlier revision by the platform's own alembic migrations.

Trigger:
    An earlier release has to serve, and it cannot run on the schema that a later one brought: roll-back-backend refuses
    and says so.

Preconditions:
    Alembic can run where the current revision's file is: an image in a slot, or a clone of the repository. Whatever
    serves can run on the lower schema.

Steps:
    1. Plan: current revision, the absolute target, each downgrade's verdict, what is lost with how many rows.
    2. Rehearse, where asked for: on a scratch restore of the same server; the certificate goes into the plan.
    3. A second pair of eyes over exactly this.
    4. Downgrade: the revision is read again, under a lock of ours; alembic runs there with the URL from the vault.
    5. Verify: the revision, the schema, the app's health.

Undo:
    alembic upgrade to the revision that was left, from the release that has it. What was lost comes back by a restore
    only.

Targets:
    rto_target 2 min; data loss as the plan says.

Approver:
    Risk high: by the platform file's rules, in production two people.

Triage notes:
    `failed, nothing changed` with who blocks: end that session or wait, and begin again. `failed part-way`: the
    revision that the database is at is named; resume the run, it goes on from there. `outcome unknown`: alembic may
    still run there; look at the sessions that the report names.
"""

from prefect import flow
from prefect.client.schemas.objects import State

from rollback.migrations.plans import DowngradePlan
from rollback.runs import Outcome
from rollback.settings import EnvironmentName
from tasks import approvals, migrations, runs

RTO_TARGET_SECONDS = 120


@flow(
    name="downgrade-database",
    flow_run_name="downgrade-database/{environment}",
    description="The database's schema, taken down to an earlier alembic revision.",
    persist_result=False,
    timeout_seconds=43_200,
)
async def downgrade_database(
    environment: EnvironmentName,
    target: str,
    reason: str,
    rehearse: bool | None = None,
    waive: tuple[str, ...] = (),
    dry_run: bool = False,
    resume: str = "",
) -> Outcome | State[Outcome]:
    """Take the schema of an environment's database down to an earlier revision.

    Args:
        environment: Whose database; fundrbolt.toml says which secret holds its address, and how alembic runs.
        target: The revision to go down to: its id or the beginning of it, 'previous', '-2', or 'base'.
        reason: Why, in a sentence: it goes into the record and the report.
        rehearse: First go down, up and down again on a scratch restore. Empty: yes, where the platform file names a
            resource group for it and these revisions were not rehearsed yet.
        waive: Revisions that are run down although something speaks against it, by the names that a refusal told.
        dry_run: Only plan: show what would be done and lost, touch nothing.
        resume: An unfinished run to go on with, by its name in 'rollback status'. Empty: a new run.
    """
    asked = {"target": target}
    async with runs.conduct(
        "downgrade-database", environment=environment, reason=reason, dry_run=dry_run, resume=resume, asked=asked
    ) as run:
        await run.claim()  # one rollback per environment
        plan = await migrations.plan_downgrade(target, rehearse, tuple(waive))  # 1. absolute
        await run.show(plan, DowngradePlan)
        if not dry_run:
            if plan.rehearse and not plan.already_there:
                plan = await migrations.rehearse(plan)  # 2. production is not touched
                await run.revise(plan)
            await approvals.require(plan)  # 3. a second pair of eyes
            await migrations.check_plan(plan)  # hours may have passed
            await migrations.downgrade(plan)  # 4. once, whatever happens
            await migrations.verify(plan)  # 5. what the database says
    return run.result()
