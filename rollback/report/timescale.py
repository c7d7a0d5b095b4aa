"""A time axis on which long waits do not crowd out the work: they are shortened, and marked as such."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from rollback.report.timeline import Kind, Timeline
from rollback.report.words import elapsed

LONGEST_SHARE = 0.2
"""What one wait may take of the width that the work takes."""
NICE_STEPS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 21_600, 86_400)


@dataclass(frozen=True)
class Wait:
    """A stretch in which nothing of ours went on, in seconds since the start."""

    start: float
    end: float
    shown: float
    """How many of its seconds are shown."""
    what: str

    @property
    def is_shortened(self) -> bool:
        """Whether it is longer than it looks."""
        return self.shown < self.end - self.start


class TimeScale:
    """Turns instants into places on the axis, in seconds that are shown."""

    def __init__(self, timeline: Timeline) -> None:
        self._start = timeline.start
        self._whole = max((timeline.end - timeline.start).total_seconds(), 0.1)
        waits = [(self._since(gap.start), self._since(gap.end), "nobody at work") for gap in timeline.gaps]
        waits += [
            (self._since(span.start), self._since(span.end), "waiting")
            for bar in timeline.bars
            for span in bar.spans
            if span.kind is Kind.APPROVAL
        ]
        work = max(self._whole - sum(end - start for start, end, _ in waits), 5.0)
        self.waits = [
            Wait(start, end, shown=min(end - start, LONGEST_SHARE * work), what=what)
            for start, end, what in sorted(waits)
            if end > start
        ]
        self.length = self.place_of(self._whole)

    def _since(self, at: datetime) -> float:
        return (at - self._start).total_seconds()

    def place(self, at: datetime) -> float:
        """Where an instant is on the axis."""
        return self.place_of(self._since(at))

    def place_of(self, since_start: float) -> float:
        """Where a time since the start, in seconds, is on the axis."""
        hidden = 0.0
        for wait in self.waits:
            passed = min(max(since_start - wait.start, 0.0), wait.end - wait.start)
            hidden += passed * (1 - wait.shown / (wait.end - wait.start))
        return since_start - hidden

    def ticks(self, most: int) -> list[tuple[float, str]]:
        """Places with the time since the start that each stands for; none within a shortened wait."""
        step = next((nice for nice in NICE_STEPS if self.length / nice <= most), NICE_STEPS[-1])
        ticks: list[tuple[float, str]] = []
        for start, end in self._stretches():
            for count in range(math.ceil(start / step), math.floor(end / step) + 1):
                place = self.place_of(count * step)
                if not ticks or place - ticks[-1][0] >= 0.7 * step:
                    ticks.append((place, elapsed(count * step, self._whole, step)))
        return ticks

    def _stretches(self) -> Sequence[tuple[float, float]]:
        shortened = [wait for wait in self.waits if wait.is_shortened]
        starts = [0.0, *(wait.end for wait in shortened)]
        ends = [*(wait.start for wait in shortened), self._whole]
        return list(zip(starts, ends, strict=True))
