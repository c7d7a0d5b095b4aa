"""What the tests of a database restore share: the databases as they are, damage, and the flow with quick times."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
from azure.identity.aio import ClientSecretCredential
from azure.keyvault.secrets.aio import SecretClient
from azure.mgmt.postgresqlflexibleservers.aio import PostgreSQLManagementClient
from azure_names import GROUP, SUBSCRIPTION
from support import World, quick_platform_file, run_flow

from flows.restore_database import restore_database
from rollback.database.plans import RestorePlan
from rollback.journal import Entry
from rollback.runs import Outcome, Store

VAULT, SECRET = "fundrbolt-production-kv", "database-url"
SOURCE = "fundrbolt-production-pg"
SCOPE = "https://ossrdbms-aad.database.windows.net/.default"
APPS = ("fundrbolt-production-api", "fundrbolt-production-api/staging", "fundrbolt-production-worker")
OLD_ENOUGH = timedelta(seconds=1)
"""The sandbox can restore to an instant that is older."""


def quick_restore_file(folder: Path, approval: str = 'needs = "none"', **database: object) -> Path:
    """The platform's own file with quick times, this rule for approvals, and no real requests: v1.2.3 fails some."""
    file = quick_platform_file(folder)
    quick = {
        "settle_seconds": 1.6,
        "restore_timeout_seconds": 40,
        "answer_timeout_seconds": 20,
        "change_timeout_seconds": 30,
        **database,
    }
    lines = "".join(f"{name} = {value}\n" for name, value in quick.items())
    content = file.read_text(encoding="utf-8")
    for secret in (SECRET, "staging-database-url"):
        content = content.replace(f'secret = "{secret}"\n', f'secret = "{secret}"\n{lines}')
    content = content.replace('requests = ["/api/v1/donations?limit=5"]', "requests = []")
    content = content.replace("[[approval.rules]]\n", f"[[approval.rules]]\n{approval}\n\n[[approval.rules]]\n", 1)
    file.write_text(content, encoding="utf-8")
    return file


class Databases:
    """The platform's database servers and the secret that names one, looked at by other clients than ours."""

    def __init__(self, world: World) -> None:
        self.control = world.control
        self.world = world

    @asynccontextmanager
    async def _azure(self, kind: Callable[..., Any], place: str) -> AsyncIterator[Any]:
        names = ("AZURE_TENANT_ID", "AZURE_CLIENT_ID", "AZURE_CLIENT_SECRET")
        async with ClientSecretCredential(*(os.environ[name] for name in names)) as credential:
            where = (credential, place) if kind is PostgreSQLManagementClient else (place, credential)
            async with kind(*where) as client:
                yield client

    async def servers(self, group: str = GROUP) -> dict[str, Any]:
        """The group's servers by name."""
        async with self._azure(PostgreSQLManagementClient, SUBSCRIPTION) as client:
            return {each.name: each async for each in client.servers.list_by_resource_group(group)}

    async def host(self, server: str = SOURCE, group: str = GROUP) -> str:
        return (await self.servers(group))[server].properties.fully_qualified_domain_name

    async def rules(self, server: str = SOURCE) -> list[str]:
        async with self._azure(PostgreSQLManagementClient, SUBSCRIPTION) as client:
            return sorted([each.name async for each in client.firewall_rules.list_by_server(GROUP, server)])

    async def parameter(self, name: str, server: str = SOURCE) -> str:
        async with self._azure(PostgreSQLManagementClient, SUBSCRIPTION) as client:
            return (await client.configurations.get(GROUP, server, name)).properties.value

    async def secrets(self) -> list[Any]:
        """Every version of the secret with its value, oldest first."""
        async with self._azure(SecretClient, f"https://{VAULT}.vault.azure.net") as client:
            known = [each async for each in client.list_properties_of_secret_versions(SECRET)]
            found = [await client.get_secret(SECRET, each.version) for each in known]
        return sorted(found, key=lambda each: each.properties.created_on)

    async def url(self) -> str:
        """The current version's value."""
        async with self._azure(SecretClient, f"https://{VAULT}.vault.azure.net") as client:
            return (await client.get_secret(SECRET)).value

    async def set_url(self, value: str) -> None:
        async with self._azure(SecretClient, f"https://{VAULT}.vault.azure.net") as client:
            await client.set_secret(SECRET, value)

    async def ask(self, host: str, statement: str) -> list[tuple[Any, ...]]:
        """What an administrator sees, or does."""
        token = self.control.token("rollback", SCOPE)
        connection = await psycopg.AsyncConnection.connect(
            host=host,
            dbname="fundrbolt",
            user="fundrbolt-rollback",
            password=token,
            sslmode="verify-full",
            sslrootcert=os.environ["SSL_CERT_FILE"],
            autocommit=True,
        )
        async with connection:
            answer = await connection.execute(statement)
            return await answer.fetchall() if answer.description else []

    async def write(self, *statements: str) -> None:
        """As the app does, in one transaction each."""
        connection = await psycopg.AsyncConnection.connect(
            await self.url(), sslrootcert=os.environ["SSL_CERT_FILE"], autocommit=True
        )
        async with connection:
            for statement in statements:
                await connection.execute(statement)

    async def instant(self) -> datetime:
        """A restore point: what is committed by now is before it, what comes then is after it."""
        host = await self.host()
        point = (await self.ask(host, "SELECT clock_timestamp()"))[0][0]
        # Nothing tells when an instant is old enough but the clock itself.
        while (await self.ask(host, "SELECT clock_timestamp()"))[0][0] - point < OLD_ENOUGH:  # noqa: ASYNC110
            await asyncio.sleep(0.1)
        return point

    async def rows(self, host: str, table: str = "donations") -> dict[Any, tuple[Any, ...]]:
        return {row[0]: row for row in await self.ask(host, f"SELECT * FROM {table} ORDER BY 1")}  # noqa: S608 - ours

    def running(self) -> dict[str, bool]:
        """Which apps run, as the sandbox knows it."""
        sites = self.control.status().sites
        places = {
            "fundrbolt-production-api": sites["production"].slots["production"],
            "fundrbolt-production-api/staging": sites["production"].slots["staging"],
            "fundrbolt-production-worker": sites["production-worker"].slots["production"],
        }
        return {name: slot.state == "Running" for name, slot in places.items()}

    def sent(self, method: str, path: str) -> int:
        """How many requests with this end of their path were accepted."""
        return sum(
            entry.method == method and (entry.status or 599) < 300 and entry.path.split("?")[0].endswith(path)
            for entry in self.control.audit()
        )


async def run_restore(watch: Callable[[Entry], None] | None = None, **parameters: object) -> Outcome:
    """The flow as the command line runs it without a Prefect server."""
    point = parameters.pop("restore_point", "")
    text = point.isoformat() if isinstance(point, datetime) else point
    return await run_flow(watch, flow=restore_database, restore_point=text, **parameters)


def plan_of(state: Path, outcome: Outcome) -> RestorePlan:
    plan = Store(state).get(outcome.run).plan(RestorePlan)
    assert plan is not None
    return plan
