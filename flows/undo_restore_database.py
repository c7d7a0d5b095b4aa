"""The database's users back on the server from before a restore, and what was written meanwhile in a file.

Trigger:
    A restore's cut-over was a mistake: the wrong instant, or more is missing than can be borne, and users do better
    with the database as it was before, with its damage.

Preconditions:
    The restore's run is known (rollback status) and its secret version is still the current one. The server from before
    it still exists. An unfinished restore is resumed, or abandoned by name, first.

Steps:
    1. Plan: both servers, every consumer of the secret, what was written to the restored server since the cut-over.
    2. A second pair of eyes over exactly this.
    3. Stop and fence: from here on no commit reaches the restored server.
    4. Compare row by row, and count again what was written, asked again if worse. What only the restored server has
       goes into a file.
    5. Open the old server: its parameter, firewall rules and role as they were before the restore.
    6. Cut over: one new version of the secret; every app is seen to get it, and only then started.
    7. Prove: seen in both servers, by a write through the app, by its health.

Undo:
    Until the secret has its new version: both servers as they were, and what ran is started again. After that the
    restored server is kept, fenced, with all of its rows.

Targets:
    rto_target 30 min; nothing is restored, and nothing of the restored server is deleted.

Approver:
    Risk high: by the platform file's rules, in production two people. Asked again where more was written than approved.

Triage notes:
    `refused` (status 4): it says what the secret names, and which version. `taken back` (status 8): the restored server
    is in use as before. `failed part-way`: the secret names the old server; mend what is named and resume the run, it
    goes forwards only. The rows that were left, and the keys of those newer than the cut-over, are in the run's folder.
"""

from prefect import flow
from prefect.client.schemas.objects import State

from rollback.database.undo_plans import UndoRestorePlan
from rollback.errors import RollbackError
from rollback.runs import Outcome
from rollback.settings import EnvironmentName
from tasks import approvals, consumers, key_vault, postgres, runs

RTO_TARGET_SECONDS = 1800


@flow(
    name="undo-restore-database",
    flow_run_name="undo-restore-database/{environment}",
    description="The database's users back on the server from before a restore; what was written meanwhile in a file.",
    persist_result=False,
    timeout_seconds=43_200,
)
async def undo_restore_database(
    environment: EnvironmentName, restore: str, reason: str, dry_run: bool = False, resume: str = ""
) -> Outcome | State[Outcome]:
    """Undo the restore of an environment's database after its cut-over.

    Args:
        environment: Whose database; fundrbolt.toml says which secret holds its address.
        restore: The run of the restore, by its name in 'rollback status'.
        reason: Why, in a sentence: it goes into the record and the report.
        dry_run: Only plan: show what would be done and what it costs, touch nothing.
        resume: An unfinished run of this procedure to go on with, by its name. Empty: a new run.
    """
    async with runs.conduct(
        "undo-restore-database",
        environment=environment,
        reason=reason,
        dry_run=dry_run,
        resume=resume,
        asked={"restore": restore},
    ) as run:
        await run.claim()  # one rollback per environment
        plan = await postgres.plan_undo(restore)  # 1. absolute
        await run.show(plan, UndoRestorePlan)
        if not dry_run:
            await approvals.require(plan)  # 2. a second pair of eyes
            try:
                old = await postgres.check_undo(plan)  # hours may have passed
                await consumers.stop_writers(plan)  # 3. from here no write can be lost
                await postgres.fence_restored(plan)
                weighed = await postgres.weigh_written(old, plan)  # 4. the true bill
                plan = weighed.plan
                await run.revise(plan)
                if plan.asks_again:
                    await approvals.require(plan)
                await postgres.export_written(old, weighed)
                await postgres.open_old_server(old, weighed)  # 5. as before the restore
                version = await key_vault.point_at(old, plan)  # 6. from here only forwards
            except RollbackError as error:
                if postgres.is_cut_over():
                    raise
                await postgres.lift_fence(plan, error.message)  # undo of 3
                await consumers.start_again(plan)
                await postgres.close_old_server(plan)  # undo of 5
                raise postgres.taken_back(plan, error) from error
            await consumers.refresh_references(plan, version)
            await consumers.start_on_old(plan)
            await postgres.prove_old_in_use(old, plan)  # 7. seen from both servers
    return run.result()
