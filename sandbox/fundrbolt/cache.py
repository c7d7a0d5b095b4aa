"""The connection to the cache. Made when it is first needed; after a failure nobody waits for it again for a moment."""

import time
from typing import Any

from redis.asyncio import Redis, RedisCluster
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from sandbox.fundrbolt.pages import CacheUnavailableError
from sandbox.fundrbolt.settings import CacheSettings

PATIENCE_SECONDS = 0.5
REST_SECONDS = 1.0


class Cache:
    """One pool of connections."""

    def __init__(self, settings: CacheSettings) -> None:
        self._settings = settings
        self._rests_until = 0.0
        # Any: the client's annotations are partial.
        self._made: Any = None

    async def close(self) -> None:
        """Let go of the cache."""
        if self._made is not None:
            await self._made.aclose()

    async def check(self) -> None:
        """Ask for nothing."""
        await self._do("PING")

    async def get(self, key: str) -> str | None:
        """What is under a key."""
        return await self._do("GET", key)

    async def put(self, key: str, value: str, seconds: int) -> None:
        """Keep something for so long."""
        await self._do("SET", key, value, "EX", seconds)

    async def _do(self, *command: str | int) -> Any:
        if time.monotonic() < self._rests_until:
            raise CacheUnavailableError("it failed just now")
        try:
            return await self._client().execute_command(*command)
        except (RedisError, OSError, ValueError) as error:
            self._rests_until = time.monotonic() + REST_SECONDS
            raise CacheUnavailableError(type(error).__name__) from error

    def _client(self) -> Any:
        if self._made is None:
            kind: Any = RedisCluster if self._settings.clustered else Redis
            encrypted = self._settings.url.startswith("rediss:")
            self._made = kind.from_url(
                self._settings.url,
                **({"ssl_ca_certs": self._settings.authorities} if encrypted else {}),
                decode_responses=True,
                socket_timeout=PATIENCE_SECONDS,
                socket_connect_timeout=PATIENCE_SECONDS,
                # Once: a connection that the cache has dropped meanwhile is made again.
                retry=Retry(NoBackoff(), 1),
            )
        return self._made
