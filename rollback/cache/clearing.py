"""Takes keys out of a cache: by one pass over every primary, or by flushing each. Safe to repeat and to resume.

A pass is gone on with after a lost connection, as long as the same processes have the same slots; else it begins anew.
Deleting a name twice deletes nothing that does not match, so a batch whose answer was lost is simply sent again.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from rollback.cache.patience import Patience
from rollback.cache.planning import choice_of, require_flushable
from rollback.cache.plans import ClearCachePlan
from rollback.cache.scanning import Position, Tally, unlink
from rollback.cache.topology import Topology
from rollback.context import Run
from rollback.errors import CacheMoved, CacheUnreachable, RollbackError
from rollback.journal import Event

KEYS, SOME_KEYS = "keys", "some keys"
"""The changes' names in the journal: all of the plan's, and those that were deleted before a pass failed."""
LEASE_SECONDS = 1.0
"""Between two checks of the lease, each of which makes it ours for longer than any batch may take."""
TELL_SECONDS = 5.0
"""Between two lines about how far it is."""


@dataclass
class Clearing:
    """One run's deletion."""

    run: Run
    plan: ClearCachePlan
    tally: Tally = field(default_factory=Tally)
    identity: str = ""
    """Of the primaries that the last pass went over, in this try of the run or in an earlier one."""
    _positions: dict[str, Position] = field(default_factory=dict[str, Position])
    _flushes: dict[str, int] = field(default_factory=dict[str, int])
    """By process: how often it had been flushed before ours was sent."""
    _whole: bool = False
    """Whether all of the plan's keys are deleted, as long as the same primaries have the cache's keys."""
    _checked: float = 0.0
    _told: float = field(default_factory=time.monotonic)
    _began: float = field(default_factory=time.monotonic)

    @property
    def is_done(self) -> bool:
        """Whether an earlier try of this run deleted all of them."""
        return KEYS in self.run.journal.confirmed_changes()

    async def clear(self) -> None:
        """Bring it about that no key of the plan's is left that was there when this began.

        Raises what keeps it from that; what was deleted before is in the journal then.
        """
        if self.is_done:
            self.identity = self.run.journal.basis(KEYS)
            self.run.note("The keys were deleted by an earlier try of this run: no new ones are.")
            return
        try:
            await self._until_settled(self._flush if self.plan.everything else self._pass)
        except RollbackError as error:
            if self._whole:
                self._tell_success()
            else:
                self._tell_failure(error)
            raise
        self._tell_success()

    async def _until_settled(self, work: Callable[[Topology], Awaitable[None]]) -> None:
        """Go over the primaries until these are the same before and after; wait for one that is away."""
        cache = await self.run.cache()
        patience = Patience(self.run.settings.cache(self.plan.environment).away_seconds)
        while True:
            done = self.tally.scanned
            try:
                before = await cache.find()
                if before.identity != self.identity:
                    if self.identity:
                        self.run.note("The cache's servers changed meanwhile: every key is looked at once more.")
                    self._positions.clear()
                    self.identity, self._whole = before.identity, False
                await work(before)
                # Should nobody tell whether these are still the primaries: whoever verifies looks again.
                self._whole = True
                self._whole = (await cache.find()).identity == self.identity
                if self._whole:
                    return
            except (CacheUnreachable, CacheMoved) as error:
                await patience.wait(error, moved_on=self.tally.scanned > done)
                self.run.note(f"Going on: {error.message}")

    async def _pass(self, topology: Topology) -> None:
        """Go on with one pass over every primary, side by side."""
        choice = choice_of(self.plan)
        ended = await asyncio.gather(
            *(
                unlink(each, choice, self._positions.setdefault(each.name, Position()), self.tally, self._before_batch)
                for each in topology.primaries
            ),
            return_exceptions=True,
        )
        for each in ended:
            if isinstance(each, BaseException):
                raise each

    def _before_batch(self) -> None:
        """Right before keys are deleted."""
        clock = time.monotonic()
        if clock - self._checked >= LEASE_SECONDS:
            self.run.check_lease()
            self._checked = clock
        if KEYS not in self.run.journal.open_changes():
            self.run.journal.write(Event.SENDING, change=KEYS, text=f"Deleting {self.plan.what}.")
        if clock - self._told >= TELL_SECONDS:
            self._told = clock
            self.run.note(self._progress(clock))

    def _progress(self, clock: float) -> str:
        speed = self.tally.scanned / max(clock - self._began, 1e-3)
        left = max(0, self.plan.total - self.tally.scanned) / speed if speed else 0
        return (
            f"{self.tally.scanned:,} of some {self.plan.total:,} keys looked at, {self.tally.deleted:,} deleted, "
            f"{speed:,.0f} keys/s, about {left:.0f} s left."
        )

    async def _flush(self, topology: Topology) -> None:
        """Flush every primary once; one whose answer was lost is asked first how often it was.

        Raises `PatternRefused` right before one is flushed that has keys which must not go.
        """
        for primary in topology.primaries:
            position = self._positions.setdefault(primary.name, Position())
            if position.finished:
                continue
            if primary.flushes <= self._flushes.get(primary.process, primary.flushes):
                await require_flushable(self.plan, Topology((primary,), topology.clustered))
                self._before_batch()
                self._flushes[primary.process] = primary.flushes
                await primary.server.ask(("FLUSHALL", "ASYNC"))
            position.finished = True
            self.tally.scanned += primary.keys
            self.tally.deleted += primary.keys
            self.run.note(f"{primary.name} is flushed.")

    def _tell_failure(self, error: RollbackError) -> None:
        """What is known when a pass fails: nothing is on its way any more, some keys are gone, others are not."""
        journal = self.run.journal
        if KEYS in journal.open_changes() and self.tally.deleted:
            text = f"{self.tally.deleted:,} keys are deleted; others are left."
            journal.write(Event.CONFIRMED, change=SOME_KEYS, text=text)
            journal.write(Event.NO_EFFECT, change=KEYS, text=f"Not all keys: {error.message}")

    def _tell_success(self) -> None:
        seconds = time.monotonic() - self._began
        deleted = f"{self.tally.deleted:,} keys deleted"
        self.run.results += [
            ("Keys deleted", f"{self.tally.deleted:,}"),
            ("Took", f"{seconds:.1f} s, {self.tally.scanned / max(seconds, 1e-3):,.0f} keys/s"),
        ]
        if KEYS in self.run.journal.open_changes():
            how = "flushed" if self.plan.everything else f"in one pass over {self.tally.scanned:,}"
            text = f"{deleted}, {how}."
            self.run.journal.write(Event.CONFIRMED, change=KEYS, text=text, basis=self.identity)
        else:
            self.run.note("No key matched.")

    async def describe(self) -> str:
        """How far it is, for a run that is cancelled."""
        return f"{self.tally.deleted:,} keys are deleted by this try; it is safe to do it again"
