"""Role definitions: the built-in roles and the platform's own."""

import re
from typing import Any

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from sandbox import rbac
from sandbox.arm import ArmError, Call, Route, collection
from sandbox.authorization.permissions import permissions_json
from sandbox.resources import SCOPES, SUBSCRIPTION, scope_of
from sandbox.state import Permissions, RoleDefinition, State

KIND = "Microsoft.Authorization/roleDefinitions"
PATH = f"/providers/{KIND}"


class PermissionsBody(BaseModel):
    """Azure's Permission."""

    model_config = ConfigDict(alias_generator=to_camel)

    actions: list[str] = []
    not_actions: list[str] = []
    data_actions: list[str] = []
    not_data_actions: list[str] = []


class Properties(BaseModel):
    """Azure's RoleDefinitionProperties."""

    role_name: str = Field(alias="roleName", min_length=1, max_length=512)
    description: str | None = None
    permissions: list[PermissionsBody] = Field(min_length=1, max_length=1)
    assignable_scopes: list[str] = Field(alias="assignableScopes", min_length=1)


class Body(BaseModel):
    """What defines a custom role."""

    properties: Properties


def definition_id(state: State, role_id: str) -> str:
    """The Azure resource id of a role."""
    return f"/subscriptions/{state.subscription_id}{PATH}/{role_id}"


def _definition_json(state: State, role: RoleDefinition) -> dict[str, Any]:
    return {
        "properties": {
            "roleName": role.name,
            "type": "BuiltInRole" if role.built_in else "CustomRole",
            "description": role.description,
            "assignableScopes": role.assignable_scopes,
            "permissions": [permissions_json(role.permissions)],
            "createdOn": role.created.isoformat(),
            "updatedOn": role.created.isoformat(),
            "createdBy": None,
            "updatedBy": None,
        },
        "id": definition_id(state, role.id),
        "type": KIND,
        "name": role.id,
    }


def _filtered(roles: list[RoleDefinition], text: str) -> list[RoleDefinition]:
    for part in re.split(r"\s+and\s+", text.strip()) if text.strip() else []:
        if part == "atScopeAndBelow()":
            continue
        match = re.fullmatch(r"(roleName|type) eq '(.*)'", part)
        if match is None:
            raise ArmError(400, "UnsupportedQuery", f"The filter '{part}' is not supported.")
        field, value = match[1], match[2].replace("''", "'")
        roles = [
            role
            for role in roles
            if value == (role.name if field == "roleName" else "BuiltInRole" if role.built_in else "CustomRole")
        ]
    return roles


async def _list(call: Call) -> web.Response:
    state, scope = call.world.state, scope_of(call)
    assignable = [
        role
        for role in rbac.definitions(state)
        if role.built_in or any(rbac.covers(each, scope) or rbac.covers(scope, each) for each in role.assignable_scopes)
    ]
    roles = _filtered(assignable, call.request.query.get("$filter", ""))
    return collection([_definition_json(state, role) for role in roles])


def find(call: Call, role_id: str) -> RoleDefinition:
    """The role with this id, or Azure's 404."""
    found = rbac.find_definition(call.world.state, role_id)
    if found is None:
        message = f"The specified role definition with ID '{role_id}' does not exist."
        raise ArmError(404, "RoleDefinitionDoesNotExist", message)
    return found


async def _get(call: Call) -> web.Response:
    return web.json_response(_definition_json(call.world.state, find(call, call.names["role"])))


async def _put(call: Call) -> web.Response:
    state, properties = call.world.state, call.parse(Body).properties
    old = rbac.find_definition(state, call.names["role"])
    if old is not None and old.built_in:
        raise ArmError(409, "RoleDefinitionUpdateNotAllowed", "A built-in role definition cannot be changed.")
    if any(each.name == properties.role_name and each is not old for each in rbac.definitions(state)):
        raise ArmError(
            409,
            "RoleDefinitionWithSameNameExists",
            f"A custom role with the same name already exists in this directory. Use a different name: "
            f"'{properties.role_name}'.",
        )
    for scope in properties.assignable_scopes:
        if not rbac.covers(f"/subscriptions/{state.subscription_id}", scope):
            raise ArmError(400, "InvalidAssignableScope", f"The assignable scope '{scope}' is not valid.")
    role = RoleDefinition(
        id=call.names["role"],
        name=properties.role_name,
        description=properties.description or "",
        permissions=Permissions.model_validate(properties.permissions[0].model_dump()),
        assignable_scopes=properties.assignable_scopes,
    )
    state.role_definitions = [*(each for each in state.role_definitions if each is not old), role]
    call.world.save()
    return web.json_response(_definition_json(state, role), status=201)


async def _delete(call: Call) -> web.Response:
    state = call.world.state
    role = rbac.find_definition(state, call.names["role"])
    if role is None:
        return web.Response(status=204)
    if role.built_in or any(each.role_id == role.id for each in state.role_assignments):
        raise ArmError(
            400,
            "RoleDefinitionHasAssignments",
            "There are existing role assignments referencing role (code: RoleDefinitionHasAssignments).",
        )
    state.role_definitions.remove(role)
    call.world.save()
    return web.json_response(_definition_json(state, role))


ROUTES = [
    route
    for scope in SCOPES
    for route in (
        Route("GET", scope + PATH, f"{KIND}/read", _list, frozenset({"$filter"})),
        Route("GET", scope + PATH + "/{role}", f"{KIND}/read", _get),
    )
] + [
    Route("PUT", SUBSCRIPTION + PATH + "/{role}", f"{KIND}/write", _put),
    Route("PUT", SUBSCRIPTION + "/resourceGroups/{group}" + PATH + "/{role}", f"{KIND}/write", _put),
    Route("DELETE", SUBSCRIPTION + PATH + "/{role}", f"{KIND}/delete", _delete),
    Route("DELETE", SUBSCRIPTION + "/resourceGroups/{group}" + PATH + "/{role}", f"{KIND}/delete", _delete),
]
