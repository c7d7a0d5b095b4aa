"""`rollback plan|run clear-cache`: its own options, and what is refused."""

import json
from pathlib import Path

import pytest
from clearing import ALL, quick_cache_file
from rollback_command import Command, Ended, plain_environment
from support import World


@pytest.fixture
def run(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ROLLBACK_CONFIG", str(quick_cache_file(tmp_path)))

    def runs(*arguments: str) -> Ended:
        options = ("clear-cache", "-e", "production", "--reason", "stale pages")
        return Command(tmp_path, plain_environment(), arguments[0], *options, *arguments[1:]).end()

    return runs


def test_a_plan_of_patterns_counts_and_touches_nothing(run, world: World) -> None:
    ended = run("plan", "--pattern", "session:*", "--pattern", "cache:donations:*", "--no-restart", "--json")
    assert ended.status == 0, ended
    plan = json.loads(ended.out)["plan"]
    assert [(each["what"], each["number"]) for each in plan["counts"]] == [
        ("session:*", 300),
        ("cache:donations:*", 60),
    ]
    assert plan["restart"] is False
    assert world.control.cache_keys("production") == ALL


def test_all_keys_are_refused_while_queues_are_among_them(run, world: World) -> None:
    ended = run("run", "--everything", "--explicitly", "jwt_blacklist:*", "--explicitly", "reports:*", "--quiet")
    assert ended.status == 4, ended
    assert "protected ones, which are never deleted" in ended.out
    assert world.control.cache_keys("production") == ALL


def test_patterns_go_with_no_other_procedure(world: World, tmp_path: Path) -> None:
    asked = ("run", "roll-back-backend", "-e", "production", "--reason", "x", "--pattern", "a*")
    ended = Command(tmp_path, plain_environment(), *asked).end()
    assert ended.status == 2
    assert "--pattern goes with clear-cache only" in ended.err
