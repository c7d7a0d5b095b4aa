"""How much data a downgrade would lose, counted in the database that it would run on."""

from collections.abc import Iterable

from psycopg.sql import SQL, Composed, Identifier, Literal

from rollback.migrations.models import UNNAMED, Lost
from rollback.postgres.errors import StatementRefused, TookTooLong
from rollback.postgres.session import Session

SECONDS_PER_LOSS = 10.0


async def count_losses(
    session: Session, losses: Iterable[Lost], *, seconds_per_loss: float = SECONDS_PER_LOSS
) -> tuple[tuple[Lost, int | None], ...]:
    """How many rows, or values that are not null, each loss has now; None where that cannot be known, never 0.

    Unknown is what takes longer than `seconds_per_loss`, waits for somebody's lock, may not be read, is not there by
    that name, or has no name. Raises `ConnectionLost`.
    """
    before = await session.fetch_value("SELECT current_setting('statement_timeout')")
    await session.execute(SQL("SET statement_timeout = {}").format(Literal(int(seconds_per_loss * 1000))))
    try:
        return tuple([(lost, await _count(session, lost)) for lost in losses])
    finally:
        await session.execute(SQL("SET statement_timeout = {}").format(Literal(before)))


async def _count(session: Session, lost: Lost) -> int | None:
    if lost.table.endswith(UNNAMED):
        return None
    try:
        return await session.fetch_value(_query(lost))
    except (TookTooLong, StatementRefused):
        return None


def _query(lost: Lost) -> Composed:
    """Rows of parts and heirs count too: what is dropped of a table is dropped of them."""
    schema, _, table = lost.table.partition(".")
    what = SQL("t.{}").format(Identifier(lost.column)) if lost.column else SQL("*")
    return SQL("SELECT count({}) FROM {} AS t").format(what, Identifier(schema, table))


def words(lost: Lost, count: int | None) -> str:
    """The loss for people: `3,412 values of donations.tip_cents will be lost`; schema `public` is not written."""
    if lost.table == UNNAMED:
        return "an unknown number of rows and values, of tables that cannot be named, will be lost"
    place = lost.table.removeprefix("public.")
    if lost.table.endswith(f".{UNNAMED}"):
        return f"an unknown number of rows of every table in schema {place.removesuffix(f'.{UNNAMED}')} will be lost"
    what = "row" if lost.column is None else "value"
    of = place if lost.column is None else f"{place}.{lost.column}"
    return f"{_amount(count, what, partly=lost.partly)} of {of} {_fate(lost)}"


def _amount(count: int | None, what: str, *, partly: bool) -> str:
    if count is None:
        return f"an unknown number of {what}s"
    if count == 0:
        return f"no {what}"
    return f"{'up to ' if partly else ''}{count:,} {what}{'' if count == 1 else 's'}"


def _fate(lost: Lost) -> str:
    """What happens to it: a value that its new type has no room for is changed, or stops the downgrade."""
    return "may change or be refused" if lost.column and lost.partly else "will be lost"
