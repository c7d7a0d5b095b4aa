"""How long each step should take, as far as earlier runs tell."""

from datetime import timedelta
from pathlib import Path

import pytest
from report_runs import PLAN, START, Script

from rollback.expectations import expected, usual_seconds
from rollback.outcomes import EndState
from rollback.plans import PlannedStep
from rollback.runs import Outcome, RunHeader, Store

PROCEDURE, ENVIRONMENT = "roll-back-backend", "production"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


def run(
    store: Store,
    swap_seconds: float,
    end_state: EndState | None = EndState.ROLLED_BACK,
    *,
    environment: str = ENVIRONMENT,
    procedure: str = PROCEDURE,
) -> Path:
    number = len(store.latest(1000))
    begun = {"procedure": procedure, "environment": environment, "started_at": START + timedelta(hours=number)}
    header = RunHeader(run=f"{number:08x}", reason="", **begun)
    folder = store.create(header)
    script = Script(folder.folder / "journal.jsonl")
    script.planning()
    script.swap(swap_seconds)
    if end_state is not None:
        folder.keep_outcome(
            Outcome(run=header.run, end_state=end_state, headline="", ended_at=begun["started_at"], **begun)
        )
    return folder.folder


def test_a_step_usually_takes_the_median_of_earlier_good_runs(store: Store) -> None:
    for seconds in (20, 90, 30):
        run(store, seconds)
    assert usual_seconds(store, PROCEDURE, ENVIRONMENT)["Swap slots"] == pytest.approx(31)
    assert usual_seconds(store, PROCEDURE, ENVIRONMENT)["Plan"] == pytest.approx(1.8)


def test_what_is_not_known_stays_unknown(store: Store) -> None:
    assert usual_seconds(store, PROCEDURE, ENVIRONMENT) == {}


@pytest.mark.parametrize("end_state", [EndState.PLANNED, EndState.PART_WAY, EndState.CANCELLED, None])
def test_runs_that_did_not_end_well_tell_nothing(store: Store, end_state: EndState | None) -> None:
    run(store, 5, end_state)
    assert usual_seconds(store, PROCEDURE, ENVIRONMENT) == {}


def test_other_environments_and_procedures_tell_nothing(store: Store) -> None:
    run(store, 5, environment="staging")
    run(store, 5, procedure="deploy-backend")
    assert usual_seconds(store, PROCEDURE, ENVIRONMENT) == {}


def test_a_run_is_no_measure_of_itself(store: Store) -> None:
    itself = run(store, 5)
    run(store, 30)
    assert usual_seconds(store, PROCEDURE, ENVIRONMENT, other_than=itself.name)["Swap slots"] == pytest.approx(31)


def test_nothing_is_expected_of_people(store: Store) -> None:
    script = Script(run(store, 30) / "journal.jsonl")
    script.approval(600)
    assert "Approval" not in usual_seconds(store, PROCEDURE, ENVIRONMENT)


def test_only_the_latest_runs_count(store: Store) -> None:
    for seconds in (900, *[30] * 10):
        run(store, seconds)
    (store.latest(1)[0].folder / "outcome.json").unlink()
    run(store, 40)
    assert usual_seconds(store, PROCEDURE, ENVIRONMENT)["Swap slots"] == pytest.approx(31)


def test_a_run_whose_files_are_damaged_is_left_out(store: Store) -> None:
    run(store, 30)
    (run(store, 5) / "outcome.json").write_text("{", encoding="utf-8")
    assert usual_seconds(store, PROCEDURE, ENVIRONMENT)["Swap slots"] == pytest.approx(31)


def test_a_plans_own_expectation_holds_until_earlier_runs_tell_better() -> None:
    steps = [PlannedStep(title="Swap slots", detail="", expected_seconds=60), PlannedStep(title="Verify", detail="")]
    assert [step.expected_seconds for step in expected(steps, {})] == [60, None]
    assert [step.expected_seconds for step in expected(steps, {"Swap slots": 31})] == [31, None]


def test_expectations_do_not_change_what_is_approved() -> None:
    assert "expected_seconds" not in str(PLAN.binding())
