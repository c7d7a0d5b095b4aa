"""That a downgrade did what it should: seen in the database, and in what users get."""

from rollback.context import Run
from rollback.database import signing_in
from rollback.errors import NotVerified
from rollback.health import show_health
from rollback.migrations.current import current_revisions
from rollback.migrations.models import BASE
from rollback.migrations.plans import DowngradePlan
from rollback.postgres.schema import Schema, read_schema


async def verify(run: Run, plan: DowngradePlan) -> None:
    """Raise `NotVerified` where revision or schema are not as they should be, or the app is not healthy on them."""
    async with signing_in.administrator(run, plan.host, plan.database) as session:
        revisions = await current_revisions(session, plan.user)
        schema = await read_schema(session)
    if revisions != (plan.target,) and (revisions or plan.target != BASE):
        raise NotVerified(
            f"'{plan.database}' is at revision {' and '.join(revisions) or BASE}.",
            remedy=f"It was seen at {plan.target} before: somebody else migrated it. Look at who.",
        )
    run.evidence.append(f"'{plan.database}' is at revision {plan.target}")
    _compare(run, plan, schema)
    if schema.invalid_indexes:
        run.note(f"PostgreSQL does not use these indexes, which are invalid: {', '.join(schema.invalid_indexes)}.")
    await show_health(
        run, remedy="What serves may need the schema that was left: roll the backend back, or go up again."
    )


def _compare(run: Run, plan: DowngradePlan, schema: Schema) -> None:
    """Hold the schema against what the rehearsal came to, and against what had to go."""
    there = {each.name for each in schema.things}
    left = [each.name for each in plan.losses if not each.lost.partly and each.name in there]
    if left:
        raise NotVerified(
            f"Still there after the downgrade: {', '.join(left)}.", remedy="Look at what the revisions really do."
        )
    certificate = plan.certificate
    if certificate is None:
        run.evidence.append(f"gone, as planned: {', '.join(each.name for each in plan.losses) or 'no column'}")
    elif certificate.schema_then != schema.fingerprint:
        raise NotVerified(
            "The schema is not the one that the rehearsal came to.",
            remedy="Something else changed it, or it was changed by hand before. Look at both by pg_dump -s.",
        )
    else:
        run.evidence.append("the schema is the one that the rehearsal came to")
