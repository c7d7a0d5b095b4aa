"""How many keys would go: each counted, or from a sample with its margin; and who notices."""

from typing import Any

from valkey_server import Cluster, Valkey

from rollback.cache.counting import SAMPLE_KEYS, count
from rollback.cache.patterns import Patterns
from rollback.cache.scanning import Choice

CHOICE = Choice(Patterns(["session:*", "cache:*"]), Patterns(["cache:keep:*"]))
EFFECTS = Patterns(["session:*"])


async def test_a_small_cache_is_counted_key_by_key(run: Any, valkey: Valkey) -> None:
    await valkey.fill(**{"session": 700, "cache": 300, "cache:keep": 20, "other": 50})
    counted = await count(await run.find(), CHOICE, EFFECTS, sample_above=2000)
    assert counted.words == "a full scan of 1,070 keys"
    assert (counted.matched["session:*"], counted.matched["cache:*"]) == (700, 300)
    assert counted.spared["cache:keep:*"] == 20
    assert (counted.noticed["session:*"], counted.unnoticed["cache:*"]) == (700, 300)
    assert counted.estimate("session:*", 700).words == "700"


async def test_a_big_cache_is_counted_from_a_sample_that_says_how_far_off_it_may_be(run: Any, valkey: Valkey) -> None:
    await valkey.fill(session=28_000, other=12_000)
    counted = await count(await run.find(), CHOICE, EFFECTS, sample_above=30_000)
    assert SAMPLE_KEYS <= counted.scanned < SAMPLE_KEYS + 1000
    assert "a sample of" in counted.words
    estimated = counted.estimate("session:*", counted.matched["session:*"])
    assert estimated.margin is not None
    assert 100 < estimated.margin < 400
    assert abs(estimated.number - 28_000) < 3 * estimated.margin
    none = counted.estimate("cache:*", counted.matched["cache:*"])
    assert none.number == 0
    assert none.margin == 6


async def test_a_cache_that_was_looked_at_to_the_end_is_no_sample(run: Any, valkey: Valkey) -> None:
    await valkey.fill(session=300, other=2239)
    counted = await count(await run.find(), CHOICE, EFFECTS, sample_above=1000)
    assert counted.words == "a full scan of 2,539 keys"
    assert counted.estimate("session:*", counted.matched["session:*"]).words == "300"


async def test_a_cluster_is_counted_in_full_however_big_it_is(cluster_run: Any, cluster: Cluster) -> None:
    await cluster.fill(session=600)
    counted = await count(await cluster_run.find(), CHOICE, EFFECTS, sample_above=100)
    assert counted.words == "a full scan of 600 keys"
    assert counted.matched["session:*"] == 600
