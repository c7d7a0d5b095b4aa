"""Sites and slots as Azure Resource Manager shows them."""

from typing import Any

from aiohttp import web

from sandbox.arm import ArmError, Call, Handler, Route, collection, resource_not_found
from sandbox.clock import american, iso, now
from sandbox.keyvault.references import identity_of
from sandbox.outbound import outbound_address
from sandbox.resources import GROUP, SUBSCRIPTION
from sandbox.state import PRODUCTION, Operation, Site, Slot, SwapStatus
from sandbox.world import World

CONSTANT: dict[str, Any] = {
    "usageState": "Normal",
    "enabled": True,
    "adminEnabled": True,
    "availabilityState": "Normal",
    "reserved": True,
    "isXenon": False,
    "hyperV": False,
    "scmSiteAlsoStopped": False,
    "clientAffinityEnabled": False,
    "clientCertEnabled": False,
    "clientCertMode": "Required",
    "hostNamesDisabled": False,
    "containerSize": 0,
    "dailyMemoryTimeQuota": 0,
    "httpsOnly": True,
    "redundancyMode": "None",
    "publicNetworkAccess": "Enabled",
    "storageAccountRequired": False,
    "keyVaultReferenceIdentity": "SystemAssigned",
    "sku": "PremiumV3",
}
"""Properties that every site here has in the beginning."""
SETTABLE = (
    "clientAffinityEnabled",
    "clientCertEnabled",
    "clientCertMode",
    "httpsOnly",
    "keyVaultReferenceIdentity",
    "publicNetworkAccess",
    "scmSiteAlsoStopped",
)
"""Those of them that can be changed: they say something, and no process notices."""

SPARE_ADDRESS = "20.42.0.2"
"""What connections would leave from if the plan were moved; here none is."""

SITES = GROUP + "/providers/Microsoft.Web/sites"
SITE = SITES + "/{site}"
SLOT = SITE + "/slots/{slot}"


def for_site_and_slot(method: str, path: str, action: str, handler: Handler, query: str = "") -> list[Route]:
    """The same operation on production and on a slot; `{sites}` in `action` is where Azure's actions differ."""
    names = frozenset(query.split())
    return [
        Route(method, SITE + path, action.format(sites="Microsoft.Web/sites"), handler, names),
        Route(method, SLOT + path, action.format(sites="Microsoft.Web/sites/slots"), handler, names),
    ]


def find(call: Call) -> tuple[Site, Slot]:
    """The site and the slot (production without one) that a call is about, or Azure's 404."""
    site = call.world.state.find_site(call.names["group"], call.names["site"])
    if site is None:
        raise resource_not_found("Microsoft.Web/sites", call.names["site"], call.names["group"])
    name = call.names.get("slot")
    if name is None:
        return site, site.slots[PRODUCTION]
    return site, find_slot(site, name)


def find_slot(site: Site, name: str) -> Slot:
    """The slot called `name`, or Azure's 404."""
    slot = site.slots.get(name.lower())
    if slot is None:
        raise resource_not_found("Microsoft.Web/sites/slots", f"{site.name}/{name}", site.group)
    return slot


def find_changeable(call: Call) -> tuple[Site, Slot]:
    """As `find`, for a write: refused with 409 while something else changes the site, or a swap is prepared."""
    site, slot = find(call)
    require_idle(call.world, site)
    if slot.prepared_for is not None or any(each.prepared_for == slot.name for each in site.slots.values()):
        raise ArmError(
            409,
            "Conflict",
            "The slot cannot be changed because its configuration settings have been prepared for swap.",
        )
    return site, slot


def require_idle(world: World, site: Site) -> None:
    """409 while another operation is in progress on the site."""
    operation = site.operation()
    if operation is not None:
        raise busy(world, site, operation)


def busy(world: World, site: Site, operation: Operation) -> ArmError:
    """Azure's 409 for an operation in progress."""
    return ArmError(
        409,
        "Conflict",
        "Cannot modify this site because another operation is in progress. Details: "
        f"Id: {operation.id}, OperationName: {operation.name}, CreatedTime: {american(operation.created)}, "
        f"WebSystemName: websites, SubscriptionName: {world.state.subscription_id}, "
        f"WebspaceName: {site.group}-EastUSwebspace, SiteName: {site.name}, SlotName: {operation.source}, "
        "ServerFarmName: , GeoOperationId: (null)",
    )


def touch(slot: Slot) -> None:
    """The slot was changed now."""
    slot.last_modified = now()


def resource_id(world: World, site: Site, slot: Slot | None = None) -> str:
    """The Azure resource id of a site or slot."""
    base = f"/subscriptions/{world.state.subscription_id}/resourceGroups/{site.group}/providers/Microsoft.Web"
    suffix = "" if slot is None or slot.name == PRODUCTION else f"/slots/{slot.name}"
    return f"{base}/sites/{site.name}{suffix}"


def child_json(call: Call, kind: str, name: str, properties: dict[str, Any]) -> dict[str, Any]:
    """A child resource of a site or slot: `kind` is its type below that, `name` its last part."""
    site, slot = find(call)
    on_slot = slot.name != PRODUCTION
    return {
        "id": f"{resource_id(call.world, site, slot)}/{kind}/{name}",
        "name": f"{site.name}/{slot.name}/{name}" if on_slot else name,
        "type": f"Microsoft.Web/sites/{'slots/' if on_slot else ''}{kind}",
        "location": "East US",
        "properties": properties,
    }


def _swap_status_json(status: SwapStatus | None) -> dict[str, str] | None:
    if status is None:
        return None
    return {
        "timestampUtc": iso(status.timestamp),
        "sourceSlotName": status.source,
        "destinationSlotName": status.destination,
    }


def site_json(world: World, site: Site, slot: Slot) -> dict[str, Any]:
    """A site or slot as GET shows it."""
    on_slot = slot.name != PRODUCTION
    return {
        "id": resource_id(world, site, slot),
        "name": f"{site.name}/{slot.name}" if on_slot else site.name,
        "type": "Microsoft.Web/sites/slots" if on_slot else "Microsoft.Web/sites",
        "kind": "app,linux,container",
        "location": "East US",
        "tags": slot.tags,
        "identity": {
            "type": "SystemAssigned",
            "tenantId": world.state.tenant_id,
            "principalId": identity_of(site, slot).object_id,
        },
        "properties": _properties(world, site, slot),
    }


def _properties(world: World, site: Site, slot: Slot) -> dict[str, Any]:
    operation = site.operation()
    involved = operation is not None and slot.name in (operation.source, operation.target)
    scm = slot.host.replace(".azurewebsites", ".scm.azurewebsites")
    states = [
        {"name": slot.host, "sslState": "Disabled", "hostType": "Standard"},
        {"name": scm, "sslState": "Disabled", "hostType": "Repository"},
    ]
    plan = resource_id(world, site).replace(f"sites/{site.name}", f"serverfarms/{site.plan}")
    return {
        **CONSTANT,
        **slot.properties,
        "name": site.name if slot.name == PRODUCTION else f"{site.name}({slot.name})",
        "state": slot.state,
        "hostNames": [slot.host],
        "webSpace": f"{site.group}-EastUSwebspace-Linux",
        "repositorySiteName": site.name,
        "enabledHostNames": [slot.host, scm],
        "hostNameSslStates": states,
        "serverFarmId": plan,
        "outboundIpAddresses": outbound_address(site.name),
        "possibleOutboundIpAddresses": f"{outbound_address(site.name)},{SPARE_ADDRESS}",
        "lastModifiedTimeUtc": iso(slot.last_modified),
        "siteConfig": {
            "numberOfWorkers": site.instances,
            "linuxFxVersion": slot.content.linux_fx_version,
            "acrUseManagedIdentityCreds": bool(slot.content.config.get("acrUseManagedIdentityCreds", False)),
            "alwaysOn": bool(slot.config.get("alwaysOn", True)),
            "http20Enabled": bool(slot.content.config.get("http20Enabled", False)),
            "functionAppScaleLimit": 0,
            "minimumElasticInstanceCount": 0,
        },
        "targetSwapSlot": slot.prepared_for,
        "resourceGroup": site.group,
        "defaultHostName": slot.host,
        "slotSwapStatus": _swap_status_json(slot.swap_status),
        "inProgressOperationId": operation.id if operation is not None and involved else None,
    }


async def _get(call: Call) -> web.Response:
    return web.json_response(site_json(call.world, *find(call)))


async def _list_by_subscription(call: Call) -> web.Response:
    sites = call.world.state.sites
    return collection([site_json(call.world, site, site.slots[PRODUCTION]) for site in sites])


async def _list_by_group(call: Call) -> web.Response:
    group = call.names["group"].lower()
    sites = [site for site in call.world.state.sites if site.group.lower() == group]
    return collection([site_json(call.world, site, site.slots[PRODUCTION]) for site in sites])


async def _list_slots(call: Call) -> web.Response:
    site, _ = find(call)
    slots = [slot for name, slot in site.slots.items() if name != PRODUCTION]
    return collection([site_json(call.world, site, slot) for slot in slots])


ROUTES = [
    Route("GET", SUBSCRIPTION + "/providers/Microsoft.Web/sites", "Microsoft.Web/sites/read", _list_by_subscription),
    Route("GET", SITES, "Microsoft.Web/sites/read", _list_by_group),
    Route("GET", SITE + "/slots", "Microsoft.Web/sites/slots/read", _list_slots),
    *for_site_and_slot("GET", "", "{sites}/read", _get),
]
