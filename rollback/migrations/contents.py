"""What rows a database has, told by numbers and fingerprints, so that it shows what a way down and up again loses.

A column's fingerprint does not depend on the order of the rows: values that are only exchanged between rows go unseen.
"""

from psycopg.sql import SQL, Identifier

from rollback.migrations.models import UNNAMED, Lost
from rollback.models import Model
from rollback.postgres.errors import StatementRefused, TookTooLong
from rollback.postgres.session import Session

_COLUMNS = """
SELECT nspname, relname, coalesce(array_agg(attname ORDER BY attnum) FILTER (WHERE attname IS NOT NULL), '{}')
FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
     LEFT JOIN pg_attribute a ON attrelid = c.oid AND attnum > 0 AND NOT attisdropped
WHERE relkind IN ('r', 'p') AND NOT relispartition AND relname <> 'alembic_version'
  AND nspname !~ '^pg_' AND nspname <> 'information_schema'
GROUP BY nspname, relname ORDER BY nspname, relname
"""


class Rows(Model):
    """The rows of one table."""

    count: int
    columns: dict[str, int | None]
    """Each column's fingerprint over its values; none where it has no value at all."""


class Contents(Model):
    """The rows of a whole database."""

    tables: dict[str, Rows]
    unread: tuple[str, ...]
    """Tables that could not be read, or not within the session's time for a statement."""


async def read_contents(session: Session) -> Contents:
    """Read every row of every table, one table after the other: for a database that nobody writes to."""
    tables: dict[str, Rows] = {}
    unread: list[str] = []
    for schema, table, columns in await session.fetch(_COLUMNS):
        try:
            tables[f"{schema}.{table}"] = await _read(session, schema, table, columns)
        except (StatementRefused, TookTooLong):
            unread.append(f"{schema}.{table}")
    return Contents(tables=tables, unread=tuple(unread))


async def _read(session: Session, schema: str, table: str, columns: list[str]) -> Rows:
    prints = [SQL('sum(hashtextextended(t.{}::text COLLATE "C", 0))').format(Identifier(column)) for column in columns]
    asked = SQL("SELECT {} FROM {} AS t").format(SQL(", ").join([SQL("count(*)"), *prints]), Identifier(schema, table))
    count, *found = (await session.fetch(asked))[0]
    told = {column: None if each is None else int(each) for column, each in zip(columns, found, strict=True)}
    return Rows(count=count, columns=told)


def lost_between(before: Contents, after: Contents) -> tuple[Lost, ...]:
    """What was there before and is not there, or not as it was, afterwards; tables that were not read are left out."""
    lost: list[Lost] = []
    for table, rows in before.tables.items():
        if table in after.unread:
            continue
        there = after.tables.get(table)
        if there is None or there.count != rows.count:
            lost += [Lost(table=table, column=None)] if rows.count else []
            continue
        lost += [
            Lost(table=table, column=column)
            for column, fingerprint in rows.columns.items()
            if fingerprint is not None and there.columns.get(column) != fingerprint
        ]
    return tuple(lost)


def is_planned(found: Lost, planned: tuple[Lost, ...]) -> bool:
    """Whether a loss was told beforehand: by itself, with its table, with its schema, or with everything."""
    tables = {found.table, f"{found.table.partition('.')[0]}.{UNNAMED}", UNNAMED}
    return any(each.table in tables and each.column in {None, found.column} for each in planned)
