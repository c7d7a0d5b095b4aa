"""Azure Cache for Redis as Azure Resource Manager shows it: its update, access keys, flush and reboot.

*Source:* Microsoft.Cache/redis 2024-11-01.
"""

from typing import Any

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, JsonValue

from sandbox.arm import ArmError, Call, Route, collection, missing, resource_not_found
from sandbox.faults import take
from sandbox.redis.caches import POLICIES
from sandbox.redis.model import PORTS, Cache, CacheOperation, KeyType
from sandbox.redis.operations import (
    LOCATION,
    PROVIDER,
    REDIS,
    RESULTS,
    begin,
    find_operation,
    headers,
    require_idle,
    status_json,
)
from sandbox.resources import SUBSCRIPTION
from sandbox.state import State

TYPE = "Microsoft.Cache/Redis"
ACTIONS = "Microsoft.Cache/redis"
VERSION = "6.0"
LOCATIONS = {"eastus": "East US", "westus": "West US"}
SKU = {"name": "Standard", "family": "C", "capacity": 1}
FLUSH_FAILS, FLUSH_NEVER_ENDS = "redis-flush-fails", "redis-flush-never-ends"


class Loose(BaseModel):
    """A body in Azure's spelling. What it does not know is answered 501 by `require_known`."""

    model_config = ConfigDict(populate_by_name=True, extra="allow")


class Properties(Loose):
    """What of a cache can be changed, and what may come along unchanged."""

    configuration: dict[str, str] | None = Field(default=None, alias="redisConfiguration")
    minimum_tls: str | None = Field(default=None, alias="minimumTlsVersion")
    sku: dict[str, JsonValue] | None = None


class Update(Loose):
    """Azure's RedisUpdateParameters and RedisCreateParameters."""

    properties: Properties = Properties()
    tags: dict[str, str] | None = None
    location: str | None = None


class Regenerate(BaseModel):
    """Azure's RedisRegenerateKeyParameters."""

    key: KeyType = Field(alias="keyType")


class Reboot(BaseModel):
    """Azure's RedisRebootParameters."""

    kind: str = Field(alias="rebootType")


def cache_id(state: State, cache: Cache) -> str:
    """Its Azure resource id."""
    kind = "Redis" if cache.kind == "redis" else "redisEnterprise"
    return f"/subscriptions/{state.subscription_id}/resourceGroups/{cache.group}{PROVIDER}/{kind}/{cache.name}"


def cache_json(state: State, cache: Cache) -> dict[str, Any]:
    """A cache as GET shows it."""
    return {
        "id": cache_id(state, cache),
        "name": cache.name,
        "type": TYPE,
        "location": LOCATIONS[cache.location],
        "tags": cache.tags,
        "properties": {
            "provisioningState": cache.state,
            "redisVersion": VERSION,
            "sku": SKU,
            "enableNonSslPort": False,
            "disableAccessKeyAuthentication": False,
            "redisConfiguration": {"maxclients": "1000", **cache.configuration},
            "hostName": cache.address,
            "port": 6379,
            "sslPort": PORTS["redis"][0],
            "minimumTlsVersion": cache.minimum_tls,
            "publicNetworkAccess": "Enabled",
            "updateChannel": "Stable",
            "linkedServers": [],
            "privateEndpointConnections": None,
            "instances": [
                {"sslPort": 15_000, "isMaster": True, "isPrimary": True},
                {"sslPort": 15_001, "isMaster": False, "isPrimary": False},
            ],
        },
    }


def find(call: Call) -> Cache:
    """The cache that a call is about, or Azure's 404."""
    group, name = call.names["group"], call.names["name"]
    cache = call.world.state.find_cache(name)
    if cache is None or cache.kind != "redis" or cache.group.lower() != group.lower():
        raise resource_not_found(TYPE, name, group)
    return cache


def is_in(cache: Cache, group: str | None) -> bool:
    """Whether a cache is in this resource group, whose case means nothing; none: in any."""
    return group is None or cache.group.lower() == group.lower()


def keys_json(call: Call, cache: Cache) -> dict[str, str]:
    """Both access keys."""
    primary, secondary = call.world.caches.keys(cache)
    return {"primaryKey": primary, "secondaryKey": secondary}


def new_flush(call: Call, cache: Cache) -> CacheOperation:
    """A flush, as the faults that wait for it have it."""
    fault = take(call.world, FLUSH_FAILS, FLUSH_NEVER_ENDS)
    name = fault.name if fault is not None else ""
    return CacheOperation(
        kind="flush", cache=cache.name, fails=name == FLUSH_FAILS, never_ends=name == FLUSH_NEVER_ENDS
    )


def _require_policy(configuration: dict[str, str] | None) -> None:
    """400 for a policy that Redis does not have, before anything is changed."""
    named = (configuration or {}).get("maxmemory-policy")
    if named is not None and named not in POLICIES.values():
        message = f"The value '{named}' of 'maxmemory-policy' is not valid. Valid are: {', '.join(POLICIES.values())}."
        raise ArmError(400, "InvalidRequestBody", message)


def require_known(call: Call, *parts: Loose) -> None:
    """501 for what a body has and the sandbox does not honour; a null means nothing."""
    for part in parts:
        for name, value in (part.model_extra or {}).items():
            if value not in (None, {}, []):
                raise missing(call.request, f"{name} is not honoured")


async def _get(call: Call) -> web.Response:
    return web.json_response(cache_json(call.world.state, find(call)))


async def _list(call: Call) -> web.Response:
    group, state = call.names.get("group"), call.world.state
    caches = [each for each in state.caches if each.kind == "redis" and is_in(each, group)]
    return collection(
        [cache_json(state, each) for each in caches if call.may(f"{ACTIONS}/read", cache_id(state, each))]
    )


async def _update(call: Call) -> web.Response:
    """PATCH, and PUT of a cache that is there."""
    cache, wish = find(call), call.parse(Update)
    shown = cache_json(call.world.state, cache)["properties"]
    same = {name for name, value in (wish.properties.model_extra or {}).items() if shown.get(name) == value}
    for name in same | {"provisioningState", "systemData"}:
        (wish.properties.model_extra or {}).pop(name, None)
    require_known(call, wish, wish.properties)
    _require_policy(wish.properties.configuration)
    if wish.properties.sku not in (None, SKU):
        raise missing(call.request, "another sku is not honoured")
    require_idle(call.world, cache)
    operation = CacheOperation(
        kind="update",
        cache=cache.name,
        tags=wish.tags,
        configuration={**cache.configuration, **(wish.properties.configuration or {})},
        minimum_tls=wish.properties.minimum_tls,
    )
    cache.state = "Updating"
    told = begin(call, cache, operation)
    put = call.request.method == "PUT"
    return web.json_response(cache_json(call.world.state, cache), status=200 if put else 202, headers=told)


async def _put(call: Call) -> web.Response:
    if call.world.state.find_cache(call.names["name"]) is None:
        raise missing(call.request, "making a cache is not honoured")
    return await _update(call)


async def _list_keys(call: Call) -> web.Response:
    return web.json_response(keys_json(call, find(call)))


async def _regenerate(call: Call) -> web.Response:
    """The old key is worth nothing from now on."""
    cache, wanted = find(call), call.parse(Regenerate)
    require_idle(call.world, cache)
    cache.key_numbers[wanted.key] += 1
    call.world.save()
    await call.world.caches.apply(cache)
    return web.json_response(keys_json(call, cache))


async def _flush(call: Call) -> web.Response:
    cache = find(call)
    require_idle(call.world, cache)
    return web.Response(status=202, headers=begin(call, cache, new_flush(call, cache)))


async def _reboot(call: Call) -> web.Response:
    """The cache has two nodes: its keys outlive it, the connections do not."""
    cache = find(call)
    if call.parse(Reboot).kind not in ("PrimaryNode", "SecondaryNode"):
        raise missing(call.request, "a reboot of all nodes, which would lose all keys, is not honoured")
    call.world.caches.drop(cache.name)
    return web.json_response({"message": "Reboot operation enqueued."})


async def _result(call: Call) -> web.Response:
    operation, cache = find_operation(call)
    if operation.status == "InProgress":
        return web.Response(status=202, headers=headers(call, cache, operation, first=False))
    if operation.status == "Failed":
        raise ArmError(500, "InternalServerError", operation.message)
    if operation.kind == "update" and cache.kind == "redis":
        return web.json_response(cache_json(call.world.state, cache))
    return web.json_response(status_json(call, operation))


ONE = REDIS + "/{name}"
ROUTES = [
    Route("GET", SUBSCRIPTION + PROVIDER + "/redis", "", _list),
    Route("GET", REDIS, f"{ACTIONS}/read", _list),
    Route("GET", ONE, f"{ACTIONS}/read", _get),
    Route("PATCH", ONE, f"{ACTIONS}/write", _update),
    Route("PUT", ONE, f"{ACTIONS}/write", _put),
    Route("POST", ONE + "/listKeys", f"{ACTIONS}/listKeys/action", _list_keys),
    Route("POST", ONE + "/regenerateKey", f"{ACTIONS}/regenerateKey/action", _regenerate),
    Route("POST", ONE + "/flush", f"{ACTIONS}/flush/action", _flush),
    Route("POST", ONE + "/forceReboot", f"{ACTIONS}/forceReboot/action", _reboot),
    Route("GET", f"{LOCATION}/{RESULTS}/{{operation}}", "", _result),
]
