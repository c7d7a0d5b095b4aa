"""Keeping writers out of a server, and proving that nothing is written to it any more.

A server that refuses new writers by its firewall or a read-only default still has the sessions from before, and a
session may overrule the default. So sessions are ended until none is left, and stillness is measured, not assumed:
no session of others, no change counted in the database, in readings across a settling time.

Three counters are compared from reading to reading:

- the next transaction number, which every writing transaction of the whole server moves;
- the row changes of our database's own tables (`pg_stat_user_tables`), which only writers move;
- the row changes of the whole database, catalogs included (`pg_stat_database`).

A moved transaction number alone means nothing: Azure's own agents write into databases of theirs, and autovacuum takes
numbers too. It is explained where the database has no changes, or where its only changes are in the catalogs while
autovacuum or autoanalyze have been at work. Everything else is a writer, seen or not. Sessions report their counts when
they end, and once a second before, so that a settling time must be longer than that.
"""

import asyncio
from collections.abc import Sequence
from datetime import datetime

from psycopg.sql import SQL, Identifier

from rollback.models import Model, now
from rollback.postgres.errors import StatementRefused, WritesDoNotStop
from rollback.postgres.session import Session
from rollback.postgres.sessions import (
    DatabaseSession,
    EndedSessions,
    end_sessions,
    list_sessions,
    require_no_prepared_transactions,
)

SHORTEST_SETTLING_SECONDS = 1.5
"""A session reports what it changed once a second."""

READING_INTERVAL_SECONDS = 0.25

_COUNTERS = """
SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint AS next_transaction,
       (SELECT coalesce(sum(n_tup_ins + n_tup_upd + n_tup_del), 0)::bigint FROM pg_stat_user_tables) AS table_changes,
       (SELECT tup_inserted + tup_updated + tup_deleted FROM pg_stat_database WHERE datname = current_database())
           AS database_changes,
       (SELECT coalesce(sum(autovacuum_count + autoanalyze_count), 0)::bigint FROM pg_stat_all_tables)
           AS autovacuum_runs
"""


class Counters(Model):
    """What a writer would move."""

    next_transaction: int
    table_changes: int
    database_changes: int
    autovacuum_runs: int


class Stillness(Model):
    """The proof that nothing was written to a database over a settling time."""

    since: datetime
    until: datetime
    readings: int
    last_transaction: int
    """The next transaction number that the server would give: every later one is of a later writer."""
    explained: str
    """Why transaction numbers moved, empty where none did."""
    ended: tuple[DatabaseSession, ...]
    """The sessions that were ended for it."""


async def read_counters(session: Session) -> Counters:
    """The counters of this moment."""
    return (await session.fetch_models(Counters, _COUNTERS))[0]


async def prove_still(
    session: Session, *, settle_seconds: float = 3, timeout_seconds: float = 60, end_others: bool = True
) -> Stillness:
    """Wait until nobody else is on the server and nothing was written for a settling time; ends sessions meanwhile.

    Raises `PreparedTransactionsOpen`, or `WritesDoNotStop` with who still comes or what still moves.
    """
    settle = max(settle_seconds, SHORTEST_SETTLING_SECONDS)
    watch = _Watch(await read_counters(session))
    try:
        async with asyncio.timeout(timeout_seconds):
            while True:
                await require_no_prepared_transactions(session)
                others = tuple(each for each in await list_sessions(session) if each.foreign)
                watch.take(await read_counters(session), others)
                if others and end_others:
                    watch.note(await end_sessions(session, others))
                if (now() - watch.since).total_seconds() >= settle:
                    return watch.stillness()
                await asyncio.sleep(READING_INTERVAL_SECONDS)
    except TimeoutError as error:
        raise WritesDoNotStop(
            f"The {session.describe()} is not still after {timeout_seconds:g} s: {watch.unrest}.",
            remedy="Stop who writes, then go on with this run.",
        ) from error


class _Watch:
    """Readings since the last unrest."""

    def __init__(self, first: Counters) -> None:
        self.unrest = "it was not watched for long enough"
        self.ended: tuple[DatabaseSession, ...] = ()
        self._start(first)

    def _start(self, counters: Counters) -> None:
        self.since = now()
        self.first = self.last = counters
        self.readings = 1

    def take(self, counters: Counters, others: Sequence[DatabaseSession]) -> None:
        """Add a reading; the settling time begins anew where somebody is there or has written."""
        self.last = counters
        self.readings += 1
        if others:
            self.unrest = f"{len(others)} sessions, among them {others[0].describe()}"
        elif unrest := unexplained(self.first, counters):
            self.unrest = unrest
        else:
            return
        self._start(counters)

    def note(self, ended: EndedSessions) -> None:
        """Remember who was ended, and tell of those that could not be."""
        self.ended += ended.told
        self.unrest = "; ".join((self.unrest, *ended.refusals))

    def stillness(self) -> Stillness:
        return Stillness(
            since=self.since,
            until=now(),
            readings=self.readings,
            last_transaction=self.last.next_transaction,
            explained=explanation(self.first, self.last),
            ended=self.ended,
        )


def unexplained(before: Counters, after: Counters) -> str:
    """What moved between two readings that only a writer moves; empty where nothing did."""
    if after.table_changes != before.table_changes:
        return f"{after.table_changes - before.table_changes} rows of tables were changed"
    changed = after.database_changes - before.database_changes
    if changed and after.autovacuum_runs == before.autovacuum_runs:
        return f"{changed} rows of the catalogs were changed, and not by autovacuum"
    return ""


def explanation(before: Counters, after: Counters) -> str:
    """Why transaction numbers moved although nobody wrote to the database."""
    if after.next_transaction == before.next_transaction:
        return ""
    if after.database_changes != before.database_changes:
        return "autovacuum was at work"
    return "transactions in other databases of the server, or without changes"


COULD_NOT = "the role could not sign in"


class LoginBar(Model):
    """What was done to keep a role from signing in, and how it was before."""

    role: str
    barred: bool
    """We took its LOGIN away; false where it had none, or where we may not."""
    reason: str
    """Why it was not barred."""


async def bar_login(session: Session, role: str) -> LoginBar:
    """Take a role's right to sign in away, where we may; an extra, its open sessions stay. Safe to repeat.

    Needs a session that may write, and the role to have been made by an administrator like us. Record the answer
    of the first time: a repeated call tells that the role could not sign in.
    """
    if not await session.fetch_value("SELECT rolcanlogin FROM pg_roles WHERE rolname = %s", (role,)):
        return LoginBar(role=role, barred=False, reason=COULD_NOT)
    try:
        await session.execute(SQL("ALTER ROLE {} NOLOGIN").format(Identifier(role)))
    except StatementRefused as error:
        return LoginBar(role=role, barred=False, reason=error.message)
    return LoginBar(role=role, barred=True, reason="")


async def allow_login(session: Session, bar: LoginBar) -> None:
    """Undo `bar_login`: only what it did. Safe to repeat."""
    if bar.barred:
        await session.execute(SQL("ALTER ROLE {} LOGIN").format(Identifier(bar.role)))
