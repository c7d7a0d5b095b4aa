"""An environment's cache: Azure's word about it, and the servers behind it."""

from typing import Self

from rollback.azure import AzureConnection
from rollback.cache.accounts import Account, Caches
from rollback.cache.servers import AccessKeys, Address
from rollback.cache.settings import Cache, CacheKind
from rollback.cache.topology import Finder, Topology
from rollback.permissions import CACHE_ACTIONS, check_granted


class RedisCache:
    """A cache, with the connections to its servers; an async context."""

    def __init__(self, connection: AzureConnection, settings: Cache) -> None:
        self._connection = connection
        self._settings = settings
        self._caches = Caches(connection, settings)
        self._keys = AccessKeys(self._caches.list_keys)
        self._finder: Finder | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._finder is not None:
            await self._finder.close()

    async def account(self) -> Account:
        """What Azure says of it now."""
        return await self._caches.get()

    async def find(self) -> Topology:
        """Its primaries now; raises `CacheUnreachable`, `CacheMoved` or `CacheUnusable`."""
        if self._finder is None:
            account = await self.account()
            endpoint = Address(
                host=account.host,
                port=account.port,
                certified=account.host,
                database=self._settings.redis_database,
            )
            self._finder = Finder(endpoint, self._keys, self._settings.answer_timeout_seconds)
        return await self._finder.find()

    async def check_permissions(self) -> None:
        """Make sure that the credential may read the cache and its keys; raises `PermissionMissing`."""
        managed = self._settings.kind is CacheKind.MANAGED
        kind = ("Microsoft.Cache", "redisEnterprise" if managed else "redis")
        what = f"cache '{self._settings.name}'"
        group, name = self._settings.resource_group, self._settings.name
        await check_granted(self._connection, what, group, kind, name, CACHE_ACTIONS[self._settings.kind])
