"""A site or slot as a whole: PUT and PATCH, with the configuration that its `siteConfig` carries.

Sites are neither made nor deleted here. What a body says that is so already changes nothing; what would change and is
not honoured is answered 501.
"""

from typing import Any, cast

from aiohttp import web
from pydantic import BaseModel, JsonValue

from sandbox.arm import Call, missing
from sandbox.state import Site, Slot
from sandbox.web.config import configure, require_valid
from sandbox.web.resources import SETTABLE, find, find_changeable, for_site_and_slot, require_idle, site_json
from sandbox.web.tags import set_tags


class SiteBody(BaseModel):
    """Azure's Site; a null changes nothing."""

    tags: dict[str, str] | None = None
    properties: dict[str, JsonValue] | None = None


def _changes(call: Call, site: Site, slot: Slot, given: dict[str, JsonValue]) -> dict[str, JsonValue]:
    """Which settable properties would change; 501 for any other."""
    current = site_json(call.world, site, slot)["properties"]
    changed: dict[str, JsonValue] = {
        name: value
        for name, value in given.items()
        if name != "siteConfig" and value is not None and not _says_the_same(value, current.get(name))
    }
    unknown = [name for name in changed if name not in SETTABLE]
    if unknown:
        raise missing(call.request, f"{', '.join(unknown)} of a site cannot be changed")
    return changed


def _config_changes(call: Call, site: Site, slot: Slot, given: JsonValue) -> dict[str, JsonValue]:
    current: dict[str, Any] = site_json(call.world, site, slot)["properties"]["siteConfig"]
    told = given if isinstance(given, dict) else {}
    return {
        name: value
        for name, value in told.items()
        if value is not None and (name not in current or current[name] != value)
    }


def _says_the_same(given: object, current: object) -> bool:
    """Whether everything given is as it is; what is left out or null changes nothing, and ids have no case."""
    if isinstance(given, str) and isinstance(current, str) and given.startswith("/"):
        return given.lower() == current.lower()
    if not isinstance(given, dict) or not isinstance(current, dict):
        return given == current
    asked, found = cast("dict[str, object]", given), cast("dict[str, object]", current)
    return all(value is None or _says_the_same(value, found.get(name)) for name, value in asked.items())


async def _write(call: Call) -> web.Response:
    """PATCH changes what is named; PUT takes tags away that it does not name. Both leave other configuration alone."""
    site, slot = find(call)
    require_idle(call.world, site)
    wish = call.parse(SiteBody)
    given = wish.properties or {}
    changed = _changes(call, site, slot, given)
    config = _config_changes(call, site, slot, given.get("siteConfig"))
    if config:
        find_changeable(call)
        require_valid(site, slot, config)
    if wish.tags is not None or call.request.method == "PUT":
        set_tags(call, slot, wish.tags or {})
    slot.properties |= changed
    if config:
        await configure(call, site, slot, config)
    call.world.save()
    return web.json_response(site_json(call.world, site, slot))


ROUTES = [
    *for_site_and_slot("PATCH", "", "{sites}/write", _write),
    *for_site_and_slot("PUT", "", "{sites}/write", _write),
]
