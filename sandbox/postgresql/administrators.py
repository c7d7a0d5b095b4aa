"""Entra administrators: principals of the directory that sign in with a token, as administrators' roles."""

import asyncio
from typing import Any

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field

from sandbox.arm import ArmError, Call, Route, collection
from sandbox.postgresql.clusters import administrator_statements, dismissal
from sandbox.postgresql.model import Administrator, FlexibleServer, PrincipalType, ServerOperation
from sandbox.postgresql.operations import SERVER, TYPE, begin, register, require_ready, server_of
from sandbox.postgresql.servers import find, operation, server_id
from sandbox.world import World

KIND = f"{TYPE}/administrators"
PATH = SERVER + "/administrators"


class Wish(BaseModel):
    """The properties of the body."""

    model_config = ConfigDict(populate_by_name=True)

    kind: PrincipalType = Field(alias="principalType")
    name: str = Field(alias="principalName", min_length=1, max_length=63)
    tenant: str = Field(default="", alias="tenantId")


class Body(BaseModel):
    """Azure's AdministratorMicrosoftEntraAdd."""

    properties: Wish


def administrator_json(world: World, server: FlexibleServer, administrator: Administrator) -> dict[str, Any]:
    """An administrator as GET shows it."""
    return {
        "id": f"{server_id(world.state, server)}/administrators/{administrator.object_id}",
        "name": administrator.object_id,
        "type": KIND,
        "properties": {
            "principalType": administrator.kind,
            "principalName": administrator.name,
            "objectId": administrator.object_id,
            "tenantId": administrator.tenant,
        },
    }


async def _list(call: Call) -> web.Response:
    server = find(call)
    return collection([administrator_json(call.world, server, each) for each in server.administrators])


def _find(call: Call, server: FlexibleServer) -> Administrator:
    found = server.find_administrator(call.names["object"])
    if found is None:
        message = f"The administrator '{call.names['object']}' of server '{server.name}' was not found."
        raise ArmError(404, "AdministratorNotFound", message)
    return found


async def _get(call: Call) -> web.Response:
    server = find(call)
    return web.json_response(administrator_json(call.world, server, _find(call, server)))


async def _put(call: Call) -> web.Response:
    server, wish = find(call), call.parse(Body).properties
    require_ready(call.world, server)
    if not server.entra_auth:
        message = "Microsoft Entra authentication is not enabled on the server."
        raise ArmError(400, "EntraAuthenticationNotEnabled", message)
    object_id = call.names["object"].lower()
    if not any(each.object_id == object_id for each in call.world.state.principals):
        message = f"The principal '{object_id}' was not found in the tenant."
        raise ArmError(400, "PrincipalNotFound", message)
    tenant = wish.tenant or call.world.state.tenant_id
    made = Administrator(object_id=object_id, name=wish.name, kind=wish.kind, tenant=tenant)
    change = made.model_dump(mode="json")
    return begin(call, server, operation(server, "add administrator", change=change), "Updating")


async def _delete(call: Call) -> web.Response:
    server = find(call)
    found = server.find_administrator(call.names["object"])
    if found is None:
        return web.Response(status=204)
    require_ready(call.world, server)
    change = found.model_dump(mode="json")
    return begin(call, server, operation(server, "remove administrator", change=change), "Updating")


async def _add(world: World, operation: ServerOperation) -> None:
    await asyncio.sleep(world.pace.database_change)
    server, made = server_of(world, operation), Administrator.model_validate(operation.change)
    running = await world.clusters.running(server)
    roles = await running.run(b"SELECT rolname FROM pg_roles")
    exists = (made.name,) in roles
    await running.run(*administrator_statements(made.name, world.clusters.password(made.name), exists=exists))
    server.administrators = [each for each in server.administrators if each.object_id != made.object_id]
    server.administrators.append(made)
    server.state = "Ready"


async def _remove(world: World, operation: ServerOperation) -> None:
    await asyncio.sleep(world.pace.database_change)
    server, gone = server_of(world, operation), Administrator.model_validate(operation.change)
    await (await world.clusters.running(server)).run(dismissal(gone.name))
    server.administrators = [each for each in server.administrators if each.object_id != gone.object_id]
    server.state = "Ready"


def _show(world: World, operation: ServerOperation) -> dict[str, Any] | None:
    return administrator_json(world, server_of(world, operation), Administrator.model_validate(operation.change))


def _nothing(_world: World, _operation: ServerOperation) -> None:
    return None


register("add administrator", _add, _show)
register("remove administrator", _remove, _nothing)

ROUTES = [
    Route("GET", PATH, f"{KIND}/read", _list),
    Route("GET", PATH + "/{object}", f"{KIND}/read", _get),
    Route("PUT", PATH + "/{object}", f"{KIND}/write", _put),
    Route("DELETE", PATH + "/{object}", f"{KIND}/delete", _delete),
]
