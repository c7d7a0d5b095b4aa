"""Changes of a database server: parameters, administrators, settings, start and stop, backups, permissions."""

import psycopg
import pytest
from azure.core.exceptions import HttpResponseError, ResourceExistsError, ResourceNotFoundError
from azure.mgmt.postgresqlflexibleservers.models import (
    AdministratorMicrosoftEntraAdd,
    ConfigurationForUpdate,
    FirewallRule,
    ServerForPatch,
)
from azure_names import GROUP
from database_servers import OPERATOR, PRODUCTION, SERVERS, STAGING

LEAD_ID = "66666666-6666-4666-8666-000000000002"
SECOND_ID = "66666666-6666-4666-8666-000000000003"
SCOPE = "https://ossrdbms-aad.database.windows.net/.default"
NEW = "a new one, for this test"


@pytest.fixture
async def host(servers) -> str:
    return await servers.host()


def value(text: str) -> ConfigurationForUpdate:
    return ConfigurationForUpdate({"properties": {"value": text, "source": "user-override"}})


async def test_a_dynamic_parameter_holds_at_once(servers, database, host):
    configurations = servers.client.configurations
    before = await configurations.get(GROUP, PRODUCTION, "work_mem")
    assert (before.value, before.default_value, before.source) == ("8192", "4096", "user-override")
    await (await configurations.begin_update(GROUP, PRODUCTION, "work_mem", value("16384"))).result()
    assert await database.rows(host, "SHOW work_mem") == [("16MB",)]
    after = await configurations.get(GROUP, PRODUCTION, "work_mem")
    assert (after.value, after.is_config_pending_restart, after.data_type) == ("16384", False, "Integer")


async def test_a_static_parameter_holds_after_a_restart(servers, database, host):
    configurations = servers.client.configurations
    await (await configurations.begin_update(GROUP, PRODUCTION, "max_connections", value("140"))).result()
    assert await database.rows(host, "SHOW max_connections") == [("120",)]
    assert (await configurations.get(GROUP, PRODUCTION, "max_connections")).is_config_pending_restart
    await (await servers.client.servers.begin_restart(GROUP, PRODUCTION)).result()
    assert await database.rows(host, "SHOW max_connections") == [("140",)]
    assert not (await configurations.get(GROUP, PRODUCTION, "max_connections")).is_config_pending_restart


@pytest.mark.parametrize(("name", "wrong"), [("work_mem", "1"), ("jit", "maybe"), ("log_statement", "everything")])
async def test_a_value_that_is_not_allowed_is_refused(servers, name, wrong):
    with pytest.raises(HttpResponseError, match="Allowed values are"):
        await servers.client.configurations.begin_update(GROUP, PRODUCTION, name, value(wrong))


async def test_parameters_are_listed_with_their_source(servers):
    listed = {each.name: each async for each in servers.client.configurations.list_by_server(GROUP, PRODUCTION)}
    changed = {name for name, each in listed.items() if each.source == "user-override"}
    assert changed == {"idle_in_transaction_session_timeout", "work_mem", "max_connections"}
    assert len(listed) > 200
    with pytest.raises(ResourceNotFoundError):
        await servers.client.configurations.get(GROUP, PRODUCTION, "nosuch")


async def test_no_session_writes_while_the_server_is_read_only_by_default(servers, database, host):
    read_only = servers.client.configurations.begin_update(
        GROUP, PRODUCTION, "default_transaction_read_only", value("on")
    )
    await (await read_only).result()
    with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
        await database.rows(host, "CREATE SCHEMA test")


async def test_an_administrator_is_added_and_removed(servers, control, database, host):
    administrators = servers.client.administrators_microsoft_entra
    who = {"user": "second@fundrbolt.com", "password": control.token("second", SCOPE)}
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        await database.connect(host, **who)
    wish = AdministratorMicrosoftEntraAdd(
        {"properties": {"principalName": "second@fundrbolt.com", "principalType": "User"}}
    )
    await (await administrators.begin_create_or_update(GROUP, PRODUCTION, SECOND_ID, wish)).result()
    member = "SELECT pg_has_role('azure_pg_admin', 'member')"
    assert await database.rows(host, member, **who) == [(True,)]
    found = await administrators.get(GROUP, PRODUCTION, SECOND_ID)
    assert (found.principal_name, found.principal_type, found.object_id) == ("second@fundrbolt.com", "User", SECOND_ID)
    await (await administrators.begin_delete(GROUP, PRODUCTION, SECOND_ID)).result()
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        await database.connect(host, **who)
    listed = [each.object_id async for each in administrators.list_by_server(GROUP, PRODUCTION)]
    assert LEAD_ID in listed
    assert SECOND_ID not in listed


async def test_settings_of_a_server_are_changed(servers):
    body = ServerForPatch(
        {
            "tags": {"environment": "production", "checked": "yes"},
            "properties": {"backup": {"backupRetentionDays": 14}, "highAvailability": {"mode": "ZoneRedundant"}},
        }
    )
    poller = await servers.client.servers.begin_update(GROUP, PRODUCTION, body)
    assert (await servers.client.servers.get(GROUP, PRODUCTION)).state in ("Updating", "Ready")
    changed = await poller.result()
    assert changed.tags == {"environment": "production", "checked": "yes"}
    assert (changed.backup.backup_retention_days, changed.high_availability.mode) == (14, "ZoneRedundant")


async def test_geo_redundant_backup_cannot_be_chosen_later(arm):
    body = {"properties": {"backup": {"geoRedundantBackup": "Disabled"}}}
    answer = await arm.ask("PATCH", f"{SERVERS}/{PRODUCTION}", json=body)
    assert answer.status_code == 400
    assert "only at the time of server creation" in answer.json()["error"]["message"]


async def test_what_is_not_honoured_is_answered_501(arm):
    path = f"{SERVERS}/{PRODUCTION}"
    answer = await arm.ask("PATCH", path, json={"properties": {"dataEncryption": {"type": "AzureKeyVault"}}})
    assert answer.status_code == 501


async def test_the_administrators_password_is_changed(servers, database, host):
    body = ServerForPatch({"properties": {"administratorLoginPassword": NEW}})
    await (await servers.client.servers.begin_update(GROUP, PRODUCTION, body)).result()
    rows = await database.rows(host, "SELECT current_user", user="fundrbolt_admin", password=NEW)
    assert rows == [("fundrbolt_admin",)]


async def test_a_stopped_server_answers_nobody_until_it_is_started(servers, database, host):
    await database.rows(host, "SELECT 1")
    await (await servers.client.servers.begin_stop(GROUP, PRODUCTION)).result()
    assert (await servers.client.servers.get(GROUP, PRODUCTION)).state == "Stopped"
    with pytest.raises(psycopg.OperationalError):
        await database.connect(host)
    with pytest.raises(ResourceExistsError, match="in state 'Stopped'"):
        await servers.client.configurations.begin_update(GROUP, PRODUCTION, "work_mem", value("16384"))
    await (await servers.client.servers.begin_start(GROUP, PRODUCTION)).result()
    assert await database.rows(host, "SELECT 1") == [(1,)]


async def test_a_deleted_server_is_gone(servers, database, host):
    await (await servers.client.servers.begin_delete(GROUP, PRODUCTION)).result()
    with pytest.raises(ResourceNotFoundError):
        await servers.client.servers.get(GROUP, PRODUCTION)
    with pytest.raises(psycopg.OperationalError):
        await database.connect(host)
    await (await servers.client.servers.begin_delete(GROUP, PRODUCTION)).result()


async def test_backups_are_listed_and_made_on_demand(servers, control):
    backups = servers.client.backups_automatic_and_on_demand
    listed = [each async for each in backups.list_by_server(GROUP, PRODUCTION)]
    assert len(listed) == 7
    assert all(each.source == "Automatic" for each in listed)
    made = await (await backups.begin_create(GROUP, PRODUCTION, "before")).result()
    assert (made.name, made.source, made.backup_type) == ("before", "Customer Initiated", "Customer On-Demand")
    assert (await backups.get(GROUP, PRODUCTION, "before")).completed_time == made.completed_time
    with pytest.raises(ResourceExistsError):
        await backups.begin_create(GROUP, PRODUCTION, "before")
    control.break_("pg-backups-throttled")
    with pytest.raises(HttpResponseError) as throttled:
        _ = [each async for each in backups.list_by_server(GROUP, PRODUCTION)]
    assert (throttled.value.status_code, throttled.value.response.headers["Retry-After"]) == (429, "1")


async def test_a_busy_server_takes_no_change_until_it_is_free(servers, control):
    control.break_("pg-server-busy")
    with pytest.raises(ResourceExistsError, match="busy processing another operation") as busy:
        await servers.client.servers.begin_stop(GROUP, PRODUCTION)
    assert busy.value.error.code == "ServerIsBusy"
    control.repair("pg-server-busy")
    await (await servers.client.servers.begin_restart(GROUP, PRODUCTION)).result()


async def test_changes_that_are_accepted_may_fail(servers, control):
    control.break_("pg-parameter-fails")
    with pytest.raises(HttpResponseError, match="unexpected error"):
        await (await servers.client.configurations.begin_update(GROUP, PRODUCTION, "jit", value("on"))).result()
    assert (await servers.client.configurations.get(GROUP, PRODUCTION, "jit")).value == "off"
    control.break_("pg-firewall-fails")
    rule = FirewallRule({"properties": {"startIpAddress": OPERATOR, "endIpAddress": OPERATOR}})
    with pytest.raises(HttpResponseError, match="unexpected error"):
        await (await servers.client.firewall_rules.begin_create_or_update(GROUP, PRODUCTION, "more", rule)).result()
    with pytest.raises(ResourceNotFoundError):
        await servers.client.firewall_rules.get(GROUP, PRODUCTION, "more")


async def test_requests_are_throttled_and_fail_like_any_other(servers, control):
    for fault, status in (("throttle", 429), ("error", 500)):
        control.break_(fault, path="flexibleServers")
        with pytest.raises(HttpResponseError) as refused:
            await servers.client.servers.get(GROUP, PRODUCTION)
        assert refused.value.status_code == status


@pytest.mark.parametrize(
    ("method", "path", "action"),
    [
        ("PUT", "", "write"),
        ("PATCH", "", "write"),
        ("DELETE", "", "delete"),
        ("POST", "/stop", "stop/action"),
        ("POST", "/start", "start/action"),
        ("POST", "/restart", "restart/action"),
        ("PUT", "/firewallRules/more", "firewallRules/write"),
        ("DELETE", "/firewallRules/operators", "firewallRules/delete"),
        ("PUT", "/configurations/jit", "configurations/write"),
        ("PUT", f"/administrators/{LEAD_ID}", "administrators/write"),
        ("DELETE", f"/administrators/{LEAD_ID}", "administrators/delete"),
        ("PUT", "/backups/more", "backups/write"),
    ],
)
async def test_a_reader_may_look_and_change_nothing(arm, control, method, path, action):
    arm.token = control.token("oncall", "https://management.azure.com/.default")
    answer = await arm.ask(method, f"{SERVERS}/{PRODUCTION}{path}", json={})
    assert answer.status_code == 403
    assert f"Microsoft.DBforPostgreSQL/flexibleServers/{action}'" in answer.json()["error"]["message"]
    assert (await arm.ask("GET", f"{SERVERS}/{PRODUCTION}")).status_code == 200
    assert (await arm.ask("GET", f"{SERVERS}/{PRODUCTION}/configurations/jit")).status_code == 200


async def test_servers_are_among_the_resources_of_their_group(arm):
    listed = await arm.ask("GET", f"{SERVERS.partition('/providers')[0]}/resources")
    assert PRODUCTION in [each["name"] for each in listed.json()["value"]]
    assert STAGING not in [each["name"] for each in listed.json()["value"]]
