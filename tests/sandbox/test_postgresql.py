"""Database servers through Azure Resource Manager and the genuine SDK, and what their clients find."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError
from azure.identity.aio import ClientSecretCredential
from azure.mgmt.postgresqlflexibleservers.aio import PostgreSQLManagementClient
from azure.mgmt.postgresqlflexibleservers.models import (
    AdministratorMicrosoftEntraAdd,
    FirewallRule,
    Server,
)
from azure_names import GROUP, SUBSCRIPTION

from sandbox.control import Control

PRODUCTION, STAGING, STAGING_GROUP = "fundrbolt-production-pg", "fundrbolt-staging-pg", "fundrbolt-staging-rg"
RESTORED = "fundrbolt-production-pg-r2611221200"
ROLE, DATABASE, SCOPE = "fundrbolt-rollback", "fundrbolt", "https://ossrdbms-aad.database.windows.net/.default"
ROLLBACK_ID = "44444444-4444-4444-8444-444444444444"
SERVERS = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/{GROUP}/providers/Microsoft.DBforPostgreSQL/flexibleServers"
CLOCK = "SELECT clock_timestamp()"

Row = tuple[object, ...]


@pytest.fixture
async def servers(
    credential: ClientSecretCredential, environment: dict[str, str]
) -> AsyncIterator[PostgreSQLManagementClient]:
    """Without retries: a test must see what the sandbox answered."""
    options = {"polling_interval": 0.05, "retry_total": 0, "connection_verify": environment["SSL_CERT_FILE"]}
    async with PostgreSQLManagementClient(credential, SUBSCRIPTION, **options) as client:
        yield client


class Database:
    """Signs in as the rollback principal does: with a token, over verified TLS."""

    def __init__(self, control: Control, ca: str) -> None:
        self.control, self.ca = control, ca

    async def connect(self, host: str, **more: str) -> psycopg.AsyncConnection[Row]:
        options = {
            "user": ROLE,
            "dbname": DATABASE,
            "sslmode": "verify-full",
            "sslrootcert": self.ca,
            "connect_timeout": 5,
            **more,
        }
        if "password" not in options:
            options["password"] = self.control.token("rollback", SCOPE)
        return await psycopg.AsyncConnection.connect(host=host, autocommit=True, **options)

    async def rows(self, host: str, *statements: str, **more: str) -> list[Row]:
        async with await self.connect(host, **more) as connection:
            for statement in statements[:-1]:
                await connection.execute(statement)
            return await (await connection.execute(statements[-1])).fetchall()


@pytest.fixture
def database(control: Control, environment: dict[str, str]) -> Database:
    return Database(control, environment["SSL_CERT_FILE"])


@pytest.fixture
async def host(servers: PostgreSQLManagementClient) -> str:
    """Where production's server is."""
    return (await servers.servers.get(GROUP, PRODUCTION)).fully_qualified_domain_name


@pytest.fixture
async def notes(database: Database, host: str) -> str:
    """A table of the test's own."""
    async with await database.connect(host) as connection:
        await connection.execute("CREATE SCHEMA test; CREATE TABLE test.notes (words text)")
    return "test.notes"


def wish(source: str, point: datetime, *, mode: str = "PointInTimeRestore", location: str = "eastus") -> Server:
    properties = {"createMode": mode, "sourceServerResourceId": source, "pointInTimeUTC": point.isoformat()}
    return Server({"location": location, "properties": properties})


async def restorable(servers: PostgreSQLManagementClient, point: datetime) -> datetime:
    """`point`, once it is old enough."""
    probe = "fundrbolt-probe"
    while True:
        try:
            await servers.servers.begin_create_or_update(GROUP, probe, wish(f"{SERVERS}/nosuch", point))
        except ResourceNotFoundError:
            pass
        if datetime.now(UTC) - point > timedelta(seconds=0.35):
            return point


def code_of(error: HttpResponseError) -> str:
    return error.error.code


async def test_servers_are_shown_as_azure_shows_them(servers):
    shown = await servers.servers.get(GROUP, PRODUCTION)
    assert (shown.state, shown.create_mode, shown.network.public_network_access) == ("Ready", None, "Enabled")
    assert (shown.backup.backup_retention_days, shown.backup.geo_redundant_backup) == (7, "Enabled")
    assert shown.high_availability.mode == "Disabled"
    assert datetime.now(UTC) - shown.backup.earliest_restore_date > timedelta(days=6)
    assert shown.fully_qualified_domain_name.startswith("127.")
    private = await servers.servers.get(STAGING_GROUP, STAGING)
    assert private.network.delegated_subnet_resource_id.endswith("/subnets/database")
    listed = [each.name async for each in servers.servers.list_by_subscription()]
    assert listed == [PRODUCTION, STAGING]
    assert [each.name async for each in servers.servers.list_by_resource_group(STAGING_GROUP)] == [STAGING]
    with pytest.raises(ResourceNotFoundError, match="was not found"):
        await servers.servers.get(GROUP, STAGING)


async def test_an_administrator_signs_in_with_a_token_over_verified_tls(database, host):
    rows = await database.rows(
        host,
        "SELECT current_user, rolsuper, rolcreaterole, rolcreatedb, pg_has_role('azure_pg_admin', 'member'), "
        "pg_has_role('pg_signal_backend', 'member') FROM pg_roles WHERE rolname = current_user",
    )
    assert rows == [(ROLE, False, True, True, True, True)]


@pytest.mark.parametrize(
    ("who", "options"),
    [
        ("rollback", {"audience": "https://management.azure.com"}),
        ("rollback", {"expired": True}),
        ("rollback", {"wrong_key": True}),
        ("rollback", {"wrong_issuer": True}),
        ("intern", {}),
    ],
)
async def test_a_token_that_proves_nothing_is_refused(control, database, host, who, options):
    token = control.token(who, SCOPE, **options)
    with pytest.raises(psycopg.OperationalError, match=f'password authentication failed for user "{ROLE}"'):
        await database.connect(host, password=token)


async def test_without_encryption_nobody_is_let_in(database, host):
    with pytest.raises(psycopg.OperationalError, match="no pg_hba.conf entry for host .*, no encryption"):
        await database.connect(host, sslmode="disable")


async def test_a_wrong_password_is_postgresqls_own_refusal(database, host):
    with pytest.raises(psycopg.OperationalError, match='password authentication failed for user "fundrbolt_admin"'):
        await database.connect(host, user="fundrbolt_admin", password="wrong")


async def test_the_firewall_is_enforced_and_a_rule_lets_in_again(servers, database, host):
    await (await servers.firewall_rules.begin_delete(GROUP, PRODUCTION, "operators")).result()
    with pytest.raises(
        psycopg.OperationalError,
        match=rf'no pg_hba.conf entry for host "203.0.113.10", user "{ROLE}", database "{DATABASE}", SSL encryption',
    ):
        await database.connect(host)
    rule = FirewallRule({"properties": {"startIpAddress": "203.0.113.1", "endIpAddress": "203.0.113.20"}})
    made = await (await servers.firewall_rules.begin_create_or_update(GROUP, PRODUCTION, "again", rule)).result()
    assert (made.name, made.start_ip_address) == ("again", "203.0.113.1")
    assert await database.rows(host, "SELECT 1") == [(1,)]


async def test_a_private_server_has_no_firewall_and_takes_no_rules(servers, database):
    staging = await servers.servers.get(STAGING_GROUP, STAGING)
    assert await database.rows(staging.fully_qualified_domain_name, "SELECT 1") == [(1,)]
    rule = FirewallRule({"properties": {"startIpAddress": "0.0.0.0", "endIpAddress": "0.0.0.0"}})
    with pytest.raises(HttpResponseError, match="private access enabled server"):
        await servers.firewall_rules.begin_create_or_update(STAGING_GROUP, STAGING, "any", rule)


async def test_a_query_can_be_cancelled(database, host, eventually):
    async with await database.connect(host) as holder, await database.connect(host) as waiter:
        await holder.execute("SELECT pg_advisory_lock(1)")
        waiting = asyncio.create_task(waiter.execute("SELECT pg_advisory_lock(1)"))

        async def waits() -> bool:
            rows = await holder.execute("SELECT 1 FROM pg_locks WHERE NOT granted AND locktype = 'advisory'")
            return await rows.fetchone() is not None

        await eventually(waits)
        await waiter.cancel_safe()
        with pytest.raises(psycopg.errors.QueryCanceled):
            await waiting


async def test_a_restore_replays_the_log_up_to_the_instant(servers, database, host, notes):
    await database.rows(host, f"INSERT INTO {notes} VALUES ('before')", CLOCK)
    ((point,),) = await database.rows(host, CLOCK)
    await database.rows(
        host, f"INSERT INTO {notes} VALUES ('after')", f"DELETE FROM {notes} WHERE words = 'before'", CLOCK
    )
    await restorable(servers, point)
    restored = await (
        await servers.servers.begin_create_or_update(GROUP, RESTORED, wish(f"{SERVERS}/{PRODUCTION}", point))
    ).result()
    assert (restored.state, restored.tags, restored.high_availability.mode) == ("Ready", None, "Disabled")
    assert restored.fully_qualified_domain_name != host
    assert [each async for each in servers.firewall_rules.list_by_server(GROUP, RESTORED)] == []
    assert [each async for each in servers.administrators_microsoft_entra.list_by_server(GROUP, RESTORED)] == []
    parameter = await servers.configurations.get(GROUP, RESTORED, "work_mem")
    assert (parameter.value, parameter.source) == ("4096", "system-default")
    await let_in(servers, RESTORED)
    there = restored.fully_qualified_domain_name
    assert await database.rows(there, f"SELECT words FROM {notes}") == [("before",)]
    assert await database.rows(host, f"SELECT words FROM {notes}") == [("after",)]


async def let_in(servers: PostgreSQLManagementClient, name: str) -> None:
    rule = FirewallRule({"properties": {"startIpAddress": "203.0.113.10", "endIpAddress": "203.0.113.10"}})
    await (await servers.firewall_rules.begin_create_or_update(GROUP, name, "operators", rule)).result()
    properties = {"principalName": ROLE, "principalType": "ServicePrincipal"}
    who = AdministratorMicrosoftEntraAdd({"properties": properties})
    await (await servers.administrators_microsoft_entra.begin_create_or_update(GROUP, name, ROLLBACK_ID, who)).result()
