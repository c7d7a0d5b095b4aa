"""Management locks of the subscription, of groups and of resources."""

import re
from typing import Any, Literal

from aiohttp import web
from pydantic import BaseModel, Field, JsonValue

from sandbox.arm import ArmError, Call, Route, collection, missing
from sandbox.rbac import covers
from sandbox.resources import GROUP, SUBSCRIPTION, scope_of
from sandbox.state import ManagementLock

KIND = "Microsoft.Authorization/locks"
PATH = f"/providers/{KIND}"
RESOURCE = GROUP + "/providers/{namespace}/{type}/{name}"
SCOPES = (SUBSCRIPTION, GROUP, RESOURCE, RESOURCE + "/{child_type}/{child}")
AT_SCOPE = re.compile(r"atScope\(\)", re.IGNORECASE)


class Properties(BaseModel):
    """Azure's ManagementLockProperties."""

    level: Literal["CanNotDelete", "ReadOnly"]
    notes: str | None = Field(default=None, max_length=512)
    owners: list[dict[str, JsonValue]] | None = None


class Body(BaseModel):
    """Azure's ManagementLockObject."""

    properties: Properties


def _lock_json(lock: ManagementLock) -> dict[str, Any]:
    properties = {"level": lock.level, "notes": lock.notes, "owners": lock.owners}
    return {
        "properties": {name: value for name, value in properties.items() if value is not None},
        "id": f"{lock.scope}{PATH}/{lock.name}",
        "type": KIND,
        "name": lock.name,
    }


async def _list(call: Call) -> web.Response:
    """What binds here: on the scope, above it, and (but for `atScope()`) below."""
    scope, text = scope_of(call), call.request.query.get("$filter", "").strip()
    if text and AT_SCOPE.fullmatch(text) is None:
        raise missing(call.request, f"the filter {text!r} is not honoured")
    return collection(
        [
            _lock_json(each)
            for each in call.world.state.locks
            if covers(each.scope, scope) or (not text and covers(scope, each.scope))
        ]
    )


def _find(call: Call) -> ManagementLock | None:
    wanted = (scope_of(call).lower(), call.names["lock"].lower())
    return next((each for each in call.world.state.locks if (each.scope.lower(), each.name.lower()) == wanted), None)


async def _get(call: Call) -> web.Response:
    found = _find(call)
    if found is None:
        raise ArmError(404, "LockNotFound", f"The lock '{call.names['lock']}' could not be found.")
    return web.json_response(_lock_json(found))


async def _put(call: Call) -> web.Response:
    wish, old = call.parse(Body).properties, _find(call)
    made = ManagementLock(
        name=call.names["lock"], scope=scope_of(call), level=wish.level, notes=wish.notes, owners=wish.owners
    )
    locks = call.world.state.locks
    call.world.state.locks = [*(each for each in locks if each is not old), made]
    call.world.save()
    return web.json_response(_lock_json(made), status=201 if old is None else 200)


async def _delete(call: Call) -> web.Response:
    found = _find(call)
    if found is None:
        return web.Response(status=204)
    call.world.state.locks.remove(found)
    call.world.save()
    return web.Response()


ROUTES = [
    route
    for scope in SCOPES
    for route in (
        Route("GET", scope + PATH, f"{KIND}/read", _list, frozenset({"$filter"})),
        Route("GET", scope + PATH + "/{lock}", f"{KIND}/read", _get),
        Route("PUT", scope + PATH + "/{lock}", f"{KIND}/write", _put),
        Route("DELETE", scope + PATH + "/{lock}", f"{KIND}/delete", _delete),
    )
]
