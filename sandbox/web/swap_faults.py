"""What can go wrong with a slot swap, from the client's point of view and in Azure itself."""

import asyncio

from sandbox.arm import ArmError, Call
from sandbox.faults import TIMES, DroppedError, Kind, Option, number, take
from sandbox.state import Failure, Fault, Operation, Site, Slot
from sandbox.web import swap
from sandbox.web.resources import busy
from sandbox.world import World

GIVEN_UP = Failure(status=500, code="InternalServerError", message="The operation was given up.")


def internal_error() -> ArmError:
    """500 in Azure's words."""
    message = "There was an error processing your request. Please try again in a few moments."
    return ArmError(500, "InternalServerError", message)


def met(world: World) -> Fault | None:
    """The swap fault that this request meets."""
    return take(world, *(kind.name for kind in KINDS))


async def before(call: Call, fault: Fault, site: Site, source: Slot, target: Slot) -> None:
    """What a fault does when a swap is asked for, before Azure looks at it."""
    rival = Operation(kind="swap", source=source.name, target=target.name, by="rival")
    match fault.name:
        case "swap-answer-lost-before":
            raise DroppedError
        case "swap-conflict":
            raise busy(call.world, site, rival)
        case "swap-throttled":
            seconds = number(fault, "retry_after")
            raise ArmError(
                429,
                "TooManyRequests",
                f"The request is being throttled. Please try again after '{seconds:g}' seconds.",
                {"Retry-After": f"{seconds:g}"},
            )
        case "swap-error":
            raise internal_error()
        case "rival-swap" if site.operation() is None:
            await swap.begin(call.world, site, rival).wait()
        case "rival-swap-running" if site.operation() is None:
            swap.begin(call.world, site, rival)
        case _:
            pass


def shape(operation: Operation, fault: Fault) -> None:
    """What a fault makes of the accepted operation."""
    operation.late_seconds = number(fault, "seconds") if fault.name == "swap-accepted-late" else 0.0
    operation.fails = fault.name == "swap-fails"
    operation.never_ends = fault.name == "swap-never-ends"


async def after(fault: Fault, ended: asyncio.Event) -> None:
    """What the client gets instead of the answer."""
    match fault.name:
        case "swap-answer-lost-after":
            await ended.wait()
            raise DroppedError
        case "swap-accepted-late":
            raise DroppedError
        case "swap-error-after":
            raise internal_error()
        case _:
            pass


async def _give_up(world: World) -> None:
    """End the swaps that would never end; nothing was switched."""
    for site in world.state.sites:
        operation = site.operation()
        if operation is not None and operation.kind == "swap" and operation.never_ends:
            swap.end(operation, GIVEN_UP)
            world.save()


KINDS = [
    Kind("swap-answer-lost-after", "The swap is done completely, then the connection is dropped.", TIMES),
    Kind("swap-answer-lost-before", "The connection is dropped and nothing happens.", TIMES),
    Kind(
        "swap-accepted-late",
        "The swap is accepted and the connection dropped; the operation is in progress, and its effect comes later.",
        {"seconds": Option("until the swap begins", 3.0), **TIMES},
    ),
    Kind("swap-conflict", "The swap is refused with 409, as if another operation were in progress.", TIMES),
    Kind(
        "swap-throttled",
        "The swap is refused with 429.",
        {"retry_after": Option("seconds that the client is asked to wait", 1.0), **TIMES},
    ),
    Kind("swap-error", "The swap is answered 500 and nothing happens.", TIMES),
    Kind("swap-error-after", "The swap is answered 500 but happens.", TIMES),
    Kind("swap-fails", "The swap is accepted; its operation fails and nothing is switched.", TIMES),
    Kind("swap-never-ends", "The swap is accepted; its operation goes on until `repair`.", TIMES, clean=_give_up),
    Kind("rival-swap", "Somebody else's swap is completed just before the client's, which is then done too.", TIMES),
    Kind("rival-swap-running", "Somebody else's swap is in progress when the client's arrives: 409.", TIMES),
]
