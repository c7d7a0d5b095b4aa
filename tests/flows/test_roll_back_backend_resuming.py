"""Killed or cancelled at every point of the journal, and gone on with: one swap, and it says where things stand."""

import asyncio
from pathlib import Path

import pytest
from dying import run_killed_at
from support import V2, V3, World, run_flow

from rollback.errors import EnvironmentLocked, RunUnknown
from rollback.journal import Entry, Event
from rollback.outcomes import EndState
from rollback.runs import Store

POINTS = [
    pytest.param(Event.STEP_STARTED, "Plan", id="planning"),
    pytest.param(Event.STEP_STARTED, "Probe the slot", id="probing"),
    pytest.param(Event.STEP_STARTED, "Swap slots", id="before the swap"),
    pytest.param(Event.SENDING, "Swap slots", id="right before the swap is sent"),
    pytest.param(Event.CONFIRMED, "Swap slots", id="after the swap"),
    pytest.param(Event.SENDING, "Remove ramp-up rules", id="right before the rules are removed"),
    pytest.param(Event.CONFIRMED, "Remove ramp-up rules", id="after the rules are removed"),
    pytest.param(Event.STEP_STARTED, "Verify from outside", id="verifying"),
    pytest.param(Event.STEP_STARTED, "Record what served", id="before the record"),
    pytest.param(Event.STEP_FINISHED, "Record what served", id="after the record"),
]


def assert_right_and_once(world: World) -> None:
    assert world.swaps == ["client"]
    assert (world.serving, world.runs_in("staging")) == (V2, V3)
    assert world.control.status().sites["production"].slots["production"].ramp_up_rules == []


@pytest.mark.parametrize(("event", "step"), POINTS)
async def test_a_killed_run_is_gone_on_with_and_swaps_once(
    world: World, tmp_path: Path, event: Event, step: str
) -> None:
    world.control.break_("ramp-up", percent=20)
    await asyncio.to_thread(run_killed_at, event, step)
    killed = Store(tmp_path / "state").latest(1)[0].header.run
    outcome = await run_flow(resume=killed)
    assert outcome.end_state is EndState.ROLLED_BACK
    assert outcome.run == killed
    assert_right_and_once(world)


async def test_a_run_killed_while_azure_swaps_is_gone_on_with_and_swaps_once(world: World, tmp_path: Path) -> None:
    world.control.break_("swap-accepted-late", seconds=4)
    await asyncio.to_thread(run_killed_at, Event.NOTE, "Swap slots")
    assert world.swaps == []
    outcome = await run_flow(resume=Store(tmp_path / "state").latest(1)[0].header.run)
    assert outcome.end_state is EndState.ROLLED_BACK
    assert_right_and_once(world)


async def test_a_run_killed_after_it_sent_something_holds_the_environment_by_name(world: World, tmp_path: Path) -> None:
    await asyncio.to_thread(run_killed_at, Event.CONFIRMED, "Swap slots")
    killed = Store(tmp_path / "state").latest(1)[0].header.run
    refused = await run_flow()
    assert refused.end_state is EndState.REFUSED
    assert f"unfinished: {killed}" in refused.headline
    assert f"--resume {killed}" in refused.next_steps[0]
    assert f"--abandon {killed}" in refused.next_steps[0]
    assert world.swaps == ["client"]


async def test_a_run_killed_before_it_sent_anything_frees_the_environment(world: World) -> None:
    await asyncio.to_thread(run_killed_at, Event.STEP_STARTED, "Swap slots")
    assert (await run_flow()).end_state is EndState.ROLLED_BACK
    assert_right_and_once(world)


async def test_an_abandoned_run_frees_the_environment(world: World, tmp_path: Path) -> None:
    await asyncio.to_thread(run_killed_at, Event.SENDING, "Swap slots")
    store = Store(tmp_path / "state")
    killed = store.latest(1)[0].header.run
    store.leases.abandon("production", killed)
    assert (await run_flow()).end_state is EndState.ROLLED_BACK
    assert_right_and_once(world)


async def test_a_run_at_work_cannot_be_abandoned(world: World, tmp_path: Path) -> None:
    store = Store(tmp_path / "state")
    refusals: list[str] = []

    def abandon(entry: Entry) -> None:
        if entry.event is Event.SENDING:
            with pytest.raises(EnvironmentLocked, match="still at work"):
                store.leases.abandon("production", store.latest(1)[0].header.run)
            refusals.append(entry.step)

    assert (await run_flow(abandon)).end_state is EndState.ROLLED_BACK
    assert refusals == ["Swap slots"]


async def test_an_unknown_run_cannot_be_resumed(world: World) -> None:
    with pytest.raises(RunUnknown, match="no run 'deadbeef'"):
        await run_flow(resume="deadbeef")


@pytest.mark.parametrize(("event", "step"), POINTS[:-2])
async def test_a_cancelled_run_says_what_state_things_are_in(
    world: World, tmp_path: Path, event: Event, step: str
) -> None:
    world.control.break_("ramp-up", percent=20)
    sent: list[str] = []

    def cancel(entry: Entry) -> None:
        if entry.event is Event.SENDING:
            sent.append(entry.change)
        if (entry.event, entry.step) == (event, step):
            task.cancel()

    task = asyncio.create_task(run_flow(cancel))
    with pytest.raises(asyncio.CancelledError):
        await task
    store = Store(tmp_path / "state")
    run = store.latest(1)[0]
    outcome = run.outcome()
    assert outcome is not None
    assert outcome.end_state is EndState.CANCELLED
    lease = store.leases.read("production")
    if not sent:
        assert "Nothing was sent to Azure" in outcome.headline or "production runs v1.2.3" in outcome.headline
        assert lease is None
        assert world.swaps == []
    else:
        assert "production runs v1.2." in outcome.headline
        assert f"--resume {run.header.run}" in " ".join(outcome.next_steps)
        assert lease is not None
        assert lease.changed
    assert (await run_flow(resume=run.header.run)).end_state is EndState.ROLLED_BACK
    assert_right_and_once(world)
