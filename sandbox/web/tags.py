"""Tags of a site or slot: by a PATCH of the site itself, and by Azure's tags at any resource.

They belong to the place: a swap leaves them where they are, and no process notices a change.
"""

from typing import Any, Literal, cast

from aiohttp import web
from pydantic import BaseModel

from sandbox.arm import ArmError, Call, missing
from sandbox.state import Slot
from sandbox.web.resources import find, for_site_and_slot, require_idle, resource_id, site_json

MOST_TAGS, MOST_NAME, MOST_VALUE = 50, 512, 256
PATH = "/providers/Microsoft.Resources/tags/default"
ACTION = "Microsoft.Resources/tags"


class SitePatch(BaseModel):
    """The part of a site that can be patched here; a null changes nothing."""

    tags: dict[str, str] | None = None
    properties: dict[str, Any] | None = None


class Tags(BaseModel):
    """Azure's Tags."""

    tags: dict[str, str] = {}


class TagsResource(BaseModel):
    """The tags as a resource of their own."""

    properties: Tags


class TagsPatch(TagsResource):
    """A change of them."""

    operation: Literal["Replace", "Merge", "Delete"]


def _set(call: Call, slot: Slot, tags: dict[str, str]) -> None:
    if len(tags) > MOST_TAGS:
        message = f"The number of tags '{len(tags)}' exceeds the maximum of '{MOST_TAGS}' tags for a resource."
        raise ArmError(400, "TooManyTags", message)
    for name, value in tags.items():
        if not name or len(name) > MOST_NAME or len(value) > MOST_VALUE or set(name) & set("<>%&\\?/"):
            raise ArmError(400, "InvalidTagNameOrValue", f"The tag '{name[:MOST_NAME]}' has an invalid name or value.")
    slot.tags = tags
    call.world.save()


async def _put_site(call: Call) -> web.Response:
    """A whole site, as the Azure CLI sends it back with other tags; anything else that would change is 501."""
    site, slot = find(call)
    require_idle(call.world, site)
    given, current = call.parse(SitePatch), site_json(call.world, site, slot)["properties"]
    changed = [
        name
        for name, value in (given.properties or {}).items()
        if value is not None and not _says_the_same(value, current.get(name))
    ]
    if changed:
        raise missing(call.request, f"a site's tags can be put; {', '.join(changed)} would change")
    _set(call, slot, given.tags or {})
    return web.json_response(site_json(call.world, site, slot))


def _says_the_same(given: object, current: object) -> bool:
    """Whether everything given is as it is; what is left out or null changes nothing."""
    if not isinstance(given, dict) or not isinstance(current, dict):
        return given == current
    asked, found = cast("dict[str, object]", given), cast("dict[str, object]", current)
    return all(value is None or _says_the_same(value, found.get(name)) for name, value in asked.items())


async def _patch_site(call: Call) -> web.Response:
    site, slot = find(call)
    require_idle(call.world, site)
    patch = call.parse(SitePatch)
    if patch.properties:
        raise missing(call.request, "a site's tags can be patched; its configuration is at config/web")
    if patch.tags is not None:
        _set(call, slot, patch.tags)
    return web.json_response(site_json(call.world, site, slot))


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
    _set(call, slot, call.parse(TagsResource).properties.tags)
    return _tags_json(call)


async def _patch_tags(call: Call) -> web.Response:
    site, slot = find(call)
    require_idle(call.world, site)
    patch = call.parse(TagsPatch)
    given = patch.properties.tags
    if patch.operation == "Delete":
        _set(call, slot, {name: value for name, value in slot.tags.items() if given.get(name) not in (value, "")})
    else:
        _set(call, slot, given if patch.operation == "Replace" else {**slot.tags, **given})
    return _tags_json(call)


async def _delete_tags(call: Call) -> web.Response:
    site, slot = find(call)
    require_idle(call.world, site)
    _set(call, slot, {})
    return web.Response()


ROUTES = [
    *for_site_and_slot("PATCH", "", "{sites}/write", _patch_site),
    *for_site_and_slot("PUT", "", "{sites}/write", _put_site),
    *for_site_and_slot("GET", PATH, f"{ACTION}/read", _get_tags),
    *for_site_and_slot("PUT", PATH, f"{ACTION}/write", _put_tags),
    *for_site_and_slot("PATCH", PATH, f"{ACTION}/write", _patch_tags),
    *for_site_and_slot("DELETE", PATH, f"{ACTION}/delete", _delete_tags),
]
