"""Where a connection comes from: an app's process has its app's outbound address, anybody else the operators'."""

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass

import psutil

from sandbox.outbound import outbound_address

OPERATOR = "203.0.113.10"
"""Where people and their tools come from, as a firewall sees it."""
WITHIN_AZURE = "0.0.0.0"  # noqa: S104 -- nothing listens on it: a rule from it to itself stands for all of Azure


@dataclass(frozen=True)
class Source:
    """One client's place."""

    address: str
    """As a firewall sees it."""
    loopback: str
    """As PostgreSQL sees it (`pg_stat_activity.client_addr`)."""
    within_azure: bool


PEOPLE = Source(OPERATOR, f"127.{OPERATOR.partition('.')[2]}", within_azure=False)


async def source_of(client: tuple[str, int], sites: Iterable[tuple[int, str]]) -> Source:
    """Where the connection with this client's end comes from; `sites` are the apps' processes and their apps."""
    site = await asyncio.to_thread(_site_of, client, list(sites))
    if site is None:
        return PEOPLE
    return Source(outbound_address(site), outbound_address(site), within_azure=True)


def _site_of(client: tuple[str, int], sites: list[tuple[int, str]]) -> str | None:
    """The app whose process has this end of a connection."""
    for pid, site in sites:
        with suppress(psutil.Error):
            if any(each.laddr == client for each in psutil.Process(pid).net_connections("tcp4")):
                return site
    return None
