"""Every resource of the subscription in one list, and which types each provider has."""

import re
from typing import Any

from aiohttp import web

from sandbox.arm import ArmError, Call, Route, collection, missing
from sandbox.insights import components
from sandbox.keyvault import vaults
from sandbox.postgresql.servers import server_json
from sandbox.providers import plain
from sandbox.providers.kinds import PLAIN
from sandbox.redis import managed
from sandbox.redis import resources as redis
from sandbox.resources import GROUP, SUBSCRIPTION
from sandbox.static_sites import resources as static_sites
from sandbox.web.resources import site_json
from sandbox.world import World

SHOWN = ("id", "name", "type", "kind", "location", "tags", "identity", "sku")
CLAUSE = re.compile(r"(resourceType|name|resourceGroup|location|tagName|tagValue) eq '([^']*)'", re.IGNORECASE)
API_VERSIONS = {
    "Microsoft.Web": (
        ("sites", "sites/slots", "staticSites", "staticSites/builds"),
        ("2025-05-01", "2024-11-01", "2023-12-01"),
    ),
    "microsoft.insights": (("components",), ("2020-02-02", "2015-05-01")),
    "Microsoft.KeyVault": (("vaults",), ("2024-11-01", "2023-07-01")),
    "Microsoft.DBforPostgreSQL": (("flexibleServers",), ("2026-10-01", "2023-12-01-preview", "2022-12-01")),
    "Microsoft.Cache": (("redis", "redisEnterprise", "redisEnterprise/databases"), ("2025-07-01", "2024-11-01")),
    "Microsoft.Authorization": (("roleDefinitions", "roleAssignments", "permissions"), ("2022-04-01",)),
    "Microsoft.Resources": (("deployments", "resourceGroups", "tags"), ("2025-04-01", "2024-03-01", "2022-09-01")),
}
OWN_VERSIONS = {"Microsoft.Authorization": {"locks": ("2020-05-01", "2016-09-01")}}
"""Of types that do not share their provider's."""
NAMESPACES = list({each.lower(): each for each in (*API_VERSIONS, *(kind.namespace for kind in PLAIN))}.values())


def every(world: World) -> list[dict[str, Any]]:
    """All resources, as their own providers show them."""
    state = world.state
    return [
        *(site_json(world, site, slot) for site in state.sites for slot in site.slots.values()),
        *(vaults.vault_json(state, vault) for vault in state.vaults),
        *(server_json(state, server) for server in state.database_servers),
        *(redis.cache_json(state, cache) for cache in state.caches if cache.kind == "redis"),
        *(
            shown(state, cache)
            for cache in state.caches
            if cache.kind == "managed"
            for shown in (managed.cluster_json, managed.database_json)
        ),
        components.component_json(state),
        *(static_sites.site_json(world, site) for site in state.static_sites),
        *(plain.shown(state, each) for each in state.plain_resources),
    ]


def _matches(resource: dict[str, Any], field: str, value: str) -> bool:
    tags: dict[str, str] = resource.get("tags") or {}
    match field.lower():
        case "resourcetype":
            found = str(resource["type"])
        case "resourcegroup":
            found = str(resource["id"]).split("/")[4]
        case "tagname":
            return value in tags
        case "tagvalue":
            return value in tags.values()
        case "location":
            # Some providers write `East US`, clients ask for `eastus`.
            return str(resource.get("location", "")).replace(" ", "").lower() == value.replace(" ", "").lower()
        case _:
            found = str(resource["name"])
    return found.lower() == value.lower()


async def _list(call: Call) -> web.Response:
    """What the caller may read, filtered."""
    scope = call.request.path.rpartition("/")[0].lower() + "/"
    text = call.request.query.get("$filter", "").strip()
    clauses = [CLAUSE.fullmatch(part.strip()) for part in re.split(r"\s+and\s+", text)] if text else []
    found = [each for each in every(call.world) if f"{each['id']}/".lower().startswith(scope)]
    for clause in clauses:
        if clause is None:
            raise missing(call.request, f"the filter {text!r} is not honoured")
        found = [each for each in found if _matches(each, clause[1], clause[2])]
    readable = [each for each in found if call.may(f"{each['type']}/read", each["id"])]
    return collection([{key: each[key] for key in SHOWN if key in each} for each in readable])


def _same(one: str, other: str) -> bool:
    return one.lower() == other.lower()


def _types(namespace: str) -> dict[str, tuple[str, ...]]:
    """The api-versions of each type of a provider, those included of which only JSON is kept."""
    types, versions = next((found for each, found in API_VERSIONS.items() if _same(each, namespace)), ((), ()))
    plain_types = {each.type.partition("/")[2]: each.versions for each in PLAIN if _same(each.namespace, namespace)}
    return {**dict.fromkeys(types, versions), **plain_types, **OWN_VERSIONS.get(namespace, {})}


def _provider_json(call: Call, namespace: str) -> dict[str, Any]:
    return {
        "id": f"/subscriptions/{call.world.state.subscription_id}/providers/{namespace}",
        "namespace": namespace,
        "registrationState": "Registered",
        "registrationPolicy": "RegistrationRequired",
        "resourceTypes": [
            {"resourceType": each, "locations": ["East US"], "apiVersions": list(versions), "capabilities": "None"}
            for each, versions in _types(namespace).items()
        ],
    }


async def _get_provider(call: Call) -> web.Response:
    wanted = call.names["provider"]
    namespace = next((each for each in NAMESPACES if each.lower() == wanted.lower()), None)
    if namespace is None:
        message = f"The resource namespace '{wanted}' is invalid."
        raise ArmError(404, "InvalidResourceNamespace", message)
    return web.json_response(_provider_json(call, namespace))


async def _list_providers(call: Call) -> web.Response:
    return collection([_provider_json(call, namespace) for namespace in NAMESPACES])


QUERY = frozenset({"$filter", "$expand", "$top"})

ROUTES = [
    # Listing needs no permission: it shows what the caller can see.
    Route("GET", SUBSCRIPTION + "/resources", "", _list, QUERY),
    Route("GET", GROUP + "/resources", "", _list, QUERY),
    Route("GET", SUBSCRIPTION + "/providers", "", _list_providers, frozenset({"$expand"})),
    Route("GET", SUBSCRIPTION + "/providers/{provider}", "", _get_provider, frozenset({"$expand"})),
]
