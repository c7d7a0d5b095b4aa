"""How a run ends when its own report cannot be written."""

import asyncio
import errno
from pathlib import Path

import pytest
from support import V2, World, run_flow

from rollback import report
from rollback.journal import Entry
from rollback.outcomes import EndState
from rollback.runs import Outcome, Store
from tasks import runs, step


def kept(folder: Path, outcome: Outcome) -> Outcome:
    found = Store(folder / "state").get(outcome.run).outcome()
    assert found is not None
    return found


async def test_a_report_that_cannot_be_put_in_place_leaves_the_end_state_and_says_so_in_one_line(
    world: World, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def block(_: Entry) -> None:
        for folder in (tmp_path / "state" / "runs").iterdir():
            (folder / "report.html").mkdir(exist_ok=True)

    outcome = await run_flow(block)

    assert outcome.end_state is EndState.ROLLED_BACK
    assert outcome.report is None
    assert outcome.report_failure == "Is a directory"
    assert world.serving == V2
    assert kept(tmp_path, outcome) == outcome
    assert [line.message for line in caplog.records if "report" in line.message] == [
        f"There is no report of run {outcome.run}: Is a directory"
    ]
    assert list((tmp_path / "state" / "runs" / outcome.run).glob("*.tmp")) == []


async def test_a_disk_that_fills_up_at_the_report_leaves_the_outcome_that_was_kept_before_it(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = Path.write_text
    full = False

    def write_until_full(file: Path, *arguments: str, **named: str) -> int:
        nonlocal full
        full |= file.name.startswith("report.html")
        if full:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(file, *arguments, **named)

    monkeypatch.setattr(Path, "write_text", write_until_full)
    outcome = await run_flow()
    monkeypatch.undo()

    assert outcome.end_state is EndState.ROLLED_BACK
    assert outcome.report_failure == "No space left on device"
    assert world.swaps == ["client"]
    assert kept(tmp_path, outcome).end_state is EndState.ROLLED_BACK
    assert kept(tmp_path, outcome).report is None


async def test_a_defect_of_the_report_changes_neither_end_state_nor_lease(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: object) -> str:
        raise KeyError("a field that nobody foresaw")

    monkeypatch.setattr(report, "html", broken)
    outcome = await run_flow()

    assert outcome.end_state is EndState.ROLLED_BACK
    assert "KeyError" in outcome.report_failure
    assert Store(tmp_path / "state").leases.read("production") is None
    assert kept(tmp_path, outcome).end_state is EndState.ROLLED_BACK


async def test_the_report_is_written_after_the_outcome_is_kept(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[EndState] = []
    written = runs.report.html

    def look(told: report.Story) -> str:
        seen.append(kept(tmp_path, told.outcome).end_state)
        return written(told)

    monkeypatch.setattr(report, "html", look)
    outcome = await run_flow()

    assert seen == [EndState.ROLLED_BACK]
    assert outcome.report is not None
    assert outcome.report.is_file()
    assert kept(tmp_path, outcome).report == outcome.report


async def test_a_step_that_does_not_end_in_its_time_is_told_by_its_name(world: World) -> None:
    @step("Wait for nothing", timeout_seconds=0.01)
    async def wait() -> None:
        await asyncio.Event().wait()

    async with runs.conduct("roll-back-backend", environment="production", reason="a test") as run:
        await wait()

    assert run.outcome is not None
    assert run.outcome.end_state is EndState.NOTHING_CHANGED
    assert run.outcome.headline == "The step 'Wait for nothing' did not end within 0.01 s."
