"""One change, made to happen: read, do nothing where the goal is reached, send, and confirm by reading."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from rollback.context import Run
from rollback.errors import OperationInProgress, OutcomeUnknown, RollbackError, Transient
from rollback.journal import Event

FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 10.0


@dataclass(frozen=True)
class Change:
    """A change whose request may be repeated: it names its goal, not a step towards it."""

    name: str
    """In the journal, the same for all tries."""
    doing: str
    done: str
    is_done: Callable[[], Awaitable[bool]]
    send: Callable[[], Awaitable[None]]
    """Sends it once; may wait for Azure's own operation."""
    confirms: bool = True
    """Whether reaching the goal is all of its effect; else it stays open, and the caller tells how it ended."""


async def converge(run: Run, change: Change, within_seconds: float, settle_seconds: float) -> bool:
    """Bring the goal about, and return whether anything was sent for it in this try.

    A request whose answer is lost is read after, for the settling time, before it is sent again. Raises what Azure
    refuses for good, `OperationInProgress` where it stays busy, `OutcomeUnknown` where its effect cannot be seen.
    """
    try:
        async with asyncio.timeout(within_seconds):
            return await _converge(run, change, settle_seconds)
    except TimeoutError as error:
        if change.name in run.journal.open_changes():
            raise OutcomeUnknown(
                f"{change.doing} Its effect could not be seen within {within_seconds:g} s.",
                remedy="Look at it in the portal; then resume this run.",
            ) from error
        raise OperationInProgress(
            f"{change.doing} It could not be done within {within_seconds:g} s.",
            remedy="Find out what keeps Azure busy.",
        ) from error


async def _converge(run: Run, change: Change, settle_seconds: float) -> bool:
    sent, pause = False, FIRST_PAUSE_SECONDS
    while not await _is_seen(run, change, settle_seconds if sent or _is_open(run, change) else 0.0):
        run.check_lease()
        run.journal.write(Event.SENDING, change=change.name, text=change.doing)
        sent = True
        try:
            await change.send()
        except (Transient, OperationInProgress) as error:
            run.note(f"Trying again: {error.message}")
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
        except RollbackError as error:
            if not await change.is_done():
                run.journal.write(Event.NO_EFFECT, change=change.name, text=f"Not done: {error.message}")
                raise
    if change.confirms and _is_open(run, change):
        run.journal.write(Event.CONFIRMED, change=change.name, text=change.done)
    return sent


def _is_open(run: Run, change: Change) -> bool:
    return change.name in run.journal.open_changes()


async def _is_seen(run: Run, change: Change, settle_seconds: float) -> bool:
    """Whether the goal is reached; looked for again for the settling time, also where Azure does not answer then."""
    clock = asyncio.get_running_loop().time
    ends, pause = clock() + settle_seconds, FIRST_PAUSE_SECONDS
    while True:
        try:
            if await change.is_done():
                return True
        except Transient as error:
            if not settle_seconds:
                raise
            run.note(f"Not known yet: {error.message}")
            ends = max(ends, clock() + pause)
        if clock() >= ends:
            return False
        await asyncio.sleep(min(pause, max(0.0, ends - clock())))
        pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
