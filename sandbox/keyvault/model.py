"""Vaults, secrets and resolved references as they are kept. Values are never part of a `repr`."""

from datetime import datetime, timedelta
from typing import Literal
from uuid import uuid4

from pydantic import BaseModel, Field, JsonValue

from sandbox.clock import now

DEFAULT_RETENTION_DAYS = 90


class SecretVersion(BaseModel):
    """One version: its value never changes, its attributes do."""

    version: str = Field(default_factory=lambda: uuid4().hex)
    value: str = Field(repr=False)
    content_type: str | None = None
    tags: dict[str, str] | None = None
    enabled: bool = True
    not_before: int | None = None
    """Unix seconds. Told, not enforced: Key Vault gives secrets out before it and after `expires`."""
    expires: int | None = None
    created: datetime = Field(default_factory=now)
    updated: datetime = Field(default_factory=now)


class Secret(BaseModel):
    """A secret with its versions, oldest first."""

    name: str
    versions: list[SecretVersion]
    deleted: datetime | None = None
    """Soft-deleted since then: it can be recovered or purged, and its name is taken."""

    def current(self) -> SecretVersion:
        """The version that is meant when none is named."""
        return self.versions[-1]

    def find(self, version: str) -> SecretVersion | None:
        """The version called `version`; the current one for an empty name."""
        if not version:
            return self.current()
        return next((each for each in self.versions if each.version == version.lower()), None)


class AccessPolicy(BaseModel):
    """What one principal may do in a vault without role-based access control."""

    object_id: str
    """Of a user, an application or a group."""
    permissions: dict[str, list[str]]
    """By kind: keys, secrets, certificates, storage."""


class Vault(BaseModel):
    """A vault and everything in it."""

    name: str
    group: str
    rbac: bool = True
    """Role-based access control; else `policies` say who may do what."""
    policies: list[AccessPolicy] = []
    secrets: list[Secret] = []
    retention_days: int = DEFAULT_RETENTION_DAYS
    tags: dict[str, str] = {}
    settings: dict[str, JsonValue] = {}
    """Properties that were changed and that nothing here acts upon."""
    created: datetime = Field(default_factory=now)

    @property
    def host(self) -> str:
        """Its name on the data plane."""
        return f"{self.name}.vault.azure.net"

    def find(self, name: str) -> Secret | None:
        """The secret called `name`, deleted or not. Names have no case."""
        return next((each for each in self.secrets if each.name.lower() == name.lower()), None)

    def find_active(self, name: str) -> Secret | None:
        """The secret called `name` unless it is soft-deleted."""
        secret = self.find(name)
        return secret if secret is not None and secret.deleted is None else None

    def purge_date(self, secret: Secret) -> datetime | None:
        """When a soft-deleted secret is gone for good."""
        return secret.deleted + timedelta(days=self.retention_days) if secret.deleted is not None else None


Status = Literal[
    "Initialized",
    "Resolved",
    "InvalidSyntax",
    "MSINotEnabled",
    "VaultNotFound",
    "SecretNotFound",
    "SecretVersionNotFound",
    "AccessToKeyVaultDenied",
    "OtherReasons",
    "FetchTimedOut",
    "UnauthorizedClient",
]


class Resolution(BaseModel):
    """What became of one reference when it was last fetched."""

    reference: str
    status: Status
    details: str
    vault: str | None = None
    secret: str | None = None
    version: str | None = None
    """The version that the reference itself names."""
    active_version: str | None = None
    """The version whose value the app gets."""
    value: str | None = Field(default=None, repr=False)


class References(BaseModel):
    """The cache of a slot's references. It moves with the content in a swap."""

    basis: str = ""
    """Digest of the configuration for which they were fetched."""
    fetched: datetime | None = None
    by_setting: dict[str, Resolution] = {}
