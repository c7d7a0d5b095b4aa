"""Flexible servers as they are kept: what Azure Resource Manager shows and changes. The data lies in `clusters`."""

from datetime import datetime, timedelta
from typing import Literal
from uuid import uuid4

from pydantic import BaseModel, Field, JsonValue

from sandbox.clock import now

ServerState = Literal[
    "Ready", "Dropping", "Disabled", "Starting", "Stopping", "Stopped", "Updating", "Restarting", "Inaccessible",
    "Provisioning",
]  # fmt: skip
PrincipalType = Literal["User", "Group", "ServicePrincipal", "Unknown"]


class FirewallRule(BaseModel):
    """Addresses that may connect; 0.0.0.0 to 0.0.0.0 stands for everything within Azure."""

    name: str
    start: str
    end: str


class Administrator(BaseModel):
    """A principal of the directory that signs in as the role of its name, with a token."""

    object_id: str
    name: str
    kind: PrincipalType
    tenant: str


class Backup(BaseModel):
    """One full backup."""

    name: str
    source: Literal["Automatic", "Customer Initiated"]
    completed: datetime


class Network(BaseModel):
    """Public access with firewall rules, or a place in a virtual network."""

    subnet: str | None = None
    dns_zone: str | None = None

    @property
    def private(self) -> bool:
        """Whether it is reached through the virtual network only."""
        return self.subnet is not None


class FlexibleServer(BaseModel):
    """One server."""

    name: str
    group: str
    location: str
    address: str
    """`fullyQualifiedDomainName`: a loopback address of its own."""
    created: datetime
    state: ServerState = "Ready"
    origin: str | None = None
    """Which server it was restored from; None: it was there in the beginning."""
    earliest: datetime | None = None
    """The first instant it can be restored to, as far as its backups go; None: no backup yet."""
    retention_days: int = 7
    geo_backup: bool = False
    tags: dict[str, str] = {}
    sku: dict[str, str] = {"name": "Standard_D2ds_v5", "tier": "GeneralPurpose"}
    storage_gb: int = 128
    auto_grow: str = "Disabled"
    high_availability: str = "Disabled"
    maintenance: dict[str, JsonValue] = {"customWindow": "Disabled", "dayOfWeek": 0, "startHour": 0, "startMinute": 0}
    network: Network = Network()
    password_auth: bool = True
    entra_auth: bool = True
    firewall_rules: list[FirewallRule] = []
    administrators: list[Administrator] = []
    parameters: dict[str, str] = {}
    """Those that differ from the default."""
    pending_restart: list[str] = []
    """Parameters that were changed and hold only after a restart."""
    backups: list[Backup] = []
    unreachable: bool = False
    """Connections get no answer, because of a fault."""

    def earliest_restore(self) -> datetime | None:
        """The first instant that it can be restored to now."""
        if self.earliest is None:
            return None
        return max(self.earliest, now() - timedelta(days=self.retention_days))

    def find_rule(self, name: str) -> FirewallRule | None:
        """The firewall rule called `name`; names have no case."""
        return next((rule for rule in self.firewall_rules if rule.name.lower() == name.lower()), None)

    def find_administrator(self, object_id: str) -> Administrator | None:
        """The administrator with this object id."""
        return next((each for each in self.administrators if each.object_id == object_id.lower()), None)


OperationKind = Literal[
    "restore", "update", "delete", "start", "stop", "restart", "put firewall rule", "delete firewall rule",
    "set parameter", "add administrator", "remove administrator", "back up", "blocking",
]  # fmt: skip


class ServerOperation(BaseModel):
    """A long-running operation on a server. While it is in progress nothing else may change the server."""

    id: str = Field(default_factory=lambda: str(uuid4()))
    kind: OperationKind
    server: str
    group: str
    location: str
    created: datetime = Field(default_factory=now)
    ended: datetime | None = None
    status: Literal["InProgress", "Succeeded", "Failed"] = "InProgress"
    code: str = ""
    message: str = ""
    """Why it failed, in Azure's words."""
    change: dict[str, JsonValue] = {}
    """What is to be changed, in the words of its kind."""
    source: str = ""
    """The server that is restored from."""
    point: datetime | None = None
    """The instant that is restored."""
    fails: bool = False
    never_ends: bool = False
