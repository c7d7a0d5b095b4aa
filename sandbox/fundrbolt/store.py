"""Donations and sessions: what the API asks of a database, whichever it is."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol
from urllib.parse import urlsplit

SQLITE = "sqlite:///"
POSTGRESQL = ("postgresql://", "postgres://")
SESSION_LASTS = timedelta(hours=1)
SESSIONS_KEPT = timedelta(days=90)
"""How long an expired session stays until the cleaning takes it."""


@dataclass(frozen=True)
class NewDonation:
    """A donation that was asked for and found valid."""

    amount_cents: int
    currency: str
    donor: str


class DatabaseUnavailableError(Exception):
    """The database cannot be reached, or refuses what was asked of it."""


class Store(Protocol):
    """The database. A missing one must show in the health report, and not stop the start.

    Every method but `open` and `close` raises `DatabaseUnavailableError` when the database cannot be used.
    """

    async def open(self) -> None:
        """Begin to connect, and stay connected until `close`; returns at once."""
        ...

    async def close(self) -> None:
        """Let go of the database."""
        ...

    async def check(self) -> None:
        """Read one row."""
        ...

    async def add_donation(self, donation: NewDonation, *, damage: float | None = None) -> dict[str, object]:
        """Record a donation. `damage` (0 to 1) picks an older one that loses its amount in the same transaction."""
        ...

    async def donations(self, limit: int) -> list[dict[str, object]]:
        """The newest donations first."""
        ...

    async def add_session(self) -> dict[str, object]:
        """Open a session. Its id is what the donor is known by: it belongs in no log."""
        ...

    async def session(self, session_id: str) -> dict[str, object] | None:
        """The session, unless it is unknown or has expired."""
        ...

    async def beat(self, name: str) -> None:
        """Prolong the session of the background worker `name`, and remove sessions that expired long ago."""
        ...


def database_url(url: str) -> str:
    """`url` if a store can be made of it. It is never told in an error: real ones hold a password."""
    if url in ("", "sqlite://"):
        return f"{SQLITE}:memory:"
    if not url.startswith((SQLITE, *POSTGRESQL)) or url == SQLITE:
        raise ValueError(f"DATABASE_URL must look like {SQLITE}FILE or postgresql://USER:PASSWORD@HOST/DATABASE")
    return url


def database_host(url: str) -> str | None:
    """The server's host in `url`; none where the database is a file."""
    return urlsplit(url).hostname


def store_for(url: str, client: str) -> Store:
    """The store behind `url`; a server shows its sessions under the name `client`."""
    # Each build imports the one driver that it needs: a slot's process must start fast.
    if url.startswith(SQLITE):
        from sandbox.fundrbolt.sqlite import SqliteStore

        return SqliteStore(url.removeprefix(SQLITE))
    from sandbox.fundrbolt.postgres import PostgresStore

    return PostgresStore(url, client)


def iso(moment: datetime) -> str:
    """ISO 8601 in UTC, to the millisecond: `2026-01-31T09:30:00.000Z`. Sorts as text."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
