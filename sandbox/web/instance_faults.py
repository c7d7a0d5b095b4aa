"""Instances and writers that do not do as they are told."""

from sandbox.errors import SandboxError
from sandbox.faults import Kind, Option, number, text
from sandbox.state import PRODUCTION, Fault, Site
from sandbox.web.faults import site_of, slot_of
from sandbox.world import NEVER_RESTARTS, World

WRITER_HAMMERS = "writer-hammers"
HAMMER = "sandbox.fundrbolt.hammer"
MOST_INSTANCES = 4
MOST_WRITES = 1000
PLACE = {
    "environment": Option("production, production-worker, staging or dev", PRODUCTION),
    "slot": Option("the slot's name", PRODUCTION),
}


async def _check_instance(world: World, fault: Fault) -> None:
    site, _ = slot_of(world, fault)
    if not 1 <= int(number(fault, "number")) <= site.instances:
        raise SandboxError(f"{NEVER_RESTARTS}: {site.name} has {site.instances} instances; number is one of them.")


async def _catch_up(world: World, fault: Fault) -> None:
    site, slot = slot_of(world, fault)
    await world.workers.refresh((site.name, slot.name))


async def _hammer(world: World, fault: Fault) -> None:
    site, slot = slot_of(world, fault)
    if not 0 < number(fault, "rate") <= MOST_WRITES:
        raise SandboxError(f"{WRITER_HAMMERS}: rate is above 0 and at most {MOST_WRITES}.")
    # It keeps the URL that it was started with, whatever becomes of the secret.
    url = world.settle_references(site, slot).get("DATABASE_URL", "")
    if not url.startswith("postgresql:"):
        raise SandboxError(f"{WRITER_HAMMERS}: {site.name} uses no PostgreSQL.")
    given = {"DATABASE_URL": url, "WRITES_A_SECOND": str(number(fault, "rate"))}
    await world.guests.start(_name(fault), HAMMER, world.base_environment(site) | given)


async def _calm(world: World, fault: Fault) -> None:
    await world.guests.end(_name(fault))


def _name(fault: Fault) -> str:
    return "/".join([fault.name, text(fault, "environment"), text(fault, "slot")])


async def resume(world: World) -> None:
    """Start the writers again that were there when the sandbox ended."""
    for fault in world.state.faults:
        if fault.name == WRITER_HAMMERS:
            await _hammer(world, fault)


async def _scale_out(world: World, fault: Fault) -> None:
    site = site_of(world, fault)
    count = int(number(fault, "count"))
    if not 1 <= count <= MOST_INSTANCES:
        raise SandboxError(f"instances: count is from 1 to {MOST_INSTANCES}.")
    fault.before = {"instances": site.instances}
    await _scale(world, site, count)


async def _scale_back(world: World, fault: Fault) -> None:
    await _scale(world, site_of(world, fault), int(str(fault.before["instances"])))


async def _scale(world: World, site: Site, count: int) -> None:
    site.instances = count
    world.save()
    await world.run_slots()


KINDS = [
    Kind(
        NEVER_RESTARTS,
        "One instance takes part in no restart, stop or start: its process lives on with what it was started with.",
        {**PLACE, "number": Option("which instance, from 1", 1)},
        _check_instance,
        _catch_up,
    ),
    Kind(
        WRITER_HAMMERS,
        "A client that nobody knows of writes donations with the app's own database URL, from the app's address, "
        "and connects again whenever it is thrown out.",
        {**PLACE, "rate": Option("writes a second", 200.0)},
        _hammer,
        _calm,
    ),
    Kind(
        "instances",
        "The app, each slot of it, runs on so many instances of its plan.",
        {"environment": PLACE["environment"], "count": Option("how many", 2)},
        _scale_out,
        _scale_back,
    ),
]
