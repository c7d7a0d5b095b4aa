"""What the caller may do on a scope, one entry for each of its roles there."""

from typing import Any

from aiohttp import web

from sandbox.arm import Call, Route, collection
from sandbox.rbac import permissions_of
from sandbox.resources import SCOPES, scope_of
from sandbox.state import Permissions

PATH = "/providers/Microsoft.Authorization/permissions"


def permissions_json(permissions: Permissions) -> dict[str, Any]:
    """Permissions as Azure spells them."""
    return {
        "actions": permissions.actions,
        "notActions": permissions.not_actions,
        "dataActions": permissions.data_actions,
        "notDataActions": permissions.not_data_actions,
    }


async def _list(call: Call) -> web.Response:
    every = permissions_of(call.world.state, call.principal, scope_of(call))
    return collection([permissions_json(each) for each in every])


ROUTES = [Route("GET", scope + PATH, "Microsoft.Authorization/permissions/read", _list) for scope in SCOPES]
