"""What can go wrong with a static site's deployment, with its token, and with the edge in front of it."""

import asyncio

from sandbox.arm import ArmError
from sandbox.clock import now
from sandbox.errors import SandboxError
from sandbox.faults import TIMES, DroppedError, Kind, Option, number, take, text
from sandbox.fundrbolt.releases import RELEASES
from sandbox.state import Fault
from sandbox.static_sites import deployments
from sandbox.static_sites.deployments import AZURES_OWN, FAILS, MISSING_ASSET, NEVER_ENDS, RIVAL
from sandbox.static_sites.model import Deployment, StaticSite
from sandbox.world import World

STALE_EDGE = "swa-stale-edge"
TOKEN_REVOKED = "swa-token-revoked"  # noqa: S105 - a fault's name
GIVEN_UP = "The deployment was given up."
WHICH = {"site": Option("name of the static site; empty: any", ""), **TIMES}
ONE = {"site": Option("name of the static site", "fundrbolt-production-web")}


def met(world: World, site: StaticSite) -> Fault | None:
    """The fault that this request for a deployment meets; those of the deployment itself it meets later."""
    names = [kind.name for kind in KINDS if kind.waits and kind.name not in AZURES_OWN]
    return take(world, *names, matches=lambda fault: text(fault, "site") in ("", site.name))


def before(fault: Fault, site: StaticSite) -> None:
    """What a fault does when a deployment is asked for, before Azure looks at it."""
    match fault.name:
        case "swa-answer-lost-before":
            raise DroppedError
        case "swa-conflict":
            message = f"Cannot deploy to static site '{site.name}' because another deployment is in progress."
            raise ArmError(409, "Conflict", message)
        case "swa-throttled":
            seconds = number(fault, "retry_after")
            raise ArmError(
                429,
                "TooManyRequests",
                f"The request is being throttled. Please try again after '{seconds:g}' seconds.",
                {"Retry-After": f"{seconds:g}"},
            )
        case "swa-error":
            raise _internal_error()
        case _:
            pass


def shape(deployment: Deployment, fault: Fault) -> None:
    """What a fault makes of the accepted deployment."""
    deployment.late_seconds = number(fault, "seconds") if fault.name == "swa-accepted-late" else 0.0


async def after(fault: Fault, ended: asyncio.Event) -> None:
    """What the client gets instead of the answer."""
    match fault.name:
        case "swa-answer-lost-after":
            await ended.wait()
            raise DroppedError
        case "swa-accepted-late":
            raise DroppedError
        case "swa-error-after":
            raise _internal_error()
        case _:
            pass


def _internal_error() -> ArmError:
    message = "There was an error processing your request. Please try again in a few moments."
    return ArmError(500, "InternalServerError", message)


def _find(world: World, fault: Fault) -> StaticSite:
    site = world.state.find_static_site(text(fault, "site"))
    if site is None:
        names = ", ".join(each.name for each in world.state.static_sites)
        raise SandboxError(f"There is no static site {text(fault, 'site')!r}; there are {names}.")
    return site


async def _check(world: World, fault: Fault) -> None:
    if text(fault, "site"):
        _find(world, fault)
    if fault.name == RIVAL and text(fault, "release") not in RELEASES:
        raise SandboxError(f"There is no release {text(fault, 'release')!r}; there are {', '.join(RELEASES)}.")


async def _give_up(world: World) -> None:
    """End the deployments that would never end; what was served before still is."""
    for site in world.state.static_sites:
        deployment = site.deployment()
        if deployment is not None and deployment.never_ends:
            deployment.failure_status = 500
            deployments.end(world, site, deployment, GIVEN_UP)


async def _freeze(world: World, fault: Fault) -> None:
    fault.before = {"contents": _find(world, fault).contents, "since": now().isoformat()}


async def _thaw(_world: World, _fault: Fault) -> None:
    """The edge looks for the fault by itself."""


async def _revoke(world: World, fault: Fault) -> None:
    _find(world, fault).token_revoked = True


async def _permit(world: World, fault: Fault) -> None:
    _find(world, fault).token_revoked = False


KINDS = [
    Kind("swa-answer-lost-after", "The deployment is done, then the connection is dropped.", WHICH, check=_check),
    Kind("swa-answer-lost-before", "The connection is dropped and nothing is deployed.", WHICH, check=_check),
    Kind(
        "swa-accepted-late",
        "The deployment is accepted and the connection dropped; its effect comes later.",
        {"seconds": Option("until the deployment begins", 3.0), **WHICH},
        check=_check,
    ),
    Kind("swa-conflict", "The deployment is refused with 409, as if another were in progress.", WHICH, check=_check),
    Kind(
        "swa-throttled",
        "The deployment is refused with 429.",
        {"retry_after": Option("seconds that the client is asked to wait", 1.0), **WHICH},
        check=_check,
    ),
    Kind("swa-error", "The deployment is answered 500 and nothing happens.", WHICH, check=_check),
    Kind("swa-error-after", "The deployment is answered 500 but happens.", WHICH, check=_check),
    Kind(FAILS, "The deployment is accepted and fails; what was served before still is.", WHICH, check=_check),
    Kind(NEVER_ENDS, "The deployment is accepted and goes on until `repair`.", WHICH, check=_check, clean=_give_up),
    Kind(
        RIVAL,
        "Somebody else's deployment of another release lands just before the client's, which is then done too.",
        {"release": Option("what the other one deploys", "v1.2.1"), **WHICH},
        check=_check,
    ),
    Kind(MISSING_ASSET, "After the deployment a file that index.html refers to answers 404.", WHICH, check=_check),
    Kind(
        STALE_EDGE,
        "The edge ignores the query and goes on answering what the site served when this was set.",
        ONE,
        _freeze,
        _thaw,
        check=_check,
    ),
    Kind(TOKEN_REVOKED, "The site's deployment token is refused with 401.", ONE, _revoke, _permit, check=_check),
]
