"""Key Vault: the secret that tells every app where its database is.

Blast radius: whoever reads the secret gets the other server's address as soon as it asks again.
"""

from rollback.context import current
from rollback.database import cut_over, following
from rollback.database.models import Server
from rollback.database.moves import MovePlan
from rollback.database.plans import CUT_OVER
from tasks import step


@step(CUT_OVER, timeout_seconds=2000)
async def point_at(server: Server, plan: MovePlan) -> str:
    """Give the secret one new version with the server's host; returns the version's name."""
    run = current()
    secret = await following.point_secret_at(run, plan, server.host)
    cut_over.keep_version(run, secret.version)
    run.note(f"Version {secret.version} of '{plan.secret}' names {server.host}; {plan.secret_version} did before.")
    return secret.version
