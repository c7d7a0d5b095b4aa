"""Migrations: plan a downgrade, rehearse it on a scratch restore, run it, and see that the schema is what it should be.

Blast radius: the database of one environment. A rehearsal makes a server of its own, in a resource group of its own,
and deletes it again.
"""

from rollback.context import current
from rollback.migrations import planning, rehearsing, running, verifying
from rollback.migrations.plans import DOWNGRADE, REHEARSE, VERIFY, DowngradePlan
from tasks import step


@step("Plan", timeout_seconds=900)
async def plan_downgrade(target: str, rehearse: bool | None, waive: tuple[str, ...]) -> DowngradePlan:
    """Decide what is run down, as absolute values; on resuming, the plan as it was made."""
    run = current()
    made = run.folder.plan(DowngradePlan)
    if made is not None:
        run.note(f"The plan of {made.made_at:%Y-%m-%d %H:%M:%S} UTC: {made.title}.")
        return made
    plan = await planning.DowngradePlanner(run).plan(target or run.header.asked.get("target", ""), rehearse, waive)
    run.note(f"{plan.title}. Data loss: {plan.loss_words}.")
    return plan


@step(REHEARSE, timeout_seconds=14_400)
async def rehearse(plan: DowngradePlan) -> DowngradePlan:
    """Try it on a scratch restore; returns the plan with the certificate. Raises what would go wrong in production."""
    run = current()
    certificates = run.store.certificates(plan.environment)
    certificate, left = plan.certificate, ""
    if certificate is None:
        # A killed run may have kept it, and not have come to put it into the plan.
        kept = certificates.find(plan.current, plan.target, plan.scripts, plan.schema_now)
        certificate = kept if kept and kept.run == run.header.run else None
    if certificate is None:
        certificate, left = await rehearsing.rehearse(run, plan)
        certificates.keep(certificate)
    run.note(f"Rehearsed: {certificate.words}.")
    rehearsing.require_good(certificate, plan)
    warnings = (*plan.warnings, left) if left else plan.warnings
    return plan.model_copy(update={"certificate": certificate, "warnings": warnings})


@step("Check the plan", timeout_seconds=900)
async def check_plan(plan: DowngradePlan) -> None:
    """Make sure that what the plan rests on still holds, as long as nothing was changed; raises `PlanIsStale`."""
    run = current()

    async def describe() -> str:
        return await running.describe(run, plan)

    run.where_things_stand = describe
    if not (run.journal.open_changes() or run.journal.confirmed_changes()):
        await planning.check_still_holds(run, plan)


@step(DOWNGRADE, timeout_seconds=9000)
async def downgrade(plan: DowngradePlan) -> None:
    """Let alembic take the schema down, from wherever it is between the plan's two revisions."""
    await running.downgrade(current(), plan)


@step(VERIFY, timeout_seconds=900)
async def verify(plan: DowngradePlan) -> None:
    """See the revision in the database, the schema as it should be, and the app healthy; raises `NotVerified`."""
    await verifying.verify(current(), plan)
