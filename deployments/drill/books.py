"""Print every donation that the database holds now, as one JSON object from id to cents.

A program of its own, so that the drill's clients find the sandbox in their environment from their start. It looks where
the apps look: at the server that the secret names.
"""

import asyncio
import json
import sys

from rollback import azure
from rollback.azure import our_errors
from rollback.key_vault import KeyVault
from rollback.postgres.connection import ENTRA_SCOPE, connect
from rollback.postgres.url import DatabaseUrl
from rollback.settings import load_settings


async def read_donations(environment: str) -> dict[int, int]:
    """Id to amount in cents, as the database says it."""
    settings = load_settings()
    database = settings.database(environment)
    async with azure.connect(settings.azure) as connection, KeyVault(connection, database.vault) as vault:
        secret = await vault.get_secret(database.secret)
        url = DatabaseUrl.parse(secret.value.get_secret_value())

        async def token() -> str:
            with our_errors("Entra ID's token for PostgreSQL"):
                return (await connection.credential.get_token(ENTRA_SCOPE)).token

        async with connect(url.host, url.database, database.administrator, token) as session:
            return dict(await session.fetch("SELECT id, amount_cents FROM public.donations"))


if __name__ == "__main__":
    sys.stdout.write(json.dumps(asyncio.run(read_donations(sys.argv[1]))))
