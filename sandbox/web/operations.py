"""Starting a swap, swapping with preview, and waiting: the requests around `swap`."""

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field

from sandbox.arm import HOST, ArmError, Call
from sandbox.state import Operation, Site, Slot
from sandbox.web import swap, swap_faults
from sandbox.web.resources import (
    find,
    find_changeable,
    find_slot,
    for_site_and_slot,
    require_idle,
    resource_id,
    site_json,
)


class SlotEntity(BaseModel):
    """Azure's CsmSlotEntity."""

    model_config = ConfigDict(populate_by_name=True)

    target_slot: str = Field(alias="targetSlot", min_length=1)
    preserve_vnet: bool = Field(default=False, alias="preserveVnet")


def retry_after(seconds: float, *, first: bool) -> dict[str, str]:
    """The header that asks a client to wait. The SDK reads it as an integer in the first answer, as a number later."""
    if seconds >= 1:
        return {"Retry-After": str(round(seconds))}
    if first:
        return {"x-ms-retry-after-ms": str(max(1, round(seconds * 1000)))}
    return {"Retry-After": f"{max(seconds, 0.01):g}"}


def accepted(call: Call, site: Site, slot: Slot, operation: Operation, *, first: bool) -> web.Response:
    """202: it is under way, ask there."""
    version = call.request.query["api-version"]
    path = f"{resource_id(call.world, site, slot)}/operationresults/{operation.id}"
    location = f"https://{HOST}{path}?api-version={version}"
    return web.Response(
        status=202, headers={"Location": location, **retry_after(call.world.pace.retry_after, first=first)}
    )


async def _swap(call: Call) -> web.StreamResponse:
    site, source = find(call)
    target = find_slot(site, call.parse(SlotEntity).target_slot)
    fault = swap_faults.met(call.world)
    if fault is not None:
        await swap_faults.before(call, fault, site, source, target)
    require_idle(call.world, site)
    _require_swappable(site, source, target)
    operation = Operation(kind="swap", source=source.name, target=target.name, request_id=call.request_id)
    if fault is not None:
        swap_faults.shape(operation, fault)
    ended = swap.begin(call.world, site, operation)
    if fault is not None:
        await swap_faults.after(fault, ended)
    return accepted(call, site, source, operation, first=True)


def _require_swappable(site: Site, source: Slot, target: Slot) -> None:
    if source is target:
        raise ArmError(400, "BadRequest", "The source slot and the target slot of a swap must be different.")
    for slot in (source, target):
        if slot.state == "Stopped":
            raise ArmError(
                409, "Conflict", f"Cannot swap slots for site '{site.name}' because the '{slot.name}' slot is stopped."
            )
    for slot in site.slots.values():
        if slot.prepared_for is not None and (slot.name, slot.prepared_for) != (source.name, target.name):
            raise ArmError(
                409,
                "Conflict",
                "The slot cannot be changed because its configuration settings have been prepared for swap.",
            )


async def _apply_slot_config(call: Call) -> web.Response:
    """Swap with preview, first half: the source slot runs with the target's sticky settings."""
    site, source = find_changeable(call)
    target = find_slot(site, call.parse(SlotEntity).target_slot)
    _require_swappable(site, source, target)
    source.prepared_for = target.name
    call.world.save()
    await call.world.workers.refresh((site.name, source.name))
    return web.Response()


async def _reset_slot_config(call: Call) -> web.Response:
    """Cancel a swap with preview, whichever of the two slots is named."""
    site, slot = find(call)
    require_idle(call.world, site)
    for each in site.slots.values():
        if each.prepared_for is not None and slot.name in (each.name, each.prepared_for):
            each.prepared_for = None
            call.world.save()
            await call.world.workers.refresh((site.name, each.name))
    return web.Response()


async def _operation_result(call: Call) -> web.Response:
    site, slot = find(call)
    operation = next((each for each in site.operations if each.id == call.names["operation"].lower()), None)
    if operation is None:
        raise ArmError(404, "NotFound", f"The operation {call.names['operation']} is not found.")
    if operation.status == "in progress":
        return accepted(call, site, slot, operation, first=False)
    if operation.failure is not None:
        raise ArmError(operation.failure.status, operation.failure.code, operation.failure.message)
    return web.json_response(site_json(call.world, site, slot))


async def _differences(call: Call) -> web.Response:
    """What a swap of these two slots would change."""
    site, slot = find(call)
    target = find_slot(site, call.parse(SlotEntity).target_slot)
    rows = [("linuxFxVersion", "General", slot.content.linux_fx_version, target.content.linux_fx_version)]
    names = sorted(slot.content.settings.keys() | target.content.settings.keys())
    rows += [
        (name, "AppSetting", slot.content.settings.get(name, ""), target.content.settings.get(name, ""))
        for name in names
    ]
    values = [
        {
            "id": f"{resource_id(call.world, site, slot)}/slotsdiffs/{name}",
            "name": name,
            "type": "Microsoft.Web/sites/slotsdiffs",
            "properties": {
                "level": "Information" if name not in site.sticky_settings else "Warning",
                "settingType": kind,
                "diffRule": "SettingsWillBeExchanged" if name not in site.sticky_settings else "SettingsWillStay",
                "settingName": name,
                "valueInCurrentSlot": own,
                "valueInTargetSlot": other,
                "description": f"{name} differs between {slot.name} and {target.name}.",
            },
        }
        for name, kind, own, other in rows
        if own != other
    ]
    return web.json_response({"value": values})


ROUTES = [
    *for_site_and_slot("POST", "/slotsswap", "{sites}/slotsswap/action", _swap),
    *for_site_and_slot("POST", "/slotsdiffs", "{sites}/slotsdiffs/action", _differences),
    *for_site_and_slot("POST", "/applySlotConfig", "{sites}/applySlotConfig/action", _apply_slot_config),
    *for_site_and_slot("POST", "/resetSlotConfig", "{sites}/resetSlotConfig/action", _reset_slot_config),
    *for_site_and_slot("GET", "/operationresults/{operation}", "{sites}/operationresults/read", _operation_result),
]
