"""What can go wrong with any request, and with tokens and permissions."""

import asyncio
from collections.abc import Callable

from aiohttp import web
from pydantic import JsonValue

from sandbox.arm import HOST, ArmError
from sandbox.directory import ROLLBACK
from sandbox.faults import TIMES, DroppedError, Kind, Option, expression, number, take, text
from sandbox.rbac import find_principal
from sandbox.state import Fault
from sandbox.world import World

WHICH = {
    "method": Option("HTTP method; empty: any", ""),
    "path": Option("regular expression, searched in the path", ""),
    "host": Option("regular expression, searched in the host name", HOST.replace(".", r"\.")),
    **TIMES,
}


def _matches(request: web.Request, host: str) -> Callable[[Fault], bool]:
    def matches(fault: Fault) -> bool:
        return (
            text(fault, "method").upper() in ("", request.method)
            and expression(text(fault, "path")).search(request.path) is not None
            and expression(text(fault, "host")).search(host) is not None
        )

    return matches


async def before(world: World, request: web.Request, host: str) -> None:
    """What happens to a request before anybody looks at it."""
    matches = _matches(request, host)
    if (fault := take(world, "delay", matches=matches)) is not None:
        await asyncio.sleep(number(fault, "seconds"))
    if take(world, "drop-before", matches=matches) is not None:
        raise DroppedError
    if (fault := take(world, "throttle", matches=matches)) is not None:
        seconds = number(fault, "retry_after")
        raise ArmError(
            429,
            "TooManyRequests",
            f"The request is being throttled. Please try again after '{seconds:g}' seconds.",
            {"Retry-After": f"{seconds:g}"},
        )
    if (fault := take(world, "error", matches=matches)) is not None:
        message = "There was an error processing your request. Please try again in a few moments."
        raise ArmError(int(number(fault, "status")), "InternalServerError", message)


def after(world: World, request: web.Request, host: str) -> None:
    """What happens to an answer: it may be lost."""
    if take(world, "drop-after", matches=_matches(request, host)) is not None:
        raise DroppedError


async def _check(_world: World, fault: Fault) -> None:
    for key in ("path", "host"):
        expression(text(fault, key))


async def _expire_tokens(world: World, _fault: Fault) -> None:
    world.state.tokens_refused = world.state.tokens_issued


async def _shorten_tokens(world: World, fault: Fault) -> None:
    fault.before = {"seconds": world.state.token_lifetime_seconds}
    world.state.token_lifetime_seconds = int(number(fault, "seconds"))


async def _lengthen_tokens(world: World, fault: Fault) -> None:
    world.state.token_lifetime_seconds = int(str(fault.before["seconds"]))


async def _deny(world: World, fault: Fault) -> None:
    find_principal(world.state, text(fault, "principal")).denied.append(text(fault, "action"))


async def _permit(world: World, fault: Fault) -> None:
    find_principal(world.state, text(fault, "principal")).denied.remove(text(fault, "action"))


async def _leave_group(world: World, fault: Fault) -> None:
    principal = find_principal(world.state, text(fault, "principal"))
    fault.before = {"groups": list[JsonValue](principal.groups)}
    principal.groups = []


async def _rejoin_group(world: World, fault: Fault) -> None:
    groups = fault.before["groups"]
    principal = find_principal(world.state, text(fault, "principal"))
    principal.groups = [str(each) for each in groups] if isinstance(groups, list) else []


KINDS = [
    Kind(
        "throttle",
        "Requests are refused with 429.",
        {"retry_after": Option("seconds that the client is asked to wait", 1.0), **WHICH},
        check=_check,
    ),
    Kind(
        "error", "Requests are answered with an error.", {"status": Option("HTTP status", 500), **WHICH}, check=_check
    ),
    Kind("delay", "Requests wait first.", {"seconds": Option("how long", 1.0), **WHICH}, check=_check),
    Kind("drop-before", "The connection is dropped before anything happens.", WHICH, check=_check),
    Kind("drop-after", "The request is done, then the connection is dropped.", WHICH, check=_check),
    Kind("tokens-expire", "Every token issued so far is refused with 401; new ones work.", apply=_expire_tokens),
    Kind(
        "token-lifetime",
        "New tokens last so long.",
        {"seconds": Option("lifetime", 60)},
        _shorten_tokens,
        _lengthen_tokens,
    ),
    Kind(
        "deny",
        "A principal loses a permission: an action or a data action.",
        {
            "action": Option("for example Microsoft.Web/sites/slots/slotsswap/action; * is a wildcard", None),
            "principal": Option("who", ROLLBACK),
        },
        _deny,
        _permit,
    ),
    Kind(
        "leave-group",
        "A principal is in no group any more; tokens that it has still say so, new ones do not.",
        {"principal": Option("who", "lead")},
        _leave_group,
        _rejoin_group,
    ),
]
