"""The platform's caches as tests reach them: by what Azure says of them, over TLS with the certificate checked."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import redis
from azure.mgmt.redis.aio import RedisManagementClient
from azure.mgmt.redisenterprise.aio import RedisEnterpriseManagementClient

CACHE, STAGING_CACHE = "fundrbolt-production-redis", "fundrbolt-staging-redis"
GROUP, STAGING_GROUP = "fundrbolt-production-rg", "fundrbolt-staging-rg"


@dataclass(frozen=True)
class Caches:
    """Both of Azure's clients, and connections to what they name."""

    redis: RedisManagementClient
    managed: RedisEnterpriseManagementClient
    ca: str

    async def place(self) -> dict[str, Any]:
        """Where production's cache is, and its primary key."""
        shown, keys = await self.redis.redis.get(GROUP, CACHE), await self.redis.redis.list_keys(GROUP, CACHE)
        return {"host": shown.host_name, "port": shown.ssl_port, "password": keys.primary_key}

    async def staging_place(self) -> dict[str, Any]:
        shown = await self.managed.redis_enterprise.get(STAGING_GROUP, STAGING_CACHE)
        database = await self.managed.databases.get(STAGING_GROUP, STAGING_CACHE, "default")
        keys = await self.managed.databases.list_keys(STAGING_GROUP, STAGING_CACHE, "default")
        return {"host": shown.host_name, "port": database.port, "password": keys.primary_key}

    @contextmanager
    def connect(self, place: dict[str, Any], client: Callable[..., Any] = redis.Redis, **options: Any) -> Iterator[Any]:
        """The genuine client, without retries of its own."""
        made = client(**place, ssl=True, ssl_ca_certs=self.ca, decode_responses=True, **options)
        try:
            yield made
        finally:
            made.close()
