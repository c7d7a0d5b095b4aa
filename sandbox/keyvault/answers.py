"""How Key Vault says things: its errors, and the JSON of secrets."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from aiohttp import web

from sandbox.keyvault.model import DEFAULT_RETENTION_DAYS, Secret, SecretVersion, Vault

NOT_FOUND_HELP = "https://go.microsoft.com/fwlink/?linkid=2125182"
ACCESS_HELP = "https://go.microsoft.com/fwlink/?linkid=2125287"


class KeyVaultError(Exception):
    """An answer that is an error, in Key Vault's shape."""

    def __init__(
        self, status: int, code: str, message: str, inner: str | None = None, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.status, self.code, self.inner, self.headers = status, code, inner, dict(headers or {})

    def response(self) -> web.Response:
        """The error as Key Vault sends it."""
        error: dict[str, Any] = {"code": self.code, "message": str(self)}
        if self.inner is not None:
            error["innererror"] = {"code": self.inner}
        return web.json_response({"error": error}, status=self.status, headers=self.headers)


def secret_not_found(name: str, version: str = "") -> KeyVaultError:
    """404 for a secret or one of its versions."""
    return KeyVaultError(
        404,
        "SecretNotFound",
        f"A secret with (name/id) {name}{'/' if version else ''}{version} was not found in this key vault. If you "
        "recently deleted this secret you may be able to recover it using the correct recovery command. For help "
        f"resolving this issue, please see {NOT_FOUND_HELP}",
    )


def deleted_not_found(name: str) -> KeyVaultError:
    """404 for a secret that is not soft-deleted."""
    return KeyVaultError(404, "SecretNotFound", f"Deleted Secret not found: {name}")


def secret_disabled(operation: str) -> KeyVaultError:
    """403 for a disabled version."""
    message = f"Operation {operation} is not allowed on a disabled secret."
    return KeyVaultError(403, "Forbidden", message, "SecretDisabled")


def deleted_but_recoverable(name: str) -> KeyVaultError:
    """409: the name belongs to a soft-deleted secret."""
    return KeyVaultError(
        409,
        "Conflict",
        f"Secret {name} is currently in a deleted but recoverable state, and its name cannot be reused; in this state, "
        "the secret can only be recovered or purged.",
        "ObjectIsDeletedButRecoverable",
    )


def bad_parameter(message: str) -> KeyVaultError:
    """400 in Key Vault's words."""
    return KeyVaultError(400, "BadParameter", message)


def throttled(retry_after: float) -> KeyVaultError:
    """429 with the seconds to wait."""
    return KeyVaultError(
        429,
        "Throttled",
        "Request was not processed because too many requests were received. Reason: VaultRequestTypeLimitReached",
        headers={"Retry-After": f"{retry_after:g}"},
    )


def _unix(instant: datetime) -> int:
    return int(instant.timestamp())


def _attributes(vault: Vault, version: SecretVersion) -> dict[str, Any]:
    customized = "" if vault.retention_days == DEFAULT_RETENTION_DAYS else "Customized"
    known = {
        "enabled": version.enabled,
        "nbf": version.not_before,
        "exp": version.expires,
        "created": _unix(version.created),
        "updated": _unix(version.updated),
        "recoveryLevel": f"{customized}Recoverable+Purgeable",
        "recoverableDays": vault.retention_days,
    }
    return {name: value for name, value in known.items() if value is not None}


def _without_none(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def item(vault: Vault, secret: Secret, version: SecretVersion, *, with_version: bool) -> dict[str, Any]:
    """A SecretItem or a SecretBundle without its value."""
    identifier = f"https://{vault.host}/secrets/{secret.name}" + (f"/{version.version}" if with_version else "")
    return _without_none(
        {
            "id": identifier,
            "contentType": version.content_type,
            "attributes": _attributes(vault, version),
            "tags": version.tags,
        }
    )


def bundle(vault: Vault, secret: Secret, version: SecretVersion) -> dict[str, Any]:
    """A SecretBundle with its value."""
    return {"value": version.value, **item(vault, secret, version, with_version=True)}


def deleted_item(vault: Vault, secret: Secret, *, with_version: bool) -> dict[str, Any]:
    """A DeletedSecretItem or a DeletedSecretBundle; no value."""
    purge_date = vault.purge_date(secret)
    return _without_none(
        {
            "recoveryId": f"https://{vault.host}/deletedsecrets/{secret.name}",
            "deletedDate": _unix(secret.deleted) if secret.deleted is not None else None,
            "scheduledPurgeDate": _unix(purge_date) if purge_date is not None else None,
            **item(vault, secret, secret.current(), with_version=with_version),
        }
    )
