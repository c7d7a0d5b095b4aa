"""When each step of a run was at work, and what it waited for, as told by its journal."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import pairwise

from rollback.expectations import WAITING_FOR_PEOPLE
from rollback.journal import Entry, Event, Journal, StepRecord
from rollback.plans import PlannedStep
from rollback.report.words import for_seconds, seconds

SHORTEST_WAIT_SECONDS = 1.0
"""An approval that nobody had to wait for is no wait."""


class Kind(StrEnum):
    """What a stretch of time went into; the value is what people read."""

    OURS = "our own work"
    AZURE = "waiting for Azure"
    APPROVAL = "waiting for approval"


@dataclass(frozen=True)
class Span:
    """A stretch of a step."""

    kind: Kind
    start: datetime
    end: datetime

    @property
    def seconds(self) -> float:
        """How long it was."""
        return (self.end - self.start).total_seconds()


@dataclass(frozen=True)
class Bar:
    """A step in the timeline."""

    title: str
    state: str
    start: datetime
    end: datetime
    """Of a step that was cut off: the last sign of life."""
    spans: tuple[Span, ...]
    azure_seconds: float | None
    expected_seconds: float | None
    critical: bool = False
    """Whether the run would have ended earlier had this step been quicker."""

    @property
    def duration(self) -> timedelta:
        """Time from start to end."""
        return self.end - self.start

    @property
    def figures(self) -> str:
        """Its state and times, in short."""
        told = {"done": "", "cut off": "cut off, last sign after "}.get(self.state, f"{self.state} after ")
        azure = f", Azure {for_seconds(self.azure_seconds)}" if self.azure_seconds else ""
        return f"{told}{seconds(self.duration)}{azure}"

    @property
    def usual(self) -> str:
        """How long it should take, in short; empty where nobody knows."""
        return f"expected {for_seconds(self.expected_seconds)}" if self.expected_seconds is not None else ""


@dataclass(frozen=True)
class Gap:
    """Nobody was at work: from a crash or an end to where the run was resumed."""

    start: datetime
    end: datetime


@dataclass(frozen=True)
class Timeline:
    """A whole run, all its tries."""

    start: datetime
    end: datetime
    bars: tuple[Bar, ...]
    gaps: tuple[Gap, ...]
    not_done: tuple[PlannedStep, ...]
    """Steps of the plan that were not begun."""

    def total(self, kind: Kind) -> float:
        """How many seconds went into it, over all steps."""
        if kind is Kind.AZURE:
            return sum(bar.azure_seconds or 0.0 for bar in self.bars)
        return sum(span.seconds for bar in self.bars for span in bar.spans if span.kind is kind)

    @property
    def azure_seconds(self) -> float:
        """How many seconds Azure itself took, those included whose end nobody saw."""
        return self.total(Kind.AZURE)

    @property
    def own_seconds(self) -> float:
        """From start to end without Azure's own time, people's, and the time in which nobody was at work."""
        idle = sum((gap.end - gap.start).total_seconds() for gap in self.gaps)
        whole = (self.end - self.start).total_seconds()
        return max(0.0, whole - idle - self.total(Kind.AZURE) - self.total(Kind.APPROVAL))

    @property
    def critical_titles(self) -> list[str]:
        """The steps of the critical path, in order."""
        return [bar.title for bar in self.bars if bar.critical]


def build(
    journal: Journal, planned: Sequence[PlannedStep], usual: Mapping[str, float], start: datetime, end: datetime
) -> Timeline:
    """The timeline of a run that started and ended then."""
    expected = {step.title: step.expected_seconds for step in planned} | dict(usual)
    steps = journal.steps()
    bars = [_bar(step, journal.entries, expected.get(step.title), end) for step in steps]
    begun = {step.title for step in steps}
    return Timeline(
        start=start,
        end=end,
        bars=tuple(_with_critical_path(bars)),
        gaps=tuple(_gaps(journal.entries)),
        not_done=tuple(step for step in planned if step.title not in begun),
    )


def _bar(step: StepRecord, entries: Sequence[Entry], expected_seconds: float | None, run_end: datetime) -> Bar:
    end = step.ended_at or _last_sign_of_life(step, entries) or run_end
    waiting = _approval(step, end) or _azure(step, end, entries)
    spans = [Span(Kind.OURS, step.started_at, end)]
    if waiting is not None:
        spans = [
            Span(Kind.OURS, step.started_at, waiting.start),
            waiting,
            Span(Kind.OURS, waiting.end, end),
        ]
    return Bar(
        title=step.title,
        state=step.state,
        start=step.started_at,
        end=end,
        spans=tuple(span for span in spans if span.seconds > 0),
        azure_seconds=step.azure_seconds or sum(span.seconds for span in spans if span.kind is Kind.AZURE) or None,
        expected_seconds=expected_seconds,
    )


def _approval(step: StepRecord, end: datetime) -> Span | None:
    waited = Span(Kind.APPROVAL, step.started_at, end)
    return waited if step.title == WAITING_FOR_PEOPLE and waited.seconds >= SHORTEST_WAIT_SECONDS else None


def _azure(step: StepRecord, end: datetime, entries: Sequence[Entry]) -> Span | None:
    """From the first change that was sent in the step to the last word about one, or to the step's end."""
    own = [entry for entry in entries if entry.step == step.title and step.started_at <= entry.at <= end]
    sent = [entry.at for entry in own if entry.event is Event.SENDING]
    if not sent:
        return None
    told = [entry for entry in own if entry.event in {Event.SENDING, Event.CONFIRMED, Event.NO_EFFECT}]
    return Span(Kind.AZURE, sent[0], end if told[-1].event is Event.SENDING else told[-1].at)


def _last_sign_of_life(step: StepRecord, entries: Sequence[Entry]) -> datetime | None:
    """The last entry before the run was started again; none where it was not."""
    again = next((entry.at for entry in entries if entry.event is Event.STARTED and entry.at > step.started_at), None)
    return again and max(entry.at for entry in entries if entry.at < again)


def _gaps(entries: Sequence[Entry]) -> list[Gap]:
    pairs = pairwise(entries)
    return [Gap(before.at, after.at) for before, after in pairs if after.event is Event.STARTED]


def _with_critical_path(bars: Sequence[Bar]) -> list[Bar]:
    """Mark, from the end backwards, each step for whose end the next one of the path waited."""
    critical: set[int] = set()
    index = max(range(len(bars)), key=lambda i: bars[i].end, default=None)
    while index is not None:
        critical.add(index)
        start = bars[index].start
        earlier = [i for i in range(len(bars)) if i not in critical and bars[i].end <= start]
        index = max(earlier, key=lambda i: bars[i].end, default=None)
    return [replace(bar, critical=i in critical) for i, bar in enumerate(bars)]
