"""Keys taken out of a cache: what goes, what is kept, and what is said of it."""

from pathlib import Path

import pytest
from clearing import ALL, DEFAULTS, PAGES, SESSIONS, Books, clear, quick_cache_file, results
from support import World

from rollback.outcomes import EndState


@pytest.fixture
def books(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Books:
    monkeypatch.setenv("ROLLBACK_CONFIG", str(quick_cache_file(tmp_path)))
    return Books(world, tmp_path / "state")


async def test_the_default_patterns_go_and_the_app_restarts_once(books: Books) -> None:
    assert books.keys() == ALL
    outcome = await clear()
    assert outcome.end_state is EndState.CLEARED, outcome
    assert books.keys() == ALL - DEFAULTS
    assert books.requests() == ["restart"]
    assert results(outcome)["Keys deleted"] == f"{DEFAULTS:,}"
    assert "no key is left that was there" in " ".join(outcome.evidence)


async def test_a_dry_run_counts_and_touches_nothing(books: Books) -> None:
    outcome = await clear(dry_run=True)
    assert outcome.end_state is EndState.PLANNED, outcome
    plan = books.plan(outcome)
    assert {each.what: each.keys for each in plan.counts} == {
        "cache:*": PAGES,
        "session:*": SESSIONS,
        "ratelimit:*": 80,
    }
    assert plan.counted == f"a full scan of {ALL} keys"
    assert ("Who notices", "users are logged out (session:*: 300)") in plan.facts()
    assert books.keys() == ALL
    assert books.requests() == []


async def test_a_cluster_of_three_is_cleared_on_every_primary(books: Books) -> None:
    before = books.keys(environment="staging")
    outcome = await clear(environment="staging")
    assert outcome.end_state is EndState.CLEARED, outcome
    assert len(books.plan(outcome).primaries) == 3
    assert books.keys(environment="staging") == before - DEFAULTS
    assert books.keys("celery", "staging") == 1
