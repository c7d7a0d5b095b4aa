"""Killed at every step and gone on with: each frontend is deployed to once."""

import asyncio
import json
from pathlib import Path

import pytest
from dying import begin, run_killed_at
from frontends import ADMIN, WEB, Frontends, frontends_file, redeploy, worktrees
from processes import is_alive
from support import V1, V2, World

from flows.redeploy_frontend import redeploy_frontend
from rollback.journal import Entry, Event
from rollback.outcomes import EndState

DEPLOY = "Deploy the frontends"
WAIT_SECONDS = 60
POINTS = [
    pytest.param(Event.STEP_STARTED, "Plan", id="planning"),
    pytest.param(Event.STEP_FINISHED, "Approval", id="approved"),
    pytest.param(Event.SENDING, DEPLOY, id="right before the first is sent"),
    pytest.param(Event.CONFIRMED, DEPLOY, id="after the first is served"),
    pytest.param(Event.STEP_FINISHED, DEPLOY, id="after all are served"),
    pytest.param(Event.STEP_STARTED, "Verify from outside", id="verifying"),
    pytest.param(Event.STEP_STARTED, "Record what served", id="recording"),
]


@pytest.fixture
def frontends(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Frontends:
    monkeypatch.setenv("ROLLBACK_CONFIG", str(frontends_file(tmp_path)))
    return Frontends(world, tmp_path / "state")


@pytest.mark.parametrize(("event", "step"), POINTS)
async def test_a_killed_run_is_gone_on_with_and_deploys_once(frontends: Frontends, event: Event, step: str) -> None:
    await asyncio.to_thread(run_killed_at, event, step, redeploy_frontend)
    killed = frontends.store.latest(1)[0]
    outcome = await redeploy(resume=killed.header.run)
    assert outcome.end_state is EndState.ROLLED_BACK, outcome
    assert outcome.run == killed.header.run
    assert frontends.all_served() == {V2}
    assert frontends.deployed() == {WEB: 1, ADMIN: 1}


async def test_a_run_killed_before_it_has_a_plan_still_knows_what_was_asked_for(frontends: Frontends) -> None:
    asked = {"frontends": ("web",), "release": V1}
    await asyncio.to_thread(run_killed_at, Event.STEP_STARTED, "Plan", redeploy_frontend, **asked)
    outcome = await redeploy(resume=frontends.store.latest(1)[0].header.run)
    assert outcome.end_state is EndState.ROLLED_BACK, outcome
    assert frontends.served(WEB) == V1
    assert frontends.deployed() == {WEB: 1, ADMIN: 0}


async def test_a_run_killed_while_azure_deploys_is_gone_on_with(frontends: Frontends) -> None:
    frontends.control.break_("swa-accepted-late", site=WEB, seconds=1.5)
    process = begin(None, redeploy_frontend, frontends=("web",))
    try:
        async with asyncio.timeout(WAIT_SECONDS):
            while not frontends.sent("POST", "zipdeploy$"):
                assert process.is_alive()
                await asyncio.sleep(0.05)
    finally:
        process.kill()
        process.join(WAIT_SECONDS)
    outcome = await redeploy(resume=frontends.store.latest(1)[0].header.run)
    assert outcome.end_state is EndState.ROLLED_BACK, outcome
    assert frontends.deployed() == {WEB: 1, ADMIN: 0}


async def test_a_script_of_a_killed_run_is_ended_and_run_again(frontends: Frontends, tmp_path: Path) -> None:
    marker, text = tmp_path / "first", "sh frontend/deploy.sh web"
    first = f"if [ ! -e {marker} ]; then echo $$ > {marker}.tmp; mv {marker}.tmp {marker}; sleep 600; fi"
    frontends_file(tmp_path, f"{{ command = {json.dumps(['sh', '-c', f'{first}; {text}'])} }}")
    process = begin(None, redeploy_frontend, frontends=("web",))
    try:
        async with asyncio.timeout(WAIT_SECONDS):
            while not marker.exists():
                assert process.is_alive()
                await asyncio.sleep(0.05)
    finally:
        process.kill()
        process.join(WAIT_SECONDS)
    left = int(marker.read_text())
    assert is_alive(left)
    outcome = await redeploy(resume=frontends.store.latest(1)[0].header.run)
    assert outcome.end_state is EndState.ROLLED_BACK, outcome
    assert not is_alive(left)
    assert frontends.deployed() == {WEB: 1, ADMIN: 0}
    assert worktrees() == []


@pytest.mark.parametrize(("event", "step"), [POINTS[1], POINTS[2], POINTS[4]])
async def test_a_cancelled_run_says_what_is_served_and_is_gone_on_with(
    frontends: Frontends, event: Event, step: str
) -> None:
    def cancel(entry: Entry) -> None:
        if (entry.event, entry.step) == (event, step):
            task.cancel()

    task = asyncio.create_task(redeploy(cancel))
    with pytest.raises(asyncio.CancelledError):
        await task
    cancelled = frontends.store.latest(1)[0].outcome()
    assert cancelled is not None
    assert cancelled.end_state is EndState.CANCELLED
    again = await redeploy(resume=cancelled.run)
    assert again.end_state is EndState.ROLLED_BACK, again
    assert frontends.all_served() == {V2}
    assert frontends.deployed() == {WEB: 1, ADMIN: 1}


async def test_two_at_once_deploy_once(frontends: Frontends) -> None:
    ended = await asyncio.gather(redeploy(), redeploy())
    assert sorted(each.end_state.value for each in ended) == ["refused", "rolled back"]
    assert frontends.deployed() == {WEB: 1, ADMIN: 1}
    assert frontends.all_served() == {V2}
