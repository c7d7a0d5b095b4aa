"""That the server of the plan is the one in use: seen in both servers, not believed of the apps.

An app's sessions are known by its role and by the addresses it calls from. Where they also carry the instance's id in
their name, each instance has to be seen; where they do not, there have to be as many sessions as instances.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from rollback import probes
from rollback.context import Run
from rollback.database import maintenance, own_word, signing_in
from rollback.database.consumers import Consumer
from rollback.database.models import Server
from rollback.database.moves import MovePlan
from rollback.database.settings import WriteProbe
from rollback.errors import NotVerified, RollbackError
from rollback.postgres.session import Session
from rollback.postgres.sessions import DatabaseSession, list_sessions, sessions_of
from rollback.probes import Prober
from rollback.slots import PRODUCTION
from rollback.verification import verify_host

LOOK_SECONDS = 0.5
INSTANCE_DIGITS = 12
"""Of an instance's id, as much as an application's name usually carries."""
MOST_WRITES = 20
WRITE_PAUSE_SECONDS = 0.25
"""Before a write that failed is tried again: a bad build fails some of them and not all."""
CHANGES = """
SELECT coalesce(sum(n_tup_ins + n_tup_upd + n_tup_del), 0)::bigint FROM pg_stat_user_tables
WHERE %s::text IS NULL OR relid = to_regclass(%s)
"""


@dataclass(frozen=True)
class Instances:
    """An app with the instances that it has now."""

    consumer: Consumer
    ids: tuple[str, ...]


@dataclass(frozen=True)
class Seen:
    """The sessions that an app has, as far as they can be told from others'."""

    of: Instances
    sessions: tuple[DatabaseSession, ...]
    twins: tuple[Instances, ...]
    """Apps whose sessions look the same."""

    @property
    def with_twins(self) -> str:
        """Whose sessions are counted along, in words."""
        return f" together with {', '.join(each.consumer.name for each in self.twins)}" if self.twins else ""


async def prove(run: Run, plan: MovePlan, server: Server) -> list[str]:
    """Show that everything uses the plan's new server and nothing the one that is left; returns the evidence, in words.

    Raises `NotVerified` with what could not be seen.
    """
    apps = await run.apps()
    started = [each for each in plan.consumers if each.serves_again]
    instances = [Instances(each, await apps.list_instances(each)) for each in started]
    async with (
        signing_in.administrator(run, plan.source_host, plan.database) as old,
        signing_in.administrator(run, server.host, plan.database) as new,
    ):
        evidence = await _until_seen(run, plan, new, instances)
        evidence.append(await _show_write(run, plan, new))
        evidence.append(await _show_old_is_left(plan, old))
    evidence += await own_word.hear(run, await _public_host(run), server.host)
    return [*evidence, *await _show_health(run)]


async def _until_seen(run: Run, plan: MovePlan, new: Session, instances: Sequence[Instances]) -> list[str]:
    """Wait until every instance of every app has its sessions on the new server."""
    seconds = run.database.answer_timeout_seconds
    missing: list[str] = []
    try:
        async with asyncio.timeout(seconds):
            while True:
                sessions = await list_sessions(new)
                found = _tell_apart(plan, instances, sessions)
                missing = [problem for each in found if (problem := _missing(each))]
                if not missing:
                    return [_words(each, plan.target.name) for each in found]
                await asyncio.sleep(LOOK_SECONDS)
    except TimeoutError as error:
        raise NotVerified(
            f"Not everything is seen on '{plan.target.name}' after {seconds:g} s: {'; '.join(missing)}.",
            remedy="Look at these apps' logs; restart them if they hang. Then resume this run.",
        ) from error


def _tell_apart(
    plan: MovePlan, instances: Sequence[Instances], sessions: Sequence[DatabaseSession]
) -> tuple[Seen, ...]:
    """Each app's sessions: of the apps' role, from its addresses, and named by its instances where any are.

    Apps of one plan run on the same instances, and slots of one app also share its addresses: sessions that may be of
    either cannot be told apart, and have to be enough for all of them.
    """
    theirs = [session for session in sessions if session.foreign and session.user == plan.user]
    found = [(each, _sessions_of(each, theirs)) for each in instances]
    return tuple(
        Seen(each, mine, tuple(other for other, others in found if other is not each and set(mine) & set(others)))
        for each, mine in found
    )


def _sessions_of(each: Instances, sessions: Sequence[DatabaseSession]) -> tuple[DatabaseSession, ...]:
    near = tuple(session for session in sessions if session.address in each.consumer.addresses)
    named = tuple(session for session in near or sessions if _instances_named(each.ids, session))
    return named or near


def _instances_named(ids: Sequence[str], session: DatabaseSession) -> set[str]:
    return {each for each in ids if each[:INSTANCE_DIGITS] in session.application}


def _missing(seen: Seen) -> str:
    each, name = seen.of, seen.of.consumer.name
    if not seen.sessions:
        return f"{name} has no session"
    named = {identifier for session in seen.sessions for identifier in _instances_named(each.ids, session)}
    if named and len(named) < len(each.ids):
        return f"{name}: {len(each.ids) - len(named)} of {len(each.ids)} instances have no session"
    wanted = len(each.ids) + sum(len(twin.ids) for twin in seen.twins)
    if len(seen.sessions) < wanted:
        return f"{name}{seen.with_twins} has {len(seen.sessions)} sessions for {wanted} instances"
    return ""


def _words(seen: Seen, server: str) -> str:
    each = seen.of
    named = any(_instances_named(each.ids, session) for session in seen.sessions)
    how = "each instance seen by its id" if named else "instances cannot be told apart"
    return (
        f"{each.consumer.name}{seen.with_twins}: {len(seen.sessions)} sessions of {len(each.ids)} instances on "
        f"'{server}' ({how})"
    )


async def _show_write(run: Run, plan: MovePlan, new: Session) -> str:
    """Show that what is written through the app arrives in the new server's database."""
    probe = run.database.write_probe
    table = probe.table if probe else None

    async def changes() -> int:
        return int(await new.fetch_value(CHANGES, (table, table)))

    before = await changes()
    told = "a write of the users' own"
    if probe is not None:
        told = f"POST {probe.path}"
        told += await _write(run, probe)
    seconds = run.database.answer_timeout_seconds
    try:
        async with asyncio.timeout(seconds):
            # The server counts by itself: nothing here could be waited for but the next reading.
            while await changes() == before:  # noqa: ASYNC110
                await asyncio.sleep(LOOK_SECONDS)
    except TimeoutError as error:
        raise NotVerified(
            f"{told} did not arrive in '{plan.target.name}' within {seconds:g} s.",
            remedy="Look where the app writes to: its log, and the sessions on both servers.",
        ) from error
    return f"{told[0].upper()}{told[1:]} through the app arrived in '{plan.target.name}'"


async def _write(run: Run, probe: WriteProbe) -> str:
    """Write through the app, and again where that fails: a bad build may fail some; returns how often it did."""
    host = await _public_host(run)
    failed: list[str] = []
    async with probes.connect(run.backend.probes) as client:
        prober = Prober(client, host, run.backend.probes)
        while len(failed) < MOST_WRITES:
            answer = await prober.post(probe.path, probe.body)
            if not answer.problem:
                return f" ({len(failed)} tries before it failed: {failed[-1]})" if failed else ""
            failed.append(answer.problem)
            await asyncio.sleep(WRITE_PAUSE_SECONDS)
    raise NotVerified(
        f"POST {probe.path} through the app failed {len(failed)} times: {failed[-1]}.", remedy="Look at the app's log."
    )


async def _show_old_is_left(plan: MovePlan, old: Session) -> str:
    addresses = {address for each in plan.consumers for address in each.addresses}
    left = sessions_of(await list_sessions(old), user=plan.user, addresses=addresses)
    if left:
        raise NotVerified(
            f"'{plan.source.name}' still has {len(left)} sessions of the apps: {left[0].describe()}.",
            remedy="They can write nothing there. Restart these apps, then resume this run.",
        )
    return f"'{plan.source.name}' has no session of the apps"


async def _public_host(run: Run) -> str:
    if run.backend.public_url:
        return run.backend.public_url
    return f"https://{(await (await run.app_service()).get_slot(PRODUCTION)).host}"


async def _show_health(run: Run) -> list[str]:
    settings = run.backend.probes
    async with probes.connect(settings) as client:
        prober = Prober(client, await _public_host(run), settings)
        found = await verify_host(prober, settings, None, settings.verify_within_seconds)
    if found.problems:
        raise NotVerified(
            f"{found.host}: {'; '.join(found.problems)}.", remedy="Look at it as a user would: the data is in place."
        )
    return [f"{found.host}: {each}" for each in found.evidence]


async def describe(run: Run, plan: MovePlan) -> str:
    """Where things stand, for a run that is cancelled."""
    secret = await (await run.key_vault()).get_secret(plan.secret)
    apps = await run.apps()
    running = [each.name for each in plan.consumers if await apps.is_running(each)]
    names = plan.source.name if secret.version == plan.secret_version else plan.target.name
    try:
        parameter = await (await run.servers()).get_parameter(plan.source, plan.read_only.name)
        fenced = "fenced" if parameter.value == "on" else "not fenced"
    except RollbackError:
        fenced = "in a state that could not be read"
    stopped = [each.name for each in plan.consumers if each.name not in running]
    told = f"; stopped: {', '.join(stopped)}" if stopped else ""
    maintained = [each.name for each in plan.consumers if await maintenance.is_on(run, each)]
    told += f"; in maintenance mode: {', '.join(maintained)}" if maintained else ""
    return (
        f"the secret names '{names}', '{plan.source.name}' is {fenced}, running: {', '.join(running) or 'none'}{told}"
    )
