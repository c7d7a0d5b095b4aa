"""Azure Managed Redis as Azure Resource Manager shows it: a cluster and its database, access keys and flush.

*Source:* Microsoft.Cache/redisEnterprise 2025-07-01.
"""

from typing import Any

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field

from sandbox.arm import Call, Route, collection, resource_not_found
from sandbox.redis.model import PORTS, Cache, KeyType
from sandbox.redis.operations import CLUSTERS, PROVIDER, begin, require_idle
from sandbox.redis.resources import LOCATIONS, cache_id, is_in, keys_json, new_flush
from sandbox.resources import SUBSCRIPTION
from sandbox.state import State

TYPE, DATABASE_TYPE = "Microsoft.Cache/redisEnterprise", "Microsoft.Cache/redisEnterprise/databases"
DATABASE = "default"
VERSION = "7.4"


class Regenerate(BaseModel):
    """Azure's RegenerateKeyParameters."""

    key: KeyType = Field(alias="keyType")


class Flush(BaseModel):
    """Azure's FlushParameters: linked databases, of which there are none."""

    model_config = ConfigDict(extra="forbid")

    ids: list[str] | None = Field(default=None, max_length=0)


def cluster_json(state: State, cache: Cache) -> dict[str, Any]:
    """A cluster as GET shows it."""
    return {
        "id": cache_id(state, cache),
        "name": cache.name,
        "type": TYPE,
        "kind": "v2",
        "location": LOCATIONS[cache.location],
        "tags": cache.tags,
        "sku": {"name": "Balanced_B5"},
        "properties": {
            "provisioningState": cache.state,
            "resourceState": "Running" if cache.state == "Succeeded" else "Updating",
            "hostName": cache.address,
            "redisVersion": VERSION,
            "minimumTlsVersion": cache.minimum_tls,
            "highAvailability": "Enabled",
            "redundancyMode": "ZR",
            "publicNetworkAccess": "Enabled",
            "privateEndpointConnections": [],
        },
    }


def database_json(state: State, cache: Cache) -> dict[str, Any]:
    """A cluster's database as GET shows it."""
    return {
        "id": f"{cache_id(state, cache)}/databases/{DATABASE}",
        "name": DATABASE,
        "type": DATABASE_TYPE,
        "properties": {
            "provisioningState": cache.state,
            "resourceState": "Running" if cache.state == "Succeeded" else "Updating",
            "clientProtocol": "Encrypted",
            "port": PORTS["managed"][0],
            "clusteringPolicy": "OSSCluster",
            "evictionPolicy": cache.configuration["maxmemory-policy"],
            "modules": [],
            "redisVersion": VERSION,
            "deferUpgrade": "NotDeferred",
            "accessKeysAuthentication": "Enabled",
        },
    }


def find(call: Call) -> Cache:
    """The cluster that a call is about, or Azure's 404."""
    group, name = call.names["group"], call.names["name"]
    cache = call.world.state.find_cache(name)
    if cache is None or cache.kind != "managed" or cache.group.lower() != group.lower():
        raise resource_not_found(TYPE, name, group)
    database = call.names.get("database", DATABASE)
    if database.lower() != DATABASE:
        raise resource_not_found(DATABASE_TYPE, f"{name}/{database}", group)
    return cache


async def _get(call: Call) -> web.Response:
    return web.json_response(cluster_json(call.world.state, find(call)))


async def _list(call: Call) -> web.Response:
    group, state = call.names.get("group"), call.world.state
    caches = [each for each in state.caches if each.kind == "managed" and is_in(each, group)]
    return collection([cluster_json(state, each) for each in caches if call.may(f"{TYPE}/read", cache_id(state, each))])


async def _get_database(call: Call) -> web.Response:
    return web.json_response(database_json(call.world.state, find(call)))


async def _list_databases(call: Call) -> web.Response:
    return collection([database_json(call.world.state, find(call))])


async def _list_keys(call: Call) -> web.Response:
    return web.json_response(keys_json(call, find(call)))


async def _regenerate(call: Call) -> web.Response:
    """The old key is worth nothing from now on. Both keys are in the answer where it is not accepted first."""
    cache, wanted = find(call), call.parse(Regenerate)
    require_idle(call.world, cache)
    cache.key_numbers[wanted.key] += 1
    call.world.save()
    await call.world.caches.apply(cache)
    return web.json_response(keys_json(call, cache))


async def _flush(call: Call) -> web.Response:
    cache = find(call)
    if call.body:
        call.parse(Flush)
    require_idle(call.world, cache)
    return web.Response(status=202, headers=begin(call, cache, new_flush(call, cache)))


ONE = CLUSTERS + "/{name}"
DATABASES = ONE + "/databases"
DB = DATABASES + "/{database}"
ROUTES = [
    Route("GET", SUBSCRIPTION + PROVIDER + "/redisEnterprise", "", _list),
    Route("GET", CLUSTERS, f"{TYPE}/read", _list),
    Route("GET", ONE, f"{TYPE}/read", _get),
    Route("GET", DATABASES, f"{DATABASE_TYPE}/read", _list_databases),
    Route("GET", DB, f"{DATABASE_TYPE}/read", _get_database),
    Route("POST", DB + "/listKeys", f"{DATABASE_TYPE}/listKeys/action", _list_keys),
    Route("POST", DB + "/regenerateKey", f"{DATABASE_TYPE}/regenerateKey/action", _regenerate),
    Route("POST", DB + "/flush", f"{DATABASE_TYPE}/flush/action", _flush),
]
