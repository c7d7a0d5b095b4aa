"""Keys taken out of a cache: what goes, what is kept, and what is said of it."""

import os
from pathlib import Path

import httpx
import pytest
import redis
from approving import WaitingRun
from azure.identity import EnvironmentCredential
from azure.mgmt.redis import RedisManagementClient
from azure_names import GROUP, STAGING_HOST, SUBSCRIPTION
from caches import CACHE
from clearing import ALL, DEFAULTS, PAGES, QUEUES, REPORTS, REVOKED, SESSIONS, Books, clear, quick_cache_file, results
from support import World

from flows.clear_cache import clear_cache
from rollback.journal import Entry, Event
from rollback.outcomes import EndState
from rollback.settings import load_settings


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
    assert {each.what: each.number for each in plan.counts} == {
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


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        ({"patterns": ("*",)}, r"'\*' is every key"),
        ({"patterns": ("?*",)}, r"'?*' is every key"),
        ({"patterns": ("[^a]*", "a*")}, r"'[^a]*' is every key"),
        ({"patterns": ("",)}, "An empty pattern matches no key"),
        ({"patterns": ("reports:*",)}, "'reports:*' is one of the patterns of other applications"),
        ({"patterns": ("r*",)}, "'r*' reaches 'reports:*'"),
        ({"patterns": ("jwt_blacklist:*",)}, "revoked tokens, which would become valid again"),
        ({"patterns": ("celery",)}, "'celery' is protected"),
        ({"patterns": ("queue:emails",)}, "'queue:emails' lies within 'queue:*', one of the protected queues"),
        ({"patterns": ("queue:emails",), "explicitly": ("queue:emails",)}, "'queue:emails' lies within 'queue:*'"),
        ({"patterns": ("jwt_blacklist:?*",), "explicitly": ("jwt_blacklist:?*",)}, "lies within 'jwt_blacklist:*'"),
        ({"patterns": ("*" + "a" * 1200,)}, "aaa' reaches 'queue:*'"),
        ({"patterns": ("cache:*",), "explicitly": ("celery",)}, "'celery' is protected"),
        ({"patterns": ("cache:*",), "explicitly": ("jwt_blacklist",)}, "neither asked for nor declared"),
        ({"patterns": ("cache:*",), "everything": True}, "not both"),
        ({"everything": True}, "All keys are also those of jwt_blacklist:*, reports:*"),
        ({"everything": True, "explicitly": ("jwt_blacklist:*", "reports:*")}, "also protected ones"),
    ],
    ids=lambda each: "-".join(each.get("patterns", ["everything"]))[:40] if isinstance(each, dict) else "",
)
async def test_what_reaches_too_far_is_refused_with_nothing_touched(
    books: Books, asked: dict[str, object], why: str
) -> None:
    outcome = await clear(**asked)
    assert outcome.end_state is EndState.REFUSED, outcome
    assert why.replace("\\", "") in outcome.headline
    assert outcome.next_steps
    assert books.keys() == ALL
    assert books.requests() == []


async def test_every_key_named_explicitly_goes_but_for_what_is_declared(books: Books) -> None:
    outcome = await clear(patterns=("*",), explicitly=("*",), restart=False)
    assert outcome.end_state is EndState.CLEARED, outcome
    assert f"but for {REVOKED + QUEUES + REPORTS} kept keys: " in outcome.headline
    assert f"{REVOKED} of jwt_blacklist:*" in outcome.headline
    assert books.keys() == REVOKED + QUEUES + REPORTS
    assert books.keys("jwt_blacklist:*") == REVOKED
    assert books.requests() == []
    assert {each.what: each.number for each in books.plan(outcome).spared} == {
        "celery": 1,
        "queue:*": 2,
        "jwt_blacklist:*": REVOKED,
        "reports:*": REPORTS,
    }


async def test_a_pattern_whose_keys_are_all_kept_is_not_called_gone(books: Books) -> None:
    outcome = await clear(patterns=("jwt_*",), explicitly=("jwt_*",), restart=False)
    assert outcome.end_state is EndState.ALREADY_THERE, outcome
    assert f"but for {REVOKED} kept keys: {REVOKED} of jwt_blacklist:*" in outcome.headline
    assert "No key was there to delete" in outcome.headline
    assert "Somebody else" not in outcome.headline
    assert books.keys() == ALL


async def test_a_part_of_a_list_of_revoked_tokens_goes_where_the_list_is_named(books: Books) -> None:
    refused = await clear(patterns=("jwt_blacklist:?*",), dry_run=True)
    assert refused.end_state is EndState.REFUSED, refused
    assert "--explicitly 'jwt_blacklist:*'" in " ".join(refused.next_steps)
    outcome = await clear(patterns=("jwt_blacklist:?*",), explicitly=("jwt_blacklist:*",), dry_run=True)
    plan = books.plan(outcome)
    assert (plan.risk, plan.needs_person, plan.counts[0].number) == ("high", True, REVOKED)


async def test_all_keys_of_a_cache_without_queues_are_flushed_once(
    books: Books, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = quick_cache_file(tmp_path)
    content = file.read_text(encoding="utf-8")
    for declared in ('protected = ["celery", "queue:*"]', 'revocations = ["jwt_blacklist:*"]'):
        content = content.replace(declared, f"{declared.partition(' ')[0]} = []")
    file.write_text(content, encoding="utf-8")
    monkeypatch.setenv("ROLLBACK_CONFIG", str(file))
    outcome = await clear(everything=True, explicitly=("reports:*",), restart=False)
    assert outcome.end_state is EndState.CLEARED, outcome
    assert books.keys() == 0
    assert books.control.cache_deletions("production")["FLUSHALL"].calls == 1


async def test_revoked_tokens_are_high_risk_and_need_a_person_whatever_the_rules_say(books: Books) -> None:
    asked = {"patterns": ("jwt_blacklist:*",), "explicitly": ("jwt_blacklist:*",)}
    outcome = await clear(dry_run=True, **asked)
    plan = books.plan(outcome)
    assert plan.risk == "high"
    assert plan.counts[0].number == REVOKED
    assert ("HIGH RISK", "revoked tokens become valid again: jwt_blacklist:*") in plan.facts()
    assert load_settings().approval.requirement(plan).words.startswith("signed by two people")


async def test_revoked_tokens_are_high_risk_where_the_platform_file_does_not_say_that_there_are_any(
    books: Books, tmp_path: Path
) -> None:
    file = tmp_path / "fundrbolt.toml"
    content = file.read_text(encoding="utf-8").replace('revocations = ["jwt_blacklist:*"]', "")
    file.write_text(content, encoding="utf-8")
    refused = await clear(patterns=("jwt_blacklist:*",), dry_run=True)
    assert refused.end_state is EndState.REFUSED, refused
    outcome = await clear(patterns=("jwt_blacklist:*",), explicitly=("jwt_blacklist:*",), dry_run=True)
    plan = books.plan(outcome)
    assert (plan.risk, plan.needs_person) == ("high", True)


async def test_a_revoked_token_is_valid_again_once_two_people_have_signed_and_not_before(
    books: Books, world: World
) -> None:
    asked = {"patterns": ("jwt_blacklist:*",), "explicitly": ("jwt_blacklist:*",), "restart": False}
    async with httpx.AsyncClient(base_url=f"https://{STAGING_HOST}/api/v1", timeout=30) as user:
        token = (await user.post("/sessions", json={})).json()["token"]
        user.headers["Authorization"] = f"Bearer {token}"
        assert (await user.get("/me")).status_code == 200
        assert (await user.post("/logout")).status_code == 204
        run = await WaitingRun(world, books.state, flow=clear_cache, **asked).waits()
        assert (await run.offer("lead")).accepted
        assert (await user.get("/me")).status_code == 401
        assert books.keys("jwt_blacklist:*") == REVOKED + 1
        await run.waits()
        assert (await run.offer("second")).accepted
        outcome = await run.task
        assert outcome.end_state is EndState.CLEARED, outcome
        assert (await user.get("/me")).status_code == 200
    assert len(outcome.approvals) == 2
    assert books.keys("jwt_blacklist:*") == 0
    assert any("Revoked tokens are valid again" in each for each in outcome.next_steps)


async def test_clearing_it_again_finds_nothing_and_touches_nothing(books: Books) -> None:
    await clear()
    again = await clear()
    assert again.end_state is EndState.ALREADY_THERE, again
    assert books.requests() == ["restart"]


async def test_a_plan_that_finds_no_key_lists_no_deletion_and_no_restart(books: Books) -> None:
    outcome = await clear(patterns=("nothing:*",), dry_run=True)
    plan = books.plan(outcome)
    assert [each.title for each in plan.steps()] == ["Verify the keys", "Verify from outside"]
    assert ("Restart", "not needed: no key goes") in plan.facts()


def put_sessions_into_another_database() -> None:
    with EnvironmentCredential() as credential, RedisManagementClient(credential, SUBSCRIPTION) as azure:
        cache = azure.redis.get(GROUP, CACHE)
        key = azure.redis.list_keys(GROUP, CACHE).primary_key
    place = {"host": cache.host_name, "port": cache.ssl_port, "ssl_ca_certs": os.environ["SSL_CERT_FILE"]}
    with redis.Redis(**place, password=key, ssl=True, db=1) as client:
        client.mset({f"session:{number}": "a donor" for number in range(50)})


async def test_keys_in_another_database_are_told_and_not_called_gone(books: Books) -> None:
    await clear(patterns=("session:*",), restart=False)
    put_sessions_into_another_database()
    outcome = await clear(patterns=("session:*",), restart=False)
    assert "gone from database 0 of production's cache" in outcome.headline
    assert "db1 (50 keys) was not looked at" in outcome.headline
    (warning,) = books.plan(outcome).warnings
    assert warning == "Only database 0 is looked at (redis_database); there are keys elsewhere: db1 (50 keys)."


async def test_the_database_that_the_platform_file_says_is_cleared_and_no_other(books: Books, tmp_path: Path) -> None:
    put_sessions_into_another_database()
    file = tmp_path / "fundrbolt.toml"
    content = file.read_text(encoding="utf-8").replace('kind = "redis"', 'redis_database = 1\nkind = "redis"')
    file.write_text(content, encoding="utf-8")
    outcome = await clear(patterns=("session:*",), restart=False)
    assert outcome.end_state is EndState.CLEARED, outcome
    assert results(outcome)["Keys deleted"] == "50"
    assert books.keys() == ALL
    again = await clear(patterns=("session:*",), restart=False)
    assert again.end_state is EndState.ALREADY_THERE, again


async def test_a_pattern_without_keys_in_a_sample_ends_without_a_word_of_anybody_else(
    books: Books, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ROLLBACK_CONFIG", str(quick_cache_file(tmp_path, sample_above_keys=1000)))
    books.control.fill_cache("production", 25_000, "other:")
    outcome = await clear(patterns=("nothing:*",), restart=False)
    assert "a sample of" in books.plan(outcome).counted
    assert outcome.end_state is EndState.ALREADY_THERE, outcome
    assert "No key was there to delete; this run changed nothing." in outcome.headline


async def test_an_app_that_is_not_well_afterwards_is_cleared_not_verified(books: Books) -> None:
    def stop(entry: Entry) -> None:
        if (entry.event, entry.step) == (Event.STEP_STARTED, "Verify the keys"):
            books.control.break_("stop-slot", slot="production")

    outcome = await clear(stop, restart=False)
    assert outcome.end_state is EndState.CLEARED_NOT_VERIFIED, outcome
    assert books.keys() == ALL - DEFAULTS


async def test_a_restart_whose_answer_is_lost_is_not_sent_twice(books: Books) -> None:
    books.control.break_("drop-after", path="/restart", times=1)
    outcome = await clear()
    assert outcome.end_state is EndState.CLEARED, outcome
    assert books.restarts() == 1
