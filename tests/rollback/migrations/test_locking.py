import asyncio
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import contextmanager
from typing import Any

import pytest
from postgresql_server import APP, PostgreSql

from rollback.migrations.locking import MigrationUnderWay, blockers, one_at_a_time, watch_locks
from rollback.postgres.session import Session

ALEMBIC = "fundrbolt-rollback/migration"
DONATIONS = "CREATE TABLE donations (id int PRIMARY KEY, note text)"


@pytest.fixture
def database(server: PostgreSql) -> str:
    return server.make_database(DONATIONS, "INSERT INTO donations VALUES (1, 'hunter2')")


@pytest.fixture
async def session(server: PostgreSql, database: str) -> AsyncGenerator[Session]:
    session = await server.session(database)
    async with session.connection:
        yield session


async def until(condition: Callable[[], Awaitable[Any]]) -> Any:
    """What the condition tells, once it is something."""
    async with asyncio.timeout(60):
        while True:
            if found := await condition():
                return found
            await asyncio.sleep(0.02)


@contextmanager
def waiting(server: PostgreSql, database: str, statement: str) -> Generator[None]:
    """Alembic's session, which waits for a lock; whoever keeps it from it must let go before the end."""

    def run() -> None:
        with server.connect(database, APP, application_name=ALEMBIC) as alembic:
            alembic.execute(statement.encode())

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        thread.join()


async def test_one_run_migrates_at_a_time(server: PostgreSql, database: str, session: Session) -> None:
    second = await server.session(database)
    elsewhere = await server.session(server.make_database())
    async with second.connection, elsewhere.connection:
        async with one_at_a_time(session) as lock:
            assert await lock.held()
            async with one_at_a_time(elsewhere) as other:
                assert await other.held()
            with pytest.raises(MigrationUnderWay, match=rf"pid {session.connection.info.backend_pid}\), idle"):
                async with one_at_a_time(second):
                    pytest.fail("two at a time")
        async with one_at_a_time(second) as lock:
            assert await lock.held()


async def test_a_lock_is_lost_with_its_session(server: PostgreSql, database: str, session: Session) -> None:
    doomed = await server.session(database)
    async with one_at_a_time(doomed) as lock:
        server.sql("postgres", f"SELECT pg_terminate_backend({doomed.connection.info.backend_pid}, 60000)")
        assert not await lock.held()
        async with one_at_a_time(session) as ours:
            assert await ours.held()
    await doomed.connection.close()


async def test_an_index_can_be_made_concurrently_under_the_lock(
    server: PostgreSql, database: str, session: Session
) -> None:
    async with one_at_a_time(session):
        make = "CREATE INDEX CONCURRENTLY noted ON donations (note)"
        await asyncio.to_thread(server.sql, database, "SET statement_timeout = '60s'", make)


async def test_who_blocks_alembic_is_named_without_values(server: PostgreSql, database: str, session: Session) -> None:
    assert await blockers(session, ALEMBIC) == ()
    with server.connect(database, APP, application_name="psql") as forgotten:
        forgotten.execute("BEGIN")
        forgotten.execute("UPDATE donations SET note = 'hunter3' WHERE note = 'hunter2'")
        with waiting(server, database, "ALTER TABLE donations ADD tip_cents int"):
            try:
                (blocker,) = await until(lambda: blockers(session, ALEMBIC))
            finally:
                forgotten.execute("ROLLBACK")
        assert blocker.pid == forgotten.info.backend_pid
    assert (blocker.user, blocker.application, blocker.state) == (APP, "psql", "idle in transaction")
    assert blocker.since is not None
    assert blocker.since.tzinfo is not None
    assert blocker.query == "UPDATE donations SET note"
    assert "idle in transaction since" in blocker.describe()
    assert "hunter" not in blocker.describe()


async def test_a_prepared_transaction_blocks_as_well(server: PostgreSql, database: str, session: Session) -> None:
    server.sql(database, "BEGIN", "UPDATE donations SET note = 'x'", "PREPARE TRANSACTION 'forgotten'", user=APP)
    with waiting(server, database, "ALTER TABLE donations ADD tip_cents int"):
        try:
            (blocker,) = await until(lambda: blockers(session, ALEMBIC))
        finally:
            server.sql(database, "ROLLBACK PREPARED 'forgotten'", user=APP)
    assert (blocker.pid, blocker.describe()) == (0, "a prepared transaction")


async def test_the_locks_of_alembics_session_are_measured(server: PostgreSql, database: str, session: Session) -> None:
    with server.connect(database, APP, application_name=ALEMBIC) as alembic:
        async with watch_locks(session, ALEMBIC) as watch:
            began = asyncio.get_running_loop().time()
            alembic.execute("BEGIN")
            alembic.execute("UPDATE donations SET note = 'rows are nobody else''s matter'")
            alembic.execute("ALTER TABLE donations DROP COLUMN note")

            async def seen() -> bool:
                return any(each.seconds > 0.2 for each in watch.longest())

            await until(seen)
            alembic.execute("COMMIT")
        took = asyncio.get_running_loop().time() - began
    (held,) = watch.longest()
    assert (held.relation, held.mode) == ("public.donations", "AccessExclusiveLock")
    assert 0.2 < held.seconds <= took
    assert watch.problem == ""


async def test_locks_of_others_are_not_alembics(server: PostgreSql, database: str, session: Session) -> None:
    with server.connect(database, APP, application_name="psql") as other:
        other.execute("BEGIN")
        other.execute("LOCK TABLE donations IN ACCESS EXCLUSIVE MODE")
        async with watch_locks(session, ALEMBIC) as watch:
            pass
        other.execute("ROLLBACK")
    assert watch.longest() == ()


async def test_a_watch_that_was_lost_says_so(server: PostgreSql, database: str) -> None:
    doomed = await server.session(database)
    async with watch_locks(doomed, ALEMBIC) as watch:
        server.sql("postgres", f"SELECT pg_terminate_backend({doomed.connection.info.backend_pid}, 60000)")
    await doomed.connection.close()
    assert "was lost" in watch.problem
