"""Print every donation that the database holds now, as a JSON array of its whole rows.

A program of its own, so that the drill's clients find the sandbox in their environment from their start. It looks where
the apps look: at the server that the secret names.
"""

import asyncio
import json
import sys
from typing import Any

from rollback import azure
from rollback.azure import our_errors
from rollback.key_vault import KeyVault
from rollback.postgres.connection import ENTRA_SCOPE, connect
from rollback.postgres.url import DatabaseUrl
from rollback.settings import load_settings


async def read_donations(environment: str) -> list[dict[str, Any]]:
    """The rows, with whatever columns the table has now."""
    settings = load_settings()
    database = settings.database(environment)
    async with azure.connect(settings.azure) as connection, KeyVault(connection, database.vault) as vault:
        secret = await vault.get_secret(database.secret)
        url = DatabaseUrl.parse(secret.value.get_secret_value())

        async def token() -> str:
            with our_errors("Entra ID's token for PostgreSQL"):
                return (await connection.credential.get_token(ENTRA_SCOPE)).token

        async with connect(url.host, url.database, database.administrator, token) as session:
            return [row for (row,) in await session.fetch("SELECT to_jsonb(donations) FROM public.donations")]


if __name__ == "__main__":
    sys.stdout.write(json.dumps(asyncio.run(read_donations(sys.argv[1]))))
