"""Role assignments: who has which role, where."""

import re
from typing import Any

from aiohttp import web
from pydantic import BaseModel, Field

from sandbox import rbac
from sandbox.arm import ArmError, Call, Route, collection
from sandbox.authorization.definitions import definition_id, find
from sandbox.authorization.people import everybody
from sandbox.resources import SCOPES, scope_of
from sandbox.state import RoleAssignment, State

KIND = "Microsoft.Authorization/roleAssignments"
PATH = f"/providers/{KIND}"
IN_FILTER = re.compile(r"(atScope)\(\)|(assignedTo)\('([^']*)'\)|(principalId) eq '([^']*)'", re.IGNORECASE)


class Properties(BaseModel):
    """Azure's RoleAssignmentProperties."""

    role_definition_id: str = Field(alias="roleDefinitionId")
    principal_id: str = Field(alias="principalId")


class Body(BaseModel):
    """What makes an assignment."""

    properties: Properties


def _assignment_json(state: State, assignment: RoleAssignment) -> dict[str, Any]:
    principal = next((each for each in everybody(state) if each.object_id == assignment.principal_id), None)
    return {
        "properties": {
            "roleDefinitionId": definition_id(state, assignment.role_id),
            "principalId": assignment.principal_id,
            "principalType": principal.kind if principal is not None else "Unknown",
            "scope": assignment.scope,
            "condition": None,
            "conditionVersion": None,
            "createdOn": assignment.created.isoformat(),
            "updatedOn": assignment.created.isoformat(),
            "createdBy": None,
            "updatedBy": None,
            "delegatedManagedIdentityResourceId": None,
            "description": None,
        },
        "id": f"{assignment.scope}{PATH}/{assignment.id}",
        "type": KIND,
        "name": assignment.id,
    }


def _filtered(state: State, assignments: list[RoleAssignment], scope: str, text: str) -> list[RoleAssignment]:
    """At, above and below the scope; the filter leaves out what is below, or other principals."""
    kept = [each for each in assignments if rbac.covers(each.scope, scope) or rbac.covers(scope, each.scope)]
    for part in re.split(r"\s+and\s+", text.strip()) if text.strip() else []:
        match = IN_FILTER.fullmatch(part)
        if match is None:
            raise ArmError(400, "UnsupportedQuery", f"The filter '{part}' is not supported.")
        at_scope, assigned, assigned_to, _, principal_id = match.groups()
        if at_scope:
            kept = [each for each in kept if rbac.covers(each.scope, scope)]
            continue
        ids = {(assigned_to if assigned else principal_id).lower()}
        if assigned:
            ids.update(*(each.groups for each in state.principals if each.object_id in ids))
        kept = [each for each in kept if each.principal_id in ids]
    return kept


async def _list(call: Call) -> web.Response:
    state = call.world.state
    kept = _filtered(state, state.role_assignments, scope_of(call), call.request.query.get("$filter", ""))
    return collection([_assignment_json(state, each) for each in kept])


def _named(call: Call) -> RoleAssignment | None:
    wanted = call.names["assignment"].lower()
    return next((each for each in call.world.state.role_assignments if each.id.lower() == wanted), None)


async def _get(call: Call) -> web.Response:
    found = _named(call)
    if found is None:
        message = f"The role assignment '{call.names['assignment']}' is not found."
        raise ArmError(404, "RoleAssignmentNotFound", message)
    return web.json_response(_assignment_json(call.world.state, found))


async def _put(call: Call) -> web.Response:
    state, properties, scope = call.world.state, call.parse(Body).properties, scope_of(call)
    role = find(call, properties.role_definition_id.rpartition("/")[2])
    if all(each.object_id != properties.principal_id.lower() for each in everybody(state)):
        raise ArmError(
            400,
            "PrincipalNotFound",
            f"Principal {properties.principal_id} does not exist in the directory {state.tenant_id}. Check that you "
            "have the correct principal ID.",
        )
    made = RoleAssignment(
        id=call.names["assignment"], scope=scope, principal_id=properties.principal_id.lower(), role_id=role.id
    )
    same = _named(call)
    if same is not None and (same.principal_id, same.role_id) == (made.principal_id, made.role_id):
        return web.json_response(_assignment_json(state, same))
    wanted = (made.scope.lower(), made.principal_id, made.role_id)
    if any((each.scope.lower(), each.principal_id, each.role_id) == wanted for each in state.role_assignments):
        raise ArmError(409, "RoleAssignmentExists", "The role assignment already exists.")
    state.role_assignments.append(made)
    call.world.save()
    return web.json_response(_assignment_json(state, made), status=201)


async def _delete(call: Call) -> web.Response:
    found = _named(call)
    if found is None:
        return web.Response(status=204)
    call.world.state.role_assignments.remove(found)
    call.world.save()
    return web.json_response(_assignment_json(call.world.state, found))


ROUTES = [
    route
    for scope in SCOPES
    for route in (
        Route("GET", scope + PATH, f"{KIND}/read", _list, frozenset({"$filter"})),
        Route("GET", scope + PATH + "/{assignment}", f"{KIND}/read", _get),
        Route("PUT", scope + PATH + "/{assignment}", f"{KIND}/write", _put),
        Route("DELETE", scope + PATH + "/{assignment}", f"{KIND}/delete", _delete),
    )
]
