"""Donations and sessions in PostgreSQL, over a few connections that are kept open.

Each connection is made in the background, looked at every second while nobody uses it, and made again when it is lost.
"""

import asyncio
import logging
import secrets
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict
from datetime import UTC, datetime

import psycopg
from psycopg.rows import DictRow, dict_row

from sandbox.fundrbolt.store import SESSION_LASTS, SESSIONS_KEPT, DatabaseUnavailableError, NewDonation, iso

Connection = psycopg.AsyncConnection[DictRow]

log = logging.getLogger("fundrbolt")

CONNECTIONS = 2
CONNECT_SECONDS = 10
RETRY_SECONDS = 0.3
"""Between two tries to connect."""
LOOK_SECONDS = 1.0
"""How long a lost connection may go unnoticed while nobody asks."""
PATIENCE_SECONDS = 5.0
"""How long a request waits for a connection that is busy or still being made."""
STATEMENT_SECONDS = 5.0

DAMAGE = """
UPDATE donations SET amount_cents = 0 WHERE id =
    (SELECT id FROM donations WHERE id < %(new)s AND id >= %(new)s * %(damage)s AND amount_cents > 0
     ORDER BY id LIMIT 1)
"""
BEAT = """
INSERT INTO sessions (id, expires_at) VALUES (%s, %s)
ON CONFLICT (id) DO UPDATE SET expires_at = excluded.expires_at, updated_at = now()
"""


class PostgresStore:
    """See `Store`."""

    def __init__(self, url: str, client: str) -> None:
        self._url = url
        self._client = client
        self._keepers: list[asyncio.Task[None]] = []
        self._idle: asyncio.Queue[Connection] = asyncio.Queue()
        self._connected = 0
        self._refused = False
        """Whether the last try to connect failed: nobody need wait for a connection then."""

    async def open(self) -> None:
        """Connect in the background."""
        self._keepers = [asyncio.create_task(self._keep()) for _ in range(CONNECTIONS)]

    async def close(self) -> None:
        """End the connections."""
        for keeper in self._keepers:
            keeper.cancel()
        await asyncio.gather(*self._keepers, return_exceptions=True)

    async def check(self) -> None:
        """Read one row."""
        async with self._connection() as connection:
            await connection.execute("SELECT 1 FROM donations LIMIT 1")

    async def add_donation(self, donation: NewDonation, *, damage: float | None = None) -> dict[str, object]:
        """Record a donation."""
        async with self._connection() as connection, connection.transaction():
            cursor = await connection.execute(
                "INSERT INTO donations (amount_cents, currency, donor) VALUES (%s, %s, %s) RETURNING id, created_at",
                (donation.amount_cents, donation.currency, donation.donor),
            )
            row = await cursor.fetchone() or {}
            if damage is not None:
                await connection.execute(DAMAGE, {"new": row["id"], "damage": damage})
        return {"id": row["id"], **asdict(donation), "created_at": iso(row["created_at"])}

    async def donations(self, limit: int) -> list[dict[str, object]]:
        """The newest donations first."""
        query = "SELECT id, amount_cents, currency, donor, created_at FROM donations ORDER BY id DESC LIMIT %s"
        async with self._connection() as connection:
            rows = await (await connection.execute(query, (limit,))).fetchall()
        return [{**row, "created_at": iso(row["created_at"])} for row in rows]

    async def add_session(self) -> dict[str, object]:
        """Open a session."""
        made, expires = secrets.token_urlsafe(24), datetime.now(UTC) + SESSION_LASTS
        async with self._connection() as connection:
            await connection.execute("INSERT INTO sessions (id, expires_at) VALUES (%s, %s)", (made, expires))
        return {"id": made, "expires_at": iso(expires)}

    async def session(self, session_id: str) -> dict[str, object] | None:
        """The session, unless it is unknown or has expired."""
        # PostgreSQL's text holds no such character, so no session is called so.
        if "\0" in session_id:
            return None
        query = "SELECT id, expires_at FROM sessions WHERE id = %s AND expires_at > now()"
        async with self._connection() as connection:
            row = await (await connection.execute(query, (session_id,))).fetchone()
        return {"id": row["id"], "expires_at": iso(row["expires_at"])} if row is not None else None

    async def beat(self, name: str) -> None:
        """Prolong the session of a background worker, and remove old ones."""
        moment = datetime.now(UTC)
        async with self._connection() as connection:
            await connection.execute(BEAT, (name, moment + SESSION_LASTS))
            await connection.execute("DELETE FROM sessions WHERE expires_at < %s", (moment - SESSIONS_KEPT,))

    @asynccontextmanager
    async def _connection(self) -> AsyncGenerator[Connection]:
        """A connection that nobody else uses meanwhile; every statement commits by itself."""
        if self._refused and not self._connected:
            raise DatabaseUnavailableError("it cannot be reached")
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                connection = await self._idle.get()
        except TimeoutError as error:
            raise DatabaseUnavailableError("no connection is free") from error
        try:
            async with asyncio.timeout(STATEMENT_SECONDS):
                yield connection
        except (psycopg.Error, TimeoutError) as error:
            raise DatabaseUnavailableError(type(error).__name__) from error
        finally:
            if not connection.closed:
                self._idle.put_nowait(connection)

    async def _keep(self) -> None:
        """Keep one connection until cancelled."""
        while True:
            try:
                connection = await Connection.connect(
                    self._url,
                    autocommit=True,
                    row_factory=dict_row,
                    application_name=self._client,
                    connect_timeout=CONNECT_SECONDS,
                )
            except psycopg.Error as error:
                if not self._refused:
                    log.warning("the database cannot be reached: %s", type(error).__name__)
                self._refused = True
                await asyncio.sleep(RETRY_SECONDS)
                continue
            self._refused = False
            self._connected += 1
            try:
                self._idle.put_nowait(connection)
                while not connection.closed:
                    await asyncio.sleep(LOOK_SECONDS)
                    await self._look()
            finally:
                self._connected -= 1
                await connection.close()

    async def _look(self) -> None:
        """Ask the connection that was idle longest for nothing: a lost one is found out by that."""
        if not self._idle.empty():
            with suppress(DatabaseUnavailableError):
                async with self._connection() as connection:
                    await connection.execute("")
