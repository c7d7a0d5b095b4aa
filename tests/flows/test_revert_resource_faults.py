"""Under every fault of its requests: converged, with the change made once."""

import asyncio

import pytest
from azure_names import GROUP, SUBSCRIPTION
from dying import run_killed_at
from reverting import CONFIG, Things, archive, revert

from flows.revert_resource import revert_resource
from rollback.journal import Entry, Event
from rollback.outcomes import EndState
from rollback.resources.revert_plans import REVERT, VERIFY

PATCH = {"method": "PATCH", "path": r"config/web$"}
WORKSPACE = (
    f"/subscriptions/{SUBSCRIPTION}/resourceGroups/{GROUP}/providers/Microsoft.OperationalInsights/workspaces/for-etags"
)
WORKSPACE_VERSION = "2023-09-01"


@pytest.mark.parametrize(
    ("fault", "options", "lost"),
    [
        ("drop-before", {}, 1),
        ("drop-after", {}, 0),
        ("error", {"status": 409}, 0),
        ("error", {"status": 500, "times": 2}, 0),
        ("throttle", {"retry_after": 0.5}, 0),
        ("drop-after", {"method": "GET"}, 0),
    ],
)
async def test_it_converges_and_is_patched_once(
    things: Things, fault: str, options: dict[str, object], lost: int
) -> None:
    await things.archived_and_changed(alwaysOn=False)
    things.control.break_(fault, **{**PATCH, **options})
    outcome = await revert()
    assert outcome.end_state is EndState.ROLLED_BACK, outcome
    assert things.config()["alwaysOn"] is True
    assert things.executed("/config/web") == 1 + lost, "the one that never arrived is in the log as well"


@pytest.mark.parametrize("status", [400, 405, 501])
async def test_what_azure_refuses_for_good_changes_nothing(things: Things, status: int) -> None:
    await things.archived_and_changed(alwaysOn=False)
    things.control.break_("error", status=status, **PATCH)
    outcome = await revert()
    assert outcome.end_state is EndState.NOTHING_CHANGED, outcome
    assert "Azure refuses 'fundrbolt-production-api/config/web'" in outcome.headline
    assert things.config()["alwaysOn"] is False


def retain(things: Things, days: int) -> None:
    things.ask("PATCH", WORKSPACE, {"properties": {"retentionInDays": days}}, WORKSPACE_VERSION)


def retention(things: Things) -> int:
    return things.ask("GET", WORKSPACE, version=WORKSPACE_VERSION)["properties"]["retentionInDays"]


async def workspace(things: Things) -> None:
    things.ask("PUT", WORKSPACE, {"location": "eastus", "properties": {"retentionInDays": 60}}, WORKSPACE_VERSION)
    await archive()
    retain(things, 30)
    things.begin()


async def test_a_change_between_reading_and_patching_is_not_overwritten(things: Things) -> None:
    await workspace(things)

    def somebody(entry: Entry) -> None:
        if entry.event is Event.SENDING:
            retain(things, 90)

    outcome = await revert(somebody, resource=WORKSPACE)
    assert outcome.end_state is EndState.REFUSED, outcome
    assert "was changed since the plan was made: properties.retentionInDays: 30 → 90" in outcome.headline
    assert retention(things) == 90
    assert things.executed() == 1, "somebody's"


async def test_a_new_etag_without_another_configuration_is_no_drift(things: Things) -> None:
    await workspace(things)
    touched: list[Entry] = []

    def somebody(entry: Entry) -> None:
        if entry.event is Event.SENDING and not touched:
            touched.append(entry)
            retain(things, 30)

    outcome = await revert(somebody, resource=WORKSPACE)
    assert outcome.end_state is EndState.ROLLED_BACK, outcome
    assert retention(things) == 60
    assert things.executed() == 2, "somebody's, and one of ours"


POINTS = [
    pytest.param(Event.STEP_STARTED, "Plan", 1, id="planning"),
    pytest.param(Event.STEP_FINISHED, "Approval", 1, id="approved"),
    pytest.param(Event.SENDING, REVERT, 1, id="right before it is sent"),
    pytest.param(Event.CONFIRMED, REVERT, 1, id="patched"),
    pytest.param(Event.STEP_STARTED, VERIFY, 1, id="verifying"),
]


@pytest.mark.parametrize(("event", "step", "patches"), POINTS)
async def test_a_killed_run_is_gone_on_with_and_patches_once(
    things: Things, event: Event, step: str, patches: int
) -> None:
    await things.archived_and_changed(alwaysOn=False)
    await asyncio.to_thread(run_killed_at, event, step, revert_resource, resource=CONFIG)
    killed = things.store.latest(1)[0]
    outcome = await revert(resume=killed.header.run)
    assert outcome.end_state is EndState.ROLLED_BACK, outcome
    assert outcome.run == killed.header.run
    assert things.config()["alwaysOn"] is True
    assert things.executed() == patches


async def test_of_two_at_once_one_patches_and_the_other_is_refused(things: Things) -> None:
    await things.archived_and_changed(alwaysOn=False)
    outcomes = await asyncio.gather(revert(), revert())
    assert sorted(each.end_state for each in outcomes) == [EndState.REFUSED, EndState.ROLLED_BACK], outcomes
    assert things.executed() == 1


async def test_users_who_see_errors_afterwards_are_told(things: Things) -> None:
    await things.archived_and_changed(alwaysOn=False)
    things.control.break_("stop-slot", slot="production")
    outcome = await revert()
    assert outcome.end_state is EndState.NOT_VERIFIED, outcome
    assert things.config()["alwaysOn"] is True
