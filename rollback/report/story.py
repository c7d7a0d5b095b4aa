"""Everything that is told of a run that ended, put together once for the page and the artifacts."""

from collections.abc import Mapping
from dataclasses import dataclass

from rollback.expectations import expected
from rollback.journal import Entry, Event, Journal
from rollback.outcomes import EndState
from rollback.plans import Plan, PlannedStep
from rollback.report import timeline
from rollback.report.timeline import Bar, Kind, Timeline
from rollback.runs import Outcome, RunHeader

NOTHING_TO_VERIFY = frozenset({EndState.PLANNED, EndState.REFUSED, EndState.NOTHING_CHANGED})


@dataclass(frozen=True)
class Story:
    """A run, its plan and its end; made by `tell`."""

    header: RunHeader
    plan: Plan | None
    planned: tuple[PlannedStep, ...]
    """The plan's steps with how long each should take."""
    outcome: Outcome
    timeline: Timeline
    entries: tuple[Entry, ...]

    def lines_of(self, bar: Bar) -> list[Entry]:
        """What was told within a step."""
        return [
            each for each in self.entries if each.text and each.step == bar.title and bar.start <= each.at <= bar.end
        ]

    @property
    def other_lines(self) -> list[Entry]:
        """What was told outside of all steps."""
        frame = {Event.STARTED, Event.ENDED}
        return [each for each in self.entries if each.text and not each.step and each.event not in frame]

    @property
    def verified(self) -> str:
        """Whether what users get was proven, in words."""
        if self.outcome.end_state in NOTHING_TO_VERIFY:
            return "nothing to verify: nothing was changed"
        if self.outcome.end_state is EndState.TAKEN_BACK:
            return "the release that was taken back: no; what users get now: as the outcome says"
        if not self.outcome.end_state.succeeded:
            return "no: what users get was not shown to be right"
        return f"yes, {self.plan.proof.removeprefix('verified ')}" if self.plan else "yes, from outside"

    @property
    def waited_for_people(self) -> float:
        """Seconds in which the run waited for an approval."""
        return self.timeline.total(Kind.APPROVAL)

    @property
    def idle_seconds(self) -> float:
        """Seconds in which nobody was at work, between a stop and the resumption."""
        return sum((gap.end - gap.start).total_seconds() for gap in self.timeline.gaps)

    @property
    def knows_expected(self) -> bool:
        """Whether it is known of any step how long it should take."""
        return any(bar.expected_seconds is not None for bar in self.timeline.bars)

    @property
    def tone(self) -> str:
        """`good`, `open` or `bad`: how the end state is coloured."""
        if self.outcome.end_state.succeeded:
            return "good"
        return "bad" if self.outcome.end_state in {EndState.NOTHING_CHANGED, EndState.PART_WAY} else "open"


def tell(
    header: RunHeader, plan: Plan | None, journal: Journal, outcome: Outcome, usual: Mapping[str, float] | None = None
) -> Story:
    """The story of a run that ended; `usual`: how many seconds each step usually takes, as far as it is known."""
    usual = usual or {}
    only_planned = outcome.end_state is EndState.PLANNED
    planned = expected(plan.steps(), usual) if plan else []
    begin = min([header.started_at, *(entry.at for entry in journal.entries)])
    return Story(
        header=header,
        plan=plan,
        planned=tuple(planned),
        outcome=outcome,
        timeline=timeline.build(journal, [] if only_planned else planned, usual, begin, outcome.ended_at),
        entries=tuple(journal.entries),
    )
