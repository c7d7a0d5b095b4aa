"""The payment provider that the sample API asks before it takes a donation: slow, where the fault says so.

An app gives up on it after as many seconds as its app setting says.
"""

from aiohttp import web

from sandbox.errors import SandboxError
from sandbox.faults import Kind, Option, number
from sandbox.state import Fault, Slot
from sandbox.world import World

SLOW = "payments-slow"
SETTING, PATIENCE_SECONDS = "PAYMENT_TIMEOUT_SECONDS", 30.0
"""What it is without the setting."""


def gives_up(world: World, request: web.Request, slot: Slot) -> bool:
    """Whether the slot's app has no answer from the provider in time, and takes no donation."""
    if request.method != "POST" or request.path != "/api/v1/donations":
        return False
    answers_after = max((number(each, "seconds") for each in world.state.faults if each.name == SLOW), default=0.0)
    return answers_after > float(slot.content.settings.get(SETTING) or PATIENCE_SECONDS)


async def _check(_world: World, fault: Fault) -> None:
    if number(fault, "seconds") > PATIENCE_SECONDS:
        raise SandboxError(f"{SLOW}: no app waits longer than {PATIENCE_SECONDS:g} seconds.")


async def _leave(_world: World, _fault: Fault) -> None:
    """The front end looks for the fault by itself."""


KIND = Kind(
    SLOW,
    f"The payment provider is slow: apps that give up sooner ({SETTING}) answer 500 to donations.",
    {"seconds": Option("how long it takes to answer", 2.0)},
    _check,
    _leave,
)
