"""A downgrade tried on a scratch restore of the same server: down, up and down again. Production is not touched."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from psycopg.sql import SQL, Identifier

from rollback.context import Run
from rollback.database import signing_in
from rollback.database.models import Server
from rollback.database.surveying import Survey
from rollback.errors import RehearsalFailed, RollbackError
from rollback.migrations import locking, places
from rollback.migrations.certificates import WAIVED, Certificate
from rollback.migrations.contents import Contents, is_planned, lost_between, read_contents
from rollback.migrations.current import current_revisions
from rollback.migrations.locking import HeldLock
from rollback.migrations.models import BASE, Lost
from rollback.migrations.plans import Counted, DowngradePlan
from rollback.migrations.running import LAST_LINES, get_url
from rollback.migrations.scratch import Scratch
from rollback.migrations.sessions import application_of, hand_over
from rollback.migrations.ways.way import Way
from rollback.models import now
from rollback.postgres.connection import Limits
from rollback.postgres.schema import Schema, compare, read_schema
from rollback.postgres.session import Session
from rollback.postgres.url import DatabaseUrl

FRESH = "rollback_fresh"
"""The database on the scratch server that is made from nothing, to compare with."""


class Rehearsal:
    """One way down, tried on one scratch server."""

    def __init__(self, run: Run, plan: DowngradePlan, way: Way, server: Server, url: DatabaseUrl) -> None:
        self._run = run
        self._plan = plan
        self._way = way
        self._server = server
        self._url = url
        self._problems: list[str] = []
        self._locks: tuple[HeldLock, ...] = ()

    async def rehearse(self) -> Certificate:
        """What it comes to; raises `RehearsalFailed` where alembic fails on the way."""
        run, plan, loop = self._run, self._plan, asyncio.get_running_loop()
        await self._bring_to_current()
        before, rows = await self._schema(), await self._contents()
        await self._hold_against_production(before)
        began = loop.time()
        await self._watched("downgrade", plan.target)
        seconds = loop.time() - began
        below = await self._schema()
        await self._alembic("upgrade", plan.current)
        self._hold_against("up again, the schema is not what it was (first)", before, await self._schema())
        again = await self._contents()
        lost = lost_between(rows, again)
        self._hold_against_plan(lost)
        await self._alembic("downgrade", plan.target)
        self._hold_against("down again, it is not what it was below (first)", below, await self._schema())
        await self._hold_against_fresh(below)
        return Certificate(
            current=plan.current,
            target=plan.target,
            scripts=plan.scripts,
            rehearsed_at=now(),
            run=run.header.run,
            seconds=seconds,
            locks=self._locks,
            schema_before=plan.schema_now,
            schema_then=below.fingerprint,
            problems=tuple(self._problems),
            found_lost=tuple(_name(each) for each in lost),
            unread=tuple(dict.fromkeys((*rows.unread, *again.unread))),
        )

    async def _bring_to_current(self) -> None:
        """The newest instant that can be restored may be from before the last migration, up or down."""
        for direction in ("", "upgrade", "downgrade"):
            if direction:
                await self._alembic(direction, self._plan.current)
            async with self._session() as session:
                found = await current_revisions(session, self._plan.user)
            if found == (self._plan.current,):
                return
        raise RehearsalFailed(
            f"The scratch server is at revision {' and '.join(found) or BASE}, and does not come to "
            f"{self._plan.current}, where production is.",
            remedy="Begin again in some minutes, when a later instant can be restored.",
        )

    def _hold_against(self, what: str, wanted: Schema, found: Schema) -> None:
        self._problems += [f"{what}: {each}" for each in compare(wanted, found)]

    async def _hold_against_production(self, before: Schema) -> None:
        async with signing_in.administrator(self._run, self._plan.host, self._plan.database) as session:
            production = await read_schema(session)
        self._hold_against("the restore has another schema than production (first)", production, before)

    def _hold_against_plan(self, lost: tuple[Lost, ...]) -> None:
        planned = tuple(each.lost for each in self._plan.losses)
        self._problems += [
            f"lost, and not in the plan: {_name(each)}" for each in lost if not is_planned(each, planned)
        ]

    async def _hold_against_fresh(self, below: Schema) -> None:
        """Compare with an empty database that was taken up to the target."""
        target = self._plan.target
        name, owner = Identifier(FRESH), Identifier(self._plan.user)
        async with self._session(read_only=False) as session:
            await session.execute(SQL("CREATE DATABASE {}").format(name))
        async with self._session(FRESH, read_only=False) as session:
            await session.execute(SQL("GRANT CREATE, USAGE ON SCHEMA public TO {}").format(owner))
        if target != BASE:
            try:
                await self._alembic("upgrade", target, url=self._url.with_database(FRESH))
            except RehearsalFailed as error:
                self._problems.append(f"a fresh database does not come to {target}: {error.message}")
                return
        self._hold_against(f"a fresh database at {target} (first) has another schema", await self._schema(FRESH), below)

    async def _alembic(self, *arguments: str, url: DatabaseUrl | None = None) -> None:
        handed = hand_over(url or self._url, self._run.header.run, self._plan.lock_timeout_seconds)
        ended = await self._way.run(arguments, handed.url, handed.environment, lambda _: None)
        if ended.status != 0:
            said = " | ".join(line for line in ended.tail[-LAST_LINES:] if line.strip())
            how = "was cut off" if ended.status is None else f"ended with status {ended.status}"
            raise RehearsalFailed(
                f"alembic {' '.join(arguments)} on the scratch server {how}: {said}",
                remedy="It may do so in production. Repair the revision, or restore the database instead. Without a "
                "rehearsal: rehearse=false.",
            )
        self._run.note(f"alembic {' '.join(arguments)} went well on '{self._server.id.name}'.")

    async def _watched(self, *arguments: str) -> None:
        """Run alembic, and keep how long it held which locks."""
        async with (
            self._session() as session,
            locking.watch_locks(session, application_of(self._run.header.run)) as held,
        ):
            await self._alembic(*arguments)
        self._locks = held.longest()
        if held.problem:
            self._problems.append(f"how long locks were held is not known: {held.problem}")

    async def _schema(self, database: str = "") -> Schema:
        async with self._session(database) as session:
            return await read_schema(session)

    async def _contents(self) -> Contents:
        self._run.note(f"Reading all rows of '{self._plan.database}' on '{self._server.id.name}'.")
        limits = Limits(statement_seconds=self._run.database.compare_timeout_seconds)
        async with self._session(limits=limits) as session:
            return await read_contents(session)

    @asynccontextmanager
    async def _session(
        self, database: str = "", *, read_only: bool = True, limits: Limits | None = None
    ) -> AsyncGenerator[Session]:
        async with signing_in.administrator(
            self._run, self._server.host, database or self._plan.database, read_only=read_only, limits=limits
        ) as session:
            yield session


def _name(lost: Lost) -> str:
    return Counted(lost=lost, count=None).name


async def rehearse(run: Run, plan: DowngradePlan) -> tuple[Certificate, str]:
    """Rehearse on a scratch server, which is deleted and seen to be gone, whatever comes of it.

    Returns the certificate, and in words what could not be deleted; empty where nothing is left.
    """
    url = await get_url(run, plan)
    source = await Survey(run).find_source(url)
    scratch = Scratch(run, source, plan.database)
    run.where_things_stand = scratch.describe
    await scratch.clear()
    try:
        async with places.open_place(run, plan) as place:
            server = await scratch.make()
            made = await Rehearsal(run, plan, place.way, server, url.with_host(server.host)).rehearse()
    except RollbackError as error:
        if left := await scratch.delete():
            raise RehearsalFailed(f"{error.message} {left}", remedy=f"{error.remedy} Delete that server.") from error
        raise
    except BaseException:
        # Cancelled, or out of time: what is left then is told by `describe`.
        await scratch.delete()
        raise
    return made, await scratch.delete()


def require_good(certificate: Certificate, plan: DowngradePlan) -> None:
    """Raise `RehearsalFailed` where the rehearsal found what speaks against it, unless it is waived."""
    if certificate.problems and WAIVED not in plan.named:
        raise RehearsalFailed(
            f"The rehearsal came out wrong: {'; '.join(certificate.problems)}.",
            remedy=f"Repair the revisions, or waive '{WAIVED}'. Nothing was touched in production.",
        )
