"""A downgrade carried out once: under a lock of ours, and decided by what the database itself says.

Alembic commits each revision by itself, and its process may outlive ours or the tunnel to it. So the database is asked:
which revision it is at, whether a session of a migration of ours is still at work there, and whether a part is done.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, suppress

from rollback.context import Run
from rollback.convergence import Change, converge
from rollback.database import signing_in
from rollback.errors import (
    AzureUnreachable,
    MigrationCutOff,
    MigrationFailed,
    OperationInProgress,
    OutcomeUnknown,
    Permanent,
    PlanIsStale,
    RollbackError,
    Transient,
    WrongDatabase,
)
from rollback.journal import Event
from rollback.migrations import locking, places
from rollback.migrations.current import current_revisions
from rollback.migrations.locking import MigrationLock, MigrationUnderWay
from rollback.migrations.models import BASE, Down, Verdict
from rollback.migrations.places import Place
from rollback.migrations.plans import DowngradePlan
from rollback.migrations.sessions import APPLICATION, application_of, hand_over, sessions_at_work
from rollback.migrations.ways.way import Ended
from rollback.postgres.errors import ConnectionLost
from rollback.postgres.schema import read_schema
from rollback.postgres.session import Session
from rollback.postgres.url import DatabaseUrl

LOOK_SECONDS = 0.5
MOST_CUTS = 3
"""An alembic that is cut off so often is kept from its work by something that trying again does not mend."""
LAST_LINES = 8
LINE_CHARACTERS = 300
LOCK_TIMEOUT = ("LockNotAvailable", "lock timeout")
"""In PostgreSQL's words, and the driver's, about a statement that did not get its lock in time."""


class SessionLost(Permanent):
    """Our session on the database is gone, and the lock with it: nothing more may be sent under it."""


class Downgrader:
    """Takes one database down, as planned, one revision at a time."""

    def __init__(
        self,
        run: Run,
        plan: DowngradePlan,
        session: Session,
        lock: MigrationLock,
        url: DatabaseUrl,
        open_place: Callable[[], Awaitable[Place]],
    ) -> None:
        self._run = run
        self._plan = plan
        self._session = session
        self._lock = lock
        self._url = url
        self._open_place = open_place
        self._place: Place | None = None
        self._chain = [plan.current, *(each.down_revision or BASE for each in plan.path)]
        # Only the first one's is known from the plan; a part of a later one comes after changes that are told anyway.
        self._schema_before = {plan.current: plan.schema_now}
        self._cuts = 0

    async def downgrade(self) -> None:
        """Bring the database to the plan's target; raises `MigrationFailed` with alembic's last words."""
        for down, to in zip(self._plan.path, self._chain[1:], strict=True):
            await self._go_down(down, to)

    async def _go_down(self, down: Down, to: str) -> None:
        run, plan = self._run, self._plan
        change = Change(
            name=f"downgrade to {to}",
            doing=f"Taking the schema of '{plan.database}' down to {to}, in the {plan.way}.",
            done=f"The schema of '{plan.database}' is at revision {to}.",
            is_done=lambda: self._has_reached(to),
            send=lambda: self._send(down, to),
        )
        # What a rehearsal took on a server of the same size is no reason to interrupt it.
        rehearsed = 3 * plan.certificate.seconds if plan.certificate else 0.0
        within = plan.within_seconds + max(run.database.change_timeout_seconds, rehearsed)
        try:
            await converge(run, change, within, run.database.settle_seconds)
        except (OutcomeUnknown, OperationInProgress) as error:
            raise type(error)(
                f"Taking '{plan.database}' down to {to} did not end within {within:g} s: {await describe(run, plan)}.",
                remedy=f"Wait until no session '{APPLICATION}' is at work there, or end it by pg_terminate_backend.",
            ) from error
        part = _part_of(to)
        if part in run.journal.open_changes():
            run.journal.write(Event.CONFIRMED, change=part, text=change.done)

    async def _has_reached(self, to: str) -> bool:
        try:
            await self._until_nobody_migrates()
            return self._chain.index(await self._revision()) >= self._chain.index(to)
        except ConnectionLost as error:
            raise SessionLost(error.message, remedy=error.remedy) from error

    async def _revision(self) -> str:
        """The revision that the database is at; raises `PlanIsStale` where it is none of the plan's."""
        plan = self._plan
        found = await current_revisions(self._session, plan.user)
        revision = " and ".join(found) or BASE
        if revision not in self._chain:
            raise PlanIsStale(
                f"The database is at revision {revision}, and the plan goes from {plan.current} to {plan.target}.",
                remedy="Somebody else migrated it. Look at who, and begin again.",
            )
        return revision

    async def _until_nobody_migrates(self) -> None:
        """Wait until no session of a migration of ours is on the database: one that was cut off may still work."""
        told = False
        while pids := await sessions_at_work(self._session):
            if not told:
                self._run.note(f"A migration of ours is still at work there (pid {', '.join(map(str, pids))}).")
                told = True
            await asyncio.sleep(LOOK_SECONDS)

    async def _send(self, down: Down, to: str) -> None:
        """Run alembic, again where it did not get its locks; raises `MigrationFailed`, or what converging waits for."""
        clock = asyncio.get_running_loop().time
        ends = clock() + self._plan.within_seconds
        await self._require_whole(down, to, again=self._was_left_open(to))
        while True:
            ended = await self._run_alembic(to)
            if ended.status == 0 or await self._has_reached(to):
                return
            await self._require_whole(down, to, again=True, ended=ended)
            if ended.status is None:
                self._cuts += 1
                if self._cuts < MOST_CUTS:
                    raise MigrationCutOff(f"Alembic in the {self._plan.way} was cut off before it had done anything.")
            elif _is_blocked(ended) and clock() < ends:
                self._run.note("It did not get its locks in time, and is tried again.")
                await asyncio.sleep(LOOK_SECONDS)
                continue
            raise self._failed(ended, down)

    def _was_left_open(self, to: str) -> bool:
        """Whether an earlier sending of this change, or a part of it, ended without a word about what it did."""
        journal = self._run.journal
        told = [each.event for each in journal.entries if each.change == f"downgrade to {to}"]
        # The last one is the sending that is going on.
        return told[-2:-1] == [Event.SENDING] or _part_of(to) in journal.open_changes()

    async def _require_whole(self, down: Down, to: str, *, again: bool, ended: Ended | None = None) -> None:
        """Raise `MigrationFailed` where a part of a downgrade may be done: sent again, it would be done twice.

        `again`: it ran before. The revision tells nothing of what was committed in its middle; the schema does, and
        about rows nobody does.
        """
        schema = (await read_schema(self._session)).fingerprint
        before = self._schema_before.setdefault(down.revision, schema)
        moves_rows = again and {Verdict.NON_TRANSACTIONAL, Verdict.DATA_MOVING} <= set(down.verdicts)
        if schema == before and not moves_rows:
            return
        part = _part_of(to)
        words, then = (
            ("is done", "resume this run")
            if schema != before
            else ("may be done: it moves rows, and commits between", "begin again")
        )
        text = f"A part of the downgrade of {down.revision} {words}. The database still says {down.revision}."
        self._run.journal.write(Event.SENDING, change=part, text=text)
        if schema != before:
            self._run.journal.write(Event.CONFIRMED, change=part, text=text)
        raise MigrationFailed(
            f"{text} {_said(ended)}".strip(),
            remedy=f"Put it back as {down.revision} has it, and {then}; or do the rest by hand, let "
            f"alembic stamp {to}, and resume this run.",
        )

    async def _run_alembic(self, to: str) -> Ended:
        """Run it once, in the plan's place, and tell meanwhile who keeps it waiting."""
        run, plan = self._run, self._plan
        try:
            self._place = place = self._place or await self._open_place()
            if not await self._lock.held():
                raise SessionLost("Our lock on the database's migrations is gone.", remedy="Begin again.")
            run.check_lease()
            handed = hand_over(self._url, run.header.run, plan.lock_timeout_seconds)
            ends = asyncio.Event()
            naming = asyncio.create_task(self._name_blockers(ends))
            try:
                return await place.way.run(["downgrade", to], handed.url, handed.environment, self._tell)
            finally:
                ends.set()
                await naming
        except AzureUnreachable as error:
            # It is raised only as long as nothing was done.
            run.journal.write(Event.NO_EFFECT, change=f"downgrade to {to}", text=f"Not begun: {error.message}")
            raise

    def _tell(self, line: str) -> None:
        if "Running downgrade" in line:
            self._run.note(line)

    async def _name_blockers(self, ends: asyncio.Event) -> None:
        """Tell who keeps alembic waiting, each once."""
        told: set[int] = set()
        try:
            while not ends.is_set():
                for each in await locking.blockers(self._session, application_of(self._run.header.run)):
                    if each.pid not in told:
                        told.add(each.pid)
                        self._run.note(f"Waits for {each.describe()}.")
                with suppress(TimeoutError):
                    async with asyncio.timeout(LOOK_SECONDS):
                        await ends.wait()
        except RollbackError as error:
            self._run.note(f"Who keeps it waiting is not known any more: {error.message}")

    def _failed(self, ended: Ended, down: Down) -> MigrationFailed:
        where = f"The database is at revision {down.revision}."
        then = "resume this run: it goes on from there" if self._run.journal.confirmed_changes() else "begin again"
        if _is_blocked(ended):
            return MigrationFailed(
                f"Alembic did not get its locks within {self._plan.within_seconds:g} s. {where}",
                remedy=f"The notes of this step name who holds them: end these sessions, or wait; then {then}.",
            )
        if ended.status is None:
            return MigrationFailed(
                f"Alembic in the {self._plan.way} was cut off {self._cuts} times before it had done anything. {where}",
                remedy=f"Look at what ends it: the container's memory, its restarts, the tunnel. Then {then}.",
            )
        return MigrationFailed(
            f"Alembic in the {self._plan.way} ended with status {ended.status}. {where} {_said(ended)}",
            remedy=f"Mend what it says, then {then}.",
        )


def _part_of(to: str) -> str:
    return f"part of the downgrade to {to}"


def _is_blocked(ended: Ended) -> bool:
    return ended.status is not None and any(word in line for word in LOCK_TIMEOUT for line in ended.tail)


def _said(ended: Ended | None) -> str:
    """Alembic's last words."""
    lines = [line[:LINE_CHARACTERS] for line in ended.tail if line.strip()][-LAST_LINES:] if ended else []
    return f"It said: {' | '.join(lines)}" if lines else ""


async def downgrade(run: Run, plan: DowngradePlan) -> None:
    """Take the plan's database down to its target, once.

    Raises `WrongDatabase` where the secret leads elsewhere than the plan says, `PlanIsStale`, `MigrationFailed`.
    """
    clock = asyncio.get_running_loop().time
    ends: float | None = None
    while True:
        try:
            await _downgrade(run, plan)
        except (SessionLost, MigrationUnderWay, Transient) as error:
            # Only what was lost is waited for: our lock is held until the server has noticed.
            lost = isinstance(error, SessionLost)
            if not lost and ends is None:
                raise
            ends = ends or clock() + plan.within_seconds
            if clock() >= ends:
                raise
            run.note(f"Signing in again: {error.message}")
            await asyncio.sleep(LOOK_SECONDS)
        else:
            return


async def _downgrade(run: Run, plan: DowngradePlan) -> None:
    """The same, within one session."""
    url = await get_url(run, plan)
    async with (
        signing_in.administrator(run, plan.host, plan.database) as session,
        locking.one_at_a_time(session) as lock,
        AsyncExitStack() as opened,
    ):
        await require_same(plan, session)

        async def open_place() -> Place:
            return await opened.enter_async_context(places.open_place(run, plan))

        await Downgrader(run, plan, session, lock, url, open_place).downgrade()


async def get_url(run: Run, plan: DowngradePlan) -> DatabaseUrl:
    """The database's URL, from exactly the version of the secret that the plan names."""
    secret = await (await run.key_vault()).get_secret(plan.secret)
    url = DatabaseUrl.parse(secret.value.get_secret_value())
    if secret.version != plan.secret_version or (url.host, url.database, url.user) != (
        plan.host,
        plan.database,
        plan.user,
    ):
        raise WrongDatabase(
            f"Secret '{plan.secret}' is at version {secret.version} now and leads to '{url.database}' on '{url.host}'.",
            remedy=f"The plan was made for '{plan.database}' on '{plan.host}'. Begin again.",
        )
    return url


async def require_same(plan: DowngradePlan, session: Session) -> None:
    """Make sure that the server is the one of the plan, by PostgreSQL's own word; raises `WrongDatabase`."""
    system = await signing_in.read_system(session)
    if system != plan.system:
        raise WrongDatabase(
            f"'{plan.host}' leads to another database cluster than when the plan was made: system {system}.",
            remedy="Somebody exchanged the server behind this name. Begin again.",
        )


async def describe(run: Run, plan: DowngradePlan) -> str:
    """Where things stand, for a run that is cancelled."""
    try:
        async with signing_in.administrator(run, plan.host, plan.database) as session:
            found = await current_revisions(session, plan.user)
            at_work = await sessions_at_work(session)
    except RollbackError:
        return f"the revision of '{plan.database}' could not be read"
    working = f", and alembic is still at work there (pid {', '.join(map(str, at_work))})" if at_work else ""
    return f"'{plan.database}' is at revision {' and '.join(found) or BASE}{working}"
