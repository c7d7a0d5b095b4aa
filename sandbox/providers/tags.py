"""Azure's tags at any resource and at any group: read and written as the resource's own, by its provider.

Sites have routes of their own for them, which are asked first.
"""

from aiohttp import web

from sandbox.arm import ArmError, Call, Route
from sandbox.asking import Question
from sandbox.deployments.reading import version_of
from sandbox.resources import GROUP, scope_of
from sandbox.web.tags import ACTION, PATH, TagsPatch, TagsResource

ONE = GROUP + "/providers/{namespace}/{type}/{name}"
PLACES = (GROUP, ONE, ONE + "/{child_type}/{child}")


async def _ask(call: Call, method: str, tags: dict[str, str] | None = None) -> dict[str, str]:
    """The tags of what the call is about, after they were set where some are given."""
    scope = scope_of(call)
    body = None if tags is None else {"tags": tags}
    answer = await call.world.arm.ask(Question(method, scope, version_of(scope), call.principal, body, trusted=True))
    if answer.status >= 400:
        raise ArmError(answer.status, answer.error["code"], answer.error["message"])
    return answer.resource.get("tags") or {}


def _told(call: Call, tags: dict[str, str]) -> web.Response:
    kind = "Microsoft.Resources/tags"
    return web.json_response(
        {"id": scope_of(call) + PATH, "name": "default", "type": kind, "properties": {"tags": tags}}
    )


async def _get(call: Call) -> web.Response:
    return _told(call, await _ask(call, "GET"))


async def _put(call: Call) -> web.Response:
    wanted = call.parse(TagsResource).properties.tags
    await _ask(call, "PATCH", wanted)
    return _told(call, wanted)


async def _patch(call: Call) -> web.Response:
    patch, current = call.parse(TagsPatch), await _ask(call, "GET")
    given = patch.properties.tags
    if patch.operation == "Delete":
        wanted = {name: value for name, value in current.items() if given.get(name) not in (value, "")}
    else:
        wanted = given if patch.operation == "Replace" else {**current, **given}
    await _ask(call, "PATCH", wanted)
    return _told(call, wanted)


async def _delete(call: Call) -> web.Response:
    await _ask(call, "PATCH", {})
    return web.Response()


ROUTES = [
    route
    for place in PLACES
    for route in (
        Route("GET", place + PATH, f"{ACTION}/read", _get),
        Route("PUT", place + PATH, f"{ACTION}/write", _put),
        Route("PATCH", place + PATH, f"{ACTION}/write", _patch),
        Route("DELETE", place + PATH, f"{ACTION}/delete", _delete),
    )
]
