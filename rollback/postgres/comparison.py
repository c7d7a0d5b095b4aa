"""What a restored server lacks or has otherwise, row by row: the true bill of a restore.

The old server must be fenced and the restored one not yet in use, so that both stand still while they are read.
"""

import asyncio
import secrets
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import aclosing, asynccontextmanager

from pydantic import Field

from rollback.models import Model
from rollback.postgres.errors import TookTooLong
from rollback.postgres.row_streams import Layout, RowDifference, compare_buckets, stream_differences
from rollback.postgres.sequences import SequenceComparison, compare_sequences
from rollback.postgres.session import Session
from rollback.postgres.tables import Table, list_tables


class ColumnChange(Model):
    """A column, and in how many rows it has another value."""

    name: str
    rows: int


class TableComparison(Model):
    """One table on the old and on the restored server."""

    table: str
    """Schema and name."""
    method: str
    """How rows were told from each other."""
    rows_old: int
    rows_new: int
    only_old: int
    """Rows that only the old server has: written since the restore point, and lost with the cut-over."""
    differing: int
    """Rows that both have, with other values: changed since the restore point."""
    only_new: int
    """Rows that only the restored server has: deleted since the restore point, they come back."""
    changed_columns: tuple[ColumnChange, ...]
    note: str
    """What a person must know about the figures; empty in the ordinary case."""

    old: Table | None = Field(exclude=True, repr=False)
    new: Table | None = Field(exclude=True, repr=False)
    layout: Layout = Field(exclude=True, repr=False)
    buckets: tuple[int, ...] = Field(exclude=True, repr=False)
    """Where the differing rows are, so that they can be streamed again."""

    @property
    def equal(self) -> bool:
        """Whether both servers hold the same rows."""
        return not (self.only_old or self.differing or self.only_new)

    def rows(self, old: Session, new: Session) -> AsyncGenerator[RowDifference]:
        """The rows that differ, streamed; both sessions inside of a `both_still` block."""
        return stream_differences(old, new, (self.old, self.new), self.layout, self.buckets)


class Comparison(Model):
    """The true bill: every table of both servers, and the sequences that stand elsewhere."""

    tables: tuple[TableComparison, ...]
    sequences: tuple[SequenceComparison, ...]
    large_objects_old: int
    large_objects_new: int
    """Large objects are counted only: their contents are not compared, and not exported."""

    @property
    def only_old(self) -> int:
        """Rows that would be lost."""
        return sum(each.only_old for each in self.tables)

    @property
    def differing(self) -> int:
        """Rows that would be as they were at the restore point."""
        return sum(each.differing for each in self.tables)

    @property
    def only_new(self) -> int:
        """Rows that would come back."""
        return sum(each.only_new for each in self.tables)


@asynccontextmanager
async def both_still(old: Session, new: Session) -> AsyncGenerator[None]:
    """On each server one instant for all that is read in the block."""
    async with old.repeatable_read(), new.repeatable_read():
        yield


async def compare(old: Session, new: Session, *, timeout_seconds: float = 1800) -> Comparison:
    """Compare every row of every table; reads each table once, and the parts that differ once more.

    The sessions' statement time bounds one pass over the biggest table. Raises `TookTooLong` or `ConnectionLost`.
    """
    try:
        async with asyncio.timeout(timeout_seconds), both_still(old, new):
            here = {table.full_name: table for table in await list_tables(old)}
            there = {table.full_name: table for table in await list_tables(new)}
            tables = [
                await _compare_table(old, new, here.get(name), there.get(name))
                for name in sorted(here.keys() | there.keys())
            ]
            return Comparison(
                tables=tuple(tables),
                sequences=await compare_sequences(old, new),
                large_objects_old=await _count_large_objects(old),
                large_objects_new=await _count_large_objects(new),
            )
    except TimeoutError as error:
        raise TookTooLong(
            f"Comparing {old.describe()} with {new.describe()} took longer than {timeout_seconds:g} s.",
            remedy="Allow more time for it; nothing was changed by comparing.",
        ) from error


async def _compare_table(old: Session, new: Session, here: Table | None, there: Table | None) -> TableComparison:
    sides = here, there
    layout = Layout.of(here, there, secrets.randbits(62))
    buckets = await compare_buckets(old, new, sides, layout)
    only_old = differing = only_new = 0
    changes = Counter[int]()
    async with aclosing(stream_differences(old, new, sides, layout, buckets.differing)) as rows:
        async for row in rows:
            only_old += max(0, row.on_old - row.on_new)
            only_new += max(0, row.on_new - row.on_old)
            differing += bool(row.changed)
            changes.update(row.changed)
    table = here or there
    return TableComparison(
        table=table.full_name if table else "",
        method=f"by primary key ({', '.join(layout.key)})"
        if layout.key
        else "by whole rows, as there is no common key",
        rows_old=buckets.rows_old,
        rows_new=buckets.rows_new,
        only_old=only_old,
        differing=differing,
        only_new=only_new,
        changed_columns=tuple(ColumnChange(name=layout.columns[i], rows=changes[i]) for i in sorted(changes)),
        note=_note(here, there),
        old=here,
        new=there,
        layout=layout,
        buckets=buckets.differing,
    )


def _note(old: Table | None, new: Table | None) -> str:
    if new is None:
        return "the restored server has no such table"
    if old is None:
        return "only the restored server has the table: it was dropped or renamed since"
    lacking = [column.name for column in old.columns if not new.column(column.name)]
    dropped = [column.name for column in new.columns if not old.column(column.name)]
    notes = [
        f"the restored table lacks the columns {', '.join(lacking)}" if lacking else "",
        f"the columns {', '.join(dropped)} come back" if dropped else "",
        "it is unlogged, so that no backup has its rows" if old.unlogged else "",
    ]
    return "; ".join(note for note in notes if note)


async def _count_large_objects(session: Session) -> int:
    return int(await session.fetch_value("SELECT count(*) FROM pg_largeobject_metadata"))
