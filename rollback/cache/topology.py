"""Which servers of a cache have its keys now: one, or the primaries of a cluster."""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from rollback.cache.servers import AccessKeys, Address, Server
from rollback.errors import CacheMoved

MASTER = "master"
SLOTS = 16384
MOVING = b" ["
"""Stands before each slot that moves, in a node's line of CLUSTER NODES."""
Facts = dict[str, str]


@dataclass(frozen=True)
class Primary:
    """A server that has keys."""

    server: Server
    process: str
    """The id that the server took when it started: cursors and what was seen hold for this process only."""
    facts: Facts
    """Its INFO."""
    keys: int
    slots: tuple[tuple[int, int], ...] = ()
    """First and last of each range; none outside of a cluster."""

    async def look(self) -> "Primary":
        """The same server, as it is now."""
        facts, keys = await _look(self.server)
        return replace(self, process=facts.get("run_id", ""), facts=facts, keys=keys)

    @property
    def name(self) -> str:
        """Host and port."""
        return str(self.server.address)

    @property
    def flushes(self) -> int:
        """How often all keys were taken out of this process, by anybody."""
        calls = self.facts.get("cmdstat_flushall", "calls=0").partition("calls=")[2]
        return int(calls.partition(",")[0] or 0)

    @property
    def keys_elsewhere(self) -> dict[str, int]:
        """Keys in its other databases, by name."""
        own = f"db{self.server.address.database}"
        spaces = {name: value for name, value in self.facts.items() if name.startswith("db") and name[2:].isdigit()}
        counts = {name: int(value.partition("keys=")[2].partition(",")[0] or 0) for name, value in spaces.items()}
        return {name: count for name, count in counts.items() if count and name != own}


@dataclass(frozen=True)
class Topology:
    """The primaries at one moment."""

    primaries: tuple[Primary, ...]
    clustered: bool

    @property
    def identity(self) -> str:
        """Changes where a server restarts, fails over, or gets other slots: then a pass begins anew."""
        return "; ".join(sorted(f"{each.name} {each.process} {each.slots}" for each in self.primaries))

    @property
    def keys(self) -> int:
        """Of all primaries, by DBSIZE."""
        return sum(each.keys for each in self.primaries)

    @property
    def keys_elsewhere(self) -> dict[str, int]:
        """Keys in databases that are not looked at, by name: a cluster has none."""
        return {name: keys for each in self.primaries for name, keys in each.keys_elsewhere.items()}

    @property
    def version(self) -> str:
        """The server's name and version."""
        facts = self.primaries[0].facts
        name = facts.get("server_name", "redis").capitalize()
        return f"{name} {facts.get(f'{name.lower()}_version') or facts.get('redis_version', 'of unknown version')}"


@dataclass
class Finder:
    """Finds a cache's primaries, and keeps the connections to them."""

    endpoint: Address
    keys: AccessKeys
    answer_seconds: float
    _servers: dict[tuple[str, int], Server] = field(default_factory=dict[tuple[str, int], Server])

    async def find(self) -> Topology:
        """Look which servers have the keys now; raises `CacheUnreachable` or `CacheMoved` where that is not settled."""
        entry = self._server(self.endpoint.host, self.endpoint.port)
        facts, _ = await _look(entry)
        if facts.get("cluster_enabled") != "1":
            return Topology((await self._primary(entry, ()),), clustered=False)
        (ranges,) = await entry.ask(("CLUSTER", "SLOTS"))
        owners: dict[tuple[str, int], list[tuple[int, int]]] = {}
        for first, last, owner, *_ in ranges:
            owners.setdefault(self._address_of(owner), []).append((first, last))
        _require_all_slots(slot for slots in owners.values() for slot in slots)
        found = await asyncio.gather(
            *(self._primary(self._server(*where), tuple(sorted(slots))) for where, slots in sorted(owners.items())),
            return_exceptions=True,
        )
        for each in found:
            if isinstance(each, BaseException):
                raise each
        return Topology(tuple(each for each in found if isinstance(each, Primary)), clustered=True)

    def _address_of(self, owner: list[Any]) -> tuple[str, int]:
        host = (owner[0] or b"").decode()
        return (host if host not in {"", "?"} else self.endpoint.host), int(owner[1])

    def _server(self, host: str, port: int) -> Server:
        if (host, port) not in self._servers:
            address = self.endpoint.model_copy(update={"host": host, "port": port})
            self._servers[host, port] = Server(address, self.keys, self.answer_seconds)
        return self._servers[host, port]

    async def _primary(self, server: Server, slots: tuple[tuple[int, int], ...]) -> Primary:
        facts, keys = await _look(server)
        if facts.get("role", MASTER) != MASTER:
            raise CacheMoved(f"The server at {server.address} is a replica now: it failed over.")
        if slots:
            (nodes,) = await server.ask(("CLUSTER", "NODES"))
            # A key could go from where it was not looked at yet to where everything was.
            if any(b"myself" in line and MOVING in line for line in nodes.splitlines()):
                raise CacheMoved(f"Slots are moving to or from the server at {server.address}.")
        return Primary(server, facts.get("run_id", ""), facts, keys, slots)

    async def close(self) -> None:
        """Close every connection."""
        await asyncio.gather(*(each.close() for each in self._servers.values()))


async def _look(server: Server) -> tuple[Facts, int]:
    everything, commands, keys = await server.ask(("INFO",), ("INFO", "commandstats"), ("DBSIZE",))
    lines = (everything + b"\r\n" + commands).decode("utf-8", "replace").splitlines()
    return dict(line.split(":", 1) for line in lines if ":" in line), keys


def _require_all_slots(ranges: Iterable[tuple[int, int]]) -> None:
    if sum(last - first + 1 for first, last in ranges) != SLOTS:
        raise CacheMoved("Not every slot of the cluster has a server: it fails over, or it is broken.")
