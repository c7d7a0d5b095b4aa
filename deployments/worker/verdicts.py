"""What Prefect is told of a run whose process has ended without telling it everything."""

from typing import Any

from prefect.client.schemas.objects import FlowRun, State
from prefect.states import AwaitingRetry, Cancelled, Crashed

from rollback.runs import Outcome, RunFolder, Store
from tasks.runs import state_of

LOST = "Lost"
"""The state of a run whose heartbeats stopped; an automation that set it also schedules the run again."""


def name_of(flow_run: FlowRun) -> str:
    """The run that a flow run carries out: its own, or the one that it goes on with."""
    return flow_run.parameters.get("resume") or flow_run.id.hex[:8]


def folder_of(store: Store, flow_run: FlowRun) -> RunFolder | None:
    """What is kept of the run on this machine."""
    return store.find(name_of(flow_run))


def verdict(
    flow_run: FlowRun, outcome: Outcome | None, *, status: int | None, starts: int, most_tries: int
) -> State[Any] | None:
    """The state that the run must get; none where it is right as it is.

    A run that has its own end gets that one. One that was cut off is scheduled again, as long as it was not tried too
    often and nobody wants it cancelled. `status` is its process's exit status, none where nobody knows it.
    """
    state = flow_run.state
    if state is None or state.is_scheduled() or state.name == LOST or (state.is_final() and not state.is_crashed()):
        return None
    if outcome is not None:
        return state_of(outcome)
    if state.is_cancelling():
        return Cancelled(message="Cancelled before it began.") if status == 0 else Crashed(message=_cut_off(flow_run))
    return None if status == 0 else _next_try(flow_run, _how(status), max(starts, flow_run.run_count), most_tries)


def _next_try(flow_run: FlowRun, how: str, tries: int, most_tries: int) -> State[Any]:
    if tries < most_tries:
        return AwaitingRetry(message=f"{how} It goes on where it was: try {tries + 1} of {most_tries}.")
    name = name_of(flow_run)
    ways_out = f"Finish it with '--resume {name}', or give it up with '--abandon {name}'."
    return Crashed(message=f"{how} It was tried {tries} times and is not started again by itself. {ways_out}")


def _how(status: int | None) -> str:
    if status is None:
        return "Its process is gone."
    return f"Its process was killed by signal {-status}." if status < 0 else f"Its process ended with status {status}."


def _cut_off(flow_run: FlowRun) -> str:
    name = name_of(flow_run)
    return f"Its process ended while it was being cancelled. See 'rollback status'; '--resume {name}' goes on with it."
