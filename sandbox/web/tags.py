"""Tags of a site or slot, as Azure's tags at any resource.

They belong to the place: a swap leaves them where they are, and no process notices a change.
"""

from typing import Literal

from aiohttp import web
from pydantic import BaseModel

from sandbox.arm import ArmError, Call
from sandbox.state import Slot
from sandbox.web.resources import find, for_site_and_slot, require_idle, resource_id

MOST_TAGS, MOST_NAME, MOST_VALUE = 50, 512, 256
PATH = "/providers/Microsoft.Resources/tags/default"
ACTION = "Microsoft.Resources/tags"


class Tags(BaseModel):
    """Azure's Tags."""

    tags: dict[str, str] = {}


class TagsResource(BaseModel):
    """The tags as a resource of their own."""

    properties: Tags


class TagsPatch(TagsResource):
    """A change of them."""

    operation: Literal["Replace", "Merge", "Delete"]


def set_tags(call: Call, slot: Slot, tags: dict[str, str]) -> None:
    """Give the slot these tags, within Azure's limits."""
    if len(tags) > MOST_TAGS:
        message = f"The number of tags '{len(tags)}' exceeds the maximum of '{MOST_TAGS}' tags for a resource."
        raise ArmError(400, "TooManyTags", message)
    for name, value in tags.items():
        if not name or len(name) > MOST_NAME or len(value) > MOST_VALUE or set(name) & set("<>%&\\?/"):
            raise ArmError(400, "InvalidTagNameOrValue", f"The tag '{name[:MOST_NAME]}' has an invalid name or value.")
    slot.tags = tags
    call.world.save()


def _tags_json(call: Call) -> web.Response:
    site, slot = find(call)
    return web.json_response(
        {
            "id": resource_id(call.world, site, slot) + PATH,
            "name": "default",
            "type": "Microsoft.Resources/tags",
            "properties": {"tags": slot.tags},
        }
    )


async def _get_tags(call: Call) -> web.Response:
    return _tags_json(call)


async def _put_tags(call: Call) -> web.Response:
    site, slot = find(call)
    require_idle(call.world, site)
    set_tags(call, slot, call.parse(TagsResource).properties.tags)
    return _tags_json(call)


async def _patch_tags(call: Call) -> web.Response:
    site, slot = find(call)
    require_idle(call.world, site)
    patch = call.parse(TagsPatch)
    given = patch.properties.tags
    if patch.operation == "Delete":
        set_tags(call, slot, {name: value for name, value in slot.tags.items() if given.get(name) not in (value, "")})
    else:
        set_tags(call, slot, given if patch.operation == "Replace" else {**slot.tags, **given})
    return _tags_json(call)


async def _delete_tags(call: Call) -> web.Response:
    site, slot = find(call)
    require_idle(call.world, site)
    set_tags(call, slot, {})
    return web.Response()


ROUTES = [
    *for_site_and_slot("GET", PATH, f"{ACTION}/read", _get_tags),
    *for_site_and_slot("PUT", PATH, f"{ACTION}/write", _put_tags),
    *for_site_and_slot("PATCH", PATH, f"{ACTION}/write", _patch_tags),
    *for_site_and_slot("DELETE", PATH, f"{ACTION}/delete", _delete_tags),
]
