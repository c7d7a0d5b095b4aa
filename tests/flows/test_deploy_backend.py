"""The guarded deployment and the redeployment: what users get, what comes back, and that nothing happens twice."""

import asyncio
from pathlib import Path

import pytest
from support import V1, V2, V3, World, quick_platform_file, run_flow

from flows.deploy_backend import deploy_backend
from flows.redeploy_backend import redeploy_backend
from rollback.backend_plans import DeployPlan
from rollback.journal import Entry, Event
from rollback.outcomes import EndState
from rollback.runs import Outcome, Store


async def deploy(release: str, **parameters: object) -> Outcome:
    return await run_flow(flow=deploy_backend, release=release, **{"watch_minutes": 0.02, **parameters})


async def redeploy(release: str, **parameters: object) -> Outcome:
    return await run_flow(flow=redeploy_backend, release=release, **parameters)


@pytest.fixture(autouse=True)
def short_waits(world: World, tmp_path: Path) -> None:
    quick_platform_file(tmp_path, schemas_known=False, start_within_seconds=8, **{"watch.metrics_within_seconds": 1})


async def test_the_bad_build_that_users_were_taken_off_is_not_deployed_again(world: World) -> None:
    await run_flow()
    outcome = await deploy(V3)
    assert outcome.end_state is EndState.REFUSED
    assert "the bad build that users were taken off" in outcome.headline
    assert world.serving == V2


async def test_a_good_release_serves_production_and_is_recorded_there(world: World) -> None:
    outcome = await deploy(V1)
    assert outcome.end_state is EndState.DEPLOYED_NOT_VERIFIED
    assert "metrics since the swap are not known" in outcome.headline
    assert (world.serving, world.runs_in("staging")) == (V1, V3)
    assert world.swaps == ["client"]


async def test_a_release_that_is_bad_on_the_slot_never_reaches_users(world: World, tmp_path: Path) -> None:
    await run_flow()
    (tmp_path / "state" / "environments" / "production.served.jsonl").unlink()
    world.control.break_("app-error", share=0.5, slot="staging", follows="slot")
    outcome = await deploy(V1)
    assert outcome.end_state is EndState.TAKEN_BACK
    assert outcome.end_state.exit_status == 8
    assert (world.serving, world.runs_in("staging")) == (V2, V3)
    assert world.swaps == ["client"]


async def test_a_release_that_does_not_start_never_reaches_users_and_its_log_is_told(
    world: World, tmp_path: Path
) -> None:
    world.control.break_("app-error", share=1, slot="staging", follows="slot")
    outcome = await redeploy(V1)
    assert outcome.end_state is EndState.TAKEN_BACK
    assert (world.serving, world.runs_in("staging")) == (V3, V2)
    journal = Store(tmp_path / "state").get(outcome.run).journal()
    log = next(step for step in journal.steps() if step.title == "Read the log")
    assert any("sha256:" in line for line in log.notes)


async def test_an_image_that_does_not_exist_is_refused_before_anything_is_touched(world: World) -> None:
    world.control.break_("image-missing", tag=V1)
    outcome = await redeploy(V1)
    assert outcome.end_state is EndState.REFUSED
    assert "There is no image" in outcome.headline
    assert (world.serving, world.runs_in("staging")) == (V3, V2)


async def test_a_registry_that_does_not_answer_is_not_taken_for_an_image_that_exists(world: World) -> None:
    world.control.break_("registry-down")
    outcome = await redeploy(V1)
    assert outcome.end_state is EndState.NOTHING_CHANGED
    assert "registry" in outcome.headline
    assert (world.serving, world.runs_in("staging")) == (V3, V2)


async def test_production_that_turns_bad_after_the_swap_is_swapped_back_once(world: World, tmp_path: Path) -> None:
    def turn_bad(entry: Entry) -> None:
        if entry.event is Event.CONFIRMED and entry.change == "slot swap":
            world.control.break_("app-error", share=0.5, slot="production", follows="build")

    await run_flow()
    outcome = await deploy(V1, watch=turn_bad)
    assert outcome.end_state is EndState.TAKEN_BACK
    assert outcome.headline.startswith("Users get v1.2.2 again, verified from outside. With v1.2.1 production did not")
    assert world.swaps == ["client"] * 3
    assert (world.serving, world.runs_in("staging")) == (V2, V1)


@pytest.mark.parametrize(
    "fault",
    ["swap-answer-lost-after", "swap-answer-lost-before", "swap-conflict", "swap-error-after", "swap-fails"],
)
async def test_a_fault_of_the_swap_back_swaps_back_once(world: World, fault: str) -> None:
    def turn_bad(entry: Entry) -> None:
        if entry.event is Event.CONFIRMED and entry.change == "slot swap":
            world.control.break_("app-error", share=0.5, slot="production", follows="build")
            world.control.break_(fault)

    outcome = await deploy(V1, watch=turn_bad)
    assert outcome.end_state is EndState.TAKEN_BACK
    assert world.swaps == ["client", "client"]
    assert (world.serving, world.runs_in("staging")) == (V3, V1)


@pytest.mark.parametrize("fault", ["drop-before", "drop-after", "error", "throttle"])
async def test_a_fault_of_setting_the_image_is_tried_again(world: World, fault: str) -> None:
    world.control.break_(fault, method="PATCH", path="slots/staging/config/web", times=1)
    outcome = await redeploy(V1)
    assert outcome.end_state is EndState.ROLLED_BACK
    assert (world.serving, world.runs_in("staging")) == (V1, V3)
    assert world.swaps == ["client"]


@pytest.mark.parametrize(
    ("event", "step"),
    [
        pytest.param(Event.SENDING, "Put the image in place", id="before the image"),
        pytest.param(Event.CONFIRMED, "Put the image in place", id="after the image"),
        pytest.param(Event.STEP_STARTED, "Probe the new image", id="probing"),
        pytest.param(Event.SENDING, "Swap slots", id="before the swap"),
        pytest.param(Event.CONFIRMED, "Swap slots", id="after the swap"),
        pytest.param(Event.STEP_STARTED, "Record what served", id="before the record"),
    ],
)
async def test_a_cancelled_redeployment_is_gone_on_with_and_swaps_once(
    world: World, tmp_path: Path, event: Event, step: str
) -> None:
    def cancel(entry: Entry) -> None:
        if (entry.event, entry.step) == (event, step):
            task.cancel()

    task = asyncio.create_task(redeploy(V1, watch=cancel))
    with pytest.raises(asyncio.CancelledError):
        await task
    run = Store(tmp_path / "state").latest(1)[0].header.run
    outcome = await redeploy(V1, resume=run)
    assert outcome.end_state is EndState.ROLLED_BACK
    assert world.swaps == ["client"]
    assert (world.serving, world.runs_in("staging")) == (V1, V3)


async def test_a_deployment_cancelled_while_it_is_taken_back_goes_on_taking_it_back(
    world: World, tmp_path: Path
) -> None:
    def turn_bad_and_cancel(entry: Entry) -> None:
        if entry.event is Event.CONFIRMED and entry.change == "slot swap":
            world.control.break_("app-error", share=0.5, slot="production", follows="build")
        if (entry.event, entry.step) == (Event.STEP_STARTED, "Take it back"):
            task.cancel()

    task = asyncio.create_task(deploy(V1, watch=turn_bad_and_cancel))
    with pytest.raises(asyncio.CancelledError):
        await task
    run = Store(tmp_path / "state").latest(1)[0].header.run
    outcome = await deploy(V1, resume=run)
    assert outcome.end_state is EndState.TAKEN_BACK
    assert world.swaps == ["client", "client"]
    assert (world.serving, world.runs_in("staging")) == (V3, V1)


async def test_an_environment_without_slots_gets_the_image_itself(world: World) -> None:
    outcome = await redeploy(V2, environment="dev")
    assert outcome.end_state is EndState.ROLLED_BACK
    assert world.control.status().sites["dev"].slots["production"].release == V2
    assert world.swaps == []


async def test_an_environment_without_slots_gets_the_image_before_back_when_the_new_one_is_bad(world: World) -> None:
    world.control.break_("app-error", share=1, slot="production", environment="dev", follows="slot")
    outcome = await redeploy(V2, environment="dev")
    assert outcome.end_state is EndState.TAKEN_BACK
    assert world.control.status().sites["dev"].slots["production"].release == V3


async def test_a_guarded_deployment_needs_a_slot(world: World) -> None:
    outcome = await deploy(V2, environment="dev")
    assert outcome.end_state is EndState.REFUSED
    assert "no slot" in outcome.headline


@pytest.mark.parametrize(
    ("fault", "words"), [("auto-swap", "Auto-swap is on"), ("ramp-up", "Ramp-up rules send users")]
)
async def test_a_slot_from_which_users_could_get_an_unprobed_image_is_refused(
    world: World, fault: str, words: str
) -> None:
    world.control.break_(fault)
    outcome = await redeploy(V1)
    assert outcome.end_state is EndState.REFUSED
    assert words in outcome.headline
    assert world.runs_in("staging") == V2


async def test_a_dry_run_names_image_slot_and_what_is_watched(world: World, tmp_path: Path) -> None:
    outcome = await deploy(V1, dry_run=True, watch_minutes=7)
    assert outcome.end_state is EndState.PLANNED
    plan = Store(tmp_path / "state").get(outcome.run).plan(DeployPlan)
    assert plan is not None
    assert "7 min" in plan.steps()[-1].detail
    assert plan.linux_fx_version.startswith("DOCKER|ghcr.io/fundrbolt/fundrbolt-api@sha256:")
    assert world.runs_in("staging") == V2
