"""How the rows of one table are put side by side from two servers, in a bounded memory.

First both servers count and hash the rows in buckets, each in one pass over its table; equal buckets hold equal rows.
Only rows of differing buckets are streamed, in the order of their keys' hashes, and joined as they come. The order is
of numbers, so that it depends on no collation. Rows are compared by their text as PostgreSQL writes it (`row_out`),
which is exact for every type: `1.0` and `1.00`, `NULL` and `''` are different. The hash is PostgreSQL's own of 64 bits,
with a seed of chance for each comparison.
"""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Any, NamedTuple

from psycopg.sql import SQL, Composed, Identifier, Literal

from rollback.models import Model
from rollback.postgres.session import Row, Session
from rollback.postgres.tables import Table

ROWS_IN_A_BUCKET = 32
"""Small ones cost memory, big ones let many equal rows be streamed for one that differs."""

MOST_BUCKETS_POWER = 17
"""131,072 buckets of both servers take some 50 MB while they are compared."""


class Layout(Model):
    """How both servers read a table's rows: the same columns in the same order, the same key, hash and buckets."""

    columns: tuple[str, ...]
    """Of both; where one server's table lacks a column its value there is NULL."""
    key: tuple[str, ...]
    """None: whole rows are compared, equal ones are counted."""
    seed: int
    mask: int

    @classmethod
    def of(cls, old: Table | None, new: Table | None, seed: int) -> "Layout":
        """The layout for a table that is on one server or on both."""
        tables = [table for table in (old, new) if table]
        names = dict.fromkeys(column.name for table in tables for column in table.columns)
        keys = {table.key for table in tables}
        rows = max(max(table.rows_estimated, table.bytes // 512) for table in tables)
        power = min(MOST_BUCKETS_POWER, max(4, (rows // ROWS_IN_A_BUCKET).bit_length()))
        return cls(columns=tuple(names), key=keys.pop() if len(keys) == 1 else (), seed=seed, mask=2**power - 1)

    def _hash(self, text: Composed) -> Composed:
        return SQL("hashtextextended({}, {})").format(text, Literal(self.seed))

    def row_text(self, table: Table) -> Composed:
        """A row as text."""
        return _text(_value(table, name) for name in self.columns)

    def key_text(self, table: Table) -> Composed:
        """What identifies a row: its key, or else its digest."""
        if self.key:
            return _text(_value(table, name) for name in self.key)
        return SQL("md5({})").format(self.row_text(table))

    def bucket_query(self, table: Table) -> Composed:
        """Bucket, rows in it, and the sum of their hashes."""
        return SQL(
            "SELECT (key & {mask})::int, count(*), mod(sum(row), {most})::bigint"
            " FROM (SELECT {key} AS key, {row} AS row FROM {source}) AS r GROUP BY 1"
        ).format(
            mask=Literal(self.mask),
            most=Literal(2**63 - 1),
            key=self._hash(self.key_text(table)),
            row=self._hash(self.row_text(table)),
            source=table.source,
        )

    def stream_query(self, table: Table, buckets: Sequence[int]) -> Composed:
        """The rows of some buckets in order: hash of the key, key, the columns' hashes, the key's values or a count."""
        key = self.key_text(table)
        query = SQL('SELECT {hash} AS hash, {key} COLLATE "C" AS key, {rest} FROM {source}{where}{group} ORDER BY 1, 2')
        columns = SQL(", ").join(self._hash(_text([_value(table, name)])) for name in self.columns)
        values = SQL(", ").join(SQL("{}::text").format(_value(table, name)) for name in self.key)
        chosen = SQL(" WHERE ({} & {})::int IN (SELECT unnest({}::int[]))").format(
            self._hash(key), Literal(self.mask), Literal(list(buckets))
        )
        return query.format(
            hash=self._hash(key),
            key=key,
            rest=SQL("ARRAY[{}]::bigint[], ARRAY[{}]::text[]").format(columns, values)
            if self.key
            else SQL("NULL, count(*)"),
            source=table.source,
            where=chosen if len(buckets) <= self.mask else SQL(""),
            group=SQL("") if self.key else SQL(" GROUP BY 1, 2"),
        )


class RowDifference(NamedTuple):
    """Rows with one key that are not the same on both servers; a NamedTuple because there may be millions."""

    identity: str
    """The key as text, or the digest of the whole row."""
    key: tuple[str, ...]
    """The key's values as text; none where whole rows are compared."""
    on_old: int
    on_new: int
    """How many there are: 0 or 1, or any number where whole rows are compared."""
    changed: tuple[int, ...]
    """Places of the columns whose values differ."""


class Buckets(Model):
    """Both servers' rows counted, and the buckets in which they differ."""

    rows_old: int
    rows_new: int
    differing: tuple[int, ...]


async def compare_buckets(
    old: Session, new: Session, sides: tuple[Table | None, Table | None], layout: Layout
) -> Buckets:
    """Count and hash a table's rows on both servers at once."""
    found = await asyncio.gather(_read_buckets(old, sides[0], layout), _read_buckets(new, sides[1], layout))
    names = sorted(found[0].keys() | found[1].keys())
    return Buckets(
        rows_old=sum(count for count, _ in found[0].values()),
        rows_new=sum(count for count, _ in found[1].values()),
        differing=tuple(name for name in names if found[0].get(name) != found[1].get(name)),
    )


async def _read_buckets(session: Session, table: Table | None, layout: Layout) -> dict[int, tuple[int, Any]]:
    if table is None:
        return {}
    rows = await session.fetch(layout.bucket_query(table))
    return {bucket: (count, total) for bucket, count, total in rows}


async def stream_differences(
    old: Session, new: Session, sides: tuple[Table | None, Table | None], layout: Layout, buckets: Sequence[int]
) -> AsyncGenerator[RowDifference]:
    """The rows that differ, by merging both servers' ordered streams; both sessions inside of a transaction."""
    if not buckets:
        return
    async with (
        aclosing(_stream(old, sides[0], layout, buckets)) as left,
        aclosing(_stream(new, sides[1], layout, buckets)) as right,
    ):
        here, there = await asyncio.gather(anext(left, None), anext(right, None))
        while here or there:
            if here and (there is None or here[:2] < there[:2]):
                yield _difference(here, None)
                here = await anext(left, None)
            elif there and (here is None or there[:2] < here[:2]):
                yield _difference(None, there)
                there = await anext(right, None)
            else:
                if here and there and here[2:] != there[2:]:
                    yield _difference(here, there)
                here, there = await anext(left, None), await anext(right, None)


async def _stream(session: Session, table: Table | None, layout: Layout, buckets: Sequence[int]) -> AsyncGenerator[Row]:
    if table is None:
        return
    async for row in session.stream(layout.stream_query(table, buckets)):
        yield row


def _difference(old: Row | None, new: Row | None) -> RowDifference:
    _, identity, hashes, key = old or new or (0, "", None, ())
    if hashes is None:
        return RowDifference(identity, (), old[3] if old else 0, new[3] if new else 0, ())
    changed = tuple(i for i, each in enumerate(old[2]) if each != new[2][i]) if old and new else ()
    return RowDifference(identity, tuple(key), int(old is not None), int(new is not None), changed)


def _value(table: Table, name: str) -> Composed:
    return SQL("t.{}").format(Identifier(name)) if table.column(name) else SQL("NULL").format()


def _text(values: Any) -> Composed:
    return SQL("ROW({})::text").format(SQL(", ").join(values))
