"""A session on one database of one server, and the translation of PostgreSQL's errors into ours."""

import asyncio
import re
from collections.abc import AsyncGenerator, Generator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any, LiteralString, TypeVar

import psycopg
from psycopg import errors as postgresql
from psycopg.errors import Diagnostic
from psycopg.rows import class_row, tuple_row
from psycopg.sql import SQL, Composable, Composed

from rollback.errors import RollbackError
from rollback.models import Model
from rollback.postgres.errors import ConnectionLost, StatementRefused, TookTooLong
from rollback.redaction import blacken

Query = LiteralString | SQL | Composed
Row = tuple[Any, ...]
Kind = TypeVar("Kind", bound=Model)

ANSWER_MARGIN_SECONDS = 5.0
"""How much longer than the server's own statement timeout we wait for its answer, before the session counts as lost."""

FETCH_ROWS = 2000
"""Rows of one page of a server-side cursor: they are all that is in memory at a time."""


class Session:
    """One connection in autocommit, with the server's name for messages; made by `connection.connect`."""

    def __init__(
        self, connection: psycopg.AsyncConnection[Any], *, server: str, database: str, statement_seconds: float
    ) -> None:
        self.connection = connection
        self.server = server
        self.database = database
        self.statement_seconds = statement_seconds

    def __repr__(self) -> str:
        return f"Session({self.describe()})"

    def describe(self) -> str:
        """The database and its server, for messages."""
        return f"database '{self.database}' on '{self.server}'"

    async def fetch(self, query: Query, parameters: Sequence[Any] = ()) -> list[Row]:
        """All rows of a short answer."""
        async with self._answering(), self.connection.cursor(row_factory=tuple_row) as cursor:
            await cursor.execute(query, parameters or None)
            return await cursor.fetchall()

    async def fetch_models(self, kind: type[Kind], query: Query, parameters: Sequence[Any] = ()) -> tuple[Kind, ...]:
        """All rows of a short answer as models; columns are named as the model's fields."""
        async with self._answering(), self.connection.cursor(row_factory=class_row(kind)) as cursor:
            await cursor.execute(query, parameters or None)
            return tuple(await cursor.fetchall())

    async def fetch_value(self, query: Query, parameters: Sequence[Any] = ()) -> Any:
        """The first value of the first row."""
        rows = await self.fetch(query, parameters)
        return rows[0][0] if rows else None

    async def execute(self, query: Query, parameters: Sequence[Any] = ()) -> None:
        """Run a statement for its effect."""
        async with self._answering():
            await self.connection.execute(query, parameters or None)

    async def execute_warned(self, query: Query) -> tuple[str, ...]:
        """Run a statement for its effect; the server's warnings that it did not have it.

        GRANT and REVOKE of somebody without the right to only warn (01006, 01007), where anything else is refused.
        """
        warnings: list[str] = []

        def note(notice: Diagnostic) -> None:
            if notice.sqlstate in {"01006", "01007"}:
                warnings.append(notice.message_primary or "")

        self.connection.add_notice_handler(note)
        try:
            await self.execute(query)
        finally:
            self.connection.remove_notice_handler(note)
        return tuple(warnings)

    @asynccontextmanager
    async def _answering(self) -> AsyncGenerator[None]:
        """Wait for one answer, a little longer than the server may take; our errors."""
        with our_errors(self.describe()):
            try:
                async with asyncio.timeout(self.statement_seconds + ANSWER_MARGIN_SECONDS):
                    yield
            except TimeoutError as error:
                raise ConnectionLost(
                    f"The {self.describe()} does not answer any more.", remedy="Try again once it does."
                ) from error

    @asynccontextmanager
    async def repeatable_read(self) -> AsyncGenerator[None]:
        """A read-only transaction in which every statement sees the same instant."""
        with our_errors(self.describe()):
            async with self.connection.transaction():
                await self.connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
                yield

    async def stream(self, query: Query) -> AsyncGenerator[Row]:
        """The rows of a long answer, page by page through a server-side cursor; inside of a transaction."""
        with our_errors(self.describe()):
            async with self.connection.cursor("rows", row_factory=tuple_row) as cursor:
                cursor.itersize = FETCH_ROWS
                await cursor.execute(query)
                async for row in cursor:
                    yield row

    async def copy(self, select: Composable) -> AsyncGenerator[bytes]:
        """What a query answers in PostgreSQL's COPY text format, block by block."""
        statement = SQL("COPY ({}) TO STDOUT").format(select)
        with our_errors(self.describe()):
            async with self.connection.cursor() as cursor, cursor.copy(statement) as blocks:
                async for block in blocks:
                    yield bytes(block)


@contextmanager
def our_errors(what: str) -> Generator[None]:
    """Raise PostgreSQL's errors as ours: `TookTooLong`, `ConnectionLost` or `StatementRefused`."""
    try:
        yield
    except psycopg.Error as error:
        raise ours(what, error) from error


def ours(what: str, error: psycopg.Error) -> RollbackError:
    """Our error for one of a session that is established."""
    match error:
        case postgresql.QueryCanceled() | postgresql.LockNotAvailable() | postgresql.IdleInTransactionSessionTimeout():
            return TookTooLong(f"A statement on {what} took too long ({first_line(error)}).", remedy="Try again.")
        case postgresql.OperationalError() | postgresql.InterfaceError() if error.sqlstate is None or lost(error):
            return ConnectionLost(f"The session on {what} was lost ({first_line(error)}).", remedy="Try again.")
        case _:
            return StatementRefused(
                f"A statement on {what} was refused: {first_line(error)}.",
                remedy="See the server's log for the statement.",
            )


def lost(error: psycopg.Error) -> bool:
    """Whether the session ended: connection exceptions (08) and operator intervention (57P)."""
    return (error.sqlstate or "").startswith(("08", "57P"))


def first_line(error: psycopg.Error) -> str:
    """What the server says, without detail lines (they quote rows) and without what looks like a secret."""
    text = error.diag.message_primary or str(error).strip().partition("\n")[0]
    return blacken(re.sub(r"\s+", " ", text)).rstrip(". ")
