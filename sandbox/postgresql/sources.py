"""Where a connection comes from: an app's process has its app's outbound address, anybody else the operators'."""

import asyncio
import ipaddress
import sys
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from sandbox.outbound import outbound_address

OPERATOR = "203.0.113.10"
"""Where people and their tools come from, as a firewall sees it."""
WITHIN_AZURE = "0.0.0.0"  # noqa: S104 -- nothing listens on it: a rule from it to itself stands for all of Azure
TABLE = Path("/proc/net/tcp")
INODE = 6
"""Where a line of the table tells the socket's number, counted behind its two ends."""
LOOKS = 3
"""The table is not read in one piece: what comes and goes meanwhile can hide a line."""
End = tuple[str, int]
"""Address and port."""


@dataclass(frozen=True)
class Source:
    """One client's place."""

    address: str
    """As a firewall sees it."""
    loopback: str
    """As PostgreSQL sees it (`pg_stat_activity.client_addr`)."""
    within_azure: bool


PEOPLE = Source(OPERATOR, f"127.{OPERATOR.partition('.')[2]}", within_azure=False)


async def source_of(client: End, server: End, sites: Iterable[tuple[int, str]]) -> Source:
    """Where the connection between these ends comes from; `sites` are the apps' processes and their apps."""
    site = await asyncio.to_thread(_site_of, client, server, list(sites))
    if site is None:
        return PEOPLE
    return Source(outbound_address(site), outbound_address(site), within_azure=True)


def _site_of(client: End, server: End, sites: list[tuple[int, str]]) -> str | None:
    """The app whose process has the client's end of a connection."""
    number = _socket_of(client, server)
    return next((site for pid, site in sites if number in _sockets_in(pid)), None) if number else None


def _socket_of(client: End, server: End) -> bytes:
    """The number of the client's socket, as the kernel's table of sockets has it; empty if it is gone."""
    # Most lines are of connections that are over, some of them from the same port: only one is worth parsing.
    ends = f": {_as_in_table(client)} {_as_in_table(server)} ".encode()
    for _ in range(LOOKS):
        _, found, rest = TABLE.read_bytes().partition(ends)
        if found:
            return rest.split(maxsplit=INODE + 1)[INODE]
    return b""


def _as_in_table(end: End) -> str:
    address = int.from_bytes(ipaddress.IPv4Address(end[0]).packed, sys.byteorder)
    return f"{address:08X}:{end[1]:04X}"


def _sockets_in(pid: int) -> set[bytes]:
    """The numbers of a process's sockets; none of one that is gone."""
    held: set[bytes] = set()
    with suppress(OSError):
        for each in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(OSError):
                held.add(str(each.readlink()).removeprefix("socket:[").removesuffix("]").encode())
    return held
