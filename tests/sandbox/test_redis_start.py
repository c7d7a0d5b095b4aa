"""A cluster that starts because somebody wants it: who comes meanwhile waits, and finds it whole."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from sandbox.clock import now
from sandbox.redis.caches import Caches
from sandbox.redis.model import PORTS, Cache
from sandbox.redis.seed import commands

AT_ONCE = 8


@pytest.fixture
async def made(tmp_path: Path) -> AsyncIterator[tuple[Caches, Cache]]:
    caches = Caches(tmp_path / "redis", tmp_path.name)
    address = caches.address_of("cluster", "managed")
    settings = {"maxmemory-policy": "NoEviction"}
    cache = Cache(
        name="cluster", group="g", location="l", kind="managed", address=address, created=now(), configuration=settings
    )
    yield caches, cache
    await caches.stop()


async def test_everybody_who_comes_while_a_cluster_starts_finds_it_whole(made: tuple[Caches, Cache]) -> None:
    caches, cache = made

    async def come(after: int) -> tuple[set[int], int]:
        # One turn of the loop later each: while processes begin, while they find each other, while it is filled.
        for _ in range(after * 20):
            await asyncio.sleep(0)
        nodes = await caches.running(cache)
        slots = [await each.client.execute_command("CLUSTER SLOTS") for each in nodes]
        told = {port for each in slots for _, _, (_, port, *_) in each}
        return told, sum([await each.client.dbsize() for each in nodes])

    keys = len({str(each[1]) for each in commands()})
    assert await asyncio.gather(*map(come, range(AT_ONCE))) == [({*PORTS["managed"]}, keys)] * AT_ONCE
