"""What faults put in the way of a client's connection and of its commands."""

import asyncio
import time
from dataclasses import dataclass
from typing import Literal

from sandbox.faults import number, text
from sandbox.redis.model import Cache
from sandbox.state import Fault
from sandbox.world import World

DROPS, SLOW, FAILOVER = "redis-drops", "redis-slow", "redis-failover"
LOADING = b"LOADING Redis is loading the dataset in memory"
SIGNING_IN = ("AUTH", "HELLO", "CLIENT", "SELECT", "QUIT")
"""What Redis answers while it loads."""

Drop = Literal["before", "after"]


@dataclass(frozen=True)
class Met:
    """What becomes of one command."""

    raw: bytes
    """What is sent instead of it, or itself."""
    drop: Drop | None = None
    """The connection ends before the command is done, or after."""


def any_for(world: World, cache: Cache) -> bool:
    """Whether anything is in this cache's way."""
    return any(each.options.get("cache") == cache.name for each in world.state.faults)


def _faults(world: World, cache: Cache, name: str) -> list[Fault]:
    return [each for each in world.state.faults if each.name == name and each.options["cache"] == cache.name]


def _is_meant(fault: Fault, command: str) -> bool:
    wanted = text(fault, "commands").upper()
    return wanted == "*" or command in wanted.split(",")


def _lasts(fault: Fault) -> bool:
    return time.time() < float(str(fault.before["until"])) or int(str(fault.before["left"])) > 0


def refuses(world: World, cache: Cache) -> bool:
    """Whether a new connection is ended at once. It is counted."""
    for fault in _faults(world, cache, FAILOVER):
        if not _lasts(fault):
            continue
        fault.before["left"] = max(0, int(str(fault.before["left"])) - 1)
        return text(fault, "answer") == "refused"
    return False


async def meet(world: World, cache: Cache, name: str, command: list[bytes]) -> Met:
    """What becomes of a command."""
    for fault in _faults(world, cache, SLOW):
        if _is_meant(fault, name):
            await asyncio.sleep(number(fault, "milliseconds") / 1000)
    raw = packed(command)
    for fault in _faults(world, cache, FAILOVER):
        if _lasts(fault) and text(fault, "answer") == "loading" and name not in SIGNING_IN:
            # The answer keeps its place among the others.
            raw = packed([b"EVAL", b"return redis.error_reply('" + LOADING + b"')", b"0"])
    for fault in _faults(world, cache, DROPS):
        if _is_meant(fault, name) and (drop := _drop(world, fault)) is not None:
            return Met(raw, drop)
    return Met(raw)


def _drop(world: World, fault: Fault) -> Drop | None:
    passed = int(str(fault.before.get("passed", 0)))
    if passed < number(fault, "after"):
        fault.before["passed"] = passed + 1
        return None
    fault.before["passed"] = 0
    dropped = int(str(fault.before.get("dropped", 0))) + 1
    fault.before["dropped"] = dropped
    if dropped == number(fault, "drops"):
        world.state.faults.remove(fault)
    world.save()
    return "after" if text(fault, "done") == "yes" else "before"


def packed(command: list[bytes]) -> bytes:
    """A command as clients send it."""
    return b"*%d\r\n" % len(command) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in command)
