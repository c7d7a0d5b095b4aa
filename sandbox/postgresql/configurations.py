"""Server parameters: shown in PostgreSQL's own words, and really applied: by a reload, or at the next restart."""

import asyncio
from typing import Any

from aiohttp import web
from pydantic import BaseModel, Field

from sandbox.arm import ArmError, Call, Route, collection
from sandbox.faults import take
from sandbox.postgresql.cluster import Cluster
from sandbox.postgresql.clusters import write_parameters
from sandbox.postgresql.model import FlexibleServer, ServerOperation
from sandbox.postgresql.operations import SERVER, TYPE, begin, register, require_ready, server_of
from sandbox.postgresql.servers import find, operation, server_id
from sandbox.postgresql.template import Setting
from sandbox.world import World

KIND = f"{TYPE}/configurations"
PATH = SERVER + "/configurations"
FAILS = "pg-parameter-fails"
KINDS = {"bool": "Boolean", "integer": "Integer", "real": "Numeric", "enum": "Enumeration", "string": "String"}
SYSTEM, USER = "system-default", "user-override"
RELOADED = b"SELECT pg_conf_load_time()"
POLL_SECONDS = 0.02


class Wish(BaseModel):
    """The properties of the body."""

    value: str | None = None
    source: str | None = None


class Body(BaseModel):
    """Azure's Configuration, in a request."""

    properties: Wish = Field(default_factory=Wish)


def configuration_json(world: World, server: FlexibleServer, setting: Setting) -> dict[str, Any]:
    """One parameter as GET shows it."""
    value = server.parameters.get(setting.name)
    properties: dict[str, Any] = {
        "value": value if value is not None else setting.default,
        "description": setting.description,
        "defaultValue": setting.default,
        "dataType": KINDS[setting.kind],
        "allowedValues": _allowed(setting),
        "source": USER if value is not None else SYSTEM,
        "isDynamicConfig": not setting.static,
        "isReadOnly": False,
        "isConfigPendingRestart": setting.name in server.pending_restart,
    }
    if setting.unit is not None:
        properties["unit"] = setting.unit
    return {
        "id": f"{server_id(world.state, server)}/configurations/{setting.name}",
        "name": setting.name,
        "type": KIND,
        "properties": properties,
    }


def _allowed(setting: Setting) -> str:
    match setting.kind:
        case "bool":
            return "on,off"
        case "enum":
            return ",".join(setting.choices or [])
        case "integer" | "real":
            return f"{setting.least}-{setting.most}"
        case _:
            return ".*"


async def _list(call: Call) -> web.Response:
    server = find(call)
    settings = await call.world.clusters.settings()
    return collection([configuration_json(call.world, server, each) for each in settings])


async def _setting(call: Call, server: FlexibleServer) -> Setting:
    name = call.names["configuration"].lower()
    settings = await call.world.clusters.settings()
    found = next((each for each in settings if each.name.lower() == name), None)
    if found is None:
        raise ArmError(
            404, "ConfigurationNotExists", f"The configuration '{call.names['configuration']}' does not exist."
        )
    return found


async def _get(call: Call) -> web.Response:
    server = find(call)
    return web.json_response(configuration_json(call.world, server, await _setting(call, server)))


async def _set(call: Call) -> web.Response:
    server, wish = find(call), call.parse(Body).properties
    setting = await _setting(call, server)
    require_ready(call.world, server)
    value = setting.default if wish.value is None or wish.source == SYSTEM else _checked(setting, wish.value)
    made = operation(server, "set parameter", change={"name": setting.name, "value": value})
    made.fails = take(call.world, FAILS) is not None
    return begin(call, server, made, "Updating")


def _checked(setting: Setting, value: str) -> str:
    """The value as PostgreSQL writes it, or Azure's 400."""
    try:
        match setting.kind:
            case "bool":
                good = value.lower() in ("on", "off")
                value = value.lower()
            case "enum":
                good = value.lower() in (setting.choices or [])
                value = value.lower()
            case "integer" | "real":
                good = float(setting.least or value) <= float(value) <= float(setting.most or value)
            case _:
                good = "\n" not in value and "\0" not in value
    except ValueError:
        good = False
    if good:
        return value
    allowed = _allowed(setting)
    message = f"The value '{value}' for configuration '{setting.name}' is not valid. Allowed values are '{allowed}'."
    raise ArmError(400, "ConfigurationNotValid", message)


async def _apply(world: World, operation: ServerOperation) -> None:
    await asyncio.sleep(world.pace.database_change)
    server, name, value = server_of(world, operation), str(operation.change["name"]), str(operation.change["value"])
    setting = next(each for each in await world.clusters.settings() if each.name == name)
    parameters = {key: kept for key, kept in server.parameters.items() if key != name}
    if value != setting.default:
        parameters[name] = value
    changed = parameters != server.parameters
    # Started with the old ones: a static one must not hold before a restart.
    running = await world.clusters.running(server)
    server.parameters = parameters
    if changed and setting.static and name not in server.pending_restart:
        server.pending_restart.append(name)
    await _reload(running, parameters)
    server.state = "Ready"


async def _reload(running: Cluster, parameters: dict[str, str]) -> None:
    """Let PostgreSQL read its parameters anew; on return new sessions have them, but for those that need a restart."""
    before = await running.run(RELOADED)
    write_parameters(running, parameters)
    await running.run(b"SELECT pg_reload_conf()")
    while True:
        if await running.run(RELOADED) != before:
            return
        await asyncio.sleep(POLL_SECONDS)


def _show(world: World, operation: ServerOperation) -> dict[str, Any] | None:
    server = server_of(world, operation)
    name = str(operation.change["name"])
    return {"id": f"{server_id(world.state, server)}/configurations/{name}", "name": name, "type": KIND}


register("set parameter", _apply, _show)

ROUTES = [
    Route("GET", PATH, f"{KIND}/read", _list),
    Route("GET", PATH + "/{configuration}", f"{KIND}/read", _get),
    Route("PUT", PATH + "/{configuration}", f"{KIND}/write", _set),
    Route("PATCH", PATH + "/{configuration}", f"{KIND}/write", _set),
]
