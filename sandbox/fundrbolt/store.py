"""Donations and sessions in SQLite. Two slots may share one file."""

import secrets
import sqlite3
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta

SESSION_LASTS = timedelta(hours=1)
BUSY_SECONDS = 2.0
"""How long a statement waits for the other slot's write before it fails."""

SCHEMA = """
CREATE TABLE IF NOT EXISTS donations (
    id INTEGER PRIMARY KEY, amount_cents INTEGER NOT NULL, currency TEXT NOT NULL, donor TEXT NOT NULL,
    created_at TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS sessions (id TEXT PRIMARY KEY, expires_at TEXT NOT NULL);
"""


@dataclass(frozen=True)
class NewDonation:
    """A donation that was asked for and found valid."""

    amount_cents: int
    currency: str
    donor: str


class Store:
    """The database, opened when it is first needed: a missing one must show in the health report, not stop the start.

    Every method raises `sqlite3.Error` when the database cannot be used.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._open: sqlite3.Connection | None = None

    def check(self) -> None:
        """Read one row."""
        self._database().execute("SELECT 1 FROM donations LIMIT 1").fetchone()

    def add_donation(self, donation: NewDonation) -> dict[str, object]:
        """Record a donation."""
        created_at = iso(datetime.now(UTC))
        cursor = self._database().execute(
            "INSERT INTO donations (amount_cents, currency, donor, created_at) VALUES (?, ?, ?, ?)",
            (donation.amount_cents, donation.currency, donation.donor, created_at),
        )
        return {"id": cursor.lastrowid, **asdict(donation), "created_at": created_at}

    def donations(self, limit: int) -> list[dict[str, object]]:
        """The newest donations first."""
        rows = self._database().execute("SELECT * FROM donations ORDER BY id DESC LIMIT ?", (limit,))
        return [dict(row) for row in rows]

    def add_session(self) -> dict[str, object]:
        """Open a session. Its id is what the donor is known by: it belongs in no log."""
        session: dict[str, object] = {
            "id": secrets.token_urlsafe(24),
            "expires_at": iso(datetime.now(UTC) + SESSION_LASTS),
        }
        self._database().execute("INSERT INTO sessions (id, expires_at) VALUES (:id, :expires_at)", session)
        return session

    def session(self, session_id: str) -> dict[str, object] | None:
        """The session, unless it is unknown or has expired."""
        row = (
            self._database()
            .execute("SELECT * FROM sessions WHERE id = ? AND expires_at > ?", (session_id, iso(datetime.now(UTC))))
            .fetchone()
        )
        return dict(row) if row else None

    def close(self) -> None:
        """Let go of the file."""
        if self._open is not None:
            self._open.close()
            self._open = None

    def _database(self) -> sqlite3.Connection:
        if self._open is None:
            database = sqlite3.connect(self._path, timeout=BUSY_SECONDS, isolation_level=None)
            try:
                database.row_factory = sqlite3.Row
                # Rehearsal data need not survive a power cut, and fsync would cost more than all the rest.
                database.execute("PRAGMA synchronous = OFF")
                database.executescript(SCHEMA)
            except sqlite3.Error:
                database.close()
                raise
            self._open = database
        return self._open


def iso(moment: datetime) -> str:
    """ISO 8601 in UTC, to the millisecond: `2026-01-31T09:30:00.000Z`. Sorts as text."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
