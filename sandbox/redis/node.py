"""One Valkey process: its configuration, its life, and the sandbox's own connection past the front."""

import asyncio
import signal
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha1
from pathlib import Path
from typing import Any

from sandbox.errors import SandboxError
from sandbox.redis import launch

ADMIN = "azure"
POLL_SECONDS = 0.005
START_SECONDS, STOP_SECONDS = 20, 10
MOST_LOG_CHARACTERS = 500
BUS_DISTANCE = 10_000
"""As far is a node's port for its cluster from the one for its clients."""
SLOTS = 16_384
FORBIDDEN = (
    "ACL", "BGREWRITEAOF", "BGSAVE", "CONFIG", "DEBUG", "FAILOVER", "MIGRATE", "MODULE", "PSYNC", "REPLCONF",
    "REPLICAOF", "SAVE", "SHUTDOWN", "SLAVEOF", "SYNC",
)  # fmt: skip
"""What Azure answers with an unknown command. The sandbox itself has other names for these."""
CLUSTER_READS = ("countkeysinslot", "getkeysinslot", "help", "info", "keyslot", "links", "myid", "nodes", "replicas",
    "shards", "slots")  # fmt: skip


@dataclass(frozen=True)
class Access:
    """Who may do what."""

    admin: str
    """The sandbox's own password."""
    keys: tuple[str, ...]
    """The access keys."""


class Node:
    """A folder with what was saved, and the process while it runs."""

    def __init__(self, folder: Path, address: str, port: int, admin: str) -> None:
        self.folder = folder
        self.address = address
        self.port = port
        self._admin = admin
        self.log = folder / "log"
        self._process: asyncio.subprocess.Process | None = None
        self._client: Any = None

    @property
    def pid(self) -> int | None:
        """The process while it lives."""
        return self._process.pid if self._process is not None and self._process.returncode is None else None

    @property
    def client(self) -> Any:
        """The sandbox's own `redis.asyncio.Redis`, which may do everything; its annotations are too loose for us."""
        if self._client is None:
            from redis.asyncio import Redis

            self._client = Redis(
                host=self.address, port=self.port, username=ADMIN, password=self._admin, decode_responses=True
            )
        return self._client

    def hidden(self, command: str) -> str:
        """The name of a forbidden command, for the sandbox itself."""
        return f"{command}-{self._admin}"

    async def run(self, command: str, *arguments: str | int) -> object:
        """Run a command that clients are forbidden."""
        return await self.client.execute_command(self.hidden(command), *arguments)

    async def start(self, configuration: str) -> None:
        """Start it unless it runs; on return it takes commands."""
        if self.pid is not None:
            return
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        await self._predecessor_gone()
        with self.log.open("ab") as output:
            self._process = await launch.start(self._own_configuration() + configuration, output)
        try:
            async with asyncio.timeout(START_SECONDS):
                await self._answers()
        except TimeoutError as error:
            raise SandboxError(f"The Valkey in {self.folder} does not answer.") from error

    def _own_configuration(self) -> str:
        lines = [
            f"bind {self.address}",
            f"port {self.port}",
            f'dir "{self.folder}"',
            # It saves when it ends, and never before: SIGTERM saves where there is such a line at all.
            "save 999999999 1",
            "shutdown-timeout 0",
            "enable-debug-command yes",
            *(f"rename-command {each} {self.hidden(each)}" for each in FORBIDDEN),
        ]
        return "\n".join(lines) + "\n"

    async def _answers(self) -> None:
        from redis.exceptions import RedisError

        while True:
            try:
                await self.client.ping()
            except (RedisError, OSError):
                if self.pid is None:
                    raise self._ended() from None
                await asyncio.sleep(POLL_SECONDS)
            else:
                return

    def _ended(self) -> SandboxError:
        last = self.log.read_text(encoding="utf-8", errors="replace")[-MOST_LOG_CHARACTERS:]
        return SandboxError(f"The Valkey in {self.folder} ended: {last.strip()}")

    async def _predecessor_gone(self) -> None:
        """Wait for the process of a sandbox that was killed: it saves and ends on its own."""
        for _ in range(round(STOP_SECONDS / POLL_SECONDS)):
            try:
                _, writer = await asyncio.open_connection(self.address, self.port)
            except OSError:
                return
            writer.close()
            await asyncio.sleep(POLL_SECONDS)
        raise SandboxError(f"Another program has {self.address}:{self.port}, where a cache was.")

    async def stop(self) -> None:
        """Save and end."""
        await self._disconnect()
        process = self._process
        if process is None or process.returncode is not None:
            return
        process.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await process.wait()
        except TimeoutError:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    async def kill(self) -> None:
        """End without saving."""
        await self._disconnect()
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()

    async def _disconnect(self) -> None:
        if self._client is not None:
            await self._client.aclose()
            self._client = None


def users(access: Access) -> str:
    """Configuration: the sandbox itself may do everything, clients what Azure lets them, with any of the keys."""
    keys = " ".join(f">{key}" for key in access.keys)
    reads = " ".join(f"+cluster|{each}" for each in CLUSTER_READS)
    return (
        f"user {ADMIN} on >{access.admin} ~* &* +@all\n"
        f"user default {'on' if access.keys else 'off'} {keys} ~* &* +@all -cluster {reads}\n"
    )


def node_id(cache: str, number: int) -> str:
    """How a cluster's nodes call each other."""
    return sha1(f"{cache}/{number}".encode(), usedforsecurity=False).hexdigest()


def slot_ranges(nodes: int) -> list[range]:
    """Each node's part of a cluster's slots, in the beginning and ever after."""
    return [range(each * SLOTS // nodes, (each + 1) * SLOTS // nodes) for each in range(nodes)]


def cluster_file(cache: str, address: str, ports: list[int], number: int) -> str:
    """What the node with this number knows of its cluster in the beginning: each has a part of the slots."""
    lines: list[str] = []
    for each, (port, part) in enumerate(zip(ports, slot_ranges(len(ports)), strict=True)):
        flags = "myself,master" if each == number else "master"
        where = f"{address}:{port}@{port + BUS_DISTANCE}"
        lines.append(f"{node_id(cache, each)} {where} {flags} - 0 0 {each + 1} connected {part[0]}-{part[-1]}")
    return "\n".join([*lines, f"vars currentEpoch {len(ports)} lastVoteEpoch 0"]) + "\n"


def cluster_configuration(address: str, announced: int) -> str:
    """Configuration of a cluster's node, whose clients are to connect to port `announced`."""
    return (
        "cluster-enabled yes\n"
        "cluster-config-file nodes.conf\n"
        f"cluster-announce-ip {address}\n"
        f"cluster-announce-client-port {announced}\n"
    )
