"""Keys deleted on a real Valkey, under everything that may come in between."""

import asyncio
import re
from collections.abc import Callable
from typing import Any

import pytest
from valkey_plans import make_plan
from valkey_server import PRIMARY_KEY, SECONDARY_KEY, Cluster, Valkey

from rollback.cache.clearing import Clearing
from rollback.cache.verification import verify_keys
from rollback.errors import CacheUnreachable, CacheUnusable, LeaseLost, NotVerified
from rollback.journal import Event

OLD_IDLE_SECONDS = 1000


def at(number: int, word: bytes, act: Callable[[], object] = lambda: None) -> Callable[[bytes], bool]:
    """True, once, for the so-manieth piece of what a client sends that has a word in it."""
    seen = 0

    def look(data: bytes) -> bool:
        nonlocal seen
        seen += word in data
        if seen != number or word not in data:
            return False
        act()
        return True

    return look


async def count_of(server: Valkey, command: str) -> int:
    told = await server.command("INFO", "commandstats")
    return int(told.get(f"cmdstat_{command}", {"calls": 0})["calls"])


async def test_what_matches_is_deleted_and_nothing_else(run: Any, valkey: Valkey) -> None:
    await valkey.fill(session=3000, cache=2000, celery=3, other=10)
    clearing = await run.clear("session:*", "cache:*")
    assert await valkey.names() == {f"celery:{n}" for n in range(3)} | {f"other:{n}" for n in range(10)}
    assert clearing.tally.deleted == 5000
    assert clearing.tally.matched == {0: 3000, 1: 2000}
    assert ("New keys since", "0") in run.results
    assert run.journal.confirmed_changes() == ["keys"]


async def test_declared_keys_are_kept_from_a_broader_pattern_even_those_that_come_meanwhile(
    run: Any, valkey: Valkey
) -> None:
    await valkey.fill(a=2000, jwt_blacklist=50)
    valkey.front.cut_before = at(3, b"SCAN")
    await run.clear("*", guards=("jwt_*", "celery"))
    assert await valkey.names() == {f"jwt_blacklist:{n}" for n in range(50)}


async def test_a_connection_that_drops_in_mid_scan_goes_on_from_its_cursor(run: Any, valkey: Valkey) -> None:
    await valkey.fill(session=5000)
    await valkey.command("CONFIG", "RESETSTAT")
    valkey.front.cut_before = at(4, b"SCAN")
    clearing = await run.clear("session:*")
    assert await valkey.names() == set()
    assert clearing.tally.deleted == 5000
    assert "Going on: The cache at 127.0.0.1" in run.notes
    assert await count_of(valkey, "scan") < 15  # of ten for one pass, and one or two of the look
    assert run.asked_for_keys == 1


async def test_a_batch_whose_answer_is_lost_is_sent_again_and_deletes_nothing_more(run: Any, valkey: Valkey) -> None:
    await valkey.fill(session=3000, other=100)
    valkey.front.cut_after = at(2, b"UNLINK")
    await run.clear("session:*")
    assert await valkey.names() == {f"other:{n}" for n in range(100)}


async def test_a_key_regenerated_in_the_middle_is_fetched_again_once(run: Any, valkey: Valkey) -> None:
    await valkey.fill(session=3000)
    await run.find()
    await valkey.use_keys("third-key=", "fourth-key=")
    run.keys = ("third-key=", "fourth-key=")
    valkey.front.cut_before = at(3, b"SCAN")
    await run.clear("session:*")
    assert run.asked_for_keys == 2
    async with valkey.client("third-key=") as client:
        assert await client.dbsize() == 0


async def test_where_the_primary_key_is_not_accepted_the_secondary_is_used(run: Any, valkey: Valkey) -> None:
    await valkey.use_keys(SECONDARY_KEY)
    run.keys = ("wrong=", SECONDARY_KEY)
    async with valkey.client(SECONDARY_KEY) as client:
        await client.set("session:1", "x")
    await run.clear("session:*")
    assert run.asked_for_keys == 1


async def test_keys_that_are_not_accepted_are_told_without_them(run: Any, valkey: Valkey) -> None:
    run.keys = ("wrong-key=", "wrong-too=")
    with pytest.raises(CacheUnusable) as refused:
        await run.clear("session:*")
    assert "accepts neither of its access keys" in str(refused.value)
    assert "wrong" not in repr(refused.value)
    assert "wrong" not in run.notes
    assert run.asked_for_keys == 2


async def test_a_server_that_starts_anew_in_mid_scan_is_gone_over_from_the_beginning(run: Any, valkey: Valkey) -> None:
    await valkey.fill(session=3000, other=5)
    restarted: list[asyncio.Task[None]] = []

    async def restart() -> None:
        await valkey.start()
        await valkey.fill(session=700, other=5)

    def fail() -> None:
        valkey.kill()
        restarted.append(asyncio.create_task(restart()))

    valkey.front.cut_before = at(3, b"SCAN", fail)
    await run.clear("session:*")
    await asyncio.gather(*restarted)
    assert "every key is looked at once more" in run.notes
    assert {each for each in await valkey.names() if each.startswith("other")} == {f"other:{n}" for n in range(5)}


async def test_a_server_that_became_a_replica_deletes_nothing_until_there_is_a_primary(
    run: Any, valkey: Valkey
) -> None:
    await valkey.fill(session=1000)
    await valkey.command("REPLICAOF", "127.0.0.1", "1")
    tries = 0

    def promote(entry: Any) -> None:
        nonlocal tries
        tries += entry.text.startswith("Going on")
        if tries == 1:
            run.watch = lambda _: None
            promoted.append(asyncio.create_task(valkey.command("REPLICAOF", "NO", "ONE")))

    promoted: list[asyncio.Task[Any]] = []
    run.watch = promote
    await run.clear("session:*")
    await asyncio.gather(*promoted)
    assert await valkey.names() == set()
    assert "is a replica now" in run.notes


async def test_a_server_that_does_not_come_back_ends_it_with_what_was_deleted(run: Any, valkey: Valkey) -> None:
    await valkey.fill(session=3000)
    run.cache_settings = run.cache_settings.model_copy(update={"away_seconds": 0.5})
    valkey.front.cut_before = at(4, b"SCAN", valkey.kill)
    with pytest.raises(CacheUnreachable):
        await run.clear("session:*")
    assert run.journal.confirmed_changes() == ["some keys"]
    assert run.journal.open_changes() == []
    assert "keys are deleted; others are left" in run.notes


async def test_somebody_who_flushes_meanwhile_leaves_nothing_to_delete(run: Any, valkey: Valkey) -> None:
    await valkey.fill(session=3000)
    flush = at(3, b"SCAN", lambda: valkey.command_now("FLUSHALL"))
    valkey.front.cut_before = lambda data: flush(data) and False
    clearing = await run.clear("session:*")
    assert clearing.tally.deleted < 3000
    assert await valkey.names() == set()


async def test_keys_of_users_who_come_back_are_new_and_said(run: Any, valkey: Valkey) -> None:
    await valkey.fill(session=500)

    def come_back(entry: Any) -> None:
        if entry.event is Event.CONFIRMED:
            valkey.command_now("MSET", "session:1", "x", "session:2", "x")

    run.watch = come_back
    await run.clear("session:*")
    assert await valkey.names() == {"session:1", "session:2"}
    assert ("New keys since", "2: 2 of session:*") in run.results


async def test_a_key_that_is_left_from_before_is_not_taken_for_a_new_one(run: Any, valkey: Valkey) -> None:
    await valkey.fill(session=1)
    dump = await valkey.command("DUMP", "session:0")

    def put_back(entry: Any) -> None:
        if entry.event is Event.CONFIRMED:
            valkey.command_now("RESTORE", "session:old", 0, dump, "IDLETIME", OLD_IDLE_SECONDS)

    run.watch = put_back
    with pytest.raises(NotVerified, match="1 keys are left that were there before"):
        await run.clear("session:*")


async def test_a_failover_after_the_deletion_is_not_taken_for_verified(run: Any, valkey: Valkey) -> None:
    await valkey.fill(session=100)
    plan = make_plan(("session:*",))
    clearing = Clearing(run, plan)
    await clearing.clear()
    valkey.kill()
    await valkey.start()
    with pytest.raises(NotVerified, match="failed over after the keys were deleted"):
        await verify_keys(run, plan, clearing)


async def test_a_lease_that_is_lost_stops_it_before_the_next_batch(
    run: Any, valkey: Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rollback.cache.clearing.LEASE_SECONDS", 0.0)
    await valkey.fill(session=3000)
    run.lose_lease_at = 3
    with pytest.raises(LeaseLost):
        await run.clear("session:*")
    left = len(await valkey.names())
    assert 1500 < left < 3000
    assert run.journal.confirmed_changes() == ["some keys"]


async def test_it_tells_how_far_it_is_how_fast_and_how_long_it_will_take(
    run: Any, valkey: Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rollback.cache.clearing.TELL_SECONDS", 0.0)
    await valkey.fill(session=3000)
    await run.clear("session:*")
    assert re.search(
        r"\d,\d{3} of some [\d,]+ keys looked at, [\d,]+ deleted, [\d,]+ keys/s, about \d+ s left", run.notes
    )


async def test_all_keys_are_flushed_once_though_the_answer_is_lost(run: Any, valkey: Valkey) -> None:
    await valkey.fill(session=3000)
    await valkey.command("CONFIG", "RESETSTAT")
    valkey.front.cut_after = at(1, b"FLUSHALL")
    await run.clear(everything=True)
    assert await valkey.names() == set()
    assert await count_of(valkey, "flushall") == 1


async def test_a_flush_that_never_reached_the_server_is_sent_again(run: Any, valkey: Valkey) -> None:
    await valkey.fill(session=300)
    await valkey.command("CONFIG", "RESETSTAT")
    valkey.front.cut_before = at(1, b"FLUSHALL")
    await run.clear(everything=True)
    assert await valkey.names() == set()
    assert await count_of(valkey, "flushall") == 1


@pytest.mark.parametrize("everything", [True, False])
async def test_a_server_that_is_away_after_the_last_key_leaves_nothing_to_do_again(
    run: Any, valkey: Valkey, *, everything: bool
) -> None:
    await valkey.fill(session=3000)
    await valkey.command("CONFIG", "RESETSTAT")
    run.cache_settings = run.cache_settings.model_copy(update={"away_seconds": 0.5})
    begun = False

    def away(data: bytes) -> bool:
        """It does not tell what it is any more, once keys are deleted."""
        nonlocal begun
        begun = begun or b"UNLINK" in data or b"FLUSHALL" in data
        return begun and b"DBSIZE" in data

    valkey.front.cut_before = away
    with pytest.raises(CacheUnreachable):
        await run.clear("session:*", everything=everything)
    assert run.journal.confirmed_changes() == ["keys"]
    assert run.journal.open_changes() == []
    assert "3,000 keys deleted" in run.notes
    assert "others are left" not in run.notes
    valkey.front.cut_before = lambda _: False
    await valkey.fill(session=5)
    clearing = await run.clear("session:*", everything=everything)
    assert clearing.tally.deleted == 0
    assert len(await valkey.names()) == 5
    assert await count_of(valkey, "flushall") == everything


async def test_done_once_it_is_not_done_again_by_the_same_run(run: Any, valkey: Valkey) -> None:
    await valkey.fill(session=300)
    await run.clear("session:*")
    await valkey.fill(session=5)
    clearing = await run.clear("session:*")
    assert clearing.tally.deleted == 0
    assert len(await valkey.names()) == 5


async def test_another_servers_certificate_is_refused_before_a_key_is_sent(run: Any, valkey: Valkey) -> None:
    run.finder.endpoint = run.finder.endpoint.model_copy(update={"certified": "cache.example"})
    with pytest.raises(CacheUnusable, match=r"could not prove by TLS that it is 'cache\.example'"):
        await run.find()


async def test_a_cluster_is_cleared_on_each_primary_and_grouped_by_slot(cluster_run: Any, cluster: Cluster) -> None:
    await cluster.fill(session=3000, celery=30)
    clearing = await cluster_run.clear("session:*")
    assert await cluster.names() == {f"celery:{n}" for n in range(30)}
    assert clearing.tally.deleted == 3000
    assert not [await count_of(node, "flushall") for node in cluster.nodes if await count_of(node, "flushall")]


async def test_all_keys_of_a_cluster_are_flushed_on_each_primary_once(cluster_run: Any, cluster: Cluster) -> None:
    await cluster.fill(session=3000)
    for node in cluster.nodes:
        await node.command("CONFIG", "RESETSTAT")
    await cluster_run.clear(everything=True)
    assert await cluster.names() == set()
    assert [await count_of(node, "flushall") for node in cluster.nodes] == [1, 1, 1]


async def test_one_connection_of_a_cluster_that_drops_does_not_stop_the_others(
    cluster_run: Any, cluster: Cluster
) -> None:
    await cluster.fill(session=6000)
    cluster.nodes[1].front.cut_before = at(2, b"UNLINK")
    clearing = await cluster_run.clear("session:*")
    assert await cluster.names() == set()
    assert clearing.tally.deleted == 6000


async def test_slots_that_move_meanwhile_are_gone_over_again(cluster_run: Any, cluster: Cluster) -> None:
    await cluster.fill(session=6000)
    first, last = cluster.nodes[0], cluster.nodes[2]

    def move() -> None:
        """Give the last node's highest slots to the first, with the keys in them."""
        target, source = (node.command_now("CLUSTER", "MYID") for node in (first, last))
        for slot in range(16_380, 16_384):
            first.command_now("CLUSTER", "SETSLOT", slot, "IMPORTING", source)
            last.command_now("CLUSTER", "SETSLOT", slot, "MIGRATING", target)
            for key in last.command_now("CLUSTER", "GETKEYSINSLOT", slot, 100):
                last.command_now("MIGRATE", "127.0.0.1", first.port, key, 0, 5000, "AUTH", PRIMARY_KEY)
            for node in (first, last):
                node.command_now("CLUSTER", "SETSLOT", slot, "NODE", target)

    begin = at(2, b"SCAN", move)
    first.front.cut_before = lambda data: begin(data) and False
    await cluster_run.clear("session:*")
    assert "looked at once more" in cluster_run.notes
    assert await cluster.names() == set()


async def test_while_a_slot_moves_nothing_is_deleted(cluster_run: Any, cluster: Cluster) -> None:
    await cluster.fill(session=300)
    first, last = cluster.nodes[0], cluster.nodes[2]
    source = first.command_now("CLUSTER", "MYID")
    last.command_now("CLUSTER", "SETSLOT", 0, "IMPORTING", source)

    def settle(entry: Any) -> None:
        if "Slots are moving" in entry.text:
            last.command_now("CLUSTER", "SETSLOT", 0, "STABLE")

    cluster_run.watch = settle
    await cluster_run.clear("session:*")
    assert "Slots are moving" in cluster_run.notes
    assert await cluster.names() == set()
