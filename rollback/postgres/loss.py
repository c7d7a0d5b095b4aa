"""What a restore would lose, estimated while the plan is made: the server is still in use and nothing is copied yet.

Two sources tell when a row was written. Commit time stamps, where the server keeps them (`track_commit_timestamp`) for
long enough, know every row that was inserted or changed, whatever the app does. Columns with times know what the app
writes into them: a change that passes them by (such as damage by raw SQL) is not seen. Deleted rows leave nothing to
count, but where the app only marks them. What cannot be known is unknown, never zero.
"""

from collections.abc import Mapping
from datetime import datetime

from psycopg.sql import SQL, Composed, Identifier, Literal

from rollback.models import Model
from rollback.postgres.errors import StatementRefused, TookTooLong
from rollback.postgres.session import Session
from rollback.postgres.tables import Table, list_tables

INSERT_COLUMNS = ("created_at", "inserted_at", "created_on", "created", "creation_date", "date_created", "createdat")
UPDATE_COLUMNS = ("updated_at", "modified_at", "last_modified", "updated_on", "updated", "modified", "updatedat")
"""Names that are taken for times of rows, in this order, where the platform file names none."""

SECONDS_PER_TABLE = 10.0


class TimeColumns(Model):
    """Columns of a table, of type `timestamptz`, that tell when its rows were written; none is found by its name."""

    inserted: str | None = None
    updated: str | None = None
    deleted: str | None = None
    """Where deleted rows are only marked."""


class Estimate(Model):
    """A number of rows, or unknown, and how it was found or why not."""

    count: int | None
    how: str


class TableLoss(Model):
    """What would be lost of one table."""

    table: str
    rows_estimated: int
    inserts: Estimate
    updates: Estimate
    deletes: Estimate


async def estimate_loss(
    session: Session,
    since: datetime,
    columns: Mapping[str, TimeColumns] | None = None,
    *,
    seconds_per_table: float = SECONDS_PER_TABLE,
) -> tuple[TableLoss, ...]:
    """Inserts, updates and deletes of every table since an instant; `columns` are by the table's full name.

    Each table is read once at most, and no longer than `seconds_per_table`.
    """
    tracking = await _why_no_commit_times(session, since)
    before = await session.fetch_value("SELECT current_setting('statement_timeout')")
    await session.execute(SQL("SET statement_timeout = {}").format(Literal(int(seconds_per_table * 1000))))
    try:
        named = columns or {}
        return tuple(
            [
                await _table_loss(session, table, since, _choose(table, named.get(table.full_name)), tracking)
                for table in await list_tables(session)
            ]
        )
    finally:
        await session.execute(SQL("SET statement_timeout = {}").format(Literal(before)))


async def _why_no_commit_times(session: Session, since: datetime) -> str:
    """Why commit time stamps cannot tell what was written since an instant; empty where they can."""
    if await session.fetch_value("SELECT current_setting('track_commit_timestamp')") != "on":
        return "the server keeps no commit time stamps (track_commit_timestamp is off)"
    try:
        oldest: datetime | None = await session.fetch_value(
            "SELECT CASE WHEN oldest_commit_ts_xid::text <> '0' THEN pg_xact_commit_timestamp(oldest_commit_ts_xid) END"
            " FROM pg_control_checkpoint()"
        )
    except StatementRefused:
        return "it cannot be seen how far back commit time stamps go"
    if oldest is None or oldest > since:
        return f"commit time stamps go back to {oldest:%Y-%m-%d %H:%M:%S} UTC only" if oldest else "none is kept yet"
    return ""


def _choose(table: Table, configured: TimeColumns | None) -> TimeColumns:
    """The time columns of a table: those that are configured, or else those with usual names."""
    configured = configured or TimeColumns()
    times = {column.name.lower(): column.name for column in table.columns if _is_time(column.type)}
    found = [next((times[name] for name in names if name in times), None) for names in (INSERT_COLUMNS, UPDATE_COLUMNS)]
    return TimeColumns(
        inserted=configured.inserted or found[0], updated=configured.updated or found[1], deleted=configured.deleted
    )


def _is_time(type_: str) -> bool:
    """Only instants: a time without a zone may be of any zone."""
    return type_.startswith("timestamp") and type_.endswith("with time zone")


async def _table_loss(
    session: Session, table: Table, since: datetime, columns: TimeColumns, no_commit_times: str
) -> TableLoss:
    commit_times = not no_commit_times
    try:
        rows = await session.fetch(_query(table, since, columns, commit_times=commit_times))
    except TookTooLong:
        seconds = await session.fetch_value("SELECT current_setting('statement_timeout')")
        unknown = Estimate(count=None, how=f"counting took longer than {seconds}")
        return _loss(table, unknown, unknown, unknown)
    except StatementRefused as error:
        unknown = Estimate(count=None, how=error.message)
        return _loss(table, unknown, unknown, unknown)
    inserted, updated, deleted, written = rows[0]
    return _loss(
        table,
        _inserts(columns, inserted, written, no_commit_times),
        _updates(columns, updated, written, no_commit_times),
        Estimate(count=deleted, how=f"column {columns.deleted}")
        if columns.deleted
        else Estimate(count=None, how="deleted rows leave no trace that could be counted"),
    )


def _loss(table: Table, inserts: Estimate, updates: Estimate, deletes: Estimate) -> TableLoss:
    return TableLoss(
        table=table.full_name,
        rows_estimated=table.rows_estimated,
        inserts=inserts,
        updates=updates,
        deletes=deletes,
    )


def _inserts(columns: TimeColumns, inserted: int, written: int, no_commit_times: str) -> Estimate:
    if columns.inserted:
        return Estimate(count=inserted, how=f"column {columns.inserted}")
    if not no_commit_times:
        return Estimate(count=written, how="commit time stamps, which tell inserts from updates only beside a column")
    return Estimate(count=None, how=f"no column tells when rows were inserted, and {no_commit_times}")


def _updates(columns: TimeColumns, updated: int, written: int, no_commit_times: str) -> Estimate:
    if not no_commit_times:
        if columns.inserted:
            how = f"commit time stamps of rows that column {columns.inserted} has as older"
            return Estimate(count=written, how=how)
        return Estimate(count=0, how="counted with the inserts")
    if columns.updated:
        how = f"column {columns.updated}; changes that do not set it are not seen, as {no_commit_times}"
        return Estimate(count=updated, how=how)
    return Estimate(count=None, how=f"no column tells when rows were changed, and {no_commit_times}")


def _query(table: Table, since: datetime, columns: TimeColumns, *, commit_times: bool) -> Composed:
    """Count rows inserted, updated, marked as deleted, and written since but not inserted by their column.

    A row whose commit time is gone is older than the oldest that is kept, and so older than the instant.
    """
    instant = Literal(since)

    def later(name: str | None) -> Composed:
        return SQL("coalesce(t.{} >= {}, false)").format(Identifier(name), instant) if name else SQL("false").format()

    written = SQL("coalesce(pg_xact_commit_timestamp(t.xmin) >= {}, false)").format(instant)
    return SQL(
        "SELECT count(*) FILTER (WHERE {inserted}), count(*) FILTER (WHERE {updated} AND NOT {inserted}),"
        " count(*) FILTER (WHERE {deleted}), count(*) FILTER (WHERE {written} AND NOT {inserted}) FROM {source}"
    ).format(
        inserted=later(columns.inserted),
        updated=later(columns.updated),
        deleted=later(columns.deleted),
        written=written if commit_times else SQL("false").format(),
        source=table.source,
    )
