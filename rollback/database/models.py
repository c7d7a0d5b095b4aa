"""Flexible servers as we know them."""

from datetime import datetime
from ipaddress import IPv4Address

from pydantic import Field

from rollback.models import Model

RUN_TAG = "rollback-run"
"""On a restored server: the run that made it. So that it is known again, and nobody else's is taken for it."""
READ_ONLY = "default_transaction_read_only"
"""The server parameter of the fence: dynamic, and refuses every client's write."""


class ServerId(Model):
    """A server's place in the subscription."""

    resource_group: str
    name: str

    def __str__(self) -> str:
        return f"server '{self.name}' in resource group '{self.resource_group}'"

    def path(self, subscription: str) -> str:
        """Its Azure resource id."""
        group = f"/subscriptions/{subscription}/resourceGroups/{self.resource_group}"
        return f"{group}/providers/Microsoft.DBforPostgreSQL/flexibleServers/{self.name}"


class FirewallRule(Model):
    """Addresses that a server lets in. From 0.0.0.0 to 0.0.0.0 means: every service of Azure's."""

    name: str
    start: str
    end: str

    @property
    def is_for_azure(self) -> bool:
        """Whether it is the rule that lets all of Azure in."""
        return self.start == self.end == "0.0.0.0"  # noqa: S104 - Azure's own notation, nothing is bound

    def covers(self, address: str) -> bool:
        """Whether an address is let in by the range."""
        return IPv4Address(self.start) <= IPv4Address(address) <= IPv4Address(self.end)

    def __str__(self) -> str:
        return f"{self.name} ({'Azure services' if self.is_for_azure else f'{self.start} to {self.end}'})"


class Parameter(Model):
    """A server parameter."""

    name: str
    value: str
    is_default: bool
    is_dynamic: bool = True
    is_pending_restart: bool = False


class Fence(Model):
    """What keeps writers out of a server: which of its settings are turned, and how they were before."""

    server: ServerId
    host: str
    database: str
    role: str
    """The one that the apps sign in as."""
    read_only: Parameter | None
    """The parameter as it was; none where it is left alone."""
    rules: tuple[FirewallRule, ...]
    """Those that are removed."""
    bars_role: bool

    @property
    def is_there(self) -> bool:
        """Whether there is anything of it."""
        return bool(self.read_only or self.rules or self.bars_role)


class Administrator(Model):
    """An Entra administrator: signs in with a token under its name."""

    object_id: str
    name: str
    kind: str
    tenant_id: str | None = None


class Server(Model):
    """A flexible server at one moment."""

    id: ServerId
    location: str
    state: str
    host: str
    version: str = ""
    tags: dict[str, str] = Field(default_factory=dict[str, str])
    high_availability: str = "Disabled"
    backup_retention_days: int | None = None
    geo_redundant_backup: str = "Disabled"
    earliest_restore_point: datetime | None = None
    subnet: str | None = None
    """Of a server with private access."""
    dns_zone: str | None = None

    @property
    def is_private(self) -> bool:
        """Whether it is reached through a virtual network only; it has no firewall rules then."""
        return self.subnet is not None


class ServerSettings(Model):
    """What a restored server must have as its source has it. Azure carries none of it over."""

    firewall_rules: tuple[FirewallRule, ...] = ()
    parameters: tuple[Parameter, ...] = ()
    """Those that differ from their default."""
    administrators: tuple[Administrator, ...] = ()
    tags: dict[str, str] = Field(default_factory=dict[str, str])
    high_availability: str = "Disabled"
    backup_retention_days: int | None = None
    geo_redundant_backup: str = "Disabled"
