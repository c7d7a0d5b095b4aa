"""What Prefect is told of a run whose process has ended without telling it everything."""

from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import pytest
from prefect.client.schemas.objects import FlowRun, State
from prefect.exceptions import Abort
from prefect.states import AwaitingRetry, Cancelling, Completed, Crashed, Pending, Running

from deployments.worker.child import Order, refused_in_words
from deployments.worker.verdicts import LOST, verdict
from rollback.errors import RunAtWork, SettingsInvalid
from rollback.outcomes import EndState
from rollback.runs import Outcome

RUN = UUID("1f6c20ab-0000-4000-8000-000000000000")
KILLED = -9


def flow_run(state: State, *, run_count: int = 1, resume: str = "") -> FlowRun:
    parameters = {"environment": "production", "resume": resume}
    return FlowRun(id=RUN, flow_id=RUN, state=state, run_count=run_count, parameters=parameters)


def outcome(state: EndState) -> Outcome:
    at = datetime.now(UTC)
    return Outcome(
        run="1f6c20ab",
        procedure="roll-back-backend",
        environment="production",
        end_state=state,
        headline="What is true now.",
        started_at=at,
        ended_at=at,
    )


def told(
    state: State,
    end: EndState | None = None,
    *,
    status: int | None = KILLED,
    starts: int = 1,
    run_count: int = 1,
) -> tuple[str, str, str] | None:
    kept = outcome(end) if end else None
    verdict_state = verdict(flow_run(state, run_count=run_count), kept, status=status, starts=starts, most_tries=3)
    return verdict_state and (verdict_state.type.value, verdict_state.name, verdict_state.message)


@pytest.mark.parametrize("state", [Running(), Pending(), Crashed()])
def test_a_run_that_was_cut_off_is_scheduled_again(state: State) -> None:
    assert told(state) == (
        "SCHEDULED",
        "AwaitingRetry",
        "Its process was killed by signal 9. It goes on where it was: try 2 of 3.",
    )


@pytest.mark.parametrize(("starts", "run_count"), [(3, 1), (1, 3)])
def test_a_run_that_was_tried_too_often_stays_crashed_and_says_the_ways_out(starts: int, run_count: int) -> None:
    crashed = told(Running(), starts=starts, run_count=run_count)
    assert crashed is not None
    assert crashed[:2] == ("CRASHED", "Crashed")
    assert "tried 3 times" in crashed[2]
    assert "'--resume 1f6c20ab'" in crashed[2]
    assert "'--abandon 1f6c20ab'" in crashed[2]


@pytest.mark.parametrize(
    ("end", "kind"),
    [
        (EndState.ROLLED_BACK, "COMPLETED"),
        (EndState.OUTCOME_UNKNOWN, "FAILED"),
        (EndState.REFUSED, "FAILED"),
        (EndState.CANCELLED, "CANCELLED"),
    ],
)
def test_a_run_that_gave_itself_an_end_gets_that_one_and_is_not_begun_again(end: EndState, kind: str) -> None:
    assert told(Running(), end) == (kind, end.value.capitalize(), "What is true now.")


def test_a_run_that_was_being_cancelled_is_not_begun_again() -> None:
    crashed = told(Cancelling())
    assert crashed is not None
    assert crashed[0] == "CRASHED"


def test_a_run_that_was_cancelled_before_it_began_is_cancelled() -> None:
    assert told(Cancelling(), status=0) == ("CANCELLED", "Cancelled", "Cancelled before it began.")


@pytest.mark.parametrize("state", [Completed(), AwaitingRetry(), Crashed(name=LOST)])
def test_a_run_that_has_its_end_or_that_somebody_else_scheduled_is_left_alone(state: State) -> None:
    assert told(state) is None


def test_a_process_that_left_its_run_to_another_changes_nothing() -> None:
    assert told(Running(), status=0) is None


def order(state: Path, *, began_elsewhere: bool = False) -> Order:
    return Order("flows.roll_back_backend:roll_back_backend", {}, state, began_elsewhere)


async def acts(*_: object) -> State:
    return Completed()


async def test_a_run_that_was_begun_on_another_machine_is_refused_where_its_folder_is_not(tmp_path: Path) -> None:
    refusing = refused_in_words(acts, flow_run(Running()), order(tmp_path, began_elsewhere=True))
    state = await refusing("production")
    assert (state.type.value, state.name) == ("FAILED", "Refused")
    assert "begun on another machine" in state.message
    assert "touched nothing" in state.message


async def test_a_run_whose_first_try_died_early_on_this_machine_goes_on(tmp_path: Path) -> None:
    assert (await refused_in_words(acts, flow_run(Running()), order(tmp_path))("production")).is_completed()


async def at_work(*_: object) -> State:
    raise RunAtWork("Run 1f6c20ab is at work.")


async def test_a_second_process_of_a_run_leaves_its_state_to_the_first(tmp_path: Path) -> None:
    with pytest.raises(Abort, match="is at work"):
        await refused_in_words(at_work, flow_run(Running()), order(tmp_path))("production")


async def test_a_run_that_would_go_on_with_one_at_work_is_refused(tmp_path: Path) -> None:
    state = await refused_in_words(at_work, flow_run(Running(), resume="1f6c20ab"), order(tmp_path))("production")
    assert (state.type.value, state.name) == ("FAILED", "Refused")


async def test_a_wrong_platform_file_refuses_in_words(tmp_path: Path) -> None:
    async def wrong(*_: object) -> State:
        raise SettingsInvalid("The field is wrong.", remedy="Mend it.")

    state = await refused_in_words(wrong, flow_run(Running()), order(tmp_path))("production")
    assert (state.name, state.message) == ("Refused", "The field is wrong. Mend it.")
