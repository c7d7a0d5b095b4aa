"""Killed at every step and gone on with: the template is deployed once."""

import asyncio
from pathlib import Path

import pytest
from dying import begin, run_killed_at
from infrastructure import Infrastructure, make_infrastructure, roll_back
from support import V2, World

from flows.roll_back_infrastructure import roll_back_infrastructure
from rollback.journal import Entry, Event
from rollback.outcomes import EndState

ARCHIVE, DEPLOY, VERIFY = "Archive what is replaced", "Deploy the template", "Verify the infrastructure"
WAIT_SECONDS = 60
POINTS = [
    pytest.param(Event.STEP_STARTED, "Plan", id="planning"),
    pytest.param(Event.STEP_FINISHED, "Approval", id="approved"),
    pytest.param(Event.STEP_STARTED, ARCHIVE, id="archiving"),
    pytest.param(Event.STEP_FINISHED, ARCHIVE, id="archived"),
    pytest.param(Event.SENDING, DEPLOY, id="right before it is sent"),
    pytest.param(Event.CONFIRMED, DEPLOY, id="after the first resource"),
    pytest.param(Event.STEP_FINISHED, DEPLOY, id="deployed"),
    pytest.param(Event.STEP_STARTED, VERIFY, id="verifying"),
]


@pytest.fixture
async def infrastructure(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Infrastructure:
    return await make_infrastructure(world, tmp_path, monkeypatch)


@pytest.mark.parametrize(("event", "step"), POINTS)
async def test_a_killed_run_is_gone_on_with_and_deploys_once(
    infrastructure: Infrastructure, event: Event, step: str
) -> None:
    await asyncio.to_thread(run_killed_at, event, step, roll_back_infrastructure, release=V2)
    killed = infrastructure.store.latest(1)[0].header.run
    outcome = await roll_back(resume=killed)
    assert outcome.end_state is EndState.ROLLED_BACK, outcome
    assert outcome.run == killed
    assert infrastructure.executed() == ["Succeeded"]
    assert infrastructure.sent() == 1


async def test_a_run_killed_while_azure_deploys_waits_for_that_deployment(infrastructure: Infrastructure) -> None:
    infrastructure.control.break_("arm-deployment-slow", seconds=1.5)
    process = begin(None, roll_back_infrastructure, release=V2)
    try:
        async with asyncio.timeout(WAIT_SECONDS):
            while not infrastructure.executed():
                assert process.is_alive()
                await asyncio.sleep(0.05)
    finally:
        process.kill()
        process.join(WAIT_SECONDS)
    outcome = await roll_back(resume=infrastructure.store.latest(1)[0].header.run)
    assert outcome.end_state is EndState.ROLLED_BACK, outcome
    assert infrastructure.executed() == ["Succeeded"]
    assert infrastructure.sent() == 1


async def test_a_killed_undo_still_knows_what_it_undoes(infrastructure: Infrastructure) -> None:
    there = await roll_back()
    undo = {"archived": there.run, "release": ""}
    await asyncio.to_thread(run_killed_at, Event.STEP_STARTED, "Plan", roll_back_infrastructure, **undo)
    outcome = await roll_back(release="", resume=infrastructure.store.latest(1)[0].header.run)
    assert outcome.end_state is EndState.ROLLED_BACK, outcome
    assert infrastructure.executed() == ["Succeeded", "Succeeded"]


@pytest.mark.parametrize(("event", "step"), [POINTS[1], POINTS[4], POINTS[6]])
async def test_a_cancelled_run_says_what_azure_does_and_is_gone_on_with(
    infrastructure: Infrastructure, event: Event, step: str
) -> None:
    def cancel(entry: Entry) -> None:
        if (entry.event, entry.step) == (event, step):
            task.cancel()

    task = asyncio.create_task(roll_back(cancel))
    with pytest.raises(asyncio.CancelledError):
        await task
    cancelled = infrastructure.store.latest(1)[0].outcome()
    assert cancelled is not None
    assert cancelled.end_state is EndState.CANCELLED
    again = await roll_back(resume=cancelled.run)
    assert again.end_state is EndState.ROLLED_BACK, again
    assert infrastructure.executed() == ["Succeeded"]
