"""What is where: everything that survives down and up. Azure's names, as far as it has one."""

from datetime import datetime
from typing import Literal
from uuid import uuid4

from pydantic import BaseModel, Field, JsonValue

from sandbox.clock import now
from sandbox.deployments.model import ArmDeployment, ArmWrite
from sandbox.github.model import GitHub
from sandbox.keyvault.model import References, Vault
from sandbox.postgresql.model import FlexibleServer, ServerOperation
from sandbox.providers.model import PlainResource
from sandbox.redis.model import Cache, CacheOperation
from sandbox.static_sites.model import FrontendDeployment, StaticSite

PRODUCTION = "production"


def new_id() -> str:
    """An identifier as Azure makes them."""
    return str(uuid4())


class Deployment(BaseModel):
    """One entry of a slot's deployment history."""

    id: str = Field(default_factory=new_id)
    image: str
    message: str
    author: str = "GitHub Actions"
    started: datetime = Field(default_factory=now)
    ended: datetime = Field(default_factory=now)


class ConnectionString(BaseModel):
    """A connection string and its kind (`PostgreSQL`, `Custom`, …)."""

    value: str
    type: str = "Custom"


class Content(BaseModel):
    """What a swap moves from slot to slot. Sticky settings are sorted out by name at that moment."""

    linux_fx_version: str
    settings: dict[str, str] = {}
    connection_strings: dict[str, ConnectionString] = {}
    config: dict[str, JsonValue] = {}
    deployments: list[Deployment] = []
    error_share: float = 0.0
    """Share (0 to 1) of requests that this build answers 500 because of a fault."""


class RampUpRule(BaseModel):
    """Send a share of the users who ask this slot to another one."""

    name: str = ""
    actionHostName: str = ""  # noqa: N815 -- Azure's own spelling: the rule is echoed as it came
    reroutePercentage: float = 0.0  # noqa: N815 -- as above


class SwapStatus(BaseModel):
    """The last successful swap that a slot took part in."""

    timestamp: datetime
    source: str
    destination: str


class Slot(BaseModel):
    """A place with a host name, and what stays with it in a swap."""

    name: str
    host: str
    content: Content
    state: Literal["Running", "Stopped"] = "Running"
    ramp_up_rules: list[RampUpRule] = []
    auto_swap_slot: str | None = None
    references: References = References()
    """Of its app settings to Key Vault. Moves in a swap, though it is kept beside the content."""
    tags: dict[str, str] = {}
    properties: dict[str, JsonValue] = {}
    """Properties of the site itself that were changed; they stay with the place."""
    prepared_for: str | None = None
    """The slot whose sticky settings are applied here: a swap with preview waits to be completed."""
    config: dict[str, JsonValue] = {}
    last_modified: datetime
    swap_status: SwapStatus | None = None
    error_share: float = 0.0
    """Share (0 to 1) of requests to this host name that are answered 500 because of a fault."""
    cold_answers: int = 0
    """So many of the next answers are 503, each after `cold_seconds`."""
    cold_seconds: float = 0.0


class Failure(BaseModel):
    """How an operation failed, in Azure's words."""

    status: int
    code: str
    message: str


OperationKind = Literal["swap", "blocking"]


class Operation(BaseModel):
    """A long-running operation on a site. While it is in progress nothing else may change the site."""

    id: str = Field(default_factory=new_id)
    kind: OperationKind
    name: str = "SwapSiteSlots"
    created: datetime = Field(default_factory=now)
    source: str = PRODUCTION
    target: str = PRODUCTION
    by: Literal["client", "rival", "auto-swap"] = "client"
    request_id: str = ""
    switched: bool = False
    status: Literal["in progress", "succeeded", "failed"] = "in progress"
    failure: Failure | None = None
    late_seconds: float = 0.0
    """Wait so long before anything happens, because of a fault."""
    fails: bool = False
    never_ends: bool = False


class Site(BaseModel):
    """An App Service app with its slots; production is the slot of that name."""

    environment: str
    group: str
    name: str
    plan: str
    instances: int = 1
    """How many machines of its plan each slot runs on."""
    slots: dict[str, Slot]
    sticky_settings: list[str] = []
    sticky_connection_strings: list[str] = []
    operations: list[Operation] = []

    def operation(self) -> Operation | None:
        """What is in progress on this site."""
        return next((each for each in self.operations if each.status == "in progress"), None)


class Swap(BaseModel):
    """One executed swap, as the sandbox's own log tells it."""

    time: datetime
    site: str
    source: str
    target: str
    source_image_before: str
    target_image_before: str
    source_image_after: str
    target_image_after: str
    operation_id: str
    request_id: str
    by: str


class Principal(BaseModel):
    """Somebody or something in the directory that can be given roles."""

    name: str
    """How the sandbox's own commands call it."""
    kind: Literal["User", "ServicePrincipal", "Group"]
    object_id: str
    display_name: str
    client_id: str | None = None
    """Of an application."""
    user_name: str | None = None
    """Of a user: the user principal name."""
    groups: list[str] = []
    """Object ids of the groups that it is a member of."""
    denied: list[str] = []
    """Actions and data actions that a fault takes away, whatever the roles say."""


class Permissions(BaseModel):
    """What a role permits. Azure's wildcards hold."""

    actions: list[str] = []
    not_actions: list[str] = []
    data_actions: list[str] = []
    not_data_actions: list[str] = []


class RoleDefinition(BaseModel):
    """A role, built-in or custom."""

    id: str = Field(default_factory=new_id)
    name: str
    description: str = ""
    built_in: bool = False
    permissions: Permissions
    assignable_scopes: list[str] = ["/"]
    created: datetime = Field(default_factory=now)


class RoleAssignment(BaseModel):
    """A principal has a role on a scope and on everything below it."""

    id: str = Field(default_factory=new_id)
    scope: str
    principal_id: str
    role_id: str
    created: datetime = Field(default_factory=now)


class ManagementLock(BaseModel):
    """Forbids changes or deletions on its scope and below."""

    name: str
    scope: str
    level: Literal["CanNotDelete", "ReadOnly"]
    notes: str | None = None
    owners: list[dict[str, JsonValue]] | None = None


class Component(BaseModel):
    """What can be changed of production's Application Insights component."""

    tags: dict[str, str] = {"environment": PRODUCTION}
    properties: dict[str, JsonValue] = {}


class Fault(BaseModel):
    """Something broken on purpose."""

    name: str
    options: dict[str, str | float | int] = {}
    skip: int = 0
    """So many matching requests are let through first."""
    left: int | None = None
    """How many requests it still hits; None: it holds until repaired."""
    before: dict[str, JsonValue] = {}
    """What must be put back when it is repaired."""


class State(BaseModel):
    """The whole world."""

    tenant_id: str
    subscription_id: str
    location: str
    groups: list[str]
    group_tags: dict[str, dict[str, str]] = {}
    """By the group's name; those without tags are not in it."""
    principals: list[Principal]
    role_definitions: list[RoleDefinition] = []
    """The custom ones."""
    role_assignments: list[RoleAssignment] = []
    locks: list[ManagementLock] = []
    rollback_roles: list[RoleDefinition] = []
    """What the rollback principal is given instead of Owner; they outlive a reset."""
    sites: list[Site]
    vaults: list[Vault] = []
    database_servers: list[FlexibleServer] = []
    database_operations: list[ServerOperation] = []
    caches: list[Cache] = []
    cache_operations: list[CacheOperation] = []
    static_sites: list[StaticSite] = []
    frontend_deployments: list[FrontendDeployment] = []
    """Every deployment of a static site since the last reset, oldest first."""
    component: Component = Component()
    plain_resources: list[PlainResource] = []
    arm_deployments: list[ArmDeployment] = []
    """The history of deployments, oldest first."""
    arm_writes: list[ArmWrite] = []
    """Every change that a deployment sent, in that order."""
    github: GitHub = GitHub()
    faults: list[Fault] = []
    swaps: list[Swap] = []
    tokens_issued: int = 0
    tokens_refused: int = 0
    """Tokens with a number up to this one are refused as expired."""
    token_lifetime_seconds: int = 3599

    def find_site(self, group: str, name: str) -> Site | None:
        """The site, or None; Azure compares names without their case."""
        wanted = (group.lower(), name.lower())
        return next((site for site in self.sites if (site.group.lower(), site.name.lower()) == wanted), None)

    def find_vault(self, name: str) -> Vault | None:
        """The vault called `name`; names have no case."""
        return next((vault for vault in self.vaults if vault.name.lower() == name.lower()), None)

    def find_vault_host(self, host: str) -> Vault | None:
        """The vault behind a host name of *.vault.azure.net."""
        return next((vault for vault in self.vaults if vault.host == host.lower()), None)

    def find_database_server(self, name: str) -> FlexibleServer | None:
        """The PostgreSQL server called `name`: their names are taken for everybody, and have no case."""
        return next((server for server in self.database_servers if server.name.lower() == name.lower()), None)

    def find_cache(self, name: str) -> Cache | None:
        """The cache called `name`: their names are taken for everybody, and have no case."""
        return next((cache for cache in self.caches if cache.name.lower() == name.lower()), None)

    def find_static_site(self, name: str) -> StaticSite | None:
        """The static site called `name`: their names are host names, so nobody else has them."""
        return next((site for site in self.static_sites if site.name.lower() == name.lower()), None)

    def find_static_host(self, host: str) -> StaticSite | None:
        """The static site behind a host name, its own or a custom one."""
        return next((site for site in self.static_sites if host.lower() in site.hosts), None)

    def find_plain(self, resource_id: str) -> PlainResource | None:
        """The plain resource with this id, which has no case."""
        return next((each for each in self.plain_resources if each.id.lower() == resource_id.lower()), None)

    def find_host(self, host: str) -> tuple[Site, Slot] | None:
        """Site and slot behind a host name of *.azurewebsites.net."""
        pairs = ((site, slot) for site in self.sites for slot in site.slots.values())
        return next((pair for pair in pairs if pair[1].host == host.lower()), None)
