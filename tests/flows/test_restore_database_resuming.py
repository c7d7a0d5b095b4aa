"""Killed at every step and gone on with: one server, one secret version, one export, and everything follows."""

import asyncio
from datetime import datetime
from pathlib import Path

import pytest
from dying import run_killed_at
from restoring import APPS, SOURCE, Databases, quick_restore_file, run_restore
from support import World

from flows.restore_database import restore_database
from rollback.journal import Entry, Event
from rollback.outcomes import EndState
from rollback.runs import Store

POINTS = [
    pytest.param(Event.STEP_STARTED, "Plan", id="planning"),
    pytest.param(Event.SENDING, "Stop writers", id="right before an app is stopped"),
    pytest.param(Event.SENDING, "Fence the old server", id="right before the fence"),
    pytest.param(Event.STEP_FINISHED, "Fence the old server", id="after the fence"),
    pytest.param(Event.SENDING, "Restore beside", id="right before the restore is sent"),
    pytest.param(Event.CONFIRMED, "Restore beside", id="while Azure restores"),
    pytest.param(Event.SENDING, "Match settings", id="before a parameter is set"),
    pytest.param(Event.STEP_STARTED, "Compare both servers", id="comparing"),
    pytest.param(Event.STEP_STARTED, "Export lost rows", id="exporting"),
    pytest.param(Event.SENDING, "Cut over", id="right before the secret is written"),
    pytest.param(Event.CONFIRMED, "Cut over", id="after the secret is written"),
    pytest.param(Event.SENDING, "Refresh references", id="right before references are refreshed"),
    pytest.param(Event.SENDING, "Start on the restored server", id="right before an app is started"),
    pytest.param(Event.STEP_STARTED, "Prove in use", id="proving"),
]


@pytest.fixture
def databases(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Databases:
    monkeypatch.setenv("ROLLBACK_CONFIG", str(quick_restore_file(tmp_path)))
    return Databases(world)


def restore_killed_at(point: datetime, event: Event, step: str) -> None:
    run_killed_at(event, step, restore_database, restore_point=point.isoformat())


@pytest.mark.parametrize(("event", "step"), POINTS)
async def test_a_killed_run_is_gone_on_with_and_makes_everything_once(
    databases: Databases, tmp_path: Path, event: Event, step: str
) -> None:
    point = await databases.instant()
    await asyncio.to_thread(restore_killed_at, point, event, step)
    killed = Store(tmp_path / "state").latest(1)[0]
    outcome = await run_restore(resume=killed.header.run)
    assert outcome.end_state is EndState.RESTORED, outcome
    assert outcome.run == killed.header.run
    assert len(await databases.servers()) == 2
    assert len(await databases.secrets()) == 2
    assert [each.name for each in killed.folder.glob("lost-rows*")] == ["lost-rows.zip"]
    assert databases.running() == dict.fromkeys(APPS, True)


async def test_a_run_killed_while_it_was_taken_back_goes_on_taking_back(databases: Databases, tmp_path: Path) -> None:
    point = await databases.instant()
    databases.control.break_("pg-restore-fails")
    await asyncio.to_thread(restore_killed_at, point, Event.STEP_STARTED, "Lift the fence")
    outcome = await run_restore(resume=Store(tmp_path / "state").latest(1)[0].header.run)
    assert outcome.end_state is EndState.TAKEN_BACK, outcome
    assert await databases.parameter("default_transaction_read_only") == "off"
    assert databases.running() == dict.fromkeys(APPS, True)
    assert len(await databases.secrets()) == 1


async def test_a_cancelled_run_says_what_state_things_are_in(databases: Databases, tmp_path: Path) -> None:
    point = await databases.instant()

    def cancel(entry: Entry) -> None:
        if (entry.event, entry.step) == (Event.STEP_STARTED, "Compare both servers"):
            task.cancel()

    task = asyncio.create_task(run_restore(cancel, restore_point=point))
    with pytest.raises(asyncio.CancelledError):
        await task
    run = Store(tmp_path / "state").latest(1)[0]
    outcome = run.outcome()
    assert outcome is not None
    assert outcome.end_state is EndState.CANCELLED
    for words in (f"the secret names '{SOURCE}'", "is fenced", "stopped: fundrbolt-production-api"):
        assert words in outcome.headline
    assert f"--resume {run.header.run}" in " ".join(outcome.next_steps)
