"""What can go wrong with the platform's caches, as a genuine client sees it."""

import pytest
import redis
from azure.core.exceptions import HttpResponseError
from caches import CACHE, GROUP

from sandbox.errors import SandboxError

NOBODY = redis.retry.Retry(redis.backoff.NoBackoff(), 0)


async def test_a_connection_is_dropped_after_some_pages_and_the_next_one_is_not(caches, control):
    with caches.connect(await caches.place(), retry=NOBODY) as client:
        control.break_("redis-drops", commands="SCAN", after=1)
        client.scan(0, count=10)
        assert client.get("nosuch") is None
        with pytest.raises(redis.ConnectionError):
            client.scan(0, count=10)
        client.scan(0, count=10)
        client.scan(0, count=10)


@pytest.mark.parametrize(("done", "left"), [("no", 1), ("yes", 0)])
async def test_an_answer_can_be_lost_before_and_after_the_command_was_done(caches, control, eventually, done, left):
    with caches.connect(await caches.place(), retry=NOBODY) as client:
        control.break_("redis-drops", commands="UNLINK", done=done)
        with pytest.raises(redis.ConnectionError):
            client.unlink("celery")
        await eventually(lambda: client.exists("celery") == left)
    assert control.cache_deletions("production").get("UNLINK", None) is None or done == "yes"


async def test_every_connection_is_dropped_until_it_is_repaired(caches, control):
    with caches.connect(await caches.place(), retry=NOBODY) as client:
        control.break_("redis-drops", commands="GET", drops=0)
        for _ in range(3):
            with pytest.raises(redis.ConnectionError):
                client.get("celery")
        control.repair("redis-drops")
        assert client.get("nosuch") is None


async def test_a_failover_drops_connections_and_refuses_new_ones_for_a_while(caches, control):
    with caches.connect(await caches.place(), retry=NOBODY) as client:
        assert client.ping()
        control.break_("redis-failover", milliseconds=0, connects=2)
        failures = 0
        for _ in range(5):
            try:
                client.ping()
            except redis.ConnectionError:
                failures += 1
        # The client may notice by itself that its first connection is gone.
        assert failures in (2, 3)
        assert client.ping()


async def test_a_failover_is_to_another_process_that_has_all_keys(caches, control):
    with caches.connect(await caches.place()) as client:
        before = client.info("server")["run_id"]
        client.set("new", "1")
        control.break_("redis-failover", milliseconds=0)
        assert client.get("new") == "1"
        assert client.info("server")["run_id"] != before


@pytest.mark.parametrize("whose", ["production", "staging"])
def test_what_was_written_since_a_replica_fell_behind_is_lost_in_a_failover(control, whose):
    which = f"fundrbolt-{whose}-redis"
    before = control.cache_keys(whose)
    control.break_("redis-replica-behind", cache=which)
    control.fill_cache(whose, 10, "late:")
    assert control.cache_keys(whose) == before + 10
    control.break_("redis-failover", cache=which, milliseconds=0)
    assert control.cache_keys(whose) == before


async def test_a_cache_that_loads_says_so_in_its_place(caches, control):
    with caches.connect(await caches.place(), retry=NOBODY) as client:
        control.break_("redis-failover", answer="loading", milliseconds=60_000)
        with pytest.raises(redis.exceptions.BusyLoadingError):
            client.get("celery")
        control.repair("redis-failover")
        assert client.llen("celery") == 7


async def test_a_node_that_is_no_primary_any_more_takes_no_writes_and_keeps_its_keys(caches, control):
    with caches.connect(await caches.place()) as client:
        control.break_("redis-failover", answer="readonly", milliseconds=60_000)
        with pytest.raises(redis.exceptions.ReadOnlyError):
            client.unlink("celery")
        control.repair("redis-failover")
        assert client.unlink("celery") == 1


async def test_a_reset_ends_a_failover(caches, control):
    place = await caches.place()
    control.break_("redis-failover", answer="readonly", milliseconds=60_000)
    control.reset()
    with caches.connect(place) as client:
        assert client.set("new", "1")


async def test_somebody_goes_on_writing_until_repaired(caches, control, eventually):
    before = control.cache_keys("production", "session:*")
    control.break_("redis-writes-meanwhile", milliseconds=1)
    await eventually(lambda: control.cache_keys("production", "session:*") > before + 3)
    control.repair("redis-writes-meanwhile")


async def test_somebody_regenerates_a_key(caches, control):
    with caches.connect(await caches.place(), retry=NOBODY) as client:
        assert client.ping()
        control.break_("redis-key-regenerated")
        with pytest.raises(redis.ConnectionError):
            client.ping()
        with pytest.raises(redis.AuthenticationError):
            client.ping()


async def test_a_flush_fails_and_nothing_is_deleted(caches, control):
    control.break_("redis-flush-fails")
    poller = await caches.redis.redis.begin_flush_cache(GROUP, CACHE)
    with pytest.raises(HttpResponseError):
        await poller.result()
    assert control.cache_flushes() == []
    assert control.cache_keys("production", "celery") == 1


async def test_a_flush_whose_answer_is_lost_happens_once(caches, control, eventually):
    control.break_("drop-after", path="/flush$")
    with pytest.raises(Exception, match=r"disconnected|closed|reset"):
        await caches.redis.redis.begin_flush_cache(GROUP, CACHE)
    await eventually(lambda: len(control.cache_flushes()) == 1)


async def test_what_clients_delete_is_counted(caches, control):
    control.fill_cache("production", 1000, "cache:many:")
    assert control.cache_keys("production", "cache:many:*") == 1000
    with caches.connect(await caches.place()) as client:
        client.unlink("cache:many:1", "cache:many:2")
        client.flushall(asynchronous=True)
    counted = control.cache_deletions("production")
    assert {name: (each.calls, each.arguments) for name, each in counted.items()} == {
        "UNLINK": (1, 2),
        "FLUSHALL": (1, 1),
    }
    assert [each.how for each in control.cache_flushes()] == ["FLUSHALL"]


def test_a_cache_that_is_not_there_cannot_break(control):
    with pytest.raises(SandboxError, match="There is no cache 'nosuch'"):
        control.break_("redis-slow", cache="nosuch")
    with pytest.raises(SandboxError, match="There is no cache 'fundrbolt-dev-redis'"):
        control.cache_keys("dev")
