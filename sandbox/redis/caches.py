"""What is in all caches: made on demand, kept with the state, served when somebody needs it."""

import asyncio
import base64
import hmac
import shutil
import socket
from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from sandbox import loopback
from sandbox.errors import SandboxError
from sandbox.redis import seed
from sandbox.redis.deletions import Deletions
from sandbox.redis.model import PORTS, Cache, CacheKind, KeyType
from sandbox.redis.node import Access, Node, cluster_configuration, cluster_file, slot_ranges, users

FIRST_UPSTREAM_PORT = 16_380
POLL_SECONDS = 0.01
CLUSTER_SECONDS = 20
PAGE, FILL_PAGE = 1000, 10_000
POLICIES = {
    "AllKeysLFU": "allkeys-lfu", "AllKeysLRU": "allkeys-lru", "AllKeysRandom": "allkeys-random",
    "NoEviction": "noeviction", "VolatileLFU": "volatile-lfu", "VolatileLRU": "volatile-lru",
    "VolatileRandom": "volatile-random", "VolatileTTL": "volatile-ttl",
}  # fmt: skip
"""Azure Managed Redis's names of Redis's own `maxmemory-policy`."""


def access_key(seed: str, cache: Cache, key: KeyType) -> str:
    """An access key as Azure makes them: 32 bytes in base64, the same each time for the same number."""
    made = hmac.new(seed.encode(), f"redis/{cache.name}/{key}/{cache.key_numbers[key]}".encode(), "sha256").digest()
    return base64.b64encode(made).decode()


class Caches:
    """The nodes of each cache, and the sockets that hold the caches' addresses."""

    def __init__(self, folder: Path, seed: str) -> None:
        self._folder = folder
        self._seed = seed
        self._nodes: dict[str, list[Node]] = {}
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._begin: dict[str, list[int]] = {}
        """By cache: how many changes its nodes had seen when it was as in the beginning; none: it may never be so."""
        self.sockets: dict[str, list[socket.socket]] = {}
        """By cache: where its clients connect to, one for each node."""
        self.deletions = Deletions()
        self.on_access: Callable[[Cache], None] = lambda _: None
        """Called when other access keys are valid."""
        self.drop: Callable[[str], None] = lambda _: None
        """Ends every connection to the cache of this name."""

    def keys(self, cache: Cache) -> tuple[str, str]:
        """Both access keys."""
        return access_key(self._seed, cache, "Primary"), access_key(self._seed, cache, "Secondary")

    def address_of(self, name: str, kind: CacheKind) -> str:
        """The address of a cache that has none yet, or that is held already."""
        if name not in self.sockets:
            _, self.sockets[name] = loopback.pick(self._seed, name, *PORTS[kind])
        return str(self.sockets[name][0].getsockname()[0])

    def hold(self, caches: Iterable[Cache]) -> None:
        """Hold the addresses that these caches had before."""
        for cache in caches:
            if cache.name not in self.sockets:
                self.sockets[cache.name] = loopback.hold(cache.address, *PORTS[cache.kind])
                if not self.sockets[cache.name]:
                    raise SandboxError(f"Another program has a port of {cache.address}, where {cache.name} was.")

    def nodes(self, cache: Cache) -> list[Node]:
        """The cache's nodes, running or not."""
        if cache.name not in self._nodes:
            self._nodes[cache.name] = [
                Node(self._folder / cache.name / str(number), cache.address, port, self._admin(cache))
                for number, port in enumerate(_upstream_ports(cache))
            ]
        return self._nodes[cache.name]

    def _admin(self, cache: Cache) -> str:
        return hmac.new(self._seed.encode(), f"redis/{cache.name}/azure".encode(), "sha256").hexdigest()

    def _access(self, cache: Cache) -> Access:
        return Access(self._admin(cache), self.keys(cache))

    async def running(self, cache: Cache) -> list[Node]:
        """The cache's nodes, with what the cache holds, taking commands."""
        nodes = self.nodes(cache)
        # Whoever comes while they start waits: a process is not yet a node that answers.
        async with self._locks[cache.name]:
            if any(each.pid is None for each in nodes):
                is_new = not any(each.folder.exists() for each in nodes)
                await asyncio.gather(*(self._start(cache, number, node) for number, node in enumerate(nodes)))
                await _serving(cache, nodes)
                if is_new:
                    await self._fill(cache)
        return nodes

    async def _start(self, cache: Cache, number: int, node: Node) -> None:
        configuration = users(self._access(cache)) + f"maxmemory-policy {policy(cache)}\n"
        if cache.kind == "managed":
            configuration += cluster_configuration(cache.address, PORTS[cache.kind][number])
            known = node.folder / "nodes.conf"
            if not known.exists():
                node.folder.mkdir(parents=True, mode=0o700)
                known.write_text(cluster_file(cache.name, cache.address, _upstream_ports(cache), number))
        await node.start(configuration)

    async def _fill(self, cache: Cache) -> None:
        """Let an empty cache hold what it holds in the beginning."""
        await self.write(cache, seed.commands())
        self._begin[cache.name] = await self._changes(cache)

    async def write(self, cache: Cache, commands: list[seed.Command]) -> None:
        """Send commands with one key each, past the front, to the nodes that have these keys."""
        from redis.crc import key_slot

        nodes = self.nodes(cache)
        parts = slot_ranges(len(nodes))
        by_node: defaultdict[int, list[seed.Command]] = defaultdict(list)
        for command in commands:
            slot = key_slot(str(command[1]).encode())
            by_node[next(number for number, part in enumerate(parts) if slot in part)].append(command)
        for number, mine in by_node.items():
            pipeline: Any = nodes[number].client.pipeline(transaction=False)
            for command in mine:
                pipeline.execute_command(*command)
            await pipeline.execute()

    async def populate(self, cache: Cache, keys: int, prefix: str) -> None:
        """Put so many keys `prefix` and a number into a running cache, quickly, past the front."""
        (node, *others) = self.nodes(cache)
        if not others:
            # The server counts no changes for it.
            self._begin.pop(cache.name, None)
            # It leaves out the colon's own: the name that it makes is the prefix, a colon, and the number.
            await node.run("DEBUG", "POPULATE", keys, prefix.removesuffix(":"))
            return
        for first in range(0, keys, FILL_PAGE):
            last = min(first + FILL_PAGE, keys)
            await self.write(cache, [("SET", f"{prefix}{number}", "filled") for number in range(first, last)])

    async def _changes(self, cache: Cache) -> list[int]:
        infos: list[dict[str, Any]] = [await each.client.info("persistence") for each in self.nodes(cache)]
        return [int(info["rdb_changes_since_last_save"]) for info in infos]

    async def apply(self, cache: Cache) -> None:
        """Let the running nodes have the cache's keys and configuration; whoever came with another key has to go."""
        for node in self.nodes(cache):
            if node.pid is not None:
                passwords = [f">{each}" for each in self.keys(cache)]
                await node.run("ACL", "SETUSER", "default", "resetpass", *passwords)
                await node.run("CONFIG", "SET", "maxmemory-policy", policy(cache))
        self.on_access(cache)

    async def keep(self, cache: Cache) -> None:
        """Save what the cache holds now: what a replica has that hears nothing from now on."""
        self._begin.pop(cache.name, None)
        for node in await self.running(cache):
            await node.run("SAVE")

    async def fail_over(self, cache: Cache, *, behind: bool) -> None:
        """Let new processes take the cache's nodes over, with all that these hold; `behind`: with what was kept."""
        async with self._locks[cache.name]:
            self._begin.pop(cache.name, None)
            await asyncio.gather(*(each.kill() if behind else each.stop() for each in self.nodes(cache)))
        await self.running(cache)

    async def flush(self, cache: Cache) -> None:
        """Delete everything, past the front."""
        for node in await self.running(cache):
            await node.client.flushall(asynchronous=True)

    async def count(self, cache: Cache, pattern: str) -> int:
        """How many keys match."""
        found = 0
        for node in await self.running(cache):
            found += len([key async for key in node.client.scan_iter(pattern, count=PAGE)])
        return found

    async def reset(self, caches: Iterable[Cache]) -> None:
        """Every cache as in the beginning: nothing is done to those that nobody wrote into."""
        self.deletions.clear()
        for cache in caches:
            async with self._locks[cache.name]:
                await self._reset(cache)

    async def _reset(self, cache: Cache) -> None:
        if any(each.pid is None for each in self.nodes(cache)):
            await asyncio.gather(*(each.stop() for each in self.nodes(cache)))
            await asyncio.to_thread(shutil.rmtree, self._folder / cache.name, ignore_errors=True)
            self._begin.pop(cache.name, None)
            return
        if cache.kind == "redis":
            for node in self.nodes(cache):
                # It may have been in the middle of a failover.
                await node.run("REPLICAOF", "NO", "ONE")
        await self.apply(cache)
        if self._begin.get(cache.name) != await self._changes(cache):
            for node in self.nodes(cache):
                await node.client.flushall(asynchronous=True)
            await self._fill(cache)

    async def stop(self) -> None:
        """End every process; what the caches hold is saved."""
        await asyncio.gather(*(node.stop() for nodes in self._nodes.values() for node in nodes))
        for sockets in self.sockets.values():
            for each in sockets:
                each.close()
        self.sockets.clear()


def policy(cache: Cache) -> str:
    """What is thrown out when the memory is full, in Redis's own words."""
    named = cache.configuration["maxmemory-policy"]
    return POLICIES.get(named, named)


def _upstream_ports(cache: Cache) -> list[int]:
    return [FIRST_UPSTREAM_PORT + number for number in range(len(PORTS[cache.kind]))]


async def _serving(cache: Cache, nodes: list[Node]) -> None:
    """Wait until a cluster's nodes have found each other, and tell the ports that clients connect to."""
    if cache.kind != "managed":
        return
    async with asyncio.timeout(CLUSTER_SECONDS):
        for node in nodes:
            while not await _is_serving(cache, node):  # noqa: ASYNC110 - the node tells nobody
                await asyncio.sleep(POLL_SECONDS)


async def _is_serving(cache: Cache, node: Node) -> bool:
    state = await node.client.execute_command("CLUSTER INFO")
    slots = await node.client.execute_command("CLUSTER SLOTS")
    return state["cluster_state"] == "ok" and {port for _, _, (_, port, *_) in slots} == {*PORTS[cache.kind]}
