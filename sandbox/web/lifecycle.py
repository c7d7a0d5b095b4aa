"""Restart, stop and start. Each answers at once with an empty body; the process follows."""

import asyncio

from aiohttp import web

from sandbox.arm import Call
from sandbox.state import Site, Slot
from sandbox.web.resources import find_changeable, for_site_and_slot, touch
from sandbox.world import World


async def restart_later(world: World, site: Site, slot: Slot) -> None:
    """A new container takes the old one's place, as long as Azure needs for that."""
    await asyncio.sleep(world.pace.restart)
    await world.workers.refresh((site.name, slot.name), restart=True)


async def set_running(world: World, site: Site, slot: Slot, *, running: bool) -> None:
    """Stop or start the slot; its process has followed on return."""
    slot.state = "Running" if running else "Stopped"
    touch(slot)
    world.save()
    await world.workers.refresh((site.name, slot.name))


async def _restart(call: Call) -> web.Response:
    site, slot = find_changeable(call)
    if slot.state == "Running":
        call.world.start(restart_later(call.world, site, slot))
    return web.Response()


async def _stop(call: Call) -> web.Response:
    await set_running(call.world, *find_changeable(call), running=False)
    return web.Response()


async def _start(call: Call) -> web.Response:
    site, slot = find_changeable(call)
    call.world.start(set_running(call.world, site, slot, running=True))
    return web.Response()


ROUTES = [
    *for_site_and_slot("POST", "/restart", "{sites}/restart/action", _restart, query="softRestart synchronous"),
    *for_site_and_slot("POST", "/stop", "{sites}/stop/action", _stop),
    *for_site_and_slot("POST", "/start", "{sites}/start/action", _start),
]
