"""What can go wrong with caches."""

import asyncio
import json
import time
from typing import Any, cast
from uuid import uuid4

from sandbox.errors import SandboxError
from sandbox.faults import TIMES, Kind, Option, number, text
from sandbox.fundrbolt.pages import DOLLARS, LATEST, RENAMED, write_page
from sandbox.redis import obstacles
from sandbox.redis.looking import cache_of
from sandbox.redis.model import Cache
from sandbox.redis.resources import FLUSH_FAILS, FLUSH_NEVER_ENDS
from sandbox.redis.start import PRODUCTION_CACHE
from sandbox.state import Fault
from sandbox.world import World

WRITES, BEHIND = "redis-writes-meanwhile", "redis-replica-behind"
WHICH = {"cache": Option("the cache's name", PRODUCTION_CACHE)}
COMMANDS = {"commands": Option("which commands, such as SCAN,UNLINK; *: all", "*")}
SESSION_SECONDS, POISON_SECONDS = 3600, 86_400
FORMS = {"wrong": DOLLARS, "fails": RENAMED}
MOST_LISTED = 100
NEWEST = """
SELECT json_agg(row_to_json(newest)) FROM (
    SELECT id, amount_cents, currency, donor, to_char(created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')
    AS created_at FROM donations ORDER BY id DESC LIMIT 100) AS newest
"""


def _cache(world: World, fault: Fault) -> Cache:
    cache = world.state.find_cache(text(fault, "cache"))
    if cache is None:
        known = ", ".join(each.name for each in world.state.caches)
        raise SandboxError(f"There is no cache {text(fault, 'cache')!r}; there are {known}.")
    return cache


async def _set(world: World, fault: Fault) -> None:
    fault.options["cache"] = _cache(world, fault).name
    if fault.name == obstacles.DROPS and text(fault, "done") not in ("yes", "no"):
        raise SandboxError(f"{fault.name}: done must be yes or no.")


async def _leave(_world: World, _fault: Fault) -> None:
    """The front looks for the fault by itself."""


async def _regenerate(world: World, fault: Fault) -> None:
    cache = _cache(world, fault)
    key = text(fault, "key")
    if key not in ("Primary", "Secondary"):
        raise SandboxError(f"{fault.name}: key must be Primary or Secondary.")
    cache.key_numbers[key] += 1
    await world.caches.apply(cache)


async def _fail_over(world: World, fault: Fault) -> None:
    cache, answer = _cache(world, fault), text(fault, "answer")
    if answer not in ("refused", "loading", "readonly"):
        raise SandboxError(f"{fault.name}: answer must be refused, loading or readonly.")
    fault.options["cache"] = cache.name
    seconds = number(fault, "milliseconds") / 1000
    fault.before = {"until": time.time() + seconds, "left": int(number(fault, "connects"))}
    if answer == "readonly":
        if cache.kind == "managed":
            raise SandboxError(f"{fault.name}: a cluster's node is refused or loading, never readonly.")
        for node in await world.caches.running(cache):
            # Of nobody: it answers as the node does that is no primary any more.
            await node.run("REPLICAOF", cache.address, 1)
        world.start(_become_primary(world, cache, seconds))
    else:
        await world.caches.fail_over(cache, behind=_is_set(world, BEHIND, cache))
    world.caches.drop(cache.name)


async def _fall_behind(world: World, fault: Fault) -> None:
    cache = _cache(world, fault)
    fault.options["cache"] = cache.name
    await world.caches.keep(cache)


def _is_set(world: World, name: str, cache: Cache) -> bool:
    return any(each.name == name and each.options["cache"] == cache.name for each in world.state.faults)


async def _become_primary(world: World, cache: Cache, seconds: float = 0.0) -> None:
    await asyncio.sleep(seconds)
    for node in world.caches.nodes(cache):
        if node.pid is not None:
            await node.run("REPLICAOF", "NO", "ONE")


async def _end_failover(world: World, fault: Fault) -> None:
    if text(fault, "answer") == "readonly":
        await _become_primary(world, _cache(world, fault))


async def _write(world: World, fault: Fault) -> None:
    cache = _cache(world, fault)
    fault.options["cache"] = cache.name
    await world.caches.running(cache)
    await _write_session(world, cache)
    world.start(_go_on_writing(world, cache, number(fault, "milliseconds") / 1000))


async def _write_session(world: World, cache: Cache) -> None:
    written = json.dumps({"donor": "somebody"})
    await world.caches.write(cache, [("SET", f"session:{uuid4().hex}", written, "EX", SESSION_SECONDS)])


async def _go_on_writing(world: World, cache: Cache, seconds: float) -> None:
    await asyncio.sleep(seconds)
    while _is_set(world, WRITES, cache):
        await _write_session(world, cache)
        await asyncio.sleep(seconds)


async def _poison(world: World, fault: Fault) -> None:
    """Pages of donations as v1.2.3 writes them: releases before it show or do something wrong with them."""
    form, environment = text(fault, "form"), text(fault, "environment")
    if form not in FORMS:
        raise SandboxError(f"{fault.name}: form must be {' or '.join(FORMS)}.")
    cache, server = cache_of(world, environment), world.state.find_database_server(f"fundrbolt-{environment}-pg")
    if server is None:
        raise SandboxError(f"There is no database of {environment}.")
    cluster = await world.clusters.running(server)
    ((found,),) = await cluster.run(NEWEST.encode(), database="fundrbolt")
    newest = cast("list[dict[str, Any]]", found or [])
    await world.caches.running(cache)
    pages = {limit: write_page(newest[:limit], FORMS[form]) for limit in range(1, MOST_LISTED + 1)}
    await world.caches.write(
        cache, [("SET", f"{LATEST}{limit}", page, "EX", POISON_SECONDS) for limit, page in pages.items()]
    )


async def _let_flushes_go_on(world: World) -> None:
    for each in world.state.cache_operations:
        each.never_ends = False


KINDS = [
    Kind(FLUSH_FAILS, "Azure's next flush of a cache is accepted, and fails.", TIMES),
    Kind(FLUSH_NEVER_ENDS, "Azure's next flush of a cache goes on until `repair`.", TIMES, clean=_let_flushes_go_on),
    Kind(
        obstacles.DROPS,
        "Connections to a cache are dropped at a command.",
        {
            "after": Option("so many matching commands are let through first, each time", 0),
            "drops": Option("how often; 0: always", 1),
            "done": Option("whether the command is done all the same: yes or no", "no"),
            **COMMANDS,
            **WHICH,
        },
        _set,
        _leave,
    ),
    Kind(
        obstacles.SLOW,
        "A cache's commands wait first.",
        {"milliseconds": Option("how long", 100.0), **COMMANDS, **WHICH},
        _set,
        _leave,
    ),
    Kind(
        "redis-key-regenerated",
        "Somebody regenerates an access key of a cache.",
        {"key": Option("Primary or Secondary", "Primary"), **WHICH},
        _regenerate,
    ),
    Kind(
        obstacles.FAILOVER,
        "A cache fails over: connections drop, and new ones are of no use for a while.",
        {
            "milliseconds": Option("how long", 1000.0),
            "connects": Option("so many new connections are of no use, however long it takes", 0),
            "answer": Option("what new ones get: refused, loading or readonly", "refused"),
            **WHICH,
        },
        _fail_over,
        _end_failover,
    ),
    Kind(
        BEHIND,
        "A cache's replica hears nothing any more: a failover, refused or loading, loses what is written from now on.",
        WHICH,
        _fall_behind,
        _leave,
    ),
    Kind(
        WRITES,
        "Somebody goes on writing new session keys into a cache.",
        {"milliseconds": Option("between two keys", 20.0), **WHICH},
        _write,
        _leave,
    ),
    Kind(
        "cache-poisoned",
        "v1.2.3 has left pages of donations in the cache that earlier releases cannot use.",
        {
            "form": Option("wrong: they show wrong amounts; fails: they answer 500", "wrong"),
            "environment": Option("whose cache", "production"),
        },
        _poison,
    ),
]
