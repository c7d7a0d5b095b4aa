"""Who is on a server: every session as `pg_stat_activity` shows it, and how sessions are ended.

Source: PostgreSQL 14 to 18, "The Cumulative Statistics System". Other roles' addresses and states are shown to members
of `pg_monitor`, and their sessions ended by members of `pg_signal_backend`; Azure's administrators are both.
"""

from collections.abc import Iterable
from datetime import datetime

from rollback.models import Model
from rollback.postgres.connection import APPLICATION_NAME
from rollback.postgres.errors import PreparedTransactionsOpen, StatementRefused
from rollback.postgres.session import Session

_SESSIONS = """
SELECT pid, coalesce(usename::text, '') AS user, coalesce(datname::text, '') AS database,
       coalesce(host(client_addr), '') AS address, coalesce(application_name, '') AS application,
       coalesce(backend_type, '') AS kind, backend_start AS since, coalesce(state, '') AS state,
       xact_start AS transaction_since, backend_xid IS NOT NULL AS has_written,
       pid = pg_backend_pid() OR (usename = current_user AND application_name = %s) AS ours,
       coalesce(backend_type, '') <> ALL(%s) OR coalesce((SELECT rolsuper FROM pg_roles WHERE oid = usesysid), false)
           AS system
FROM pg_stat_activity ORDER BY pid
"""

_CLIENTS = ["client backend", "logical replication apply worker", "logical replication parallel worker"]
"""Kinds of processes that bring changes from outside; the others keep the server running."""

_END = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid = %s AND backend_start = %s
"""


class DatabaseSession(Model):
    """One process of a server, and whom it works for."""

    pid: int
    user: str
    database: str
    address: str
    """Empty where it came over a local socket, or where we may not see it."""
    application: str
    kind: str
    """PostgreSQL's `backend_type`."""
    since: datetime | None
    state: str
    transaction_since: datetime | None
    has_written: bool
    """Its open transaction has changed something."""
    ours: bool
    system: bool
    """The server's own process, or one of the superuser, whom Azure gives to nobody."""

    @property
    def foreign(self) -> bool:
        """Whether it is somebody's who must be gone before the server counts as still."""
        return not self.ours and not self.system

    def describe(self) -> str:
        """One line for messages."""
        place = f" from {self.address}" if self.address else ""
        name = f" as '{self.application}'" if self.application else ""
        return f"{self.user or self.kind}{place}{name} (pid {self.pid})"


class PreparedTransaction(Model):
    """A transaction prepared for a two-phase commit, which outlives its session."""

    name: str
    owner: str
    database: str
    since: datetime

    def describe(self) -> str:
        """One line for messages."""
        return f"'{self.name}' of {self.owner} in database '{self.database}'"


async def list_sessions(session: Session) -> tuple[DatabaseSession, ...]:
    """Every process of the server, of all databases."""
    return await session.fetch_models(DatabaseSession, _SESSIONS, (APPLICATION_NAME, _CLIENTS))


async def list_prepared_transactions(session: Session) -> tuple[PreparedTransaction, ...]:
    """What is prepared and neither committed nor taken back, of all databases."""
    return await session.fetch_models(
        PreparedTransaction,
        "SELECT gid AS name, owner::text AS owner, database::text AS database, prepared AS since"
        " FROM pg_prepared_xacts ORDER BY prepared",
    )


async def require_no_prepared_transactions(session: Session) -> None:
    """Raise `PreparedTransactionsOpen` with their names, where there are any."""
    found = await list_prepared_transactions(session)
    if found:
        raise PreparedTransactionsOpen(
            f"Prepared transactions are open on '{session.server}': {', '.join(each.describe() for each in found)}.",
            remedy="Commit or roll back each by COMMIT PREPARED or ROLLBACK PREPARED, in its database, then try again.",
        )


class EndedSessions(Model):
    """The sessions that were told to end, and why others could not be; they may live for moments more."""

    told: tuple[DatabaseSession, ...]
    refusals: tuple[str, ...]


async def end_sessions(session: Session, chosen: Iterable[DatabaseSession]) -> EndedSessions:
    """End these sessions; never ours nor the server's. `fence.prove_still` looks whether they are gone.

    Safe to repeat: a process that took over a number is told from the one that was meant by its start. One that is just
    signing in belongs to nobody yet, and the server lets nobody end it: it is refused, and ended when it is seen again.
    """
    told: list[DatabaseSession] = []
    refusals: list[str] = []
    for each in chosen:
        if not each.foreign:
            continue
        try:
            if await session.fetch_value(_END, (each.pid, each.since)):
                told.append(each)
        except StatementRefused as error:
            refusals.append(f"{each.describe()}: {error.message}")
    return EndedSessions(told=tuple(told), refusals=tuple(refusals))


def sessions_of(
    sessions: Iterable[DatabaseSession], *, user: str, addresses: Iterable[str] = (), application: str = ""
) -> tuple[DatabaseSession, ...]:
    """The sessions of an app: of its role, or from its addresses, and with a name that begins as its does."""
    known = frozenset(addresses)
    return tuple(
        each
        for each in sessions
        if each.foreign and (each.user == user or each.address in known) and each.application.startswith(application)
    )
