"""Key Vault: the secret that tells every app where its database is.

Blast radius: whoever reads the secret gets the other server's address as soon as it asks again.
"""

from rollback.context import current
from rollback.database import following
from rollback.database.models import Server
from rollback.database.plans import CUT_OVER, RestorePlan
from tasks import step


@step(CUT_OVER, timeout_seconds=2000)
async def point_at(restored: Server, plan: RestorePlan) -> str:
    """Give the secret one new version with the restored server's host; returns the version's name."""
    run = current()
    secret = await following.point_secret_at(run, plan, restored.host)
    run.note(f"Version {secret.version} of '{plan.secret}' names {restored.host}; {plan.secret_version} did before.")
    return secret.version
