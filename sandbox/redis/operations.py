"""Long-running operations on caches: how they begin, go on after a restart of the sandbox, and are asked after."""

import asyncio
import logging
from typing import Any

from aiohttp import web

from sandbox.arm import HOST, ArmError, Call, Route
from sandbox.clock import now
from sandbox.errors import SandboxError
from sandbox.redis.model import Cache, CacheOperation
from sandbox.resources import GROUP, SUBSCRIPTION
from sandbox.web.operations import retry_after
from sandbox.world import World

log = logging.getLogger(__name__)

PROVIDER = "/providers/Microsoft.Cache"
REDIS = GROUP + PROVIDER + "/redis"
CLUSTERS = GROUP + PROVIDER + "/redisEnterprise"
LOCATION = SUBSCRIPTION + PROVIDER + "/locations/{location}"
STATUS = {"redis": "asyncOperations", "managed": "operationsStatus"}
RESULTS = "operationResults"
LOOK_SECONDS = 0.1
"""Between two looks at whether an operation that does not end was repaired."""


def require_idle(world: World, cache: Cache) -> None:
    """409 while another operation is in progress on the cache."""
    if any(each.cache == cache.name and each.status == "InProgress" for each in world.state.cache_operations):
        message = (
            f"The resource '{cache.name}' is busy processing a previous update request or is undergoing system "
            "maintenance. As such, it is currently unable to accept the update request. Please try again later."
        )
        raise ArmError(409, "Conflict", message)


def begin(call: Call, cache: Cache, operation: CacheOperation) -> dict[str, str]:
    """Let the operation begin; the headers that say where to ask after it."""
    call.world.state.cache_operations.append(operation)
    call.world.save()
    call.world.start(_perform(call.world, operation))
    return headers(call, cache, operation, first=True)


def resume(world: World) -> None:
    """Go on with the operations that were in progress when the sandbox ended."""
    for operation in world.state.cache_operations:
        if operation.status == "InProgress":
            world.start(_perform(world, operation))


async def _perform(world: World, operation: CacheOperation) -> None:
    from redis.exceptions import RedisError

    cache = world.state.find_cache(operation.cache)
    try:
        while operation.never_ends:  # noqa: ASYNC110 - kept in the state, where no event can be
            await asyncio.sleep(LOOK_SECONDS)
        await asyncio.sleep(world.pace.cache_change)
        if operation.fails or cache is None:
            raise SandboxError("An unexpected error occurred while processing the request.")  # noqa: TRY301 -- ends as any other failure
        await _work(world, cache, operation)
    except (RedisError, SandboxError, OSError) as error:
        log.warning("%s of %s failed: %s", operation.kind, operation.cache, error)
        operation.status, operation.message = "Failed", str(error)
    else:
        operation.status = "Succeeded"
    if cache is not None:
        cache.state = "Succeeded"
    operation.ended = now()
    world.save()


async def _work(world: World, cache: Cache, operation: CacheOperation) -> None:
    match operation.kind:
        case "flush":
            await world.caches.flush(cache)
            world.caches.deletions.note_flush(cache.name, "azure")
        case "update":
            cache.tags = operation.tags if operation.tags is not None else cache.tags
            cache.configuration = operation.configuration or cache.configuration
            cache.minimum_tls = operation.minimum_tls or cache.minimum_tls
            await world.caches.apply(cache)


def _url(call: Call, cache: Cache, operation: CacheOperation, kind: str) -> str:
    base = f"/subscriptions/{call.world.state.subscription_id}{PROVIDER}/locations/{cache.location}"
    return f"https://{HOST}{base}/{kind}/{operation.id}?api-version={call.request.query['api-version']}"


def headers(call: Call, cache: Cache, operation: CacheOperation, *, first: bool) -> dict[str, str]:
    """Where to ask after an operation, and when."""
    return {
        "Azure-AsyncOperation": _url(call, cache, operation, STATUS[cache.kind]),
        "Location": _url(call, cache, operation, RESULTS),
        **retry_after(call.world.pace.retry_after, first=first),
    }


def find_operation(call: Call) -> tuple[CacheOperation, Cache]:
    """The operation that a call asks after, and its cache."""
    wanted = call.names["operation"].lower()
    found = next((each for each in call.world.state.cache_operations if each.id == wanted), None)
    cache = call.world.state.find_cache(found.cache) if found is not None else None
    if found is None or cache is None:
        raise ArmError(404, "NotFound", f"The operation '{call.names['operation']}' was not found.")
    return found, cache


def status_json(call: Call, operation: CacheOperation) -> dict[str, Any]:
    """An operation as both kinds of caches tell of it."""
    told: dict[str, Any] = {
        "id": call.request.path,
        "name": operation.id,
        "status": operation.status,
        "startTime": operation.created.isoformat(),
    }
    if operation.ended is not None:
        told |= {"endTime": operation.ended.isoformat(), "percentComplete": 100.0}
    if operation.status == "Failed":
        told["error"] = {"code": "InternalServerError", "message": operation.message}
    return told


async def _status(call: Call) -> web.Response:
    operation, _ = find_operation(call)
    waits = retry_after(call.world.pace.retry_after, first=False) if operation.status == "InProgress" else {}
    return web.json_response(status_json(call, operation), headers=waits)


ROUTES = [Route("GET", f"{LOCATION}/{kind}/{{operation}}", "", _status) for kind in STATUS.values()]
