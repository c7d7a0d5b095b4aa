"""What comes between while a cache is cleared: nothing else is deleted, the app restarts once, and the end says it."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from azure.identity import EnvironmentCredential
from azure.mgmt.redis import RedisManagementClient
from azure_names import GROUP, SUBSCRIPTION
from clearing import ALL, DEFAULTS, Books, clear, quick_cache_file, results
from support import World

from rollback.journal import Entry, Event
from rollback.outcomes import EndState

CLEAR = "Clear the cache"


@pytest.fixture
def books(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Books:
    monkeypatch.setenv("ROLLBACK_CONFIG", str(quick_cache_file(tmp_path)))
    return Books(world, tmp_path / "state")


def when_it_begins(act: Callable[[], object]) -> Callable[[Entry], None]:
    """Right before the first batch is sent."""
    return lambda entry: act() and None if (entry.event, entry.step) == (Event.SENDING, CLEAR) else None


@pytest.mark.parametrize(
    ("fault", "options"),
    [
        ("redis-drops", {"commands": "SCAN", "after": 1}),
        ("redis-drops", {"commands": "UNLINK"}),
        ("redis-drops", {"commands": "UNLINK", "done": "yes"}),
        ("redis-failover", {"answer": "refused", "milliseconds": 700}),
        ("redis-failover", {"answer": "loading", "milliseconds": 700}),
        ("redis-failover", {"answer": "readonly", "milliseconds": 700}),
        ("redis-key-regenerated", {}),
        ("redis-key-regenerated", {"key": "Secondary"}),
    ],
    ids=lambda each: each if isinstance(each, str) else "-".join(map(str, each.values())) or "primary",
)
async def test_what_passes_is_waited_for_and_nothing_else_is_deleted(
    books: Books, fault: str, options: dict[str, Any]
) -> None:
    outcome = await clear(when_it_begins(lambda: books.control.break_(fault, **options)))
    assert outcome.end_state is EndState.CLEARED, outcome
    assert books.keys() == ALL - DEFAULTS
    assert books.requests().count("restart") == 1


async def test_a_cache_that_does_not_come_back_ends_it_and_the_run_is_gone_on_with(books: Books) -> None:
    broken = when_it_begins(lambda: books.control.break_("redis-failover", milliseconds=3_600_000))
    outcome = await clear(broken)
    assert outcome.end_state in {EndState.PART_WAY, EndState.OUTCOME_UNKNOWN}, outcome
    assert "cannot be reached" in outcome.headline
    assert books.restarts() == 0
    books.control.repair()
    again = await clear(resume=outcome.run)
    assert again.end_state is EndState.CLEARED, again
    assert books.keys() == ALL - DEFAULTS
    assert books.restarts() == 1


@pytest.mark.parametrize("step", ["Plan", CLEAR])
@pytest.mark.parametrize(
    ("fault", "options"),
    [("redis-failover", {"milliseconds": 700}), ("redis-drops", {"commands": "SCAN"})],
    ids=["failover", "drop"],
)
async def test_a_cache_that_is_away_for_a_moment_while_it_is_looked_at_is_waited_for(
    books: Books, step: str, fault: str, options: dict[str, Any]
) -> None:
    def fail(entry: Entry) -> None:
        if (entry.event, entry.step) == (Event.STEP_STARTED, step):
            books.control.break_(fault, **options)

    outcome = await clear(fail, restart=False)
    assert outcome.end_state is EndState.CLEARED, outcome
    assert books.keys() == ALL - DEFAULTS


async def test_a_cache_that_cannot_be_reached_while_planning_is_told_with_nothing_changed(books: Books) -> None:
    books.control.break_("redis-failover", milliseconds=3_600_000)
    outcome = await clear()
    assert outcome.end_state is EndState.NOTHING_CHANGED, outcome
    assert "cannot be reached" in outcome.headline


async def test_the_app_restarts_though_its_keys_could_not_be_verified_and_another_run_finds_nothing_to_do(
    books: Books,
) -> None:
    def fail_over(entry: Entry) -> None:
        if (entry.event, entry.step) == (Event.STEP_STARTED, "Verify the keys"):
            books.control.break_("redis-failover", milliseconds=3_600_000)

    outcome = await clear(fail_over)
    assert outcome.end_state is EndState.CLEARED_NOT_VERIFIED, outcome
    assert "What is left is not known" in outcome.headline
    assert outcome.next_steps == ("Run clear-cache again: it is safe to repeat.",)
    assert books.restarts() == 1
    books.control.repair()
    again = await clear()
    assert again.end_state is EndState.ALREADY_THERE, again
    assert books.restarts() == 1


async def test_sessions_of_users_who_come_back_are_counted_and_kept(books: Books) -> None:
    outcome = await clear(
        lambda entry: (
            books.control.break_("redis-writes-meanwhile", milliseconds=5) and None
            if (entry.event, entry.step) == (Event.CONFIRMED, CLEAR)
            else None
        )
    )
    assert outcome.end_state is EndState.CLEARED, outcome
    assert "session:*" in results(outcome)["New keys since"]
    assert any("are new since then, as users come back" in each for each in outcome.evidence)


def access_keys() -> set[bytes]:
    with (
        EnvironmentCredential() as credential,
        RedisManagementClient(credential, SUBSCRIPTION) as client,
    ):
        keys = client.redis.list_keys(GROUP, "fundrbolt-production-redis")
    return {keys.primary_key.encode(), keys.secondary_key.encode()}


async def test_no_access_key_is_written_down(books: Books, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    before = await asyncio.to_thread(access_keys)
    await clear(when_it_begins(lambda: books.control.break_("redis-key-regenerated")))
    keys = before | await asyncio.to_thread(access_keys)
    assert len(keys) == 3
    written = b"".join(each.read_bytes() for each in (tmp_path / "state").rglob("*") if each.is_file())
    told = written + caplog.text.encode()
    assert b"fundrbolt-production-redis" in told
    assert not [each for each in keys if each in told]
