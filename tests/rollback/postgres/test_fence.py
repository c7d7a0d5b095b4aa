import asyncio
import threading
from collections.abc import AsyncGenerator, Generator
from contextlib import contextmanager

import psycopg
import pytest
from postgresql_server import ADMINISTRATOR, APP, SUPERUSER, PostgreSql

from rollback.postgres import fence, sessions
from rollback.postgres.errors import PreparedTransactionsOpen, StatementRefused, WritesDoNotStop
from rollback.postgres.fence import Counters
from rollback.postgres.session import Session

DONATIONS = "CREATE TABLE donations (id int PRIMARY KEY, amount_cents int)"


@pytest.fixture
def database(server: PostgreSql) -> str:
    return server.make_database(DONATIONS, "INSERT INTO donations VALUES (1, 100)")


@pytest.fixture
async def session(server: PostgreSql, database: str) -> AsyncGenerator[Session]:
    session = await server.session(database)
    yield session
    await session.connection.close()


@contextmanager
def hammering(server: PostgreSql, database: str) -> Generator[None]:
    """Somebody who writes, and comes back whenever thrown out."""
    stop = threading.Event()

    def hammer() -> None:
        while not stop.is_set():
            try:
                with server.connect(database, APP, application_name="hammer") as connection:
                    while not stop.is_set():
                        connection.execute("UPDATE donations SET amount_cents = amount_cents + 1")
            except psycopg.Error:
                continue

    thread = threading.Thread(target=hammer)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


async def test_sessions_tell_who_they_are(server: PostgreSql, database: str, session: Session) -> None:
    with server.connect(database, APP, application_name="fundrbolt-production/4711") as app:
        app.execute("BEGIN")
        app.execute("INSERT INTO donations VALUES (2, 200)")
        found = {each.pid: each for each in await sessions.list_sessions(session)}
        theirs = found[app.info.backend_pid]

    assert (theirs.user, theirs.database, theirs.application) == (APP, database, "fundrbolt-production/4711")
    assert theirs.foreign
    assert theirs.has_written
    assert theirs.state == "idle in transaction"
    assert theirs.since is not None
    assert theirs.since.tzinfo is not None
    assert [each.kind for each in found.values() if each.ours] == ["client backend"]
    assert found[session.connection.info.backend_pid].ours
    assert {each.kind for each in found.values() if each.system} >= {"checkpointer", "walwriter"}
    assert sessions.sessions_of(found.values(), user=APP, application="fundrbolt-production/") == (theirs,)
    assert sessions.sessions_of(found.values(), user=APP, application="fundrbolt-staging/") == ()
    assert sessions.sessions_of(found.values(), user="nobody", addresses=["203.0.113.10"]) == ()


async def test_ending_sessions_leaves_ours_and_the_servers(server: PostgreSql, database: str, session: Session) -> None:
    other = await server.session(database)
    with server.connect(database, APP) as app, server.connect(database, SUPERUSER) as superuser:
        ended = await sessions.end_sessions(session, await sessions.list_sessions(session))
        assert [each.pid for each in ended.told] == [app.info.backend_pid]
        with pytest.raises(psycopg.OperationalError):
            app.execute("SELECT 1")
        superuser.execute("SELECT 1")
    assert await other.fetch_value("SELECT 1") == 1
    await other.connection.close()


async def test_a_session_that_we_may_not_end_hinders_no_other(
    server: PostgreSql, database: str, session: Session
) -> None:
    with server.connect(database, SUPERUSER) as superuser, server.connect(database, APP) as app:
        found = {each.pid: each for each in await sessions.list_sessions(session)}
        # As one that is just signing in: it belongs to no role yet, and the server treats it like a superuser's.
        nobody = found[superuser.info.backend_pid].model_copy(update={"system": False})
        somebody = found[app.info.backend_pid]
        ended = await sessions.end_sessions(session, [nobody, somebody])
    assert ended.told == (somebody,)
    assert "permission denied" in ended.refusals[0]


async def test_a_session_that_took_over_a_number_is_not_ended(
    server: PostgreSql, database: str, session: Session
) -> None:
    with server.connect(database, APP) as app:
        found = next(each for each in await sessions.list_sessions(session) if each.pid == app.info.backend_pid)
        assert found.since is not None
        older = found.model_copy(update={"since": found.since.replace(year=2020)})
        assert (await sessions.end_sessions(session, [older])).told == ()
        app.execute("SELECT 1")


async def test_a_server_is_still_once_its_sessions_are_ended(
    server: PostgreSql, database: str, session: Session
) -> None:
    with server.connect(database, APP) as app:
        app.execute("UPDATE donations SET amount_cents = 0")
        proof = await fence.prove_still(session, settle_seconds=1.5, timeout_seconds=20)
        assert [each.pid for each in proof.ended] == [app.info.backend_pid]
    assert (proof.until - proof.since).total_seconds() >= 1.5
    assert proof.readings > 3
    assert proof.explained == ""


async def test_a_writer_that_comes_back_is_named(server: PostgreSql, database: str, session: Session) -> None:
    with hammering(server, database), pytest.raises(WritesDoNotStop, match=r"hammer|rows of tables"):
        await fence.prove_still(session, settle_seconds=1.5, timeout_seconds=4)


async def test_a_writer_who_is_gone_at_every_reading_is_found_by_what_it_changed(
    server: PostgreSql, database: str, session: Session
) -> None:
    before = await fence.read_counters(session)
    with server.connect(database, APP) as app:
        app.execute("UPDATE donations SET amount_cents = 5")
    await _until_changed(session, before)
    assert "rows of tables" in fence.unexplained(before, await fence.read_counters(session))


async def test_a_change_of_a_table_is_no_autovacuum(server: PostgreSql, database: str, session: Session) -> None:
    before = await fence.read_counters(session)
    with server.connect(database, APP) as app:
        app.execute("ALTER TABLE donations ADD COLUMN note text")
    await _until_changed(session, before)
    after = await fence.read_counters(session)
    # What an earlier test wrote may be counted only now.
    after = after.model_copy(update={"table_changes": before.table_changes})
    assert "catalogs" in fence.unexplained(before, after)


async def test_transactions_in_other_databases_do_not_disturb(
    server: PostgreSql, database: str, session: Session
) -> None:
    other = server.make_database(DONATIONS)
    before = await fence.read_counters(session)
    server.sql(other, "INSERT INTO donations VALUES (7, 7)", user=APP)
    after = await fence.read_counters(session)
    assert after.next_transaction > before.next_transaction
    assert fence.unexplained(before, after) == ""
    assert "other databases" in fence.explanation(before, after)
    assert database != other


def test_autovacuum_is_told_from_writers() -> None:
    before = Counters(next_transaction=10, table_changes=5, database_changes=50, autovacuum_runs=1)
    analyzed = Counters(next_transaction=12, table_changes=5, database_changes=58, autovacuum_runs=2)
    assert fence.unexplained(before, analyzed) == ""
    assert "autovacuum" in fence.explanation(before, analyzed)
    assert fence.unexplained(before, analyzed.model_copy(update={"table_changes": 6}))


async def test_a_prepared_transaction_blocks_the_fence_and_is_named(
    server: PostgreSql, database: str, session: Session
) -> None:
    server.sql(database, "BEGIN", "UPDATE donations SET amount_cents = 1", "PREPARE TRANSACTION 'two-phase'", user=APP)
    try:
        with pytest.raises(PreparedTransactionsOpen, match=f"'two-phase' of {APP} in database '{database}'"):
            await fence.prove_still(session, timeout_seconds=20)
    finally:
        server.sql(database, "ROLLBACK PREPARED 'two-phase'", user=APP)


async def test_a_role_that_we_made_is_barred_and_let_in_again(server: PostgreSql, session: Session) -> None:
    await session.execute("CREATE ROLE guest LOGIN")
    try:
        bar = await fence.bar_login(session, "guest")
        assert bar.barred
        repeated = await fence.bar_login(session, "guest")
        assert not repeated.barred
        await fence.allow_login(session, repeated)
        assert server.sql("postgres", "SELECT rolcanlogin FROM pg_roles WHERE rolname = 'guest'") == [(False,)]
        await fence.allow_login(session, bar)
        assert server.sql("postgres", "SELECT rolcanlogin FROM pg_roles WHERE rolname = 'guest'") == [(True,)]
    finally:
        await session.execute("DROP ROLE guest")


async def test_a_role_that_is_not_ours_to_bar_is_told(session: Session) -> None:
    bar = await fence.bar_login(session, APP)
    assert not bar.barred
    assert "permission denied" in bar.reason


async def test_a_statement_that_is_refused_names_the_database(session: Session, database: str) -> None:
    with pytest.raises(StatementRefused, match=f"database '{database}'"):
        await session.execute("DROP TABLE public.donations")
    assert ADMINISTRATOR not in repr(session)


async def _until_changed(session: Session, before: Counters) -> None:
    """Wait until a session that ended has reported what it changed."""
    async with asyncio.timeout(20):
        while (await fence.read_counters(session)).database_changes == before.database_changes:
            pass
