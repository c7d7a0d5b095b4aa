"""Proof of who uses a database: that a write arrived, and what was written since an instant that we marked ourselves.

A mark is the transaction number that the server gives next. Every row that is inserted or changed later carries a later
number, so that the rows written since are found exactly, whatever clocks and columns say. Deleted rows carry nothing:
they are counted by the server's statistics, which sessions report within a second.
"""

from typing import Any

from psycopg.sql import SQL, Composed, Identifier, Literal

from rollback.models import Model
from rollback.postgres.errors import StatementRefused
from rollback.postgres.session import Session
from rollback.postgres.tables import Table, list_tables

MOST_KEYS = 1000
"""Keys that are listed of one table; all rows are counted."""


class DeletedCount(Model):
    """Rows of a table deleted since its statistics began."""

    table: str
    deleted: int


class WriteMark(Model):
    """An instant of a server by its own count of transactions."""

    system_identifier: str | None
    database: str
    next_transaction: int
    deleted: tuple[DeletedCount, ...]


class WrittenRows(Model):
    """What was written to a table since a mark."""

    table: str
    rows: int
    """Inserted or changed."""
    deleted: int | None
    """None where the statistics were reset meanwhile."""
    key_columns: tuple[str, ...]
    keys: tuple[tuple[str, ...], ...]
    """Of the inserted or changed rows, at most `MOST_KEYS`; none where the table has no primary key."""


async def row_arrived(session: Session, table: tuple[str, str], column: str, value: str) -> bool:
    """Whether a table (schema and name) has a row with this value, written as text."""
    query = SQL("SELECT EXISTS (SELECT FROM {} WHERE {}::text = {})").format(
        Identifier(*table), Identifier(column), Literal(value)
    )
    return bool(await session.fetch_value(query))


async def mark_writes(session: Session) -> WriteMark:
    """The mark of this moment. Rows of transactions that are open now count as written before, or not at all."""
    return WriteMark(
        system_identifier=await _system_identifier(session),
        database=session.database,
        next_transaction=await session.fetch_value(_NEXT),
        deleted=await _deleted(session),
    )


async def _system_identifier(session: Session) -> str | None:
    """PostgreSQL's own identifier of the cluster; none where we may not read it."""
    try:
        return str(await session.fetch_value("SELECT system_identifier::text FROM pg_control_system()"))
    except StatementRefused:
        return None


async def list_written_since(session: Session, mark: WriteMark) -> tuple[WrittenRows, ...]:
    """The tables that were written to since a mark, with the keys of their rows; reads every table once."""
    before = {each.table: each.deleted for each in mark.deleted}
    after = {each.table: each.deleted for each in await _deleted(session)}
    found = [
        await _written(session, table, mark, after.get(table.full_name, 0) - before.get(table.full_name, 0))
        for table in await list_tables(session)
    ]
    return tuple(each for each in found if each.rows or each.deleted != 0)


_NEXT = "SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint"

_DELETED = """
SELECT root.nspname || '.' || root.relname AS table, sum(n_tup_del)::bigint AS deleted
FROM pg_stat_user_tables AS stat,
     LATERAL (SELECT nspname, relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
              WHERE c.oid = coalesce(pg_partition_root(stat.relid), stat.relid)) AS root
GROUP BY 1 ORDER BY 1
"""


async def _deleted(session: Session) -> tuple[DeletedCount, ...]:
    return await session.fetch_models(DeletedCount, _DELETED)


async def _written(session: Session, table: Table, mark: WriteMark, deleted: int) -> WrittenRows:
    count = await session.fetch_value(_since(SQL("SELECT count(*)").format(), table, mark))
    rows: list[tuple[Any, ...]] = []
    if count and table.key:
        columns = SQL(", ").join(SQL("{}::text").format(Identifier("t", name)) for name in table.key)
        query = _since(SQL("SELECT {}").format(columns), table, mark)
        rows = await session.fetch(query + SQL(" ORDER BY 1 LIMIT {}").format(Literal(MOST_KEYS)))
    return WrittenRows(
        table=table.full_name,
        rows=count,
        deleted=deleted if deleted >= 0 else None,
        key_columns=table.key,
        keys=tuple(rows),
    )


def _since(select: Composed, table: Table, mark: WriteMark) -> Composed:
    """Rows whose transaction number is the mark's or later; numbers go round after 2^32, half of them are later."""
    return select + SQL(" FROM {} WHERE (t.xmin::text::bigint - {} + 4294967296) % 4294967296 < 2147483648").format(
        table.source, Literal(mark.next_transaction % 2**32)
    )
