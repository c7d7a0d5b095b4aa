"""Plain resources: `GET`, `PUT`, `PATCH` and `DELETE` by id, and their lists."""

from collections.abc import Mapping
from functools import partial
from typing import Any, cast
from uuid import NAMESPACE_URL, uuid4, uuid5

from aiohttp import web
from pydantic import BaseModel, JsonValue

from sandbox.arm import ArmError, Call, Route, collection, missing, resource_not_found
from sandbox.clock import now
from sandbox.providers.kinds import PLAIN, Plain
from sandbox.providers.model import PlainResource
from sandbox.resources import GROUP, SUBSCRIPTION
from sandbox.state import State

PARTS = ("sku", "kind", "identity", "zones", "extendedLocation", "plan")


class Body(BaseModel):
    """A resource as it is sent. What only Azure says of it (`id`, `name`, `type`, `etag`) is passed over."""

    location: str | None = None
    tags: dict[str, str] | None = None
    properties: dict[str, JsonValue] | None = None
    sku: JsonValue = None
    kind: JsonValue = None
    identity: JsonValue = None
    zones: JsonValue = None
    extendedLocation: JsonValue = None  # noqa: N815 -- Azure's own spelling
    plan: JsonValue = None

    def parts(self) -> dict[str, JsonValue]:
        """Everything besides location, tags and properties."""
        return {name: value for name in PARTS if (value := getattr(self, name)) is not None}


def resource_json(state: State, kind: Plain, resource: PlainResource) -> dict[str, Any]:
    """A resource as GET shows it."""
    shown: dict[str, Any] = {
        "id": resource.id,
        "name": resource.name,
        "type": kind.type,
        "location": resource.location,
        "tags": resource.tags,
        **resource.parts,
        "properties": {**kind.defaults, **resource.properties, **_given_by_azure(state, kind, resource)},
    }
    if kind.etag:
        shown["etag"] = f'W/"{resource.etag}"'
    return shown


def shown(state: State, resource: PlainResource) -> dict[str, Any]:
    """A resource of whatever plain kind, as GET shows it."""
    return resource_json(state, next(each for each in PLAIN if each.type == resource.type), resource)


def _given_by_azure(state: State, kind: Plain, resource: PlainResource) -> dict[str, Any]:
    """The read-only properties."""
    number = str(uuid5(NAMESPACE_URL, resource.id.lower()))
    known: dict[str, Any] = {
        "provisioningState": "Succeeded",
        "customerId": number,
        "resourceGuid": number,
        "principalId": number,
        "clientId": str(uuid5(NAMESPACE_URL, number)),
        "tenantId": state.tenant_id,
        "creationTime": resource.created.isoformat(),
        "createdDate": resource.created.isoformat(),
        "modifiedDate": resource.created.isoformat(),
        "primaryLocation": resource.location,
        "statusOfPrimary": "available",
        "primaryEndpoints": {"blob": f"https://{resource.name}.blob.core.windows.net/"},
        "geoRegion": "East US",
        "numberOfSites": sum(f"/serverfarms/{each.plan}" in resource.id for each in state.sites),
        "status": "Ready",
        "maximumNumberOfWorkers": 30,
        "numberOfWorkers": _capacity(resource),
    }
    return {name: known[name] for name in kind.read_only}


def _capacity(resource: PlainResource) -> int:
    sku = resource.parts.get("sku")
    return int(str(sku.get("capacity", 1))) if isinstance(sku, dict) else 1


def merged(old: Mapping[str, JsonValue], change: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
    """`old` with what `change` names: a merge patch, as Azure's PATCH is; null takes away."""
    result = dict(old)
    for name, value in change.items():
        kept = result.get(name)
        if value is None:
            result.pop(name, None)
        elif isinstance(value, dict) and isinstance(kept, dict):
            result[name] = merged(kept, value)
        else:
            result[name] = value
    return result


def _id_of(call: Call) -> str:
    group = next(each for each in call.world.state.groups if each.lower() == call.names["group"].lower())
    return f"/subscriptions/{call.world.state.subscription_id}/resourceGroups/{group}/providers"


def _find(call: Call, kind: Plain) -> PlainResource:
    found = call.world.state.find_plain(f"{_id_of(call)}/{kind.type}/{call.names['name']}")
    if found is None:
        raise resource_not_found(kind.type, call.names["name"], call.names["group"])
    return found


def _require_version(call: Call, kind: Plain) -> None:
    version = call.request.query["api-version"]
    if version in kind.versions:
        return
    name = kind.type.partition("/")[2]
    raise ArmError(
        400,
        "NoRegisteredProviderFound",
        f"No registered resource provider found for location '{call.world.state.location}' and API version "
        f"'{version}' for type '{name}'. The supported api-versions are '{', '.join(reversed(kind.versions))}'. The "
        f"supported locations are '{call.world.state.location}'.",
    )


def _require_match(call: Call, kind: Plain, resource: PlainResource | None) -> None:
    """412 where the client knows another state than this one."""
    if not kind.etag:
        return
    wanted, unwanted = call.request.headers.get("If-Match"), call.request.headers.get("If-None-Match")
    current = f'W/"{resource.etag}"' if resource is not None else None
    told = [part.strip() for part in (wanted or "").split(",")]
    matches = wanted is None or (current is not None and ("*" in told or current in told))
    if matches and not (unwanted == "*" and current is not None):
        return
    message = f"The condition '{wanted or unwanted}' in the request's header does not match the current state."
    raise ArmError(412, "PreconditionFailed", message)


async def _get(kind: Plain, call: Call) -> web.Response:
    _require_version(call, kind)
    return web.json_response(resource_json(call.world.state, kind, _find(call, kind)))


async def _list(kind: Plain, call: Call) -> web.Response:
    scope, state = call.names.get("group", "").lower(), call.world.state
    found = [each for each in state.plain_resources if each.type == kind.type]
    shown = [each for each in found if scope in ("", each.id.split("/")[4].lower())]
    return collection([resource_json(state, kind, each) for each in shown if call.may(f"{kind.type}/read", each.id)])


async def _put(kind: Plain, call: Call) -> web.Response:
    """A whole resource: what the body leaves out is as it is by default."""
    _require_version(call, kind)
    state, wish = call.world.state, call.parse(Body)
    wanted = f"{_id_of(call)}/{kind.type}/{call.names['name']}"
    old = state.find_plain(wanted)
    _require_match(call, kind, old)
    location = (wish.location or "").replace(" ", "").lower() or (old.location if old is not None else "")
    if not location:
        raise ArmError(400, "LocationRequired", "The location property is required for this definition.")
    if old is not None and location != old.location:
        raise ArmError(
            409,
            "InvalidResourceLocation",
            f"The resource '{old.name}' already exists in location '{old.location}' in resource group "
            f"'{call.names['group']}'. A resource with the same name cannot be created in location '{location}'. "
            "Please select a new resource name.",
        )
    made = PlainResource(
        id=old.id if old is not None else wanted,
        type=kind.type,
        location=location,
        tags=wish.tags or {},
        parts=wish.parts(),
        properties=_writable(kind, wish.properties or {}),
        created=old.created if old is not None else now(),
    )
    state.plain_resources = [*(each for each in state.plain_resources if each is not old), made]
    call.world.save()
    return web.json_response(resource_json(state, kind, made), status=201 if old is None else 200)


def _writable(kind: Plain, properties: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
    return {name: value for name, value in properties.items() if name not in kind.read_only and value is not None}


async def _patch(kind: Plain, call: Call) -> web.Response:
    _require_version(call, kind)
    resource, wish = _find(call, kind), call.parse(Body)
    _require_match(call, kind, resource)
    if unknown := [name for name in wish.parts() if name in kind.not_patched]:
        raise missing(call.request, f"{', '.join(unknown)} in a PATCH of {kind.type}, which Azure's does not have")
    if wish.tags is not None:
        resource.tags = wish.tags
    resource.parts = merged(resource.parts, wish.parts())
    # What is default and not kept is there all the same: a change of a part of it is a change of that.
    given = wish.properties or {}
    base = {name: cast("JsonValue", kind.defaults[name]) for name in given if name in kind.defaults}
    resource.properties = _writable(kind, merged(base | resource.properties, given))
    resource.etag = str(uuid4())
    call.world.save()
    return web.json_response(resource_json(call.world.state, kind, resource))


async def _delete(kind: Plain, call: Call) -> web.Response:
    try:
        resource = _find(call, kind)
    except ArmError:
        return web.Response(status=204)
    _require_match(call, kind, resource)
    if kind.type == "Microsoft.Web/serverfarms" and any(
        (each.plan.lower(), each.group.lower()) == (resource.name.lower(), call.names["group"].lower())
        for each in call.world.state.sites
    ):
        message = "Server farm cannot be deleted because it has web app(s) assigned to it."
        raise ArmError(409, "Conflict", message)
    call.world.state.plain_resources.remove(resource)
    call.world.save()
    return web.Response()


def _routes(kind: Plain) -> list[Route]:
    path = f"/providers/{kind.type}"
    one, read = GROUP + path + "/{name}", f"{kind.type}/read"
    return [
        Route("GET", SUBSCRIPTION + path, "", partial(_list, kind), frozenset({"$top"})),
        Route("GET", GROUP + path, read, partial(_list, kind), frozenset({"$top"})),
        Route("GET", one, read, partial(_get, kind)),
        Route("PUT", one, f"{kind.type}/write", partial(_put, kind)),
        Route("PATCH", one, f"{kind.type}/write", partial(_patch, kind)),
        Route("DELETE", one, f"{kind.type}/delete", partial(_delete, kind)),
    ]


ROUTES = [route for kind in PLAIN for route in _routes(kind)]
