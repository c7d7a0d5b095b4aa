"""A downgrade that is killed at every step and gone on with: the revision is read, and alembic has its effect once."""

import asyncio
from pathlib import Path

import pytest
from downgrading import (
    AUDIT,
    BELOW,
    HEAD,
    OWN,
    add_revision,
    begin_to_forget,
    downgrade,
    has_tips,
    latest,
    platform_file,
    ran,
    revision,
    told,
)
from dying import run_killed_at
from restoring import Databases
from support import World

from flows.downgrade_database import downgrade_database
from rollback.journal import Event
from rollback.outcomes import EndState

POINTS = [
    pytest.param(Event.STEP_STARTED, "Plan", id="planning"),
    pytest.param(Event.SENDING, "Downgrade", id="right before alembic is sent"),
    pytest.param(Event.NOTE, "Downgrade", id="while alembic runs"),
    pytest.param(Event.CONFIRMED, "Downgrade", id="after it"),
    pytest.param(Event.STEP_STARTED, "Verify the schema", id="verifying"),
]


@pytest.fixture
def databases(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Databases:
    monkeypatch.setenv("ROLLBACK_CONFIG", str(platform_file(tmp_path)))
    return Databases(world)


def kill_at(event: Event, step: str, target: str = "previous") -> None:
    run_killed_at(event, step, downgrade_database, target=target, rehearse=False)


@pytest.mark.parametrize(("event", "step"), POINTS)
async def test_a_killed_run_is_gone_on_with_and_goes_down_once(
    databases: Databases, tmp_path: Path, event: Event, step: str
) -> None:
    await databases.write(*AUDIT)
    await asyncio.to_thread(kill_at, event, step)
    killed = latest(tmp_path)
    outcome = await downgrade("previous", resume=killed)
    assert (outcome.end_state, outcome.run) == (EndState.DOWNGRADED, killed), outcome
    assert await ran(databases) == [HEAD]
    assert await revision(databases) == BELOW
    assert not await has_tips(databases)


async def test_an_alembic_that_outlives_its_run_is_waited_for_though_it_commits_in_the_middle(
    databases: Databases, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It drops an index concurrently, which waits for a transaction of somebody else's."""
    down = 'with op.get_context().autocommit_block():\n    op.drop_index("by_donor", postgresql_concurrently=True)'
    await add_revision(
        databases,
        tmp_path,
        monkeypatch,
        down,
        "CREATE INDEX by_donor ON donations (donor)",
        lock_timeout_seconds=60,
    )
    await databases.write(*AUDIT)
    with begin_to_forget(await databases.url()) as holder:
        holder.execute("SELECT count(*) FROM donations")
        await asyncio.to_thread(kill_at, Event.NOTE, "Downgrade")
        assert await revision(databases) == OWN
        outcome = await downgrade(
            "previous",
            lambda entry: holder.commit() if "still at work" in entry.text else None,
            resume=latest(tmp_path),
        )
    assert outcome.end_state is EndState.DOWNGRADED, outcome
    assert await ran(databases) == [OWN]
    assert len(told(tmp_path, outcome, Event.SENDING)) == 1


async def test_one_revision_down_asked_for_twice_is_two_targets_and_a_plan_made_before_does_not_follow(
    databases: Databases, tmp_path: Path
) -> None:
    await databases.write(*AUDIT)
    await asyncio.to_thread(kill_at, Event.STEP_STARTED, "Check the plan")
    first = latest(tmp_path)
    second = await downgrade("-1")
    assert second.end_state is EndState.DOWNGRADED, second
    resumed = await downgrade("-1", resume=first)
    assert resumed.end_state is EndState.REFUSED, resumed
    assert f"is at revision {BELOW}" in resumed.headline
    assert f"The plan was made for revision {HEAD}" in resumed.next_steps[0]
    assert await ran(databases) == [HEAD]
