"""The instances on which an app's processes run, as `instances` of a site or slot lists them."""

from typing import Any

from aiohttp import web

from sandbox.arm import ArmError, Call, collection
from sandbox.processes import Worker
from sandbox.state import Site, Slot
from sandbox.web.resources import child_json, find, for_site_and_slot

PATH = "/instances"
READ = "{sites}/instances/read"


def _there(call: Call, site: Site, slot: Slot) -> dict[str, Worker | None]:
    """By id: those that should run the app, and those that do though it is stopped."""
    place = (site.name, slot.name)
    wanted = call.world.instances_of(place) if slot.state == "Running" else []
    living = {worker.instance: worker for worker in call.world.workers.all_at(place) if worker.pid is not None}
    return {**dict.fromkeys(wanted), **living}


def _instance_json(call: Call, instance: str, worker: Worker | None) -> dict[str, Any]:
    state = "READY" if worker is not None and worker.port is not None else "UNKNOWN"
    return child_json(call, "instances", instance, {"state": state}) | {"name": instance}


async def _list(call: Call) -> web.Response:
    return collection([_instance_json(call, *each) for each in _there(call, *find(call)).items()])


async def _get(call: Call) -> web.Response:
    site, slot = find(call)
    instance, there = call.names["instance"].lower(), _there(call, site, slot)
    if instance not in there:
        raise ArmError(404, "NotFound", f"Instance '{instance}' of site '{site.name}' is not found.")
    return web.json_response(_instance_json(call, instance, there[instance]))


ROUTES = [
    *for_site_and_slot("GET", PATH, READ, _list),
    *for_site_and_slot("GET", PATH + "/{instance}", READ, _get),
]
