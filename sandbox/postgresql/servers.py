"""Servers as Azure Resource Manager shows them, and their update, start, stop, restart and deletion."""

import asyncio
from typing import Any, Generic, Literal, TypeVar, cast

from aiohttp import web
from psycopg import sql
from pydantic import BaseModel, ConfigDict, Field, JsonValue

from sandbox.arm import ArmError, Call, Route, collection, missing, resource_not_found
from sandbox.postgresql.model import FlexibleServer, ServerOperation
from sandbox.postgresql.operations import (
    PROVIDER,
    SERVER,
    SERVERS,
    TYPE,
    begin,
    register,
    require_idle,
    require_ready,
    server_of,
)
from sandbox.postgresql.template import ADMIN
from sandbox.resources import SUBSCRIPTION
from sandbox.state import State
from sandbox.world import World

VERSION, MINOR_VERSION = "18", "6"
READ = f"{TYPE}/read"
ENABLED = {"Enabled": True, "Disabled": False}
FIXED = ("administratorLogin", "availabilityZone", "network", "version")
LEAST_RETENTION_DAYS, MOST_RETENTION_DAYS = 7, 35


class Loose(BaseModel):
    """A body in Azure's spelling. What it does not know is answered 501 by `require_known`."""

    model_config = ConfigDict(populate_by_name=True, extra="allow")


class Storage(Loose):
    """Azure's Storage."""

    size_gb: int | None = Field(default=None, alias="storageSizeGB")
    auto_grow: Literal["Enabled", "Disabled"] | None = Field(default=None, alias="autoGrow")
    tier: str | None = None
    iops: int | None = None
    type: str | None = None


class BackupSettings(Loose):
    """Azure's Backup."""

    retention_days: int | None = Field(default=None, alias="backupRetentionDays")
    geo: Literal["Enabled", "Disabled"] | None = Field(default=None, alias="geoRedundantBackup")


class Availability(Loose):
    """Azure's HighAvailability."""

    mode: Literal["Disabled", "SameZone", "ZoneRedundant"] | None = None
    standby_zone: str | None = Field(default=None, alias="standbyAvailabilityZone")


class AuthConfig(Loose):
    """Azure's AuthConfig."""

    entra: Literal["Enabled", "Disabled"] | None = Field(default=None, alias="activeDirectoryAuth")
    password: Literal["Enabled", "Disabled"] | None = Field(default=None, alias="passwordAuth")
    tenant: str | None = Field(default=None, alias="tenantId")


class Properties(Loose):
    """What of a server can be changed."""

    password: str | None = Field(default=None, alias="administratorLoginPassword", repr=False)
    storage: Storage | None = None
    backup: BackupSettings | None = None
    availability: Availability | None = Field(default=None, alias="highAvailability")
    maintenance: dict[str, JsonValue] | None = Field(default=None, alias="maintenanceWindow")
    auth: AuthConfig | None = Field(default=None, alias="authConfig")
    create_mode: str | None = Field(default=None, alias="createMode")

    def parts(self) -> list[Loose | None]:
        """What is in it and has fields of its own."""
        return [self.storage, self.backup, self.availability, self.auth]


P = TypeVar("P", bound=Properties)


class Patch(Loose, Generic[P]):
    """Azure's ServerForUpdate, and the frame of a new server."""

    sku: dict[str, str] | None = None
    tags: dict[str, str] | None = None
    properties: P | None = None
    location: str | None = None


def server_id(state: State, server: FlexibleServer) -> str:
    """Its Azure resource id."""
    return (
        f"/subscriptions/{state.subscription_id}/resourceGroups/{server.group}{PROVIDER}/flexibleServers/{server.name}"
    )


def server_json(state: State, server: FlexibleServer) -> dict[str, Any]:
    """A server as GET shows it."""
    return {
        "id": server_id(state, server),
        "name": server.name,
        "type": TYPE,
        "location": "East US" if server.location == "eastus" else "West US",
        "tags": server.tags or None,
        "sku": server.sku,
        "systemData": {"createdAt": server.created.isoformat()},
        "properties": _properties(state, server),
    }


def _properties(state: State, server: FlexibleServer) -> dict[str, Any]:
    earliest = server.earliest_restore()
    on = {True: "Enabled", False: "Disabled"}
    network: dict[str, Any] = {"publicNetworkAccess": on[not server.network.private]}
    if server.network.private:
        network |= {
            "delegatedSubnetResourceId": server.network.subnet,
            "privateDnsZoneArmResourceId": server.network.dns_zone,
        }
    return {
        "fullyQualifiedDomainName": server.address,
        "version": VERSION,
        "minorVersion": MINOR_VERSION,
        "administratorLogin": ADMIN,
        "state": server.state,
        "availabilityZone": "1",
        "storage": {"storageSizeGB": server.storage_gb, "autoGrow": server.auto_grow, "tier": "P10", "iops": 500},
        "dataEncryption": {"type": "SystemManaged"},
        "authConfig": {
            "activeDirectoryAuth": on[server.entra_auth],
            "passwordAuth": on[server.password_auth],
            "tenantId": state.tenant_id,
        },
        "backup": {
            "backupRetentionDays": server.retention_days,
            "geoRedundantBackup": on[server.geo_backup],
            "earliestRestoreDate": earliest.isoformat() if earliest is not None else None,
        },
        "network": network,
        "highAvailability": {
            "mode": server.high_availability,
            "state": "NotEnabled" if server.high_availability == "Disabled" else "Healthy",
        },
        "maintenanceWindow": server.maintenance,
        "replicationRole": "Primary",
        "replicaCapacity": 5,
        "replica": {"role": "Primary", "capacity": 5},
        "privateEndpointConnections": [],
    }


def find(call: Call) -> FlexibleServer:
    """The server that a call is about, or Azure's 404."""
    group, name = call.names["group"], call.names["server"]
    server = call.world.state.find_database_server(name)
    if server is None or server.group.lower() != group.lower():
        raise resource_not_found(TYPE, name, group)
    return server


def operation(server: FlexibleServer, kind: Any, **more: Any) -> ServerOperation:
    """A new operation on the server."""
    return ServerOperation(kind=kind, server=server.name, group=server.group, location=server.location, **more)


def require_known(call: Call, *parts: Loose | None) -> None:
    """501 for what a body has and the sandbox does not honour; a null means nothing."""
    for part in parts:
        for name, value in ((part.model_extra or {}) if part is not None else {}).items():
            if value not in (None, {}):
                raise missing(call.request, f"{name} is not honoured")


async def _get(call: Call) -> web.Response:
    return web.json_response(server_json(call.world.state, find(call)))


async def _list(call: Call) -> web.Response:
    group, state = call.names.get("group"), call.world.state
    servers = [each for each in state.database_servers if group is None or each.group.lower() == group.lower()]
    return collection([server_json(state, each) for each in servers if call.may(READ, server_id(state, each))])


async def update(call: Call) -> web.Response:
    """Change what a PATCH names, or a PUT of a server that is there already."""
    server, wish = find(call), call.parse(Patch[Properties])
    if call.request.method == "PUT":
        _require_the_same(call, server, wish)
        wish.tags = wish.tags or {}
    properties = wish.properties or Properties()
    require_known(call, wish, properties, *properties.parts())
    require_ready(call.world, server)
    backup, storage = properties.backup or BackupSettings(), properties.storage or Storage()
    if backup.geo is not None and (backup.geo == "Enabled") != server.geo_backup:
        raise _refused("Geo-redundant backup can be configured only at the time of server creation.")
    if not LEAST_RETENTION_DAYS <= (backup.retention_days or LEAST_RETENTION_DAYS) <= MOST_RETENTION_DAYS:
        raise _refused("The backup retention period must be between 7 and 35 days.")
    if storage.size_gb is not None and storage.size_gb < server.storage_gb:
        raise _refused("The storage size of a server cannot be decreased.")
    if not _changes(server, wish):
        return web.json_response(server_json(call.world.state, server))
    if properties.password is not None:
        await _change_password(call.world, server, properties.password)
    change = wish.model_dump(mode="json", exclude={"properties": {"password"}}, exclude_none=True)
    return begin(call, server, operation(server, "update", change=change), "Updating")


def _changes(server: FlexibleServer, wish: Patch[Properties]) -> bool:
    """Whether anything would be another than it is."""
    after = server.model_copy()
    apply(after, wish)
    return after != server or (wish.properties is not None and wish.properties.password is not None)


def _require_the_same(call: Call, server: FlexibleServer, wish: Patch[Properties]) -> None:
    """What of a server is given when it is made cannot be changed; where it is said again, that is passed over."""
    properties = wish.properties or Properties()
    shown, given = _properties(call.world.state, server), properties.model_extra or {}
    for name in [each for each in FIXED if each in given]:
        if not _says_the_same(given[name], shown.get(name)):
            raise _refused(f"The property '{name}' of server '{server.name}' cannot be changed.")
        del given[name]


def _says_the_same(given: object, shown: object) -> bool:
    if not isinstance(given, dict) or not isinstance(shown, dict):
        return given is None or given == shown
    asked, found = cast("dict[str, object]", given), cast("dict[str, object]", shown)
    return all(_says_the_same(value, found.get(name)) for name, value in asked.items())


async def _change_password(world: World, server: FlexibleServer, password: str) -> None:
    made = await world.clusters.running(server)
    await made.run(sql.SQL("ALTER ROLE {} PASSWORD {}").format(sql.Identifier(ADMIN), sql.Literal(password)))


def _refused(message: str) -> ArmError:
    return ArmError(400, "InvalidParameterValue", message)


async def _update(world: World, operation: ServerOperation) -> None:
    await asyncio.sleep(world.pace.database_change)
    server, wish = server_of(world, operation), Patch[Properties].model_validate(operation.change)
    apply(server, wish)
    server.state = "Ready"


def apply(server: FlexibleServer, wish: Patch[P]) -> None:
    """Give the server what a body asks for."""
    properties = wish.properties or Properties()
    server.tags = wish.tags if wish.tags is not None else server.tags
    server.sku = wish.sku or server.sku
    if (storage := properties.storage) is not None:
        server.storage_gb = storage.size_gb or server.storage_gb
        server.auto_grow = storage.auto_grow or server.auto_grow
    if (backup := properties.backup) is not None:
        server.retention_days = backup.retention_days or server.retention_days
        server.geo_backup = ENABLED.get(backup.geo or "", server.geo_backup)
    if properties.availability is not None:
        server.high_availability = properties.availability.mode or server.high_availability
    server.maintenance = properties.maintenance or server.maintenance
    if (auth := properties.auth) is not None:
        server.entra_auth = ENABLED.get(auth.entra or "", server.entra_auth)
        server.password_auth = ENABLED.get(auth.password or "", server.password_auth)


async def _begin_start(call: Call) -> web.Response:
    server = find(call)
    require_idle(call.world, server)
    if server.state != "Stopped":
        message = f"Server '{server.name}' cannot be started: it is in state '{server.state}'."
        raise ArmError(409, "ServerIsNotStopped", message)
    return begin(call, server, operation(server, "start"), "Starting")


async def _begin_stop(call: Call) -> web.Response:
    server = find(call)
    require_ready(call.world, server)
    return begin(call, server, operation(server, "stop"), "Stopping")


async def _begin_restart(call: Call) -> web.Response:
    server = find(call)
    if b'"restartWithFailover":true' in call.body.replace(b" ", b""):
        raise missing(call.request, "a restart with failover is not honoured")
    require_ready(call.world, server)
    return begin(call, server, operation(server, "restart"), "Restarting")


async def _begin_delete(call: Call) -> web.Response:
    try:
        server = find(call)
    except ArmError:
        return web.Response(status=204)
    require_idle(call.world, server)
    return begin(call, server, operation(server, "delete"), "Dropping")


async def _start(world: World, operation: ServerOperation) -> None:
    await asyncio.sleep(world.pace.database_change)
    server = server_of(world, operation)
    await world.clusters.running(server)
    server.state, server.pending_restart = "Ready", []


async def _stop(world: World, operation: ServerOperation) -> None:
    await asyncio.sleep(world.pace.database_change)
    server = server_of(world, operation)
    await world.clusters.cluster(server).stop()
    server.state = "Stopped"


async def _restart(world: World, operation: ServerOperation) -> None:
    server = server_of(world, operation)
    await world.clusters.cluster(server).stop()
    await _start(world, operation)


async def _delete(world: World, operation: ServerOperation) -> None:
    await asyncio.sleep(world.pace.database_change)
    server = server_of(world, operation)
    await world.clusters.drop(server.name)
    world.clusters.let_go(server.name)
    world.state.database_servers.remove(server)


def show(world: World, operation: ServerOperation) -> dict[str, Any] | None:
    """The server that an operation was about."""
    server = world.state.find_database_server(operation.server)
    return server_json(world.state, server) if server is not None else None


def _nothing(_world: World, _operation: ServerOperation) -> None:
    return None


register("update", _update, show)
register("start", _start, _nothing)
register("stop", _stop, _nothing)
register("restart", _restart, _nothing)
register("delete", _delete, _nothing)

ROUTES = [
    Route("GET", SUBSCRIPTION + PROVIDER + "/flexibleServers", "", _list),
    Route("GET", SERVERS, READ, _list),
    Route("GET", SERVER, READ, _get),
    Route("PATCH", SERVER, f"{TYPE}/write", update),
    Route("DELETE", SERVER, f"{TYPE}/delete", _begin_delete),
    Route("POST", SERVER + "/start", f"{TYPE}/start/action", _begin_start),
    Route("POST", SERVER + "/stop", f"{TYPE}/stop/action", _begin_stop),
    Route("POST", SERVER + "/restart", f"{TYPE}/restart/action", _begin_restart),
]
