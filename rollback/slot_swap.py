"""The swap of two slots, made to happen once.

A swap is a toggle: sent twice, it undoes itself. So it is decided from what the slots run and from Azure's own time
stamp of the last swap, never from "the call failed, try again". Where an answer leaves open what happened, nothing is
sent again until no operation is in progress and two readings a settling time apart say the same. What others swap
meanwhile is reported, not fought.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from enum import Enum, auto

from rollback.app_service import AppService, OperationResult, SentSwap, SwapAnswer
from rollback.errors import (
    OperationInProgress,
    OutcomeUnknown,
    PlanIsStale,
    RollbackError,
    SomebodyElseSwapped,
    SwapFailed,
    Transient,
)
from rollback.journal import Event, Journal
from rollback.models import Model
from rollback.releases import Build
from rollback.slots import Slot

SWAP = "slot swap"
"""The change's name in the journal."""
MOST_SENDS = 3
"""Swaps that were accepted and seen to have had no effect, before we give up."""
MOST_REFUSALS = 10
"""Answers that the app is busy or throttled, before we give up."""
LONGEST_WAIT_SECONDS = 60
"""For a `Retry-After` of Azure's; longer is for people to decide."""
POLL_SECONDS = 1.0
BUSY_WAIT_SECONDS = 2.0


class SwapBasis(Model):
    """Two slots before a swap: what must still hold when it is sent."""

    app: str
    slot: str
    serving: Build
    """What production runs."""
    target: Build
    """What the slot runs, and production is to run."""
    last_swap_at: datetime | None
    """Azure's time stamp of the last swap."""
    slot_modified_at: datetime | None


class State(Enum):
    """What a reading of the slots means for a swap."""

    BEFORE = auto()
    """As planned: not swapped since."""
    SWAPPED = auto()
    """The target is in production."""
    MOVING = auto()
    """An operation is in progress."""
    FOREIGN = auto()
    """None of these: somebody else changed the slots."""


@dataclass(frozen=True)
class Reading:
    """Both slots at one moment, seen from a swap's basis."""

    basis: SwapBasis
    production: Slot
    slot: Slot

    @property
    def operation(self) -> str | None:
        """The operation that is in progress on either slot."""
        return self.production.operation_in_progress or self.slot.operation_in_progress

    @property
    def last_swap_at(self) -> datetime | None:
        """Azure's time stamp of the last swap that succeeded."""
        return self.production.last_swap.at if self.production.last_swap else None

    @property
    def target_serves(self) -> bool:
        """Whether production runs the target."""
        return self.production.build.digest == self.basis.target.digest

    @property
    def state(self) -> State:
        """What it means for the plan."""
        if self.operation:
            return State.MOVING
        if self.target_serves:
            return State.SWAPPED
        as_planned = (self.basis.serving.digest, self.basis.target.digest, self.basis.last_swap_at)
        now = (self.production.build.digest, self.slot.build.digest, self.last_swap_at)
        return State.BEFORE if now == as_planned else State.FOREIGN

    @property
    def slot_was_modified(self) -> bool:
        """Whether somebody changed the slot since the plan; a swap of ours changes it too."""
        return self.slot.last_modified != self.basis.slot_modified_at

    @property
    def facts(self) -> tuple[object, ...]:
        """What must stay the same for two readings to be equal."""
        return self.production.build.digest, self.slot.build.digest, self.last_swap_at, self.operation

    def __str__(self) -> str:
        swapped = f"{self.last_swap_at:%Y-%m-%d %H:%M:%S} UTC" if self.last_swap_at else "never"
        return (
            f"production runs {self.production.build}, slot '{self.slot.name}' runs {self.slot.build}, "
            f"last swap {swapped}"
        )


@dataclass(frozen=True)
class Swapped:
    """The target is in production."""

    by_us: bool
    azure_seconds: float
    """From sending to seeing the effect."""
    note: str


class SlotSwap:
    """Carries out one swap, whatever happens to its requests; `change` is its name in the journal.

    `check_lease` is called right before each request that changes something, and raises when the environment is not
    ours.
    """

    def __init__(
        self,
        app: AppService,
        basis: SwapBasis,
        journal: Journal,
        check_lease: Callable[[], None],
        settle_seconds: float,
        change: str = SWAP,
    ) -> None:
        self._app = app
        self._basis = basis
        self._change = change
        self._journal = journal
        self._check_lease = check_lease
        self._settle_seconds = settle_seconds
        self._failure = ""
        self._succeeded = False

    async def converge(self, timeout_seconds: float) -> Swapped:
        """Bring the target into production; on return it is there.

        Raises `PlanIsStale` or `SomebodyElseSwapped` when others changed the slots, `SwapFailed` when Azure would not
        swap and nothing changed, `OutcomeUnknown` when it could not be found out in time.
        """
        clock = asyncio.get_running_loop().time
        started = clock()
        try:
            async with asyncio.timeout(timeout_seconds):
                by_us, note = await self._converge()
        except TimeoutError as error:
            raise self._out_of_time(timeout_seconds) from error
        return Swapped(by_us=by_us, azure_seconds=clock() - started, note=note)

    async def _converge(self) -> tuple[bool, str]:
        sends = refusals = 0
        while True:
            reading = await self._look()
            if reading.state in {State.SWAPPED, State.MOVING}:
                return self._confirm(reading)
            if reading.state is State.FOREIGN or (reading.slot_was_modified and not self._was_sent()):
                raise self._foreign(reading)
            if self._succeeded:
                raise self._contradiction(reading)
            if self._is_open():
                self._journal.write(Event.NO_EFFECT, change=self._change, text=f"Not swapped: {reading}.")
            if sends == MOST_SENDS or refusals == MOST_REFUSALS:
                raise SwapFailed(
                    f"Azure did not swap the slots of '{self._basis.app}' in {sends + refusals} tries: {self._failure}",
                    remedy="Nothing was swapped. Look at the app's log and at its activity log in the portal.",
                )
            sent = await self._send()
            match sent.answer:
                case SwapAnswer.ACCEPTED:
                    sends += 1
                    await self._follow(sent)
                case SwapAnswer.OPEN:
                    sends += 1
                    self._note(f"The answer to the swap leaves open what happened: {sent.text}. Looking at the slots.")
                case SwapAnswer.BUSY | SwapAnswer.REFUSED_NOW:
                    refusals += 1
                    await self._stand_back(sent)

    async def _look(self) -> Reading:
        """Read until the slots can be judged.

        At once where nothing of ours is open. Otherwise when the target serves, or when all readings of the settling
        time are equal and no operation is in progress; an operation that never ends, though its effect has long been
        seen, is not waited for.
        """
        clock = asyncio.get_running_loop().time
        facts: tuple[object, ...] | None = None
        since = clock()
        while True:
            reading = await self._read()
            if reading is not None:
                if reading.facts != facts:
                    facts, since = reading.facts, clock()
                settled = clock() - since >= self._settle_seconds
                if reading.state is State.SWAPPED or (settled and reading.target_serves):
                    return reading
                if reading.state is not State.MOVING and (settled or not self._is_open()):
                    return reading
            await asyncio.sleep(min(POLL_SECONDS, self._settle_seconds / 4))

    async def _read(self) -> Reading | None:
        """Both slots; none where Azure does not answer while a swap of ours is open: then there is only waiting."""
        try:
            return Reading(self._basis, *await self._app.get_pair())
        except Transient:
            if not self._is_open():
                raise
            return None

    async def _send(self) -> SentSwap:
        self._check_lease()
        self._journal.write(
            Event.SENDING, change=self._change, text=f"Swapping slot '{self._basis.slot}' with production."
        )
        try:
            return await self._app.send_swap()
        except RollbackError:
            self._journal.write(Event.NO_EFFECT, change=self._change, text="Azure refused the swap; nothing was done.")
            raise

    async def _follow(self, sent: SentSwap) -> None:
        """Wait for the operation, looking at the slots too: Azure's word about it may never come."""
        waiting = asyncio.ensure_future(self._app.wait_for(sent.operation)) if sent.operation else None
        if waiting is None:
            return
        try:
            while not waiting.done():
                await asyncio.wait({waiting}, timeout=self._settle_seconds)
                if not waiting.done() and (await self._seen_to_serve()):
                    return
            self._tell_end(waiting.result())
        finally:
            waiting.cancel()

    async def _seen_to_serve(self) -> bool:
        reading = await self._read()
        return reading is not None and reading.target_serves

    def _tell_end(self, result: OperationResult | None) -> None:
        if result is None:
            self._note("Azure's word about the swap cannot be had. Looking at the slots.")
        elif result.succeeded:
            self._succeeded = True
        else:
            self._failure = result.failure
            self._note(f"Azure ended the swap as failed: {result.failure}")

    async def _stand_back(self, sent: SentSwap) -> None:
        self._failure = sent.text
        self._journal.write(Event.NO_EFFECT, change=self._change, text=f"Azure did not take the swap: {sent.text}")
        await asyncio.sleep(min(sent.wait_seconds or BUSY_WAIT_SECONDS, LONGEST_WAIT_SECONDS))

    def _confirm(self, reading: Reading) -> tuple[bool, str]:
        by_us = self._change in {*self._journal.open_changes(), *self._journal.confirmed_changes()}
        note = f"Swapped: {reading}." if by_us else f"Somebody else already swapped: {reading}. Nothing was sent."
        if reading.operation:
            note += f" Azure still reports operation {reading.operation} as running."
        if by_us:
            self._journal.write(Event.CONFIRMED, change=self._change, text=note)
        return by_us, note

    def _foreign(self, reading: Reading) -> PlanIsStale | SomebodyElseSwapped:
        if not self._is_open():
            return PlanIsStale(
                f"The slots changed since the plan was made: {reading}.", remedy="Nothing was touched. Plan again."
            )
        return SomebodyElseSwapped(
            f"Somebody else swapped or deployed while our swap ran: {reading}.",
            remedy="Nothing more is sent. Find out who it was, then plan again.",
        )

    def _contradiction(self, reading: Reading) -> OutcomeUnknown:
        return OutcomeUnknown(
            f"Azure says that the swap succeeded, but {reading}.",
            remedy="Nothing more is sent. Look at the app in the portal; when it is at rest, resume this run.",
        )

    def _out_of_time(self, timeout_seconds: float) -> OutcomeUnknown | OperationInProgress:
        if self._is_open():
            return OutcomeUnknown(
                f"The swap was sent, and after {timeout_seconds:g} s Azure neither shows its effect nor its end.",
                remedy="Nothing more is sent. Look at the app in the portal; when it is at rest, resume this run.",
            )
        return OperationInProgress(
            f"'{self._basis.app}' stayed busy for {timeout_seconds:g} s; nothing was swapped.",
            remedy="Find out which operation runs on it, then try again.",
        )

    def _was_sent(self) -> bool:
        return any(entry.event is Event.SENDING and entry.change == self._change for entry in self._journal.entries)

    def _is_open(self) -> bool:
        return self._change in self._journal.open_changes()

    def _note(self, text: str) -> None:
        self._journal.write(Event.NOTE, text=text)
