"""Locks around a migration: our own, so that one run migrates at a time, and those for which others wait.

Alembic's session is found by its application name, which the caller gives it by PGOPTIONS. Other roles' sessions are
shown to members of `pg_monitor`, as Azure's administrators are.
"""

import asyncio
import hashlib
import re
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from rollback.errors import Refused, RollbackError
from rollback.models import Model
from rollback.postgres.session import Session
from rollback.redaction import blacken

SAMPLE_SECONDS = 0.05
"""Between two looks at the locks: a lock that is held for less may not be seen, nor does it hinder anybody."""
QUERY_WORDS = 4

NOTABLE = (
    "ShareUpdateExclusiveLock",
    "ShareLock",
    "ShareRowExclusiveLock",
    "ExclusiveLock",
    "AccessExclusiveLock",
)
"""Stronger than what reading and writing rows takes."""

_HOLDER = """
SELECT pid, coalesce(usename::text, '') AS user, coalesce(application_name, '') AS application,
       coalesce(xact_start, state_change, backend_start) AS since, coalesce(state, '') AS state, '' AS query
FROM pg_locks JOIN pg_stat_activity USING (pid)
WHERE locktype = 'advisory' AND granted AND objsubid = 1 AND pg_locks.database = (SELECT oid FROM pg_database
      WHERE datname = current_database()) AND (classid::bigint << 32 | objid::bigint) = %s
"""

_HELD = """
SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND granted AND objsubid = 1
               AND pid = pg_backend_pid() AND (classid::bigint << 32 | objid::bigint) = %s)
"""

# Process 0 stands for a prepared transaction, which has no process any more.
_BLOCKERS = """
SELECT DISTINCT blocking.pid, coalesce(b.usename::text, '') AS user,
       CASE blocking.pid WHEN 0 THEN 'a prepared transaction' ELSE coalesce(b.application_name, '') END AS application,
       coalesce(b.xact_start, b.state_change, b.backend_start) AS since, coalesce(b.state, '') AS state,
       coalesce(left(b.query, 500), '') AS query
FROM pg_stat_activity waiting CROSS JOIN LATERAL unnest(pg_blocking_pids(waiting.pid)) AS blocking (pid)
     LEFT JOIN pg_stat_activity b ON b.pid = blocking.pid
WHERE waiting.application_name = %s AND waiting.datname = current_database()
ORDER BY since, blocking.pid
"""

_LOCKS = """
SELECT l.pid, format('%%I.%%I', nspname, relname), mode
FROM pg_stat_activity a JOIN pg_locks l ON l.pid = a.pid JOIN pg_class c ON c.oid = relation
     JOIN pg_namespace n ON n.oid = relnamespace
WHERE application_name = %s AND datname = current_database() AND locktype = 'relation' AND granted AND mode = ANY(%s)
  AND nspname !~ '^pg_' AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""


class MigrationUnderWay(Refused):
    """Another of our runs migrates this database; names its session."""


class Blocker(Model):
    """A session for which another one waits."""

    pid: int
    """0 for a prepared transaction."""
    user: str
    application: str
    since: datetime | None
    """When its transaction began."""
    state: str
    """As in `pg_stat_activity`: `idle in transaction` is somebody who forgot to end it."""
    query: str
    """The first words of its last statement."""

    def describe(self) -> str:
        """One line for messages."""
        if self.pid == 0:
            return self.application
        name = f" as '{self.application}'" if self.application else ""
        since = f" since {self.since:%H:%M:%S} UTC" if self.since else ""
        query = f", with '{self.query} …'" if self.query else ""
        return f"{self.user}{name} (pid {self.pid}), {self.state or 'in an unknown state'}{since}{query}"


class MigrationLock:
    """Our lock on a database's migrations, for the length of `one_at_a_time`."""

    def __init__(self, session: Session, key: int) -> None:
        self._session = session
        self._key = key

    async def held(self) -> bool:
        """Whether it is ours still: a session that was lost has lost it. To be asked before alembic is started."""
        try:
            return bool(await self._session.fetch_value(_HELD, (self._key,)))
        except RollbackError:
            return False


@asynccontextmanager
async def one_at_a_time(session: Session) -> AsyncGenerator[MigrationLock]:
    """Hold the database's lock for migrations; what is read within the block, no other run of ours changes.

    Raises `MigrationUnderWay` at once where another run has it. Alembic takes no such lock: what others start by hand
    is not kept out. The session stays idle and outside of any transaction, so that nothing waits for it.
    """
    key = _key(session.database)
    # Waiting for the lock within a statement would hold a snapshot, and CREATE INDEX CONCURRENTLY waits for those.
    if not await session.fetch_value("SELECT pg_try_advisory_lock(%s)", (key,)):
        holders = await session.fetch_models(Blocker, _HOLDER, (key,))
        who = "; ".join(each.describe() for each in holders) or "it has just ended"
        raise MigrationUnderWay(
            f"Another run migrates the {session.describe()}: {who}.",
            remedy="Wait for its end, or look at it by 'rollback status'.",
        )
    try:
        # A server may end idle sessions; PostgreSQL 13 and older do not know how.
        await session.fetch("SELECT set_config(name, '0', false) FROM pg_settings WHERE name = 'idle_session_timeout'")
        yield MigrationLock(session, key)
    finally:
        # A session that was lost holds nothing any more.
        with suppress(RollbackError):
            await session.fetch_value("SELECT pg_advisory_unlock(%s)", (key,))


def _key(database: str) -> int:
    digest = hashlib.sha256(f"fundrbolt-rollback: migrations of {database}".encode()).digest()
    return int.from_bytes(digest[:8], signed=True)


async def blockers(session: Session, application: str) -> tuple[Blocker, ...]:
    """Who keeps alembic's session waiting, the longest transaction first; empty where it does not wait."""
    found = await session.fetch_models(Blocker, _BLOCKERS, (application,))
    return tuple(each.model_copy(update={"query": _first_words(each.query)}) for each in found)


def _first_words(query: str) -> str:
    """What kind of a statement it is, and on what; without values, which are in quotes or come later."""
    return blacken(" ".join(re.split(r"['$(]", query, maxsplit=1)[0].split()[:QUERY_WORDS]))


class HeldLock(Model):
    """The longest time for which a lock was held on a table or index."""

    relation: str
    mode: str
    """As in `pg_locks`."""
    seconds: float
    """At most: from the last look before it was seen to the first one after."""


class _Key(NamedTuple):
    pid: int
    relation: str
    mode: str


@dataclass
class LockWatch:
    """What was seen of the locks of alembic's session."""

    problem: str = ""
    """Why the watch ended early; what was seen until then is not all."""
    _begun: dict[_Key, float] = field(default_factory=dict[_Key, float])
    _longest: dict[tuple[str, str], float] = field(default_factory=dict[tuple[str, str], float])

    def longest(self) -> tuple[HeldLock, ...]:
        """Each lock that was seen, the longest first. Unknown, not empty, where there is a `problem`."""
        ordered = sorted(self._longest.items(), key=lambda item: -item[1])
        return tuple(HeldLock(relation=name, mode=mode, seconds=seconds) for (name, mode), seconds in ordered)

    def note(self, held: set[_Key], last: float, now: float) -> None:
        """Take one look: what is held, when the look before began, and when this one had ended."""
        for key in held:
            self._begun.setdefault(key, last)
        for key, begun in self._begun.items():
            place = (key.relation, key.mode)
            self._longest[place] = max(self._longest.get(place, 0.0), now - begun)
        self._begun = {key: begun for key, begun in self._begun.items() if key in held}


@asynccontextmanager
async def watch_locks(session: Session, application: str) -> AsyncGenerator[LockWatch]:
    """Watch the locks of alembic's session while the block goes on; `session` must serve for nothing else meanwhile."""
    watch = LockWatch()
    ends = asyncio.Event()
    watching = asyncio.create_task(_watch(session, application, watch, ends))
    try:
        yield watch
    finally:
        ends.set()
        await watching


async def _watch(session: Session, application: str, watch: LockWatch, ends: asyncio.Event) -> None:
    clock = asyncio.get_running_loop().time
    last = clock()
    try:
        while True:
            # Asked for before the look: the last one comes after the end.
            ended = ends.is_set()
            began = clock()
            rows = await session.fetch(_LOCKS, (application, list(NOTABLE)))
            watch.note({_Key(*row) for row in rows}, last, clock())
            last = began
            if ended:
                return
            with suppress(TimeoutError):
                async with asyncio.timeout(SAMPLE_SECONDS):
                    await ends.wait()
    except RollbackError as error:
        watch.problem = error.message
