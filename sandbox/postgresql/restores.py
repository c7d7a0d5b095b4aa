"""A new server from the backups of another one: to an instant in the same region, or in the paired one.

It has the source's data, logins and size. It lacks its firewall rules, parameters, Entra administrators, high
availability and tags.
"""

import asyncio
import re
from datetime import UTC, datetime, timedelta

from aiohttp import web
from pydantic import Field

from sandbox.arm import ArmError, Call, Route, missing, resource_not_found
from sandbox.clock import now
from sandbox.faults import take
from sandbox.postgresql.clusters import Clusters
from sandbox.postgresql.model import Backup, FlexibleServer, Network, ServerOperation
from sandbox.postgresql.operations import SERVER, TYPE, begin, register, require_idle, server_of
from sandbox.postgresql.servers import (
    READ,
    Loose,
    Patch,
    Properties,
    apply,
    operation,
    require_known,
    server_id,
    show,
    update,
)
from sandbox.state import Fault
from sandbox.world import World

PAIRED = {"eastus": "westus", "westus": "eastus"}
NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{1,61})[a-z0-9]")
FAILS, NEVER_ENDS, NAME_TAKEN = "pg-restore-fails", "pg-restore-never-ends", "pg-name-taken"
UNREACHABLE = "pg-restored-unreachable"


class NetworkWish(Loose):
    """Azure's Network."""

    subnet: str | None = Field(default=None, alias="delegatedSubnetResourceId")
    dns_zone: str | None = Field(default=None, alias="privateDnsZoneArmResourceId")
    public: str | None = Field(default=None, alias="publicNetworkAccess")


class NewProperties(Properties):
    """What a new server is made of."""

    source: str | None = Field(default=None, alias="sourceServerResourceId")
    point: datetime | None = Field(default=None, alias="pointInTimeUTC")
    network: NetworkWish | None = None
    zone: str | None = Field(default=None, alias="availabilityZone")
    version: str | None = None


class NewServer(Patch[NewProperties]):
    """Azure's Server, in a request."""


def newest(world: World, *, geo: bool) -> datetime:
    """The newest instant that a server can be restored to."""
    return now() - timedelta(seconds=world.pace.geo_lag if geo else world.pace.restore_point_lag)


async def _put(call: Call) -> web.Response:
    wish = call.parse(NewServer)
    properties = wish.properties or NewProperties()
    if properties.create_mode in (None, "Default", "Update") and _is_there(call):
        return await update(call)
    if properties.create_mode not in ("PointInTimeRestore", "GeoRestore"):
        raise missing(call.request, "a server is made here by a restore only")
    require_known(call, wish, properties, *properties.parts(), properties.network)
    geo = properties.create_mode == "GeoRestore"
    source = _source(call, properties)
    _require_name(call)
    _require_place(source, wish, properties, geo=geo)
    point = _point(call.world, source, properties.point, geo=geo)
    require_idle(call.world, source)
    return _begin(call, source, wish, point)


def _is_there(call: Call) -> bool:
    return call.world.state.find_database_server(call.names["server"]) is not None


def _source(call: Call, properties: NewProperties) -> FlexibleServer:
    wanted = properties.source or ""
    state = call.world.state
    every = state.database_servers
    found = next((each for each in every if server_id(state, each).lower() == wanted.lower()), None)
    if found is None or not call.may(READ, server_id(state, found)):
        raise resource_not_found(TYPE, wanted.rpartition("/")[2], (wanted.split("/") + [""] * 5)[4])
    return found


def _require_name(call: Call) -> None:
    name, world = call.names["server"], call.world
    if NAME.fullmatch(name) is None:
        raise ArmError(
            400,
            "InvalidServerName",
            f"The server name '{name}' is invalid. It can contain only lowercase letters, numbers, and '-', can't "
            "start or end with '-', and must be 3 to 63 characters long.",
        )
    existing = world.state.find_database_server(name)
    if existing is not None:
        require_idle(world, existing)
    if existing is not None or take(world, NAME_TAKEN) is not None:
        raise ArmError(409, "ServerNameAlreadyExists", "Specified server name is already used by another server.")


def _require_place(source: FlexibleServer, wish: NewServer, properties: NewProperties, *, geo: bool) -> None:
    location = (wish.location or "").replace(" ", "").lower()
    wanted = PAIRED[source.location] if geo else source.location
    if location != wanted:
        message = f"The location '{wish.location}' is not valid for this restore: it must be '{wanted}'."
        raise ArmError(400, "InvalidLocation", message)
    if geo and not source.geo_backup:
        message = f"Geo-redundant backup is not enabled on the source server '{source.name}'."
        raise ArmError(400, "GeoBackupNotEnabled", message)
    network = properties.network or NetworkWish()
    if network.subnet is not None and not source.network.private:
        raise ArmError(
            400, "InvalidNetwork", "A server with public access can be restored to a server with public access only."
        )


def _point(world: World, source: FlexibleServer, asked: datetime | None, *, geo: bool) -> datetime:
    """The instant to restore to: the one that was asked for, in the window; a geo-restore takes the newest it has."""
    if asked is None:
        raise ArmError(400, "InvalidParameterValue", "The property 'pointInTimeUTC' is required for a restore.")
    wanted = asked if asked.tzinfo is not None else asked.replace(tzinfo=UTC)
    earliest, latest = source.earliest_restore(), newest(world, geo=geo)
    if geo:
        wanted = min(wanted, latest)
    if earliest is None or not earliest <= wanted <= latest:
        begins = earliest.isoformat() if earliest is not None else "(no backup yet)"
        raise ArmError(
            400,
            "InvalidRestorePointInTime",
            f"The restore point in time '{wanted.isoformat()}' is not valid for server '{source.name}'. It must be "
            f"between '{begins}' and '{latest.isoformat()}'.",
        )
    return wanted


def _begin(call: Call, source: FlexibleServer, wish: NewServer, point: datetime) -> web.Response:
    world, name = call.world, call.names["server"]
    properties = wish.properties or NewProperties()
    network = properties.network or NetworkWish()
    server = FlexibleServer(
        name=name,
        group=next(each for each in world.state.groups if each.lower() == call.names["group"].lower()),
        location=(wish.location or "").replace(" ", "").lower(),
        address=world.clusters.address_of(name),
        created=now(),
        origin=source.origin or source.name,
        retention_days=source.retention_days,
        geo_backup=source.geo_backup and properties.create_mode != "GeoRestore",
        sku=source.sku,
        storage_gb=source.storage_gb,
        auto_grow=source.auto_grow,
        network=Network(
            subnet=network.subnet or source.network.subnet, dns_zone=network.dns_zone or source.network.dns_zone
        ),
        password_auth=source.password_auth,
        entra_auth=source.entra_auth,
    )
    apply(server, wish)
    # Azure takes the wish and does not fulfil it.
    server.high_availability = "Disabled"
    world.state.database_servers.append(server)
    made = operation(server, "restore", source=source.name, point=point)
    for fault in (take(world, FAILS), take(world, NEVER_ENDS)):
        _shape(made, fault)
    return begin(call, server, made, "Provisioning")


def _shape(made: ServerOperation, fault: Fault | None) -> None:
    if fault is not None:
        made.fails, made.never_ends = made.fails or fault.name == FAILS, made.never_ends or fault.name == NEVER_ENDS


async def _restore(world: World, operation: ServerOperation) -> None:
    server, source = server_of(world, operation), world.state.find_database_server(operation.source)
    if source is None or operation.point is None:
        raise ArmError(404, "SourceServerNotFound", f"The source server '{operation.source}' is gone.")
    await asyncio.sleep(world.pace.database_restore)
    await restore_data(world.clusters, source, server, operation.point)
    server.unreachable = take(world, UNREACHABLE) is not None
    server.state = "Ready"
    world.save()
    world.start(_first_backup(world, server))


async def restore_data(clusters: Clusters, source: FlexibleServer, server: FlexibleServer, point: datetime) -> None:
    """Let `server` have the data that `source` had just before `point`; its PostgreSQL runs on return."""
    running = await clusters.running(source)
    # Before that its data never changed.
    await clusters.cluster(server).restore(running, max(point, clusters.begun(source)))
    await clusters.note_begin(server)


async def _first_backup(world: World, server: FlexibleServer) -> None:
    """A new server is backed up at once: from then on it can be restored itself."""
    await world.clusters.cluster(server).back_up()
    done = now()
    server.earliest = done
    server.backups = [Backup(name=f"backup_{done:%Y%m%dT%H%M%S}", source="Automatic", completed=done)]
    await world.clusters.note_begin(server)
    world.save()


register("restore", _restore, show)

ROUTES = [Route("PUT", SERVER, f"{TYPE}/write", _put)]
