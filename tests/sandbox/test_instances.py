"""Instances of apps, the background worker, and those that do not do as they are told."""

import pytest
from azure.core.exceptions import ResourceNotFoundError
from azure_names import APP, GROUP

WORKER = "fundrbolt-production-worker"
SESSIONS = (
    "SELECT application_name, host(client_addr), backend_start FROM pg_stat_activity WHERE usename = 'fundrbolt_app'"
)
HAMMERS = "SELECT count(*) FROM donations WHERE donor LIKE 'Hammer %'"


@pytest.fixture
async def host(servers) -> str:
    return await servers.host()


@pytest.fixture
def sessions(database, host):
    """Which application names have sessions on production's server, and since when the newest of each is there."""

    async def seen() -> dict[str, object]:
        return {
            str(name): begun for name, _, begun in sorted(await database.rows(host, SESSIONS), key=lambda row: row[2])
        }

    return seen


async def names_of(listing) -> list[str]:
    return [each.name async for each in listing]


async def test_an_app_shows_its_instances_by_the_names_that_its_sessions_carry(sdk, sessions, eventually):
    (instance,) = await names_of(sdk.web_apps.list_instance_identifiers(GROUP, APP))
    assert await names_of(sdk.web_apps.list_instance_identifiers_slot(GROUP, APP, "staging")) == [instance]
    (worker,) = await names_of(sdk.web_apps.list_instance_identifiers(GROUP, WORKER))
    wanted = {f"{APP}/{instance[:12]}", f"{WORKER}/{worker[:12]}"}

    async def connected() -> bool:
        return (await sessions()).keys() == wanted

    await eventually(connected)
    assert (await sdk.web_apps.get_instance_info(GROUP, APP, instance)).state == "READY"
    with pytest.raises(ResourceNotFoundError):
        await sdk.web_apps.get_instance_info(GROUP, APP, "0" * 64)


async def test_sessions_come_from_an_outbound_address_of_their_app(sdk, database, host, eventually):
    shown = {name: (await sdk.web_apps.get(GROUP, name)).outbound_ip_addresses.split(",") for name in (APP, WORKER)}

    async def seen() -> bool:
        found = {str(name).partition("/")[0]: address for name, address, _ in await database.rows(host, SESSIONS)}
        return found.keys() == shown.keys() and all(found[name] in addresses for name, addresses in shown.items())

    await eventually(seen)
    assert shown[APP] != shown[WORKER]


async def test_an_app_can_have_more_instances_that_take_turns(control, sdk, sessions, https, eventually):
    control.break_("instances", count=2)
    instances = await names_of(sdk.web_apps.list_instance_identifiers(GROUP, APP))
    assert len(instances) == 2

    async def connected() -> bool:
        return {f"{APP}/{each[:12]}" for each in instances} <= (await sessions()).keys()

    await eventually(connected)
    answers = [await https.get(f"https://{APP}.azurewebsites.net/health/detailed") for _ in range(4)]
    assert len({answer.json()["started_at"] for answer in answers}) == 2
    control.repair("instances")
    assert await names_of(sdk.web_apps.list_instance_identifiers(GROUP, APP)) == instances[:1]


async def test_a_restart_renews_every_instance_but_the_one_that_never_restarts(control, sdk, sessions, eventually):
    control.break_("instances", count=2)
    first, second = [
        f"{APP}/{each[:12]}" for each in await names_of(sdk.web_apps.list_instance_identifiers(GROUP, APP))
    ]
    # The slot's process is on the same machines: only production is asked here.
    await sdk.web_apps.stop_slot(GROUP, APP, "staging")

    async def both() -> bool:
        return {first, second} <= (await sessions()).keys()

    await eventually(both)
    control.break_("instance-never-restarts", number=2)
    before = await sessions()
    await sdk.web_apps.restart(GROUP, APP)

    async def renewed() -> bool:
        return (await sessions()).get(first, before[first]) > before[first]

    await eventually(renewed)
    assert (await sessions())[second] == before[second]


async def test_an_instance_that_never_restarts_lives_on_in_a_stopped_app(control, sdk, sessions, https, eventually):
    control.break_("instance-never-restarts", environment="production-worker")
    (instance,) = await names_of(sdk.web_apps.list_instance_identifiers(GROUP, WORKER))

    async def connected() -> bool:
        return f"{WORKER}/{instance[:12]}" in await sessions()

    await eventually(connected)
    await sdk.web_apps.stop(GROUP, WORKER)
    assert (await https.get(f"https://{WORKER}.azurewebsites.net/health")).status_code == 403
    assert await connected()
    assert await names_of(sdk.web_apps.list_instance_identifiers(GROUP, WORKER)) == [instance]
    control.repair("instance-never-restarts")
    assert await names_of(sdk.web_apps.list_instance_identifiers(GROUP, WORKER)) == []

    async def gone() -> bool:
        return not await connected()

    await eventually(gone)


async def test_an_unknown_writer_hammers_from_the_apps_address_and_comes_back(control, sdk, database, host, eventually):
    control.break_("writer-hammers", rate=100)
    addresses = (await sdk.web_apps.get(GROUP, APP)).outbound_ip_addresses.split(",")
    writer = "SELECT pid, host(client_addr) FROM pg_stat_activity WHERE application_name = 'nightly-import'"

    async def more_than(count: int) -> bool:
        return int(str((await database.rows(host, HAMMERS))[0][0])) > count

    await eventually(lambda: more_than(20))
    ((pid, address),) = await database.rows(host, writer)
    assert address in addresses
    await database.rows(host, f"SELECT pg_terminate_backend({pid})")
    written = int(str((await database.rows(host, HAMMERS))[0][0]))
    await eventually(lambda: more_than(written + 20))
    control.repair("writer-hammers")

    async def gone() -> bool:
        return await database.rows(host, writer) == []

    await eventually(gone)
