"""How the platform's caches stand in the beginning."""

from datetime import timedelta
from urllib.parse import quote

from sandbox.clock import now
from sandbox.redis.caches import Caches, access_key
from sandbox.redis.model import PORTS, Cache
from sandbox.state import State

PRODUCTION_CACHE, STAGING_CACHE = "fundrbolt-production-redis", "fundrbolt-staging-redis"
AGE = timedelta(days=40)


def furnish(state: State, caches: Caches) -> None:
    """Add the caches. They take their addresses now; their processes start when somebody needs them."""
    state.caches = [
        Cache(
            name=PRODUCTION_CACHE,
            group="fundrbolt-production-rg",
            location=state.location,
            kind="redis",
            address=caches.address_of(PRODUCTION_CACHE, "redis"),
            created=now() - AGE,
            tags={"environment": "production", "cost-center": "fundrbolt"},
        ),
        Cache(
            name=STAGING_CACHE,
            group="fundrbolt-staging-rg",
            location=state.location,
            kind="managed",
            address=caches.address_of(STAGING_CACHE, "managed"),
            created=now() - AGE,
            tags={"environment": "staging"},
            configuration={"maxmemory-policy": "VolatileLRU"},
        ),
    ]


def redis_url(cache: Cache, seed: str) -> str:
    """What an app connects with, in the sandbox with this seed. It holds the primary access key."""
    key = quote(access_key(seed, cache, "Primary"), safe="")
    return f"rediss://:{key}@{cache.address}:{PORTS[cache.kind][0]}/0"
