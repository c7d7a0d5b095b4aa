"""Donations and sessions in a SQLite file, which two slots may share."""

import secrets
import sqlite3
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime

from sandbox.fundrbolt.store import SESSION_LASTS, SESSIONS_KEPT, DatabaseUnavailableError, NewDonation, iso

BUSY_SECONDS = 2.0
"""How long a statement waits for the other slot's write before it fails."""

SCHEMA = """
CREATE TABLE IF NOT EXISTS donations (
    id INTEGER PRIMARY KEY, amount_cents INTEGER NOT NULL, currency TEXT NOT NULL, donor TEXT NOT NULL,
    created_at TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS sessions (id TEXT PRIMARY KEY, expires_at TEXT NOT NULL);
"""
DAMAGE = """
UPDATE donations SET amount_cents = 0 WHERE id =
    (SELECT id FROM donations WHERE id < :new AND id >= :new * :damage AND amount_cents > 0 ORDER BY id LIMIT 1)
"""


class SqliteStore:
    """See `Store`. The file is opened when it is first needed."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._open: sqlite3.Connection | None = None

    async def open(self) -> None:
        """Nothing to wait for: there is no server."""

    async def close(self) -> None:
        """Let go of the file."""
        if self._open is not None:
            self._open.close()
            self._open = None

    async def check(self) -> None:
        """Read one row."""
        with self._database() as database:
            database.execute("SELECT 1 FROM donations LIMIT 1").fetchone()

    async def add_donation(self, donation: NewDonation, *, damage: float | None = None) -> dict[str, object]:
        """Record a donation."""
        created_at = iso(datetime.now(UTC))
        with self._database() as database:
            cursor = database.execute(
                "INSERT INTO donations (amount_cents, currency, donor, created_at) VALUES (?, ?, ?, ?)",
                (donation.amount_cents, donation.currency, donation.donor, created_at),
            )
            if damage is not None:
                database.execute(DAMAGE, {"new": cursor.lastrowid, "damage": damage})
        return {"id": cursor.lastrowid, **asdict(donation), "created_at": created_at}

    async def donations(self, limit: int) -> list[dict[str, object]]:
        """The newest donations first."""
        with self._database() as database:
            return [dict(row) for row in database.execute("SELECT * FROM donations ORDER BY id DESC LIMIT ?", (limit,))]

    async def add_session(self) -> dict[str, object]:
        """Open a session."""
        session: dict[str, object] = {
            "id": secrets.token_urlsafe(24),
            "expires_at": iso(datetime.now(UTC) + SESSION_LASTS),
        }
        with self._database() as database:
            database.execute("INSERT INTO sessions (id, expires_at) VALUES (:id, :expires_at)", session)
        return session

    async def session(self, session_id: str) -> dict[str, object] | None:
        """The session, unless it is unknown or has expired."""
        asked = (session_id, iso(datetime.now(UTC)))
        with self._database() as database:
            row = database.execute("SELECT * FROM sessions WHERE id = ? AND expires_at > ?", asked).fetchone()
        return dict(row) if row else None

    async def beat(self, name: str) -> None:
        """Prolong the session of a background worker, and remove old ones."""
        moment = datetime.now(UTC)
        with self._database() as database:
            prolonged = (name, iso(moment + SESSION_LASTS))
            database.execute("INSERT OR REPLACE INTO sessions (id, expires_at) VALUES (?, ?)", prolonged)
            database.execute("DELETE FROM sessions WHERE expires_at < ?", (iso(moment - SESSIONS_KEPT),))

    @contextmanager
    def _database(self) -> Generator[sqlite3.Connection]:
        """One transaction on the file."""
        try:
            if self._open is None:
                self._open = _opened(self._path)
            with self._open as database:
                yield database
        except sqlite3.Error as error:
            raise DatabaseUnavailableError(str(error)) from error


def _opened(path: str) -> sqlite3.Connection:
    database = sqlite3.connect(path, timeout=BUSY_SECONDS)
    try:
        database.row_factory = sqlite3.Row
        # Rehearsal data need not survive a power cut, and fsync would cost more than all the rest.
        database.execute("PRAGMA synchronous = OFF")
        database.executescript(SCHEMA)
    except sqlite3.Error:
        database.close()
        raise
    return database
