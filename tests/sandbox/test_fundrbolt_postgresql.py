"""The sample API on PostgreSQL: a real process beside a real server, which it may lose."""

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import httpx
import psycopg
import pytest

from sandbox import loopback
from sandbox.fundrbolt.releases import HEADS
from sandbox.fundrbolt.seeding import DONATIONS, SESSIONS, seed
from sandbox.postgresql.cluster import PORT, SUPERUSER, UPSTREAM_PORT, Cluster

DONATION = {"amount_cents": 2500, "currency": "USD", "donor": "Ada Lovelace"}
SITE, INSTANCE = "fundrbolt-production-api", "0123456789abcdef"
CLIENT = f"{SITE}/0123456789ab"
WAIT_SECONDS = 20
ADMINISTRATOR = "an administrator of this test"


class Database:
    """One server with an empty database `fundrbolt`, and what an administrator sees of it."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.url = f"postgresql://fundrbolt_app:app@{cluster.address}:{UPSTREAM_PORT}/fundrbolt"

    def administer(self, *statements: str, database: str = "fundrbolt") -> list[tuple[object, ...]]:
        """What the last statement returns."""
        options = {"host": self.cluster.address, "port": UPSTREAM_PORT, "user": SUPERUSER, "password": ADMINISTRATOR}
        with psycopg.connect(dbname=database, autocommit=True, **options) as connection:
            for statement in statements:
                cursor = connection.execute(statement)
            return cursor.fetchall() if cursor.description is not None else []

    def sessions(self) -> list[tuple[object, ...]]:
        return self.administer("SELECT application_name FROM pg_stat_activity WHERE usename = 'fundrbolt_app'")

    def throw_out(self) -> None:
        self.administer("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'fundrbolt_app'")


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    place, (held,) = loopback.pick("tests", str(tmp_path), PORT)
    cluster = Cluster(tmp_path / "cluster", place, ADMINISTRATOR)
    made = Database(cluster)
    await cluster.make()
    try:
        await cluster.start()
        made.administer(
            "CREATE ROLE azure_ad_user",
            "CREATE ROLE fundrbolt_app LOGIN PASSWORD 'app'",
            "CREATE DATABASE fundrbolt OWNER fundrbolt_app",
            database="postgres",
        )
        yield made
    finally:
        await cluster.stop()
        held.close()


@pytest.fixture
def seeded(database: Database) -> Database:
    seed(database.url)
    return database


Start = Callable[..., Awaitable[httpx.AsyncClient]]


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    processes: list[asyncio.subprocess.Process] = []
    clients: list[httpx.AsyncClient] = []

    async def started(release: str, **app_settings: str) -> httpx.AsyncClient:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "sandbox.fundrbolt", "--release", release),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            env={
                "PATH": os.environ["PATH"],
                "WEBSITE_SITE_NAME": SITE,
                "WEBSITE_INSTANCE_ID": INSTANCE,
                "FAILURE_SHARE": "0",
                **app_settings,
            },
        )
        processes.append(process)
        assert process.stdout is not None
        port = (await process.stdout.readline()).split()[-1].decode()
        clients.append(httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=20))
        return clients[-1]

    yield started
    for client in clients:
        await client.aclose()
    for process in processes:
        process.terminate()
        assert await process.wait() == 0


async def until(condition: Callable[[], object | Awaitable[object]]) -> None:
    end = time.monotonic() + WAIT_SECONDS
    while True:
        held = condition()
        if await held if isinstance(held, Awaitable) else held:
            return
        assert time.monotonic() < end, "the condition never held"
        await asyncio.sleep(0.02)


def test_the_seeded_database_has_rows_of_the_past_and_alembics_newest_revision(seeded: Database):
    rows = seeded.administer("SELECT count(*), bool_and(created_at < now() AND amount_cents > 0) FROM donations")
    assert rows == [(DONATIONS, True)]
    assert seeded.administer("SELECT count(*), bool_and(created_at < now()) FROM sessions") == [(SESSIONS, True)]
    assert seeded.administer("SELECT version_num FROM alembic_version") == [(HEADS["v1.2.3"],)]
    tips = "SELECT count(tip_cents), sum(tip_cents) FROM donations"
    assert seeded.administer(tips) == [(DONATIONS // 3, sum(50 + n for n in range(3, DONATIONS + 1, 3)))]
    owners = "SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname = 'public'"
    assert seeded.administer(owners) == [("fundrbolt_app",)]


async def test_donations_and_sessions_are_kept_in_the_database(start: Start, seeded: Database):
    api = await start("v1.2.2", DATABASE_URL=seeded.url)
    given = (await api.post("/api/v1/donations", json=DONATION)).json()
    assert given["id"] == DONATIONS + 1
    assert (await api.get("/api/v1/donations", params={"limit": 1})).json() == {"donations": [given]}
    session = (await api.post("/api/v1/sessions")).json()
    assert (await api.get(f"/api/v1/sessions/{session['id']}")).json() == session
    assert (await api.get("/api/v1/sessions/none")).status_code == 404
    assert (await api.get("/api/v1/sessions/no%00ne")).status_code == 404
    assert seeded.administer("SELECT donor FROM donations ORDER BY id DESC LIMIT 1") == [("Ada Lovelace",)]


async def test_its_sessions_carry_site_and_instance_while_nobody_asks(start: Start, seeded: Database):
    await start("v1.2.2", DATABASE_URL=seeded.url)
    await until(lambda: seeded.sessions() == [(CLIENT,)] * 2)
    seeded.throw_out()
    await until(lambda: seeded.sessions() == [(CLIENT,)] * 2)


async def test_in_maintenance_it_neither_connects_nor_works_in_the_background(start: Start, seeded: Database):
    worker = {"DATABASE_URL": seeded.url, "BACKGROUND_SECONDS": "0.05"}
    api = await start("v1.2.2", **worker, MAINTENANCE_MODE="on")
    assert (await api.get("/health/detailed")).status_code == 503
    await start("v1.2.2", **worker, WEBSITE_INSTANCE_ID="another")
    await until(lambda: seeded.administer("SELECT 1 FROM sessions WHERE id LIKE 'worker %another'"))
    assert set(seeded.sessions()) == {(f"{SITE}/another",)}
    assert seeded.administer("SELECT count(*) FROM sessions WHERE id LIKE 'worker %'") == [(1,)]


async def test_a_build_without_its_database_is_alive_and_says_so(start: Start, seeded: Database):
    seeded.administer("ALTER ROLE fundrbolt_app NOLOGIN")
    api = await start("v1.2.2", DATABASE_URL=seeded.url)
    assert (await api.get("/health")).status_code == 200
    detailed = await api.get("/health/detailed")
    told = {"database": "unavailable", "database_host": seeded.cluster.address}
    assert (detailed.status_code, detailed.json()["checks"]) == (503, told)
    assert (await api.get("/api/v1/donations")).status_code == 503
    refused = await api.post("/api/v1/donations", json=DONATION)
    assert (refused.status_code, refused.json()) == (503, {"detail": "the database is unavailable"})
    seeded.administer("ALTER ROLE fundrbolt_app LOGIN")

    async def healthy() -> bool:
        return (await api.get("/health/detailed")).status_code == 200

    await until(healthy)


async def test_a_database_that_takes_no_writes_fails_writes_only(start: Start, seeded: Database):
    seeded.administer("ALTER ROLE fundrbolt_app SET default_transaction_read_only = on")
    api = await start("v1.2.2", DATABASE_URL=seeded.url)
    assert (await api.get("/api/v1/donations")).status_code == 200
    assert (await api.post("/api/v1/donations", json=DONATION)).status_code == 503


@pytest.mark.parametrize(("release", "damages"), [("v1.2.2", False), ("v1.2.3", True)])
async def test_the_bad_release_sets_amounts_of_others_to_zero_and_tells_nobody(
    start: Start, seeded: Database, release: str, damages: bool
):
    api = await start(release, DATABASE_URL=seeded.url, DAMAGE_SEED="7")
    for _ in range(30):
        given = await api.post("/api/v1/donations", json=DONATION)
        assert (given.status_code, given.json()["amount_cents"]) == (201, 2500)
    damaged = seeded.administer("SELECT updated_at < now() - interval '1 hour' FROM donations WHERE amount_cents = 0")
    assert bool(damaged) is damages
    assert len(damaged) < 30
    assert (True,) in damaged or not damages


async def test_the_damage_can_be_chosen_and_repeats_with_its_seed(start: Start, seeded: Database):
    api = await start("v1.2.2", DATABASE_URL=seeded.url, DAMAGE_SHARE="1", DAMAGE_SEED="7")
    zero = "SELECT id FROM donations WHERE amount_cents = 0"
    await api.post("/api/v1/donations", json=DONATION)
    first = seeded.administer(zero)
    assert len(first) == 1
    seeded.administer("DELETE FROM donations WHERE id > 400", "ALTER TABLE donations ALTER id RESTART WITH 401")
    seeded.administer("UPDATE donations SET amount_cents = 5 WHERE amount_cents = 0")
    again = await start("v1.2.2", DATABASE_URL=seeded.url, DAMAGE_SHARE="1", DAMAGE_SEED="7")
    await again.post("/api/v1/donations", json=DONATION)
    assert seeded.administer(zero) == first


async def test_a_background_worker_writes_until_it_is_refused_and_goes_on_afterwards(start: Start, seeded: Database):
    await start("v1.2.2", DATABASE_URL=seeded.url, BACKGROUND_SECONDS="0.05")
    beats = "SELECT updated_at FROM sessions WHERE id = 'worker fundrbolt-production-api/0123456789ab'"

    async def beats_after(last: list[tuple[object, ...]]) -> None:
        await until(lambda: seeded.administer(beats) not in (last, []))

    await beats_after([])
    await beats_after(seeded.administer(beats))
    seeded.administer("ALTER ROLE fundrbolt_app NOLOGIN")
    seeded.throw_out()
    assert seeded.sessions() == []
    last = seeded.administer(beats)
    seeded.administer("ALTER ROLE fundrbolt_app LOGIN")
    await beats_after(last)


async def test_the_worker_removes_sessions_that_expired_long_ago(start: Start, seeded: Database):
    old = "INSERT INTO sessions (id, expires_at) VALUES ('old', now() - interval '100 days')"
    seeded.administer(old)
    await start("v1.2.2", DATABASE_URL=seeded.url, BACKGROUND_SECONDS="0.05")
    await until(lambda: seeded.administer("SELECT FROM sessions WHERE id = 'old'") == [])
    assert seeded.administer("SELECT count(*) FROM sessions WHERE id NOT LIKE 'worker %'") == [(SESSIONS,)]
