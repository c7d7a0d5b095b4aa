"""The Application Insights component of production, as a resource."""

from typing import Any
from uuid import NAMESPACE_URL, uuid5

from aiohttp import web
from pydantic import BaseModel, JsonValue

from sandbox.arm import Call, Route, collection, missing, resource_not_found
from sandbox.resources import GROUP, SUBSCRIPTION
from sandbox.state import State

KIND = "microsoft.insights/components"
NAME = "fundrbolt-production-insights"
ENVIRONMENT = "production"
"""Whose app feeds it."""
PATH = f"/providers/{KIND}"
COMPONENT = GROUP + PATH + "/{component}"
READ = "Microsoft.Insights/components/read"


SETTABLE = (
    "RetentionInDays",
    "SamplingPercentage",
    "publicNetworkAccessForIngestion",
    "publicNetworkAccessForQuery",
    "WorkspaceResourceId",
    "IngestionMode",
)
"""Properties that can be changed, and that nothing here acts upon."""


class ComponentBody(BaseModel):
    """Azure's ApplicationInsightsComponent."""

    tags: dict[str, str] | None = None
    properties: dict[str, JsonValue] = {}


def component_id(state: State) -> str:
    """Its Azure resource id."""
    group = next(site.group for site in state.sites if site.environment == ENVIRONMENT)
    return f"/subscriptions/{state.subscription_id}/resourceGroups/{group}{PATH}/{NAME}"


def component_json(state: State) -> dict[str, Any]:
    """The component."""
    resource = component_id(state)
    key = str(uuid5(NAMESPACE_URL, resource))
    return {
        "id": resource,
        "name": NAME,
        "type": KIND,
        "location": state.location,
        "kind": "web",
        "tags": state.component.tags,
        "properties": {
            "ApplicationId": NAME,
            "AppId": str(uuid5(NAMESPACE_URL, resource + "/app")),
            "Application_Type": "web",
            "Flow_Type": "Bluefield",
            "Request_Source": "rest",
            "InstrumentationKey": key,
            "ConnectionString": f"InstrumentationKey={key};IngestionEndpoint=https://{state.location}-1.in."
            "applicationinsights.azure.com/",
            "Name": NAME,
            "TenantId": state.subscription_id,
            "provisioningState": "Succeeded",
            "RetentionInDays": 90,
            "IngestionMode": "ApplicationInsights",
            "publicNetworkAccessForIngestion": "Enabled",
            "publicNetworkAccessForQuery": "Enabled",
            **state.component.properties,
        },
    }


def require(call: Call) -> str:
    """The id of the component that a call is about, or Azure's 404."""
    resource = component_id(call.world.state)
    group, name = call.names["group"], call.names["component"]
    if name.lower() != NAME or f"/resourcegroups/{group.lower()}/" not in resource.lower():
        raise resource_not_found("microsoft.insights/components", name, group)
    return resource


async def _get(call: Call) -> web.Response:
    require(call)
    return web.json_response(component_json(call.world.state))


async def _write(call: Call) -> web.Response:
    """Tags, by PUT also settings; PUT takes tags away that it does not name. What else would change is answered 501."""
    put = call.request.method == "PUT"
    if put and call.names["component"].lower() != NAME:
        raise missing(call.request, "components are not made here")
    require(call)
    state, wish = call.world.state, call.parse(ComponentBody)
    shown = component_json(state)["properties"]
    changed = {name: value for name, value in wish.properties.items() if value not in (None, shown.get(name))}
    unknown = [name for name in changed if name not in SETTABLE or not put]
    if unknown:
        raise missing(call.request, f"{', '.join(unknown)} of a component cannot be changed")
    component = state.component
    component.tags = (wish.tags or {}) if put or wish.tags is not None else component.tags
    component.properties |= changed
    call.world.save()
    return web.json_response(component_json(state))


async def _list(call: Call) -> web.Response:
    component, scope = component_json(call.world.state), call.names.get("group", "")
    shown = f"/resourcegroups/{scope.lower()}" in component["id"].lower() and call.may(READ, component["id"])
    return collection([component] if shown else [])


ROUTES = [
    Route("GET", COMPONENT, READ, _get),
    Route("PUT", COMPONENT, "Microsoft.Insights/components/write", _write),
    Route("PATCH", COMPONENT, "Microsoft.Insights/components/write", _write),
    Route("GET", GROUP + PATH, READ, _list),
    Route("GET", SUBSCRIPTION + PATH, "", _list),
]
