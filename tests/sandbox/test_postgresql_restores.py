"""Restores: the log really replayed, what a restored server lacks, the window of restore points, and how they fail."""

from datetime import UTC, datetime, timedelta

import httpx
import psycopg
import pytest
from azure.core.exceptions import HttpResponseError, ResourceExistsError
from azure_names import GROUP
from database_servers import CLOCK, PRODUCTION, RESTORED, ROLE, SERVERS, STAGING, STAGING_GROUP, wish

WORDS = "SELECT words FROM test.notes ORDER BY words"


@pytest.fixture
async def host(servers) -> str:
    return await servers.host()


@pytest.fixture
async def point(database, host) -> datetime:
    """The instant after `before` was written to a table of the test's own, and before `after` was."""
    await database.rows(
        host,
        "CREATE SCHEMA test",
        "CREATE TABLE test.notes (words text)",
        "INSERT INTO test.notes VALUES ('before') RETURNING words",
    )
    ((instant,),) = await database.rows(host, CLOCK)
    await database.rows(host, "DELETE FROM test.notes", "INSERT INTO test.notes VALUES ('after') RETURNING words")
    return instant


def code_of(error: pytest.ExceptionInfo[HttpResponseError]) -> str:
    return error.value.error.code


async def test_a_restore_replays_the_log_up_to_the_instant(servers, database, host, point):
    restored = await servers.restore(point)
    assert restored.state == "Ready"
    assert restored.fully_qualified_domain_name != host
    assert await database.rows(await servers.let_in(RESTORED), WORDS) == [("before",)]
    assert await database.rows(host, WORDS) == [("after",)]


async def test_a_restored_server_lacks_what_azure_leaves_behind(servers, database, point):
    restored, client = await servers.restore(point), servers.client
    assert (restored.tags, restored.high_availability.mode) == (None, "Disabled")
    assert restored.backup.geo_redundant_backup == "Enabled"
    assert [each async for each in client.firewall_rules.list_by_server(GROUP, RESTORED)] == []
    assert [each async for each in client.administrators_microsoft_entra.list_by_server(GROUP, RESTORED)] == []
    parameter = await client.configurations.get(GROUP, RESTORED, "work_mem")
    assert (parameter.value, parameter.source) == ("4096", "system-default")
    with pytest.raises(psycopg.OperationalError, match=r"no pg_hba\.conf entry"):
        await database.connect(restored.fully_qualified_domain_name)
    there = await servers.let_in(RESTORED)
    assert await database.rows(there, "SHOW work_mem") == [("4MB",)]
    assert await database.rows(there, "SHOW max_connections") == [("100",)]


async def test_an_administrator_that_was_not_added_again_cannot_sign_in(servers, database, point):
    await servers.restore(point)
    there = await servers.let_in(RESTORED)
    administrators = servers.client.administrators_microsoft_entra
    await (await administrators.begin_delete(GROUP, RESTORED, "44444444-4444-4444-8444-444444444444")).result()
    with pytest.raises(psycopg.OperationalError, match=f'password authentication failed for user "{ROLE}"'):
        await database.connect(there)


async def test_a_restore_to_long_ago_finds_the_data_of_the_beginning(servers, database, point):
    await servers.restore(point - timedelta(days=3))
    there = await servers.let_in(RESTORED)
    assert await database.rows(there, "SELECT to_regclass('test.notes')") == [(None,)]
    assert await database.rows(there, "SELECT count(*) > 100 FROM donations") == [(True,)]


async def test_a_restored_server_can_be_restored_itself(servers, database, point, eventually):
    await servers.restore(point)
    there = await servers.let_in(RESTORED)
    await database.rows(there, "INSERT INTO test.notes VALUES ('again') RETURNING words")
    ((later,),) = await database.rows(there, CLOCK)
    await database.rows(there, "DELETE FROM test.notes RETURNING words")
    again = f"{PRODUCTION}-again"
    await servers.restore(later, again, source=RESTORED)
    assert await database.rows(await servers.let_in(again), WORDS) == [("again",), ("before",)]


async def test_a_geo_restore_makes_a_server_in_the_paired_region(servers, database, host, point):
    late = "SELECT to_regclass('test.late')"
    await database.rows(host, "CREATE TABLE test.late (words text)", late)
    restored = await servers.restore(point + timedelta(days=1), geo=True)
    assert (restored.location, restored.backup.geo_redundant_backup) == ("West US", "Disabled")
    # It is as far behind as the copy is: what was written just now is not there yet.
    assert await database.rows(await servers.let_in(RESTORED), late) == [(None,)]


async def test_geo_restore_needs_geo_redundant_backups(arm):
    source = f"/subscriptions/11111111-1111-4111-8111-111111111111/resourceGroups/{STAGING_GROUP}"
    answer = await arm.ask(
        "PUT",
        f"{source}/providers/Microsoft.DBforPostgreSQL/flexibleServers/fundrbolt-geo",
        json={
            "location": "westus",
            "properties": {
                "createMode": "GeoRestore",
                "sourceServerResourceId": f"{source}/providers/Microsoft.DBforPostgreSQL/flexibleServers/{STAGING}",
                "pointInTimeUTC": datetime.now(UTC).isoformat(),
            },
        },
    )
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "GeoBackupNotEnabled")


async def test_a_private_server_is_restored_with_subnet_and_dns_zone(arm, servers, eventually):
    source = f"/subscriptions/11111111-1111-4111-8111-111111111111/resourceGroups/{STAGING_GROUP}"
    base = f"{source}/providers/Microsoft.DBforPostgreSQL/flexibleServers"
    point = datetime.now(UTC) - timedelta(hours=1)
    properties = {"createMode": "PointInTimeRestore", "sourceServerResourceId": f"{base}/{STAGING}"}
    body = {"location": "eastus", "properties": properties | {"pointInTimeUTC": point.isoformat()}}
    answer = await arm.ask("PUT", f"{base}/{STAGING}-r", json=body)
    assert answer.status_code == 202
    before = await servers.client.servers.get(STAGING_GROUP, STAGING)
    after = await servers.client.servers.get(STAGING_GROUP, f"{STAGING}-r")
    assert after.network.as_dict() == before.network.as_dict()


@pytest.mark.parametrize("distance", [timedelta(days=-8), timedelta(minutes=1)])
async def test_an_instant_outside_of_the_window_is_refused(servers, distance):
    with pytest.raises(HttpResponseError, match="It must be between") as refused:
        await servers.client.servers.begin_create_or_update(GROUP, RESTORED, wish(datetime.now(UTC) + distance))
    assert code_of(refused) == "InvalidRestorePointInTime"


async def test_a_name_that_is_taken_is_refused(control, servers, point):
    taken = await servers.client.name_availability.check_with_location(
        "eastus", {"name": PRODUCTION, "type": "Microsoft.DBforPostgreSQL/flexibleServers"}
    )
    assert (taken.name_available, taken.reason) == (False, "AlreadyExists")
    with pytest.raises(ResourceExistsError, match="already used by another server"):
        await servers.restore(point, STAGING)
    control.break_("pg-name-taken")
    with pytest.raises(ResourceExistsError, match="already used by another server"):
        await servers.restore(point)
    assert (await servers.restore(point)).state == "Ready"


async def test_a_plain_new_server_is_not_made_here(servers, point):
    body = wish(point)
    body.properties.create_mode = "Default"
    with pytest.raises(HttpResponseError) as refused:
        await servers.client.servers.begin_create_or_update(GROUP, RESTORED, body)
    assert refused.value.status_code == 501


async def test_a_server_that_is_being_made_is_busy(control, servers, point):
    control.break_("pg-restore-never-ends")
    await servers.client.servers.begin_create_or_update(GROUP, RESTORED, wish(point - timedelta(hours=1)))
    assert (await servers.client.servers.get(GROUP, RESTORED)).state == "Provisioning"
    with pytest.raises(ResourceExistsError, match="busy processing another operation"):
        await servers.client.servers.begin_create_or_update(GROUP, RESTORED, wish(point))
    with pytest.raises(ResourceExistsError, match="busy processing another operation"):
        await servers.client.servers.begin_delete(GROUP, RESTORED)


async def test_a_restore_that_fails_says_so_and_leaves_an_inaccessible_server(control, servers, point):
    control.break_("pg-restore-fails")
    with pytest.raises(HttpResponseError, match="unexpected error"):
        await servers.restore(point)
    assert (await servers.client.servers.get(GROUP, RESTORED)).state == "Inaccessible"


async def test_a_restored_server_may_be_ready_and_unreachable(control, servers, database, point):
    control.break_("pg-restored-unreachable")
    assert (await servers.restore(point)).state == "Ready"
    there = await servers.let_in(RESTORED)
    with pytest.raises(psycopg.errors.ConnectionTimeout):
        await database.connect(there, connect_timeout=2)
    control.repair("pg-restored-unreachable")
    assert await database.rows(there, WORDS) == [("before",)]


async def test_a_restore_whose_answer_is_lost_goes_on(control, servers, arm, eventually):
    control.break_("drop-after", method="PUT", path=RESTORED)
    body = wish(datetime.now(UTC) - timedelta(hours=1)).as_dict()
    with pytest.raises(httpx.RemoteProtocolError):
        await arm.ask("PUT", f"{SERVERS}/{RESTORED}", json=body)

    async def is_ready() -> bool:
        return (await servers.client.servers.get(GROUP, RESTORED)).state == "Ready"

    await eventually(is_ready)


async def test_restored_servers_vanish_with_a_reset(control, servers, point):
    await servers.restore(point)
    control.reset()
    assert [each.name async for each in servers.client.servers.list_by_resource_group(GROUP)] == [PRODUCTION]
