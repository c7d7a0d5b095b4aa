"""Static sites as Azure Resource Manager shows them: sites, their production build, secrets and custom domains."""

from datetime import datetime
from typing import Any

from aiohttp import web
from pydantic import BaseModel, Field, JsonValue

from sandbox.arm import ArmError, Call, Route, collection, missing, resource_not_found
from sandbox.resources import GROUP, SUBSCRIPTION
from sandbox.static_sites.model import Sku, StaticSite
from sandbox.world import World

TYPE = "Microsoft.Web/staticSites"
LOCATION = "East US 2"
"""The platform's own region has no Static Web Apps."""
BUILD = "default"
"""How Azure calls the production environment."""
SITES = f"{GROUP}/providers/{TYPE}"
SITE = SITES + "/{name}"


class ResetProperties(BaseModel):
    """What a reset of the deployment token may say besides; here there is no repository to update."""

    should_update_repository: bool | None = Field(default=None, alias="shouldUpdateRepository")
    repository_token: str | None = Field(default=None, alias="repositoryToken")


class Reset(BaseModel):
    """Azure's StaticSiteResetPropertiesARMResource."""

    properties: ResetProperties | None = None


class SkuBody(BaseModel):
    """Azure's SkuDescription."""

    name: Sku


class SiteBody(BaseModel):
    """Azure's StaticSiteARMResource."""

    tags: dict[str, str] | None = None
    sku: SkuBody | None = None
    properties: dict[str, JsonValue] | None = None


def find(call: Call) -> StaticSite:
    """The site that a call is about, or Azure's 404."""
    site = call.world.state.find_static_site(call.names["name"])
    if site is None or site.group.lower() != call.names["group"].lower():
        raise resource_not_found(TYPE, call.names["name"], call.names["group"])
    return site


def require_production(call: Call, site: StaticSite) -> None:
    """Azure's 404 for a preview environment: there is none."""
    name = call.names.get("environment", BUILD)
    if name.lower() != BUILD:
        raise resource_not_found(f"{TYPE}/builds", f"{site.name}/{name}", site.group)


def resource_id(world: World, site: StaticSite) -> str:
    """The Azure resource id of a site."""
    return f"/subscriptions/{world.state.subscription_id}/resourceGroups/{site.group}/providers/{TYPE}/{site.name}"


def instant(moment: datetime) -> str:
    """An instant as Static Web Apps writes it."""
    return moment.replace(tzinfo=None).isoformat(timespec="milliseconds") + "Z"


def site_json(world: World, site: StaticSite) -> dict[str, Any]:
    """A site as GET shows it."""
    last = site.deployments[-1].provider if site.deployments else ""
    return {
        "id": resource_id(world, site),
        "name": site.name,
        "type": TYPE,
        "location": LOCATION,
        "tags": site.tags,
        "sku": {"name": site.sku, "tier": site.sku},
        "properties": {
            "defaultHostname": site.host,
            "repositoryUrl": None,
            "branch": None,
            "customDomains": site.custom_domains,
            "privateEndpointConnections": [],
            "contentDistributionEndpoint": "https://content-eus2.infrastructure.azurestaticapps.net",
            "stableInboundIP": None,
            "keyVaultReferenceIdentity": "SystemAssigned",
            "userProvidedFunctionApps": [],
            "linkedBackends": [],
            "databaseConnections": [],
            "stagingEnvironmentPolicy": "Enabled",
            "allowConfigFileUpdates": True,
            "provider": last or "SwaCli",
            "enterpriseGradeCdnStatus": "Disabled",
            "publicNetworkAccess": None,
        },
    }


def build_json(world: World, site: StaticSite) -> dict[str, Any]:
    """The production build as GET shows it."""
    return {
        "id": f"{resource_id(world, site)}/builds/{BUILD}",
        "name": BUILD,
        "type": f"{TYPE}/builds",
        "properties": {
            "buildId": BUILD,
            "sourceBranch": None,
            "pullRequestTitle": None,
            "hostname": site.host,
            "createdTimeUtc": instant(site.created),
            "lastUpdatedOn": instant(site.last_updated),
            "status": site.build_status,
            "userProvidedFunctionApps": [],
            "linkedBackends": [],
            "databaseConnections": [],
        },
    }


def _domain_json(world: World, site: StaticSite, domain: str) -> dict[str, Any]:
    return {
        "id": f"{resource_id(world, site)}/customDomains/{domain}",
        "name": domain,
        "type": f"{TYPE}/customDomains",
        "properties": {"domainName": domain, "createdOn": instant(site.created), "status": "Ready"},
    }


async def _list(call: Call) -> web.Response:
    group = call.names.get("group", "").lower()
    sites = [site for site in call.world.state.static_sites if group in ("", site.group.lower())]
    return collection([site_json(call.world, site) for site in sites])


async def _get(call: Call) -> web.Response:
    return web.json_response(site_json(call.world, find(call)))


async def _write(call: Call) -> web.Response:
    """Tags and size; PUT takes tags away that it does not name. What else would change is answered 501."""
    put = call.request.method == "PUT"
    if put and call.world.state.find_static_site(call.names["name"]) is None:
        raise missing(call.request, "static sites are not made here")
    site, wish = find(call), call.parse(SiteBody)
    shown = site_json(call.world, site)["properties"]
    changed = [name for name, value in (wish.properties or {}).items() if value not in (None, {}, shown.get(name))]
    if changed:
        raise missing(call.request, f"{', '.join(changed)} of a static site cannot be changed")
    site.tags = (wish.tags or {}) if put or wish.tags is not None else site.tags
    site.sku = wish.sku.name if wish.sku is not None else site.sku
    call.world.save()
    return web.json_response(site_json(call.world, site))


async def _list_builds(call: Call) -> web.Response:
    return collection([build_json(call.world, find(call))])


async def _get_build(call: Call) -> web.Response:
    site = find(call)
    require_production(call, site)
    return web.json_response(build_json(call.world, site))


async def _list_secrets(call: Call) -> web.Response:
    site = find(call)
    told = {
        "id": f"{resource_id(call.world, site)}/secrets",
        "name": "secrets",
        "type": f"{TYPE}/secrets",
        "properties": {"apiKey": site.token(call.world.secrets.signing_key)},
    }
    return web.json_response(told)


async def _reset_token(call: Call) -> web.Response:
    """The deployment token that there was is worth nothing from now on."""
    site = find(call)
    wanted = call.parse(Reset).properties
    if wanted is not None and wanted.should_update_repository:
        raise missing(call.request, "there is no repository whose secret could be updated")
    site.token_number += 1
    call.world.save()
    return web.Response()


async def _list_domains(call: Call) -> web.Response:
    site = find(call)
    return collection([_domain_json(call.world, site, domain) for domain in site.custom_domains])


async def _get_domain(call: Call) -> web.Response:
    site, wanted = find(call), call.names["domain"].lower()
    if wanted not in site.custom_domains:
        raise ArmError(404, "NotFound", f"Cannot find Hostname with name {wanted}.")
    return web.json_response(_domain_json(call.world, site, wanted))


ROUTES = [
    Route("GET", f"{SUBSCRIPTION}/providers/{TYPE}", f"{TYPE}/read", _list),
    Route("GET", SITES, f"{TYPE}/read", _list),
    Route("GET", SITE, f"{TYPE}/read", _get),
    Route("PUT", SITE, f"{TYPE}/write", _write),
    Route("PATCH", SITE, f"{TYPE}/write", _write),
    Route("GET", SITE + "/builds", f"{TYPE}/builds/read", _list_builds),
    Route("GET", SITE + "/builds/{environment}", f"{TYPE}/builds/read", _get_build),
    Route("POST", SITE + "/listSecrets", f"{TYPE}/listsecrets/action", _list_secrets),
    Route("POST", SITE + "/resetapikey", f"{TYPE}/resetapikey/action", _reset_token),
    Route("GET", SITE + "/customDomains", f"{TYPE}/customDomains/read", _list_domains),
    Route("GET", SITE + "/customDomains/{domain}", f"{TYPE}/customDomains/read", _get_domain),
]
