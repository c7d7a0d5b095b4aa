"""Subscriptions, resource groups, and what the caller may do: what belongs to no single service."""

import re
from typing import Any

from aiohttp import web
from pydantic import BaseModel

from sandbox.arm import ArmError, Call, Route, collection, missing
from sandbox.rbac import assignments_of
from sandbox.world import World

SUBSCRIPTION = "/subscriptions/{subscription}"
GROUP = SUBSCRIPTION + "/resourceGroups/{group}"
SCOPES = (
    SUBSCRIPTION,
    GROUP,
    GROUP + "/providers/{namespace}/{type}/{name}",
    GROUP + "/providers/{namespace}/{parent_type}/{parent}/{type}/{name}",
)
"""Where something can be said about any resource: roles, permissions, tags."""
GROUP_READ = "Microsoft.Resources/subscriptions/resourceGroups/read"
GROUP_WRITE = "Microsoft.Resources/subscriptions/resourceGroups/write"


def _subscription_json(world: World) -> dict[str, Any]:
    state = world.state
    return {
        "id": f"/subscriptions/{state.subscription_id}",
        "authorizationSource": "RoleBased",
        "managedByTenants": [],
        "subscriptionId": state.subscription_id,
        "tenantId": state.tenant_id,
        "displayName": "Fundrbolt",
        "state": "Enabled",
        "subscriptionPolicies": {
            "locationPlacementId": "Public_2014-09-01",
            "quotaId": "PayAsYouGo_2014-09-01",
            "spendingLimit": "Off",
        },
    }


def _group_json(world: World, name: str) -> dict[str, Any]:
    return {
        "id": f"/subscriptions/{world.state.subscription_id}/resourceGroups/{name}",
        "name": name,
        "type": "Microsoft.Resources/resourceGroups",
        "location": world.state.location,
        "tags": world.state.group_tags.get(name, {}),
        "properties": {"provisioningState": "Succeeded"},
    }


class GroupBody(BaseModel):
    """Azure's ResourceGroup."""

    location: str | None = None
    tags: dict[str, str] | None = None


def scope_of(call: Call) -> str:
    """What a call on one of `SCOPES` is about: its path up to the provider that is asked."""
    path = re.sub("/+", "/", call.request.path)
    return path[: path.lower().rindex("/providers/")]


async def _list_subscriptions(call: Call) -> web.Response:
    """Those in which the caller has any role, anywhere."""
    values = [_subscription_json(call.world)] if assignments_of(call.world.state, call.principal) else []
    return web.json_response({"value": values, "count": {"type": "Total", "value": len(values)}})


async def _get_subscription(call: Call) -> web.Response:
    return web.json_response(_subscription_json(call.world))


async def _list_groups(call: Call) -> web.Response:
    groups = [_group_json(call.world, name) for name in call.world.state.groups]
    return collection([group for group in groups if call.may(GROUP_READ, group["id"])])


def _group_name(call: Call) -> str | None:
    """The group's name as it was made; None where there is none."""
    return next((name for name in call.world.state.groups if name.lower() == call.names["made"].lower()), None)


async def _get_group(call: Call) -> web.Response:
    name = next(name for name in call.world.state.groups if name.lower() == call.names["group"].lower())
    return web.json_response(_group_json(call.world, name))


async def _write_group(call: Call) -> web.Response:
    """PUT makes a group, or changes its tags; PATCH changes what is named. Every group is in the platform's region."""
    state, wish, name = call.world.state, call.parse(GroupBody), _group_name(call)
    put = call.request.method == "PUT"
    if name is None and not put:
        message = f"Resource group '{call.names['made']}' could not be found."
        raise ArmError(404, "ResourceGroupNotFound", message)
    location = (wish.location or "").replace(" ", "").lower()
    if put and location != state.location:
        raise _wrong_place(call, name, location)
    made = name or call.names["made"]
    if name is None:
        state.groups.append(made)
    if put or wish.tags is not None:
        state.group_tags[made] = wish.tags or {}
    call.world.save()
    return web.json_response(_group_json(call.world, made), status=201 if name is None else 200)


def _wrong_place(call: Call, name: str | None, location: str) -> ArmError:
    if name is None:
        return missing(call.request, f"groups are made in {call.world.state.location} only")
    return ArmError(
        409,
        "InvalidResourceGroupLocation",
        f"Invalid resource group location '{location}'. The Resource group already exists in location "
        f"'{call.world.state.location}'.",
    )


ROUTES = [
    # Listing needs no permission: it shows what the caller can see.
    Route("GET", "/subscriptions", "", _list_subscriptions),
    Route("GET", SUBSCRIPTION, "Microsoft.Resources/subscriptions/read", _get_subscription),
    Route("GET", SUBSCRIPTION + "/resourceGroups", "", _list_groups),
    Route("GET", GROUP, GROUP_READ, _get_group),
    # Named otherwise: a group that is to be made is not there yet.
    Route("PUT", SUBSCRIPTION + "/resourceGroups/{made}", GROUP_WRITE, _write_group),
    Route("PATCH", SUBSCRIPTION + "/resourceGroups/{made}", GROUP_WRITE, _write_group),
]
