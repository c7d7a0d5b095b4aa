"""What App Service tells of a slot's Key Vault references, and the call that fetches them again."""

from typing import Any

from aiohttp import web

from sandbox.arm import ArmError, Call
from sandbox.faults import text
from sandbox.keyvault.model import Resolution
from sandbox.state import Site, Slot
from sandbox.web.lifecycle import restart_later
from sandbox.web.resources import child_json, find, find_changeable, for_site_and_slot

STUCK, UNTOLD = "reference-stuck", "reference-version-untold"
PATH = "/config/configreferences/appsettings"
READ, REFRESH = "{sites}/config/appsettings/read", "{sites}/config/appsettings/refresh/action"


def reference_json(call: Call, name: str, found: Resolution) -> dict[str, Any]:
    """Azure's ApiKVReference. What is not known is null; the value is never in it."""
    told = not any(fault.name == UNTOLD for fault in call.world.state.faults)
    return child_json(
        call,
        "config/configreferences",
        f"appsettings/{name}",
        {
            "reference": found.reference,
            "status": found.status,
            "vaultName": found.vault,
            "secretName": found.secret,
            "secretVersion": found.version,
            # The description of the API has an object here; App Service sends the kind of identity.
            "identityType": "SystemAssigned",
            "details": found.details,
            "source": "KeyVault",
            "activeVersion": found.active_version if told else None,
        },
    ) | {"name": name}


def _collection(call: Call, slot: Slot) -> web.Response:
    values = [reference_json(call, name, found) for name, found in sorted(slot.references.by_setting.items())]
    return web.json_response({"value": values, "nextLink": None, "id": None})


async def _list(call: Call) -> web.Response:
    site, slot = find(call)
    call.world.settle_references(site, slot)
    return _collection(call, slot)


async def _get(call: Call) -> web.Response:
    site, slot = find(call)
    call.world.settle_references(site, slot)
    wanted = call.names["setting"]
    found = next((each for each in slot.references.by_setting.items() if each[0].lower() == wanted.lower()), None)
    if found is None:
        raise ArmError(404, "NotFound", f"The app setting '{wanted}' is not a Key Vault reference.")
    return web.json_response(reference_json(call, *found))


async def _refresh(call: Call) -> web.Response:
    """Fetch everything again; the app restarts if it gets another value."""
    site, slot = find_changeable(call)
    if not _is_stuck(call, site, slot):
        call.world.settle_references(site, slot, anew=True)
    if call.world.needs_restart(site, slot):
        call.world.start(restart_later(call.world, site, slot))
    return _collection(call, slot)


def _is_stuck(call: Call, site: Site, slot: Slot) -> bool:
    where = (site.environment, slot.name)
    faults = [each for each in call.world.state.faults if each.name == STUCK]
    return any((text(each, "environment"), text(each, "slot")) == where for each in faults)


ROUTES = [
    *for_site_and_slot("GET", PATH, READ, _list),
    *for_site_and_slot("POST", PATH + "/refresh", REFRESH, _refresh),
    *for_site_and_slot("GET", PATH + "/{setting}", READ, _get),
]
