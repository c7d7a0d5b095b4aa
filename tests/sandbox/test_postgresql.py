"""Database servers: who may connect and from where, and how they are shown."""

import asyncio
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError
from azure.mgmt.postgresqlflexibleservers.models import FirewallRule
from azure_names import GROUP
from database_servers import DATABASE, OPERATOR, PRODUCTION, ROLE, SCOPE, STAGING, STAGING_GROUP

from sandbox.outbound import outbound_address

WRONG = "not the password"
AZURE_RULE = "AllowAllAzureServicesAndResourcesWithinAzureIps"


@pytest.fixture
async def host(servers) -> str:
    """Where production's server is."""
    return await servers.host()


async def test_servers_are_shown_as_azure_shows_them(servers):
    shown = await servers.client.servers.get(GROUP, PRODUCTION)
    assert (shown.state, shown.create_mode, shown.network.public_network_access) == ("Ready", None, "Enabled")
    assert (shown.backup.backup_retention_days, shown.backup.geo_redundant_backup) == (7, "Enabled")
    assert shown.high_availability.mode == "Disabled"
    assert datetime.now(UTC) - shown.backup.earliest_restore_date > timedelta(days=6)
    assert shown.fully_qualified_domain_name.startswith("127.")
    private = await servers.client.servers.get(STAGING_GROUP, STAGING)
    assert private.network.delegated_subnet_resource_id.endswith("/subnets/database")
    listed = [each.name async for each in servers.client.servers.list_by_subscription()]
    assert listed == [PRODUCTION, STAGING]
    assert [each.name async for each in servers.client.servers.list_by_resource_group(STAGING_GROUP)] == [STAGING]
    with pytest.raises(ResourceNotFoundError, match="was not found"):
        await servers.client.servers.get(GROUP, STAGING)


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
    with pytest.raises(psycopg.OperationalError, match=r"no pg_hba.conf entry for host .*, no encryption"):
        await database.connect(host, sslmode="disable")


async def test_a_wrong_password_is_postgresqls_own_refusal(database, host):
    with pytest.raises(psycopg.OperationalError, match='password authentication failed for user "fundrbolt_admin"'):
        await database.connect(host, user="fundrbolt_admin", password=WRONG)


async def test_the_firewall_is_enforced_and_a_rule_lets_in_again(servers, database, host):
    rules = servers.client.firewall_rules
    await (await rules.begin_delete(GROUP, PRODUCTION, "operators")).result()
    refusal = f'no pg_hba.conf entry for host "{OPERATOR}", user "{ROLE}", database "{DATABASE}", SSL encryption'
    with pytest.raises(psycopg.OperationalError, match=refusal):
        await database.connect(host)
    rule = FirewallRule({"properties": {"startIpAddress": "203.0.113.1", "endIpAddress": "203.0.113.20"}})
    made = await (await rules.begin_create_or_update(GROUP, PRODUCTION, "again", rule)).result()
    assert (made.name, made.start_ip_address) == ("again", "203.0.113.1")
    assert await database.rows(host, "SELECT 1") == [(1,)]


async def test_a_private_server_has_no_firewall_and_takes_no_rules(servers, database):
    staging = await servers.client.servers.get(STAGING_GROUP, STAGING)
    assert await database.rows(staging.fully_qualified_domain_name, "SELECT 1") == [(1,)]
    rule = FirewallRule({"properties": {"startIpAddress": OPERATOR, "endIpAddress": OPERATOR}})
    with pytest.raises(HttpResponseError, match="private access enabled server"):
        await servers.client.firewall_rules.begin_create_or_update(STAGING_GROUP, STAGING, "any", rule)


async def test_an_app_connects_from_its_own_outbound_address(database, host, eventually):
    api, worker = "fundrbolt-production-api", "fundrbolt-production-worker"
    sessions = (
        "SELECT DISTINCT split_part(application_name, '/', 1), host(client_addr) FROM pg_stat_activity "
        "WHERE usename = 'fundrbolt_app'"
    )

    async def all_are_there() -> bool:
        expected = {(app, outbound_address(app)) for app in (api, worker)}
        return set(await database.rows(host, sessions)) == expected

    await eventually(all_are_there)


async def test_within_azure_is_what_the_rule_of_that_name_lets_in(servers, database, host, eventually):
    rules = servers.client.firewall_rules
    await (await rules.begin_delete(GROUP, PRODUCTION, AZURE_RULE)).result()
    end = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE usename = 'fundrbolt_app'"
    api = "fundrbolt-production-api"

    async def nobody_is_left() -> bool:
        await database.rows(host, end)
        return await database.rows(host, end) == [(0,)]

    await eventually(nobody_is_left)
    outbound = outbound_address(api)
    rule = FirewallRule({"properties": {"startIpAddress": outbound, "endIpAddress": outbound}})
    await (await rules.begin_create_or_update(GROUP, PRODUCTION, "api", rule)).result()
    apps = "SELECT DISTINCT split_part(application_name, '/', 1) FROM pg_stat_activity WHERE usename = 'fundrbolt_app'"

    async def the_api_is_back() -> bool:
        return await database.rows(host, apps) == [(api,)]

    await eventually(the_api_is_back)


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


async def test_an_unreachable_server_answers_nobody_until_it_is_repaired(control, database, host):
    control.break_("pg-unreachable")
    with pytest.raises(psycopg.errors.ConnectionTimeout):
        await database.connect(host, connect_timeout=2)
    control.repair("pg-unreachable")
    assert await database.rows(host, "SELECT 1") == [(1,)]


async def test_a_reset_brings_the_data_back(control, servers, database):
    host = await servers.host()
    extra = "SELECT 1 FROM pg_database WHERE datname = 'extra'"
    assert await database.rows(host, "CREATE DATABASE extra", extra) == [(1,)]
    control.reset()
    assert await servers.host() == host
    assert await database.rows(host, extra) == []


async def test_a_reset_leaves_a_server_alone_that_nobody_wrote_to(control, database, host):
    begin = "SELECT pg_postmaster_start_time()"
    before = await database.rows(host, begin)
    control.reset()
    assert await database.rows(host, begin) == before


async def test_the_databases_of_a_server_are_listed(servers):
    listed = [each.name async for each in servers.client.databases.list_by_server(GROUP, PRODUCTION)]
    assert listed == ["fundrbolt", "postgres"]
    assert (await servers.client.databases.get(GROUP, PRODUCTION, "fundrbolt")).charset == "UTF8"
    with pytest.raises(ResourceNotFoundError):
        await servers.client.databases.get(GROUP, PRODUCTION, "nosuch")
