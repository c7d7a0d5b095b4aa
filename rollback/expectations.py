"""How long each step should take, from earlier runs that ended well. What is not known stays unknown."""

import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence
from statistics import median

from pydantic import ValidationError

from rollback.outcomes import EndState
from rollback.plans import PlannedStep
from rollback.runs import RunFolder, Store

WAITING_FOR_PEOPLE = "Approval"
"""The title of the step that takes as long as people do: nothing is expected of it."""
log = logging.getLogger(__name__)

EARLIER_RUNS = 50
"""How far back is looked."""
ENOUGH_RUNS = 10
"""As many good runs of the same procedure and environment tell enough."""


def usual_seconds(store: Store, procedure: str, environment: str, *, other_than: str = "") -> dict[str, float]:
    """The median seconds of each step, by its title, over the latest good runs; empty where there is none.

    `other_than`: the run that is told, which is no measure of itself. Never raises: a run whose files cannot be read
    is left out.
    """
    seen: dict[str, list[float]] = defaultdict(list)
    runs = 0
    for folder in _latest(store):
        if runs == ENOUGH_RUNS:
            break
        taken = {} if folder.folder.name == other_than else _good_run(folder, procedure, environment)
        runs += bool(taken)
        for title, count in taken.items():
            seen[title].append(count)
    return {title: median(counts) for title, counts in seen.items()}


def expected(steps: Sequence[PlannedStep], usual: Mapping[str, float]) -> list[PlannedStep]:
    """The planned steps with how long each should take: as it usually does, else as the plan itself says."""
    return [
        step.model_copy(update={"expected_seconds": usual.get(step.title, step.expected_seconds)}) for step in steps
    ]


def _latest(store: Store) -> list[RunFolder]:
    try:
        return store.latest(EARLIER_RUNS)
    except OSError as error:
        log.warning("Earlier runs cannot be read: %s", error.strerror)
        return []


def _good_run(folder: RunFolder, procedure: str, environment: str) -> dict[str, float]:
    try:
        outcome = folder.outcome()
        if outcome is None or (outcome.procedure, outcome.environment) != (procedure, environment):
            return {}
        if not outcome.end_state.succeeded or outcome.end_state is EndState.PLANNED:
            return {}
        steps = folder.journal().steps()
    except (OSError, ValidationError):
        return {}
    taken: dict[str, float] = defaultdict(float)
    for step in steps:
        if step.duration is not None and step.title != WAITING_FOR_PEOPLE:
            taken[step.title] = step.duration.total_seconds()
    return taken
