"""In which named state a run ended, and what that means in words.

It follows from the journal: what was sent, what was seen to have happened, and what stopped the run.
"""

import asyncio
from dataclasses import dataclass

from rollback.errors import (
    NotVerified,
    OutcomeUnknown,
    PlanIsStale,
    Refused,
    RollbackError,
    SomebodyElseSwapped,
    TakenBack,
)
from rollback.journal import Journal
from rollback.outcomes import EndState
from rollback.plans import Plan

HOLDS_ENVIRONMENT = frozenset({EndState.PART_WAY, EndState.OUTCOME_UNKNOWN})
"""After these somebody has to resume or abandon the run before another may start."""


@dataclass(frozen=True)
class Ending:
    """How a run ended."""

    state: EndState
    headline: str
    next_steps: tuple[str, ...] = ()


def end_state_after(error: BaseException, journal: Journal, plan: Plan | None) -> EndState:
    """The end state of a run that an error stopped."""
    touched = _touched(journal)
    match error:
        case asyncio.CancelledError():
            state = EndState.CANCELLED
        case TakenBack():
            state = EndState.TAKEN_BACK
        case SomebodyElseSwapped():
            state = EndState.PART_WAY if touched else EndState.REFUSED
        case _ if journal.open_changes() or isinstance(error, OutcomeUnknown):
            state = EndState.OUTCOME_UNKNOWN
        case NotVerified() if touched and plan:
            state = plan.unproven
        case Refused() | PlanIsStale() if not touched:
            state = EndState.REFUSED
        case _:
            state = EndState.PART_WAY if touched else EndState.NOTHING_CHANGED
    return state


def _touched(journal: Journal) -> bool:
    return bool(journal.open_changes() or journal.confirmed_changes())


def ending_after(error: BaseException, journal: Journal, plan: Plan | None, run: str) -> Ending:
    """The ending of a run that an error stopped, in words."""
    state = end_state_after(error, journal, plan)
    what = error.message if isinstance(error, RollbackError) else f"{type(error).__name__}: {error}"
    if state is EndState.CANCELLED:
        what = "Cancelled."
    next_steps = [error.remedy] if isinstance(error, RollbackError) and error.remedy else []
    if _touched(journal) and state in HOLDS_ENVIRONMENT | {EndState.CANCELLED}:
        next_steps.append(f"Finish it with '--resume {run}', or give it up with '--abandon {run}'.")
    if plan is not None and state is plan.unproven:
        what = f"{plan.title}: {plan.doubt}. {what}"
        next_steps += plan.afterwards()
    elif plan is not None and state is EndState.PART_WAY:
        next_steps += plan.after_part()
    return Ending(state, what, tuple(next_steps))


def holds_environment(ending: Ending, journal: Journal) -> bool:
    """Whether the environment stays unfinished until the run is resumed or abandoned by name."""
    if ending.state is EndState.CANCELLED:
        return _touched(journal)
    return ending.state in HOLDS_ENVIRONMENT
