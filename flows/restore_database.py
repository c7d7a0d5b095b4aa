"""The database as it was at an instant, on a new server, and everything that uses it follows.

Trigger:
    Rows were damaged or deleted, by a release or by hand, and mending them in place is worse than losing what was
    written since.

Preconditions:
    The instant of the damage is known. If a release did it, that release does not serve any more: run roll-back-backend
    first. Every app reads the database's address from one secret in Key Vault.

Steps:
    1. Plan: server, restore point within the window, new name, every consumer of the secret, the data-loss bill.
    2. A second pair of eyes over exactly this.
    3. Restore beside, never over; until it is Ready, answers, and its recovery has ended.
    4. Parity: what Azure leaves behind is set again; what still differs stops here unless waived by name.
    5. Stop (or maintenance mode, where the platform file says so) and fence, at once or only now: from here on no
       commit reaches the old server.
    6. Compare row by row: the true bill, asked again if worse. Rows that would be lost go into a file.
    7. Cut over: one new version of the secret; every app is seen to get it, and only then started.
    8. Prove: seen in both servers, by a write through the app, by its health.
    9. Record: recovery time and data loss, what to change in the template, how to undo, how to delete the old server.

Undo:
    Until the secret has its new version: the fence is lifted, what ran is started again, and the new server is left,
    unused. After that: the outcome says step by step how to go back.

Targets:
    rto_target 60 min; rpo_target what the approved bill says.

Approver:
    Risk high: by the platform file's rules, in production two people. Asked again where the true bill is worse.

Triage notes:
    `taken back` (status 8): everything is as before, and the new server is left. `failed part-way`: the secret points
    at the new server; mend what is named and resume the run, it goes forwards only. `restored, not verified`:
    everything was started; look where the named app's sessions are. The lost rows are in the run's folder.
"""

from prefect import flow
from prefect.client.schemas.objects import State

from rollback.database.plans import RestorePlan
from rollback.database.settings import StopWrites
from rollback.errors import RollbackError
from rollback.runs import Outcome
from rollback.settings import EnvironmentName
from tasks import approvals, consumers, key_vault, postgres, runs

RTO_TARGET_SECONDS = 3600


@flow(
    name="restore-database",
    flow_run_name="restore-database/{environment}",
    description="The database as it was at an instant, on a new server beside the old one; everything follows.",
    persist_result=False,
    timeout_seconds=43_200,
)
async def restore_database(
    environment: EnvironmentName,
    restore_point: str,
    reason: str,
    stop_writes: StopWrites | None = None,
    waive: tuple[str, ...] = (),
    dry_run: bool = False,
    resume: str = "",
) -> Outcome | State[Outcome]:
    """Restore an environment's database to a point in time.

    Args:
        environment: Whose database; fundrbolt.toml says which secret holds its address.
        restore_point: The instant to go back to, with its time zone, for instance 2026-03-01T10:02:13Z.
        reason: Why, in a sentence: it goes into the record and the report.
        stop_writes: 'now': before the restore begins. 'at cut-over': when the restored server is ready; users wait
            less and lose more. Empty: as the platform file says.
        waive: Differences between the servers that need not be gone, by the names that an earlier run told.
        dry_run: Only plan: show what would be done and what it costs, touch nothing.
        resume: An unfinished run to go on with, by its name in 'rollback status'. Empty: a new run.
    """
    asked = {"restore_point": restore_point}
    async with runs.conduct(
        "restore-database", environment=environment, reason=reason, dry_run=dry_run, resume=resume, asked=asked
    ) as run:
        await run.claim()  # one rollback per environment
        plan = await postgres.plan_restore(restore_point, stop_writes, tuple(waive))  # 1. absolute
        await run.show(plan, RestorePlan)
        if not dry_run:
            await approvals.require(plan)  # 2. a second pair of eyes
            try:
                await postgres.check_plan(plan)  # hours may have passed
                if plan.stop_writes is StopWrites.NOW:
                    await consumers.stop_writers(plan)  # 5. corruption does not get worse
                    await postgres.fence(plan)
                restored = await postgres.restore_beside(plan)  # 3. beside, never over
                await postgres.match_settings(restored, plan)  # 4. rules, parameters, administrators, rights
                if plan.stop_writes is StopWrites.AT_CUT_OVER:
                    await consumers.stop_writers(plan)  # 5. from here no write can be lost
                    await postgres.fence(plan)
                weighed = await postgres.weigh_loss(restored, plan)  # 6. the true bill
                plan = weighed.plan
                await run.revise(plan)
                if plan.asks_again:
                    await approvals.require(plan)
                await postgres.export_lost_rows(restored, weighed)
                version = await key_vault.point_at(restored, plan)  # 7. from here only forwards
            except RollbackError as error:
                if postgres.is_cut_over():
                    raise
                await postgres.lift_fence(plan, error.message)  # undo of 5
                await consumers.start_again(plan)
                raise postgres.taken_back(plan, error) from error
            await consumers.refresh_references(plan, version)
            await consumers.start_on(restored, plan)
            await postgres.prove_in_use(restored, plan)  # 8. seen from both servers; 9. measured
    return run.result()
