"""What the sandbox's own commands see of the caches, and how they fill one: routes of the control API."""

from aiohttp import web
from pydantic import BaseModel

from sandbox.errors import SandboxError
from sandbox.redis.model import Cache
from sandbox.world import World


class Which(BaseModel):
    """An environment's cache, and keys in it."""

    environment: str
    pattern: str = "*"
    keys: int = 0
    prefix: str = ""


def cache_of(world: World, environment: str) -> Cache:
    """The cache of an environment."""
    name = f"fundrbolt-{environment}-redis"
    cache = world.state.find_cache(name)
    if cache is None:
        known = ", ".join(each.name for each in world.state.caches)
        raise SandboxError(f"There is no cache {name!r}; there are {known}.")
    return cache


def routes(world: World) -> list[web.RouteDef]:
    """Behind the control API's token."""

    async def asked(request: web.Request) -> tuple[Which, Cache]:
        which = Which.model_validate_json(await request.read())
        return which, cache_of(world, which.environment)

    async def count(request: web.Request) -> web.Response:
        which, cache = await asked(request)
        return web.json_response(await world.caches.count(cache, which.pattern))

    async def fill(request: web.Request) -> web.Response:
        which, cache = await asked(request)
        await world.caches.running(cache)
        await world.caches.populate(cache, which.keys, which.prefix)
        return web.Response()

    async def deletions(request: web.Request) -> web.Response:
        _, cache = await asked(request)
        calls = world.caches.deletions.calls(cache.name)
        return web.json_response({name: each.model_dump() for name, each in calls.items()})

    async def flushes(_request: web.Request) -> web.Response:
        return web.json_response([each.model_dump(mode="json") for each in world.caches.deletions.flushes])

    return [
        web.post("/cache/count", count),
        web.post("/cache/fill", fill),
        web.post("/cache/deletions", deletions),
        web.get("/cache/flushes", flushes),
    ]
