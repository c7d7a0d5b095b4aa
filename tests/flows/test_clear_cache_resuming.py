"""Killed at every step and gone on with, cancelled, and two at once: each key goes once, and the app restarts once."""

import asyncio
from contextlib import suppress
from pathlib import Path

import pytest
from clearing import ALL, DEFAULTS, Books, clear, quick_cache_file
from dying import run_killed_at
from support import World

from flows.clear_cache import clear_cache
from rollback.journal import Entry, Event
from rollback.outcomes import EndState
from rollback.runs import Outcome, Store

CLEAR, RESTART, KEYS = "Clear the cache", "Restart the app", "Verify the keys"
POINTS = [
    pytest.param(Event.STEP_STARTED, "Plan", id="planning"),
    pytest.param(Event.STEP_FINISHED, "Approval", id="approved"),
    pytest.param(Event.SENDING, CLEAR, id="right before the first batch"),
    pytest.param(Event.CONFIRMED, CLEAR, id="after the last"),
    pytest.param(Event.STEP_STARTED, KEYS, id="looking at what is left"),
    pytest.param(Event.SENDING, RESTART, id="right before the restart"),
    pytest.param(Event.CONFIRMED, RESTART, id="after it"),
    pytest.param(Event.STEP_STARTED, "Verify from outside", id="verifying"),
]


@pytest.fixture
def books(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Books:
    monkeypatch.setenv("ROLLBACK_CONFIG", str(quick_cache_file(tmp_path)))
    return Books(world, tmp_path / "state")


@pytest.mark.parametrize(("event", "step"), POINTS)
async def test_a_killed_run_is_gone_on_with_and_restarts_once(books: Books, event: Event, step: str) -> None:
    await asyncio.to_thread(run_killed_at, event, step, clear_cache)
    killed = Store(books.state).latest(1)[0].header.run
    outcome = await clear(resume=killed)
    assert outcome.end_state is EndState.CLEARED, outcome
    assert outcome.run == killed
    assert books.keys() == ALL - DEFAULTS
    assert books.restarts() == 1


async def test_a_run_killed_before_it_has_a_plan_still_knows_what_was_asked_for(books: Books) -> None:
    asked = {"patterns": ("session:*",), "restart": False}
    await asyncio.to_thread(run_killed_at, Event.STEP_STARTED, "Plan", clear_cache, **asked)
    outcome = await clear(resume=Store(books.state).latest(1)[0].header.run)
    assert outcome.end_state is EndState.CLEARED, outcome
    assert books.keys() == ALL - 300
    assert books.restarts() == 0


@pytest.mark.parametrize("step", [KEYS, "Verify from outside"])
async def test_keys_that_a_failover_brings_back_are_not_taken_for_new_ones_when_a_killed_run_is_gone_on_with(
    books: Books, step: str
) -> None:
    books.control.break_("redis-replica-behind")
    await asyncio.to_thread(run_killed_at, Event.STEP_STARTED, step, clear_cache)
    assert books.keys() == ALL - DEFAULTS
    books.control.break_("redis-failover", milliseconds=0)
    assert books.keys() == ALL
    outcome = await clear(resume=Store(books.state).latest(1)[0].header.run)
    await is_not_verified_until_it_is_run_again(books, outcome)


async def test_a_run_that_a_failover_left_unverified_stays_so_when_it_is_gone_on_with(books: Books) -> None:
    def fail_over(entry: Entry) -> None:
        if (entry.event, entry.step) == (Event.STEP_STARTED, KEYS):
            books.control.break_("redis-failover", milliseconds=0)

    books.control.break_("redis-replica-behind")
    outcome = await clear(fail_over)
    assert outcome.end_state is EndState.CLEARED_NOT_VERIFIED, outcome
    assert books.keys() == ALL
    outcome = await clear(resume=outcome.run)
    await is_not_verified_until_it_is_run_again(books, outcome)


async def is_not_verified_until_it_is_run_again(books: Books, outcome: Outcome) -> None:
    assert outcome.end_state is EndState.CLEARED_NOT_VERIFIED, outcome
    assert "may be there again" in outcome.headline
    assert outcome.evidence == ()
    assert outcome.next_steps == ("Run clear-cache again: it is safe to repeat.",)
    again = await clear()
    assert again.end_state is EndState.CLEARED, again
    assert books.keys() == ALL - DEFAULTS
    assert books.restarts() == 2


async def test_a_cancelled_run_says_how_many_keys_are_gone_and_can_be_gone_on_with(books: Books) -> None:
    ended = asyncio.Event()

    def cancel(entry: Entry) -> None:
        if (entry.event, entry.step) == (Event.CONFIRMED, CLEAR):
            running.cancel()
            ended.set()

    running = asyncio.create_task(clear(cancel))
    with suppress(asyncio.CancelledError):
        await running
    folder = Store(books.state).latest(1)[0]
    outcome = folder.outcome()
    assert outcome is not None
    assert outcome.end_state is EndState.CANCELLED
    assert f"{DEFAULTS} keys are deleted" in outcome.headline
    assert (await clear(resume=folder.header.run)).end_state is EndState.CLEARED
    assert books.restarts() == 1


async def test_of_two_at_once_one_is_refused(books: Books) -> None:
    outcomes = await asyncio.gather(*(asyncio.create_task(clear()) for _ in range(2)))
    assert sorted(each.end_state for each in outcomes) == [EndState.CLEARED, EndState.REFUSED]
    assert books.keys() == ALL - DEFAULTS
    assert books.restarts() == 1
