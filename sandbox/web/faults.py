"""What can be wrong with sites and slots before anybody asks for a swap."""

from typing import Literal

from pydantic import JsonValue

from sandbox.errors import SandboxError
from sandbox.faults import Kind, Option, number, text
from sandbox.fundrbolt.releases import RELEASES
from sandbox.state import PRODUCTION, Fault, Operation, RampUpRule, Site, Slot, SwapStatus
from sandbox.web import swap
from sandbox.web.deployments import deploy
from sandbox.web.lifecycle import set_running
from sandbox.web.resources import touch
from sandbox.web.swap_faults import GIVEN_UP
from sandbox.world import SLOW_START, World

ENVIRONMENT = {"environment": Option("production, production-worker, staging or dev", PRODUCTION)}
SLOT = {**ENVIRONMENT, "slot": Option("the slot's name", "staging")}


def site_of(world: World, fault: Fault) -> Site:
    """The site that a fault names by its environment."""
    name = text(fault, "environment")
    site = next((site for site in world.state.sites if site.environment == name), None)
    if site is None:
        known = ", ".join(site.environment for site in world.state.sites)
        raise SandboxError(f"There is no environment {name!r}; there are {known}.")
    return site


def slot_of(world: World, fault: Fault) -> tuple[Site, Slot]:
    """Site and slot that a fault names in its options."""
    site, name = site_of(world, fault), text(fault, "slot")
    if name not in site.slots:
        raise SandboxError(f"{site.name} has no slot {name!r}; it has {', '.join(site.slots)}.")
    return site, site.slots[name]


async def _stop_slot(world: World, fault: Fault) -> None:
    await set_running(world, *slot_of(world, fault), running=False)


async def _start_slot(world: World, fault: Fault) -> None:
    await set_running(world, *slot_of(world, fault), running=True)


async def _redeploy(world: World, fault: Fault) -> None:
    release = text(fault, "release")
    if release not in RELEASES:
        raise SandboxError(f"There is no release {release!r}; there are {', '.join(RELEASES)}.")
    await deploy(world, *slot_of(world, fault), release)


async def _same_build(world: World, fault: Fault) -> None:
    site, slot = slot_of(world, fault)
    fault.before = {"image": slot.content.linux_fx_version}
    await _run_image(world, site, slot, site.slots[PRODUCTION].content.linux_fx_version)


async def _own_build(world: World, fault: Fault) -> None:
    await _run_image(world, *slot_of(world, fault), str(fault.before["image"]))


async def _run_image(world: World, site: Site, slot: Slot, image: str) -> None:
    slot.content.linux_fx_version = image
    world.save()
    await world.workers.refresh((site.name, slot.name))


async def _prepare_swap(world: World, fault: Fault) -> None:
    await _set_prepared(world, fault, PRODUCTION)


async def _cancel_swap(world: World, fault: Fault) -> None:
    await _set_prepared(world, fault, None)


async def _set_prepared(world: World, fault: Fault, target: str | None) -> None:
    site, slot = slot_of(world, fault)
    if target == slot.name:
        raise SandboxError("unfinished-swap needs a slot that is not production.")
    slot.prepared_for = target
    world.save()
    await world.workers.refresh((site.name, slot.name))


async def _occupy(world: World, fault: Fault) -> None:
    site = site_of(world, fault)
    site.operations.append(Operation(kind="blocking", name="UpdateSite", by="rival", never_ends=True))
    world.save()


async def _free(world: World, fault: Fault) -> None:
    for operation in site_of(world, fault).operations:
        if operation.kind == "blocking" and operation.status == "in progress":
            swap.end(operation, GIVEN_UP)


async def _ramp_up(world: World, fault: Fault) -> None:
    site, slot = slot_of(world, fault)
    percent = number(fault, "percent")
    if percent > 100:
        raise SandboxError("ramp-up: percent must be at most 100.")
    rule = RampUpRule(name=slot.name, actionHostName=slot.host, reroutePercentage=percent)
    site.slots[PRODUCTION].ramp_up_rules = [rule]
    touch(site.slots[PRODUCTION])


async def _ramp_down(world: World, fault: Fault) -> None:
    site_of(world, fault).slots[PRODUCTION].ramp_up_rules = []


async def _auto_swap(world: World, fault: Fault) -> None:
    slot_of(world, fault)[1].auto_swap_slot = PRODUCTION


async def _no_auto_swap(world: World, fault: Fault) -> None:
    slot_of(world, fault)[1].auto_swap_slot = None


async def _differ(world: World, fault: Fault) -> None:
    site, name = site_of(world, fault), text(fault, "name")
    values: dict[str, JsonValue] = {each: slot.content.settings.get(name) for each, slot in site.slots.items()}
    fault.before = {"values": values, "sticky": name in site.sticky_settings}
    for each, slot in site.slots.items():
        slot.content.settings[name] = text(fault, "production") if each == PRODUCTION else text(fault, "other")
    site.sticky_settings = sorted({*site.sticky_settings, name})
    world.save()
    await world.run_slots()


async def _agree(world: World, fault: Fault) -> None:
    site, name, values = site_of(world, fault), text(fault, "name"), fault.before["values"]
    for each, value in values.items() if isinstance(values, dict) else ():
        if value is None:
            site.slots[each].content.settings.pop(name, None)
        else:
            site.slots[each].content.settings[name] = str(value)
    if not fault.before["sticky"]:
        site.sticky_settings = [each for each in site.sticky_settings if each != name]
    world.save()
    await world.run_slots()


async def _kill(world: World, fault: Fault) -> None:
    site, slot = slot_of(world, fault)
    worker = world.workers.at((site.name, slot.name))
    if worker is None or worker.pid is None:
        raise SandboxError(f"Slot {slot.name} of {site.name} has no process.")
    worker.kill()
    await worker.ended()


def _share_of(fault: Fault) -> tuple[float, Literal["build", "slot"]]:
    share, follows = number(fault, "share"), text(fault, "follows")
    if share > 1 or follows not in ("build", "slot"):
        raise SandboxError("app-error: share is from 0 to 1, follows is build or slot.")
    return share, "build" if follows == "build" else "slot"


async def _fail_app(world: World, fault: Fault) -> None:
    _, slot = slot_of(world, fault)
    share, follows = _share_of(fault)
    (slot.content if follows == "build" else slot).error_share = share


async def _heal_app(world: World, fault: Fault) -> None:
    site, slot = slot_of(world, fault)
    if _share_of(fault)[1] == "slot":
        slot.error_share = 0.0
    else:
        # The build may have been swapped elsewhere in the meantime.
        for each in site.slots.values():
            each.content.error_share = 0.0


async def _cool(world: World, fault: Fault) -> None:
    _, slot = slot_of(world, fault)
    slot.cold_answers, slot.cold_seconds = int(number(fault, "answers")), number(fault, "seconds")


async def _warm(world: World, fault: Fault) -> None:
    slot_of(world, fault)[1].cold_answers = 0


async def _forget_swaps(world: World, fault: Fault) -> None:
    site = site_of(world, fault)
    kept = {name: slot.swap_status.model_dump(mode="json") for name, slot in site.slots.items() if slot.swap_status}
    fault.before.update(kept)
    for slot in site.slots.values():
        slot.swap_status = None


async def _remember_swaps(world: World, fault: Fault) -> None:
    site = site_of(world, fault)
    for name, status in fault.before.items():
        # A swap made since then is the truth.
        site.slots[name].swap_status = site.slots[name].swap_status or SwapStatus.model_validate(status)


async def _nothing(_world: World, _fault: Fault) -> None:
    """Whoever starts a process looks for the fault by itself."""


KINDS = [
    Kind("stop-slot", "The slot is stopped.", SLOT, _stop_slot, _start_slot),
    Kind(
        "redeploy",
        "A release is deployed to the slot, with an entry in its history. Taken back by `reset` only.",
        {"release": Option("which release", None), **SLOT},
        _redeploy,
    ),
    Kind("same-build", "The slot holds production's build, and no history says so.", SLOT, _same_build, _own_build),
    Kind("unfinished-swap", "A swap with preview was begun and not ended.", SLOT, _prepare_swap, _cancel_swap),
    Kind("busy", "Another operation is in progress on the site.", ENVIRONMENT, _occupy, _free),
    Kind(
        "ramp-up",
        "A share of production's users is sent to the slot.",
        {"percent": Option("0 to 100", 20.0), **SLOT},
        _ramp_up,
        _ramp_down,
    ),
    Kind("auto-swap", "The slot swaps into production by itself after a deployment.", SLOT, _auto_swap, _no_auto_swap),
    Kind(
        "sticky-differs",
        "A sticky app setting differs between production and the slots.",
        {
            "name": Option("the app setting", "EMAIL_SENDER"),
            "production": Option("its value in production", "live"),
            "other": Option("its value in the other slots", "muted"),
            **ENVIRONMENT,
        },
        _differ,
        _agree,
    ),
    Kind(
        "kill-process",
        "The slot's process is killed; the platform starts it again after a moment.",
        {**ENVIRONMENT, "slot": Option("the slot's name", PRODUCTION)},
        _kill,
    ),
    Kind(
        "app-error",
        "A share of the requests to a slot is answered 500.",
        {
            "share": Option("0 to 1", 1.0),
            "follows": Option("what it stays with in a swap: the build or the slot", "build"),
            **ENVIRONMENT,
            "slot": Option("the slot's name", PRODUCTION),
        },
        _fail_app,
        _heal_app,
    ),
    Kind(
        "cold-slot",
        "The slot's next answers, warm-up included, are 503 and slow.",
        {"answers": Option("how many", 3), "seconds": Option("how long each takes", 0.5), **SLOT},
        _cool,
        _warm,
    ),
    Kind("no-swap-history", "slotSwapStatus is null.", ENVIRONMENT, _forget_swaps, _remember_swaps),
    Kind(
        SLOW_START,
        "Every process is started so much later.",
        {"seconds": Option("how much", 5.0)},
        _nothing,
        _nothing,
    ),
]
