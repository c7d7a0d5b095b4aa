"""Key Vault: one secret, read with its attributes, and given a new version.

Values stay in memory: no model of this module shows one.

Source: Key Vault REST API 7.5 and later (`azure-keyvault-secrets` 4.12).
"""

from contextlib import AsyncExitStack
from datetime import datetime
from typing import TYPE_CHECKING, Self

from pydantic import Field, SecretStr

from rollback.azure import (
    LONGEST_RETRY_WAIT_SECONDS,
    ONE_TRY,
    AzureConnection,
    azure_error,
    one_try_transport,
    our_errors,
)
from rollback.errors import PermissionMissing, ResourceMissing, RollbackError, SecretUnusable
from rollback.models import Model
from rollback.permissions import GET_SECRET

if TYPE_CHECKING:
    from azure.keyvault.secrets import KeyVaultSecret
    from azure.keyvault.secrets.aio import SecretClient


class SecretVersion(Model):
    """One version of a secret: what it holds, and what a next version must keep."""

    name: str
    version: str
    value: SecretStr
    content_type: str | None = None
    tags: dict[str, str] = Field(default_factory=dict[str, str])
    not_before: datetime | None = None
    expires: datetime | None = None


class KeyVault:
    """One vault; an async context."""

    def __init__(self, connection: AzureConnection, vault: str) -> None:
        self._connection = connection
        self._stack = AsyncExitStack()
        self.vault = vault
        self._client: SecretClient

    async def __aenter__(self) -> Self:
        from azure.keyvault.secrets.aio import SecretClient

        settings = self._connection.settings
        transport = await self._stack.enter_async_context(one_try_transport())
        client = SecretClient(
            f"https://{self.vault}.vault.azure.net",
            self._connection.credential,
            retry_total=settings.read_retries,
            retry_backoff_max=LONGEST_RETRY_WAIT_SECONDS,
            connection_timeout=settings.connect_timeout_seconds,
            read_timeout=settings.read_timeout_seconds,
            transport=transport,
        )
        self._client = await self._stack.enter_async_context(client)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    def describe(self, secret: str) -> str:
        """A secret, for messages."""
        return f"secret '{secret}' of vault '{self.vault}'"

    async def get_secret(self, secret: str) -> SecretVersion:
        """The current version; raises `SecretUnusable` where it is disabled, or may not be read, or is not there."""
        from azure.core.exceptions import HttpResponseError

        what = self.describe(secret)
        try:
            with our_errors(what):
                found = await self._client.get_secret(secret)
        except (PermissionMissing, ResourceMissing) as error:
            cause = error.__cause__
            told = azure_error(cause)[1] if isinstance(cause, HttpResponseError) else ""
            raise self._unusable(what, error, told) from error
        return _to_version(found)

    @staticmethod
    def _unusable(what: str, error: RollbackError, told: str) -> SecretUnusable:
        if "disabled" in told.lower():
            return SecretUnusable(
                f"The {what} is disabled.", remedy="Enable it, or name the one in use; nothing was touched."
            )
        if isinstance(error, ResourceMissing):
            return SecretUnusable(f"There is no {what}.", remedy="Check vault and secret in the platform file.")
        return SecretUnusable(
            f"The credential may not read the {what}.",
            remedy=f"Give it a role that has {GET_SECRET} on the secret, such as 'Key Vault Secrets Officer', or a "
            "policy with get and set.",
        )

    async def add_version(self, before: SecretVersion, value: SecretStr) -> None:
        """Give the secret a new version that keeps everything but the value; sent once."""
        with our_errors(self.describe(before.name)):
            await self._client.set_secret(
                before.name,
                value.get_secret_value(),
                content_type=before.content_type,
                tags=before.tags,
                not_before=before.not_before,
                expires_on=before.expires,
                **ONE_TRY,
            )


def _to_version(found: "KeyVaultSecret") -> SecretVersion:
    properties = found.properties
    return SecretVersion(
        name=found.name or "",
        version=properties.version or "",
        value=SecretStr(found.value or ""),
        content_type=properties.content_type,
        tags=properties.tags or {},
        not_before=properties.not_before,
        expires=properties.expires_on,
    )
