"""The platform's caches with the genuine clients: Azure's own word about them, and what is in them."""

import asyncio
import socket
from collections import Counter

import pytest
import redis
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError
from azure.mgmt.redis.models import RedisCommonPropertiesRedisConfiguration, RedisRegenerateKeyParameters
from azure.mgmt.redis.models import RedisUpdateParameters as Update
from azure.mgmt.redisenterprise.models import RegenerateKeyParameters
from caches import CACHE, GROUP, STAGING_CACHE, STAGING_GROUP

from sandbox.redis.seed import COUNTS

NOBODY = redis.retry.Retry(redis.backoff.NoBackoff(), 0)


def prefixes(keys: list[str]) -> dict[str, int]:
    return dict(Counter(next(prefix for prefix in COUNTS if key.startswith(prefix)) for key in keys))


async def test_production_has_a_cache_with_the_platforms_keys(caches):
    shown = await caches.redis.redis.get(GROUP, CACHE)
    assert (shown.provisioning_state, shown.sku.name, shown.enable_non_ssl_port) == ("Succeeded", "Standard", False)
    with caches.connect(await caches.place()) as client:
        assert prefixes(list(client.scan_iter(count=500))) == COUNTS
        assert client.ttl(next(client.scan_iter("session:*"))) > 3600
        assert client.llen("celery") == 7
        assert client.ttl("celery") == -1


async def test_staging_has_a_cluster_of_three_nodes_that_a_cluster_client_finds(caches):
    database = await caches.managed.databases.get(STAGING_GROUP, STAGING_CACHE, "default")
    assert (database.clustering_policy, database.access_keys_authentication) == ("OSSCluster", "Enabled")
    with caches.connect(await caches.staging_place(), redis.RedisCluster) as client:
        assert {node.port for node in client.get_primaries()} == {10000, 8500, 8501}
        assert prefixes(list(client.scan_iter(count=500))) == COUNTS
        assert all(client.dbsize(target_nodes=node) > 100 for node in client.get_primaries())
        assert client.set("cache:donations:new", "1")


async def test_a_cluster_is_filled_whatever_slot_a_key_has(caches, control):
    before = control.cache_keys("staging")
    control.fill_cache("staging", 10_000)
    assert control.cache_keys("staging") == before + 10_000


async def test_caches_are_listed(caches, arm):
    assert [each.name async for each in caches.redis.redis.list_by_subscription()] == [CACHE]
    assert [each.name async for each in caches.redis.redis.list_by_resource_group(STAGING_GROUP)] == []
    assert [each.name async for each in caches.redis.redis.list_by_resource_group(GROUP.upper())] == [CACHE]
    listed = caches.managed.redis_enterprise.list_by_resource_group(STAGING_GROUP.upper())
    assert [each.name async for each in listed] == [STAGING_CACHE]
    assert [each.name async for each in caches.managed.redis_enterprise.list()] == [STAGING_CACHE]
    listed = caches.managed.databases.list_by_cluster(STAGING_GROUP, STAGING_CACHE)
    assert [each.name async for each in listed] == ["default"]
    path = f"/subscriptions/11111111-1111-4111-8111-111111111111/resourceGroups/{STAGING_GROUP}/resources"
    names = [each["name"] for each in (await arm.ask("GET", path)).json()["value"]]
    assert {STAGING_CACHE, "default"} <= {*names}
    with pytest.raises(ResourceNotFoundError):
        await caches.redis.redis.get(GROUP, "nosuch")


async def test_either_key_is_let_in_and_nothing_else(caches):
    place = await caches.place()
    keys = await caches.redis.redis.list_keys(GROUP, CACHE)
    for sign_in in ({"password": keys.secondary_key}, {"username": "default", "password": keys.primary_key}):
        with caches.connect({**place, **sign_in}) as client:
            assert client.ping()
    with (
        caches.connect({**place, "password": "another"}, retry=NOBODY) as client,
        pytest.raises(redis.AuthenticationError),
    ):
        client.ping()
    with socket.socket() as plain:
        assert plain.connect_ex((place["host"], 6379)) != 0


async def test_a_regenerated_key_ends_the_connections_that_came_with_it_and_lets_nobody_in(caches):
    place = await caches.place()
    keys = await caches.redis.redis.list_keys(GROUP, CACHE)
    with (
        caches.connect(place, retry=NOBODY) as old,
        caches.connect({**place, "password": keys.secondary_key}, retry=NOBODY) as other,
    ):
        assert old.client_id() != other.client_id()
        before = other.client_id()
        wish = RedisRegenerateKeyParameters(key_type="Primary")
        renewed = await caches.redis.redis.regenerate_key(GROUP, CACHE, wish)
        assert (renewed.primary_key != keys.primary_key, renewed.secondary_key) == (True, keys.secondary_key)
        with pytest.raises(redis.ConnectionError):
            old.ping()
        with pytest.raises(redis.AuthenticationError):
            old.ping()
        assert other.client_id() == before
    with caches.connect({**place, "password": renewed.primary_key}) as client:
        assert client.ping()


async def test_a_managed_caches_key_is_regenerated(caches):
    place = await caches.staging_place()
    one = (STAGING_GROUP, STAGING_CACHE, "default")
    poller = await caches.managed.databases.begin_regenerate_key(*one, RegenerateKeyParameters(key_type="Primary"))
    renewed = await poller.result()
    assert renewed.primary_key != place["password"]
    with caches.connect(place, retry=NOBODY) as client, pytest.raises(redis.AuthenticationError):
        client.ping()
    with caches.connect({**place, "password": renewed.primary_key}, redis.RedisCluster) as client:
        assert client.get("cache:campaigns:1")


@pytest.mark.parametrize(
    "command",
    [
        "CONFIG GET save",
        "SHUTDOWN",
        "SAVE",
        "DEBUG SLEEP 0",
        "ACL LIST",
        "BGSAVE",
        "PSYNC ? -1",
        "SYNC",
        "REPLCONF x y",
    ],
)
async def test_what_azure_forbids_is_an_unknown_command(caches, command):
    with (
        caches.connect(await caches.place()) as client,
        pytest.raises(redis.ResponseError, match=f"unknown command '{command.split()[0]}'"),
    ):
        client.execute_command(*command.split())


async def test_a_clusters_shape_can_be_read_and_not_be_changed(caches):
    with caches.connect(await caches.staging_place()) as client:
        assert len(client.execute_command("CLUSTER SLOTS")) == 3
        with pytest.raises(redis.exceptions.NoPermissionError):
            client.execute_command("CLUSTER", "FLUSHSLOTS")


@pytest.mark.parametrize("managed", [False, True])
async def test_azures_flush_empties_a_cache(caches, control, managed):
    environment = "staging" if managed else "production"
    assert control.cache_keys(environment) == sum(COUNTS.values())
    if managed:
        poller = await caches.managed.databases.begin_flush(STAGING_GROUP, STAGING_CACHE, "default")
        await poller.result()
    else:
        poller = await caches.redis.redis.begin_flush_cache(GROUP, CACHE)
        assert (await poller.result()).status == "Succeeded"
    assert control.cache_keys(environment) == 0
    assert [each.how for each in control.cache_flushes()] == ["azure"]


async def test_a_cache_that_is_being_changed_takes_no_other_change(caches, control):
    control.break_("redis-flush-never-ends")
    await caches.redis.redis.begin_flush_cache(GROUP, CACHE, polling=False)
    with pytest.raises(HttpResponseError) as refused:
        await caches.redis.redis.begin_flush_cache(GROUP, CACHE)
    assert (refused.value.status_code, refused.value.error.code) == (409, "Conflict")


async def test_settings_are_changed(caches):
    wish = Update(
        tags={"owner": "platform"},
        redis_configuration=RedisCommonPropertiesRedisConfiguration(maxmemory_policy="allkeys-lru"),
    )
    changed = await (await caches.redis.redis.begin_update(GROUP, CACHE, wish)).result()
    assert (changed.provisioning_state, changed.tags) == ("Succeeded", {"owner": "platform"})
    with caches.connect(await caches.place()) as client:
        assert client.info("memory")["maxmemory_policy"] == "allkeys-lru"


async def test_a_policy_that_redis_does_not_have_is_refused_and_changes_nothing(caches):
    before = (await caches.redis.redis.get(GROUP, CACHE)).redis_configuration.maxmemory_policy
    wish = Update(redis_configuration=RedisCommonPropertiesRedisConfiguration(maxmemory_policy="bogus"))
    with pytest.raises(HttpResponseError, match="maxmemory-policy") as refused:
        await caches.redis.redis.begin_update(GROUP, CACHE, wish, polling=False)
    assert refused.value.status_code == 400
    shown = await caches.redis.redis.get(GROUP, CACHE)
    assert (shown.provisioning_state, shown.redis_configuration.maxmemory_policy) == ("Succeeded", before)


async def test_an_operation_that_the_server_refuses_fails_and_the_cache_takes_the_next(caches, control):
    await caches.place()
    control.break_("redis-failover", answer="readonly", milliseconds=3_600_000)
    async with asyncio.timeout(20):
        with pytest.raises(HttpResponseError):
            await (await caches.redis.redis.begin_flush_cache(GROUP, CACHE)).result()
    control.repair("redis-failover")
    await (await caches.redis.redis.begin_flush_cache(GROUP, CACHE)).result()
    assert control.cache_keys("production") == 0


async def test_a_reset_brings_back_what_there_was(caches, control):
    place = await caches.place()
    with caches.connect(place) as client:
        client.set("session:new", "1")
        client.delete("celery")
        await caches.redis.redis.regenerate_key(GROUP, CACHE, RedisRegenerateKeyParameters(key_type="Secondary"))
        control.reset()
        assert prefixes(list(client.scan_iter())) == COUNTS
    assert await caches.place() == place
    assert control.cache_deletions("production") == {}


async def test_only_who_may_may(caches, control):
    control.break_("deny", action="Microsoft.Cache/redis/listKeys/action")
    control.break_("deny", action="Microsoft.Cache/redisEnterprise/databases/flush/action")
    with pytest.raises(HttpResponseError, match="AuthorizationFailed"):
        await caches.redis.redis.list_keys(GROUP, CACHE)
    with pytest.raises(HttpResponseError, match="AuthorizationFailed"):
        await caches.managed.databases.begin_flush(STAGING_GROUP, STAGING_CACHE, "default")
