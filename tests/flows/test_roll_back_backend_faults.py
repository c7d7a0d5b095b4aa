"""Every fault of a swap: the right build serves in the end, after exactly one swap, whatever became of the answers."""

import asyncio
from pathlib import Path

import pytest
from support import V2, V3, World, quick_platform_file, run_flow

from rollback.journal import Entry, Event
from rollback.outcomes import EndState


def assert_swapped_once(world: World) -> None:
    assert world.swaps == ["client"]
    assert (world.serving, world.runs_in("staging")) == (V2, V3)


@pytest.mark.parametrize(
    ("fault", "options"),
    [
        pytest.param("swap-answer-lost-after", {}, id="answer lost after the effect"),
        pytest.param("swap-answer-lost-before", {}, id="answer lost before the effect"),
        pytest.param("swap-accepted-late", {"seconds": 3}, id="accepted, answer lost, effect visible much later"),
        pytest.param("swap-conflict", {}, id="409"),
        pytest.param("swap-conflict", {"times": 3}, id="409 again and again"),
        pytest.param("swap-throttled", {"retry_after": 0.5}, id="429 with Retry-After"),
        pytest.param("swap-error", {}, id="500 without effect"),
        pytest.param("swap-error-after", {}, id="500 with effect"),
        pytest.param("swap-fails", {}, id="operation fails"),
    ],
)
async def test_a_fault_of_the_swap_ends_in_one_swap(world: World, fault: str, options: dict[str, float]) -> None:
    world.control.break_(fault, **options)
    outcome = await run_flow()
    assert outcome.end_state is EndState.ROLLED_BACK
    assert_swapped_once(world)


@pytest.mark.parametrize("path", ["operationresults", "sites/fundrbolt-production-api$", "config/web"])
@pytest.mark.parametrize("fault", ["drop-before", "error", "throttle"])
async def test_a_fault_of_a_reading_request_is_tried_again(world: World, fault: str, path: str) -> None:
    world.control.break_(fault, method="GET", path=path, times=2)
    outcome = await run_flow()
    assert outcome.end_state is EndState.ROLLED_BACK
    assert_swapped_once(world)


async def test_a_swap_that_always_fails_changes_nothing_and_says_why(world: World) -> None:
    world.control.break_("swap-fails", times=99)
    outcome = await run_flow()
    assert outcome.end_state is EndState.NOTHING_CHANGED
    assert "3 tries" in outcome.headline
    assert world.swaps == []
    assert world.serving == V3
    world.control.repair()
    assert (await run_flow()).end_state is EndState.ROLLED_BACK
    assert_swapped_once(world)


async def test_an_operation_that_never_ends_is_outcome_unknown_and_resumed_later(world: World, tmp_path: Path) -> None:
    quick_platform_file(tmp_path, swap_timeout_seconds=4)
    world.control.break_("swap-never-ends")
    outcome = await run_flow()
    assert outcome.end_state is EndState.OUTCOME_UNKNOWN
    assert world.swaps == []
    blocked = await run_flow()
    assert blocked.end_state is EndState.REFUSED
    assert f"unfinished: {outcome.run}" in blocked.headline
    world.control.repair()
    assert (await run_flow(resume=outcome.run)).end_state is EndState.ROLLED_BACK
    assert_swapped_once(world)


async def test_tokens_that_expire_right_before_the_swap_are_renewed(world: World) -> None:
    def expire(entry: Entry) -> None:
        if entry.event is Event.SENDING:
            world.control.break_("tokens-expire")

    outcome = await run_flow(expire)
    assert outcome.end_state is EndState.ROLLED_BACK
    assert_swapped_once(world)


async def test_tokens_that_expire_while_azure_swaps_are_renewed(world: World) -> None:
    world.control.break_("swap-accepted-late", seconds=2)

    def expire(entry: Entry) -> None:
        if "leaves open" in entry.text:
            world.control.break_("tokens-expire")

    outcome = await run_flow(expire)
    assert outcome.end_state is EndState.ROLLED_BACK
    assert_swapped_once(world)


async def test_somebody_elses_swap_between_our_read_and_our_write_is_reported_not_fought(world: World) -> None:
    world.control.break_("rival-swap")
    outcome = await run_flow()
    assert outcome.end_state is EndState.PART_WAY
    assert "Somebody else swapped" in outcome.headline
    assert world.swaps == ["rival", "client"]


async def test_somebody_elses_swap_that_runs_when_ours_arrives_is_taken_for_the_goal(world: World) -> None:
    world.control.break_("rival-swap-running")
    outcome = await run_flow()
    assert outcome.end_state is EndState.ALREADY_THERE
    assert "Somebody else got there first" in outcome.headline
    assert world.swaps == ["rival"]
    assert world.serving == V2


async def test_a_slot_changed_after_the_plan_makes_the_plan_stale(world: World) -> None:
    def redeploy(entry: Entry) -> None:
        if entry.event is Event.STEP_STARTED and entry.step == "Swap slots":
            world.control.break_("redeploy", release="v1.2.1")

    outcome = await run_flow(redeploy)
    assert outcome.end_state is EndState.REFUSED
    assert "changed since the plan" in outcome.headline
    assert world.swaps == []


async def test_two_runs_at_once_swap_once(world: World) -> None:
    outcomes = await asyncio.gather(*(asyncio.create_task(run_flow()) for _ in range(2)))
    assert sorted(each.end_state for each in outcomes) == [EndState.REFUSED, EndState.ROLLED_BACK]
    refused = next(each for each in outcomes if each.end_state is EndState.REFUSED)
    assert "is held by run" in refused.headline
    assert_swapped_once(world)


@pytest.mark.parametrize("fault", ["drop-before", "drop-after", "error"])
async def test_ramp_up_rules_are_removed_though_the_request_fails(world: World, fault: str) -> None:
    world.control.break_("ramp-up", percent=30)
    world.control.break_(fault, method="PATCH", path="config/web", times=1)
    outcome = await run_flow()
    assert outcome.end_state is EndState.ROLLED_BACK
    assert world.control.status().sites["production"].slots["production"].ramp_up_rules == []
    assert_swapped_once(world)
