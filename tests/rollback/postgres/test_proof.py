import asyncio
from collections.abc import AsyncGenerator

import pytest
from postgresql_server import APP, PostgreSql

from rollback.postgres.proof import WrittenRows, list_written_since, mark_writes, row_arrived
from rollback.postgres.session import Session

MADE = [
    "CREATE TABLE donations (id int PRIMARY KEY, amount int, donor text)",
    "INSERT INTO donations SELECT n, n, 'donor ' || n FROM generate_series(1, 100) AS n",
    "CREATE TABLE log (line text)",
    "CREATE TABLE parts (id int PRIMARY KEY) PARTITION BY RANGE (id)",
    "CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (0) TO (10)",
    "INSERT INTO parts VALUES (1), (2)",
]


@pytest.fixture
async def session(server: PostgreSql) -> AsyncGenerator[Session]:
    session = await server.session(server.make_database(*MADE))
    yield session
    await session.connection.close()


async def test_a_write_arrived_or_not(session: Session) -> None:
    assert await row_arrived(session, ("public", "donations"), "donor", "donor 7")
    assert await row_arrived(session, ("public", "donations"), "id", "7")
    assert not await row_arrived(session, ("public", "donations"), "donor", "donor 101")


async def test_nothing_was_written_since_a_mark_that_was_just_made(session: Session) -> None:
    assert await list_written_since(session, await mark_writes(session)) == ()


async def test_what_was_written_since_a_mark_is_listed(server: PostgreSql, session: Session) -> None:
    mark = await mark_writes(session)
    server.sql(
        session.database,
        "UPDATE donations SET amount = 0 WHERE id IN (7, 8)",
        "INSERT INTO donations VALUES (101)",
        "DELETE FROM donations WHERE id = 9",
        "INSERT INTO log VALUES ('a'), ('b')",
        "DELETE FROM parts",
        user=APP,
    )
    found = await _all_reported(session, 2)
    assert {each.table: each for each in await list_written_since(session, mark)} == found


async def _all_reported(session: Session, deleted_from: int) -> dict[str, WrittenRows]:
    """What must be found, once the session that wrote has reported how much it deleted."""
    query = "SELECT count(*) FROM pg_stat_user_tables WHERE n_tup_del > 0"
    async with asyncio.timeout(20):
        while await session.fetch_value(query) < deleted_from:
            pass
    donations = WrittenRows(
        table="public.donations", rows=3, deleted=1, key_columns=("id",), keys=(("101",), ("7",), ("8",))
    )
    log = WrittenRows(table="public.log", rows=2, deleted=0, key_columns=(), keys=())
    parts = WrittenRows(table="public.parts", rows=0, deleted=2, key_columns=("id",), keys=())
    return {each.table: each for each in (donations, log, parts)}


async def test_transaction_numbers_that_went_round_are_told_apart(session: Session) -> None:
    mark = await mark_writes(session)
    later = mark.model_copy(update={"next_transaction": mark.next_transaction + 2**32})
    assert await list_written_since(session, later) == ()
    earlier = mark.model_copy(update={"next_transaction": mark.next_transaction - 2**31 + 1})
    assert {each.table for each in await list_written_since(session, earlier)} == {"public.donations", "public.parts"}
