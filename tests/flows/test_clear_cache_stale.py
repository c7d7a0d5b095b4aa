"""What was approved is what is deleted: where the cache is not as it was any more, it is refused."""

import asyncio
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from azure.identity import EnvironmentCredential
from azure.mgmt.redis import RedisManagementClient
from azure.mgmt.redisenterprise import RedisEnterpriseManagementClient
from azure_names import GROUP, SUBSCRIPTION
from clearing import ALL, QUEUES, SESSIONS, Books, clear, quick_cache_file
from dying import run_killed_at
from redis import Redis, RedisCluster
from redis.crc import key_slot
from support import World

from flows.clear_cache import clear_cache
from rollback.journal import Entry, Event
from rollback.outcomes import EndState
from rollback.runs import Store

CACHE, STAGING_CACHE = "fundrbolt-production-redis", "fundrbolt-staging-redis"
CLEAR = "Clear the cache"
EVERYTHING = {"everything": True, "explicitly": ("reports:*",), "restart": False}


@pytest.fixture
def books(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Books:
    """All keys may go, but for queues; there are none."""
    file = quick_cache_file(tmp_path)
    content = file.read_text(encoding="utf-8").replace('revocations = ["jwt_blacklist:*"]', "revocations = []")
    file.write_text(content, encoding="utf-8")
    monkeypatch.setenv("ROLLBACK_CONFIG", str(file))
    with connected() as client:
        client.delete("celery", "queue:emails", "queue:receipts")
    return Books(world, tmp_path / "state")


@contextmanager
def connected(database: int = 0) -> Iterator[Redis]:
    """Another client of the cache."""
    with EnvironmentCredential() as credential, RedisManagementClient(credential, SUBSCRIPTION) as azure:
        shown, keys = azure.redis.get(GROUP, CACHE), azure.redis.list_keys(GROUP, CACHE)
    place = {"host": shown.host_name, "port": shown.ssl_port, "password": keys.primary_key, "db": database}
    with Redis(**place, ssl=True, ssl_ca_certs=os.environ["SSL_CERT_FILE"]) as client:
        yield client


def push_a_job() -> None:
    with connected() as client:
        client.rpush("celery", "job")


def use_another_database() -> None:
    with connected(1) as client:
        client.set("session:1", "x")


def when(event: Event, act: Callable[[], object], text: str = "") -> Callable[[Entry], None]:
    """Act once, as the deletion comes to this."""
    acted: list[object] = []

    def watch(entry: Entry) -> None:
        if (entry.event, entry.step) == (event, CLEAR) and text in entry.text and not acted:
            acted.append(True)
            act()

    return watch


LATER = pytest.mark.parametrize(
    ("act", "why"),
    [
        pytest.param(push_a_job, "also protected ones, which are never deleted: 1 of celery", id="a job"),
        pytest.param(use_another_database, "empties the server's other databases: db1 (1 keys)", id="a database"),
    ],
)


@LATER
async def test_all_keys_are_not_flushed_where_others_came_after_the_plan(
    books: Books, act: Callable[[], None], why: str
) -> None:
    outcome = await clear(when(Event.STEP_STARTED, act), **EVERYTHING)
    assert outcome.end_state is EndState.REFUSED, outcome
    assert why in outcome.headline
    assert books.keys() >= ALL - QUEUES


@LATER
async def test_what_comes_while_a_lost_flush_is_waited_for_is_not_flushed(
    books: Books, act: Callable[[], None], why: str
) -> None:
    books.control.break_("redis-drops", commands="FLUSHALL")
    outcome = await clear(when(Event.NOTE, act, "Going on"), **EVERYTHING)
    assert outcome.end_state is EndState.OUTCOME_UNKNOWN, outcome
    assert why in outcome.headline
    assert books.keys() >= ALL - QUEUES


@LATER
async def test_what_came_before_a_run_is_gone_on_with_is_not_flushed(
    books: Books, act: Callable[[], None], why: str
) -> None:
    lost = when(Event.SENDING, lambda: books.control.break_("redis-drops", commands="FLUSHALL", drops=0))
    outcome = await clear(lost, **EVERYTHING)
    assert outcome.end_state is EndState.OUTCOME_UNKNOWN, outcome
    books.control.repair()
    act()
    again = await clear(resume=outcome.run)
    assert why in again.headline
    assert books.keys() >= ALL - QUEUES


@pytest.mark.parametrize(
    ("asked", "more", "why"),
    [
        pytest.param({}, 9000, f"{ALL - QUEUES + 9000:,} of keys; the plan told of {ALL - QUEUES}", id="all"),
        pytest.param({}, 350, f"has {SESSIONS + 350} of session:*; the plan told of {SESSIONS}", id="a pattern"),
        pytest.param(
            {"patterns": ("*",), "explicitly": ("*",)}, 350, f"has {SESSIONS + 350} of session:*", id="an effect"
        ),
    ],
)
async def test_many_more_keys_than_the_plan_told_of_are_not_deleted(
    books: Books, asked: dict[str, object], more: int, why: str
) -> None:
    def log_in() -> None:
        books.control.fill_cache("production", more, "session:")

    outcome = await clear(when(Event.STEP_STARTED, log_in), **asked)
    assert outcome.end_state is EndState.REFUSED, outcome
    assert why in outcome.headline
    assert books.keys() == ALL - QUEUES + more
    assert books.requests() == []


async def test_a_plan_tells_how_many_more_keys_it_allows_and_as_many_are_deleted(books: Books) -> None:
    outcome = await clear(
        when(Event.STEP_STARTED, lambda: books.control.fill_cache("production", 250, "session:")), restart=False
    )
    assert outcome.end_state is EndState.CLEARED, outcome
    assert ("Holds while", "of each there are at most 2 times as many, or 100 more") in books.plan(outcome).facts()
    assert books.keys("session:*") == 0


async def test_a_cache_that_is_at_another_address_by_now_is_left_alone(books: Books, tmp_path: Path) -> None:
    await asyncio.to_thread(run_killed_at, Event.STEP_FINISHED, "Approval", clear_cache)
    file = tmp_path / "fundrbolt.toml"
    content = file.read_text(encoding="utf-8")
    head, section, rest = content.partition("[environments.production.cache]")
    rest = rest.replace('"fundrbolt-production-rg"', '"fundrbolt-staging-rg"', 1).replace(CACHE, STAGING_CACHE, 1)
    file.write_text(head + section + rest.replace('kind = "redis"', 'kind = "managed"', 1), encoding="utf-8")
    outcome = await clear(resume=Store(books.state).latest(1)[0].header.run)
    assert outcome.end_state is EndState.REFUSED, outcome
    assert f"Cache '{CACHE}' is at " in outcome.headline
    assert books.keys() == ALL - QUEUES
    assert books.keys(environment="staging") == ALL


async def test_another_database_than_the_plans_is_left_alone(books: Books, tmp_path: Path) -> None:
    await asyncio.to_thread(run_killed_at, Event.STEP_FINISHED, "Approval", clear_cache)
    use_another_database()
    file = tmp_path / "fundrbolt.toml"
    content = file.read_text(encoding="utf-8")
    file.write_text(content.replace('kind = "redis"', 'redis_database = 1\nkind = "redis"'), encoding="utf-8")
    outcome = await clear(resume=Store(books.state).latest(1)[0].header.run)
    assert outcome.end_state is EndState.REFUSED, outcome
    assert "The plan is of database 0; redis_database is 1 now." in outcome.headline
    with connected(1) as client:
        assert client.dbsize() == 1


@LATER
async def test_a_plan_of_all_keys_is_refused_where_others_are_among_them(
    books: Books, act: Callable[[], None], why: str
) -> None:
    act()
    outcome = await clear(dry_run=True, **EVERYTHING)
    assert outcome.end_state is EndState.REFUSED, outcome
    assert why in outcome.headline


async def test_another_database_of_the_server_is_flushed_where_it_is_named(books: Books) -> None:
    use_another_database()
    named = await clear(everything=True, explicitly=("reports:*", "db1"), restart=False)
    assert named.end_state is EndState.CLEARED, named
    assert books.keys() == 0


@contextmanager
def connected_to_staging() -> Iterator[RedisCluster]:
    names = ("fundrbolt-staging-rg", STAGING_CACHE)
    with EnvironmentCredential() as credential, RedisEnterpriseManagementClient(credential, SUBSCRIPTION) as azure:
        host, keys = azure.redis_enterprise.get(*names).host_name, azure.databases.list_keys(*names, "default")
    place = {"host": host, "port": 10000, "password": keys.primary_key}
    with RedisCluster(**place, ssl=True, ssl_ca_certs=os.environ["SSL_CERT_FILE"]) as client:
        yield client


async def test_no_primary_is_flushed_where_the_last_one_has_a_job_by_now(books: Books) -> None:
    def push_to_the_last() -> None:
        with connected_to_staging() as client:
            client.rpush(next(key for key in map("queue:{}".format, range(100)) if key_slot(key.encode()) < 5000), "x")

    with connected_to_staging() as client:
        for key in ("celery", "queue:emails", "queue:receipts"):
            client.delete(key)
    outcome = await clear(when(Event.STEP_STARTED, push_to_the_last), environment="staging", **EVERYTHING)
    assert outcome.end_state is EndState.REFUSED, outcome
    assert "also protected ones, which are never deleted: 1 of queue:*" in outcome.headline
    assert books.keys(environment="staging") == ALL - QUEUES + 1
