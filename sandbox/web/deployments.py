"""Deployments of a site or slot: their history, and a real one when a release is deployed."""

from typing import Any

from aiohttp import web

from sandbox.arm import ArmError, Call, collection
from sandbox.clock import iso, now
from sandbox.start import pinned
from sandbox.state import Deployment, Site, Slot
from sandbox.web import swap
from sandbox.web.resources import child_json, find, for_site_and_slot, touch
from sandbox.world import World

SUCCEEDED = 4
"""Kudu's number for a deployment that is done."""


async def deploy(world: World, site: Site, slot: Slot, release: str) -> None:
    """Put `release` into the slot as a pipeline does: new image, restart, an entry in the history, auto swap."""
    started = now()
    slot.content.linux_fx_version = pinned(release)
    touch(slot)
    world.save()
    await world.workers.refresh((site.name, slot.name))
    entry = Deployment(image=pinned(release), message=f"Deploy {release}", started=started, ended=now())
    slot.content.deployments.append(entry)
    touch(slot)
    world.save()
    await swap.after_deployment(world, site, slot)


def _deployment_json(call: Call, deployment: Deployment, *, active: bool) -> dict[str, Any]:
    return child_json(
        call,
        "deployments",
        deployment.id,
        {
            "id": deployment.id,
            "status": SUCCEEDED,
            "status_text": "",
            "author_email": "",
            "author": deployment.author,
            "deployer": deployment.author,
            "message": deployment.message,
            "progress": "",
            "received_time": iso(deployment.started) + "Z",
            "start_time": iso(deployment.started) + "Z",
            "end_time": iso(deployment.ended) + "Z",
            "last_success_end_time": iso(deployment.ended) + "Z",
            "complete": True,
            "active": active,
        },
    )


def _newest_first(call: Call) -> list[dict[str, Any]]:
    _, slot = find(call)
    entries = sorted(slot.content.deployments, key=lambda each: each.ended, reverse=True)
    return [_deployment_json(call, each, active=index == 0) for index, each in enumerate(entries)]


async def _list(call: Call) -> web.Response:
    return collection(_newest_first(call))


async def _get(call: Call) -> web.Response:
    wanted = call.names["deployment"].lower()
    for each in _newest_first(call):
        if each["properties"]["id"] == wanted:
            return web.json_response(each)
    raise ArmError(404, "NotFound", f"Deployment '{call.names['deployment']}' was not found.")


ROUTES = [
    *for_site_and_slot("GET", "/deployments", "{sites}/deployments/read", _list),
    *for_site_and_slot("GET", "/deployments/{deployment}", "{sites}/deployments/read", _get),
]
