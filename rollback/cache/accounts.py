"""Azure's word about a cache: its address, and its access keys.

Source: Microsoft.Cache/redis 2024-11-01 (`azure-mgmt-redis` 14.5) and Microsoft.Cache/redisEnterprise 2025-07-01
(`azure-mgmt-redisenterprise` 3.1).
"""

from typing import Any

from pydantic import SecretStr

from rollback.azure import AzureConnection, our_errors
from rollback.cache.settings import Cache, CacheKind
from rollback.errors import CacheUnusable
from rollback.models import Model

MANAGED_PORT = 10000
TLS_PORT = 6380


class Account(Model):
    """A cache as Azure describes it."""

    host: str
    port: int
    description: str
    """Kind, tier and size, for people."""
    state: str
    """`Succeeded`, but where Azure is changing it."""


class Caches:
    """One cache at Azure."""

    def __init__(self, connection: AzureConnection, settings: Cache) -> None:
        self._connection = connection
        self._settings = settings
        self._what = f"cache '{settings.name}' in resource group '{settings.resource_group}'"

    async def get(self) -> Account:
        """Where it is; raises `ResourceMissing`, or `CacheUnusable` where it has no address yet."""
        managed = self._settings.kind is CacheKind.MANAGED
        account = await (self._get_managed() if managed else self._get_redis())
        if not account.host:
            raise CacheUnusable(f"The {self._what} has no address ({account.state}).", remedy="Wait until it is there.")
        return account

    async def _get_redis(self) -> Account:
        from azure.mgmt.redis.aio import RedisManagementClient

        async with self._connection.client(RedisManagementClient) as client:
            with our_errors(self._what):
                found: Any = await client.redis.get(self._settings.resource_group, self._settings.name)
        sku = f"{_word(found.sku.name)} {_word(found.sku.family)}{found.sku.capacity}"
        return Account(
            host=found.host_name or "",
            port=found.ssl_port or TLS_PORT,
            description=f"Azure Cache for Redis, {sku}",
            state=_word(found.provisioning_state),
        )

    async def _get_managed(self) -> Account:
        from azure.mgmt.redisenterprise.aio import RedisEnterpriseManagementClient

        names = (self._settings.resource_group, self._settings.name)
        async with self._connection.client(RedisEnterpriseManagementClient) as client:
            with our_errors(self._what):
                cluster: Any = await client.redis_enterprise.get(*names)
                database: Any = await client.databases.get(*names, self._settings.database)
        return Account(
            host=cluster.host_name or "",
            port=database.port or MANAGED_PORT,
            description=f"Azure Managed Redis, {_word(cluster.sku.name)}, {_word(database.clustering_policy)}",
            state=_word(database.provisioning_state),
        )

    async def list_keys(self) -> tuple[SecretStr, ...]:
        """The access keys, primary first. They stay in memory."""
        found: Any = await (self._list_managed() if self._settings.kind is CacheKind.MANAGED else self._list_redis())
        return tuple(SecretStr(each) for each in (found.primary_key, found.secondary_key) if each)

    async def _list_redis(self) -> object:
        from azure.mgmt.redis.aio import RedisManagementClient

        async with self._connection.client(RedisManagementClient) as client:
            with our_errors(f"access keys of {self._what}"):
                return await client.redis.list_keys(self._settings.resource_group, self._settings.name)

    async def _list_managed(self) -> object:
        from azure.mgmt.redisenterprise.aio import RedisEnterpriseManagementClient

        names = (self._settings.resource_group, self._settings.name, self._settings.database)
        async with self._connection.client(RedisEnterpriseManagementClient) as client:
            with our_errors(f"access keys of {self._what}"):
                return await client.databases.list_keys(*names)


def _word(value: object) -> str:
    """An SDK's enumeration, or text, as text."""
    return str(getattr(value, "value", value) or "unknown")
