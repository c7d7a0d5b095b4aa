"""What a downgrade would do: from which revision to which, by which scripts, and what is lost. Only reads."""

from dataclasses import dataclass

from rollback.compatibility import span
from rollback.context import Run
from rollback.database import signing_in
from rollback.database.models import RUN_TAG, Server
from rollback.database.surveying import Survey
from rollback.errors import DowngradeUnfit, PlanIsStale
from rollback.key_vault import SecretVersion
from rollback.migrations import places
from rollback.migrations.certificates import WAIVED, Certificate
from rollback.migrations.counting import count_losses
from rollback.migrations.current import current_revisions
from rollback.migrations.graph import read_graph
from rollback.migrations.models import BASE, Down, Graph, Verdict
from rollback.migrations.places import Place
from rollback.migrations.plans import Counted, DowngradePlan
from rollback.migrations.scratch import leftovers
from rollback.migrations.sessions import can_see_all
from rollback.permissions import ACTIONS, REHEARSE, REHEARSE_SOURCE, check_granted_in_group
from rollback.postgres.schema import read_schema
from rollback.postgres.session import Session
from rollback.postgres.url import DatabaseUrl
from rollback.slots import PRODUCTION

PROCEDURE = "downgrade-database"
SEVERAL_HEADS = "several-heads"
"""What is waived by this name, where others are waived by their revision."""
SERVING = "serving"
UNFIT = frozenset({Verdict.RAISING, Verdict.EMPTY})


@dataclass(frozen=True)
class Found:
    """The database that is taken down."""

    secret: SecretVersion
    url: DatabaseUrl
    server: Server
    system: str | None
    revision: str


class DowngradePlanner:
    """Plans the downgrade of one environment's schema."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._settings = run.settings.migrations(run.header.environment)
        self._survey = Survey(run)

    async def plan(self, target: str, rehearse: bool | None, waive: tuple[str, ...]) -> DowngradePlan:
        """The plan; raises a `Refused` that says why not."""
        run = self._run
        await (await run.app_service()).check_permissions(ACTIONS[PROCEDURE])
        secret = await (await run.key_vault()).get_secret(run.database.secret)
        url = DatabaseUrl.parse(secret.value.get_secret_value())
        server = await self._survey.find_source(url)
        async with signing_in.administrator(run, server.host, url.database) as session:
            await _require_sight(session)
            system = await signing_in.read_system(session)
            revision = _one(await current_revisions(session, url.user))
            found = Found(secret, url, server, system, revision)
            async with places.find_place(run, revision) as place:
                graph = await read_graph(place.sources)
                absolute = graph.resolve(target, revision)
                path = graph.path(revision, absolute)
                _require_straight(path)
                self._require_fit(graph, path, waive, await self._why_not_serve(absolute))
                return await self._build(session, found, place, absolute, path, rehearse, waive)

    async def _build(
        self,
        session: Session,
        found: Found,
        place: Place,
        target: str,
        path: tuple[Down, ...],
        rehearse: bool | None,
        waive: tuple[str, ...],
    ) -> DowngradePlan:
        run, settings = self._run, self._settings
        losses = tuple(dict.fromkeys(loss for each in path for loss in each.losses))
        counted = await count_losses(session, losses)
        scripts = place.fingerprint(path)
        schema = (await read_schema(session)).fingerprint
        kept = run.store.certificates(run.header.environment).find(found.revision, target, scripts, schema)
        if kept and kept.problems and WAIVED not in waive:
            _hold_against(kept, again=bool(rehearse))
            kept = None
        wanted = bool(settings.rehearsal_resource_group) if rehearse is None else rehearse
        if wanted and path and kept is None:
            await self._check_rehearsal(found.server)
        return DowngradePlan(
            procedure=PROCEDURE,
            environment=run.header.environment,
            reason=run.header.reason,
            server=found.server.id.name,
            host=found.url.host,
            system=found.system,
            vault=run.database.vault,
            secret=run.database.secret,
            secret_version=found.secret.version,
            database=found.url.database,
            user=found.url.user,
            current=found.revision,
            target=target,
            path=path,
            named=tuple(sorted(set(waive))),
            way=place.way.name,
            slot=place.slot,
            release=place.release,
            scripts=scripts,
            schema_now=schema,
            lock_timeout_seconds=settings.lock_timeout_seconds,
            within_seconds=settings.within_seconds,
            losses=tuple(Counted(lost=lost, count=count) for lost, count in counted),
            rehearse=wanted,
            certificate=kept,
            already_there=not path,
            warnings=(*self._survey.warnings, *_warnings(path), *([] if wanted or kept else [NOT_REHEARSED])),
        )

    async def _check_rehearsal(self, server: Server) -> None:
        """Make sure that a scratch server could be made and deleted; raises `DowngradeUnfit`, `PermissionMissing`."""
        group = self._settings.rehearsal_resource_group
        if not group:
            raise DowngradeUnfit(
                "There is no place to rehearse in.",
                remedy="Name rehearsal_resource_group in the environment's [migrations], or say rehearse=false.",
            )
        await (await self._run.servers()).check_permissions(server.id, REHEARSE_SOURCE)
        await check_granted_in_group(await self._run.connection(), group, REHEARSE)
        self._survey.warnings += [
            f"Scratch server '{each.id.name}' of run {each.tags[RUN_TAG]} is there: it holds a copy of the data."
            for each in await leftovers(self._run, server)
        ]

    async def _why_not_serve(self, target: str) -> str:
        """Why what serves could not go on with the lower schema; empty where it can, or nobody knows."""
        serving = (await (await self._run.app_service()).get_slot(PRODUCTION)).build
        release = self._run.manifest.releases.get(serving.release or "")
        if release is None or not release.usable:
            self._survey.warnings.append(f"Whether {serving.name}, which serves, runs on {target} is unknown.")
            return ""
        return "" if target in release.usable else f"{serving.name} serves, and runs on {span(release.usable)} only"

    def _require_fit(self, graph: Graph, path: tuple[Down, ...], waive: tuple[str, ...], why_not: str) -> None:
        """Raise `DowngradeUnfit` with everything that speaks against it and is not waived by name."""
        against = [
            (each.revision, f"{each.revision} ({each.title}) is {verdict}: {reason}")
            for each in path
            for verdict, reason in zip(each.verdicts, each.reasons, strict=True)
            if verdict in UNFIT
        ]
        if len(graph.heads) > 1:
            against.append((SEVERAL_HEADS, f"there are several heads: {', '.join(graph.heads)}"))
        if why_not and path:
            against.append((SERVING, why_not))
        self._survey.warnings += [f"Waived as '{name}': {why}." for name, why in against if name in waive]
        if left := [(name, why) for name, why in against if name not in waive]:
            raise DowngradeUnfit(
                f"This way down is not fit: {'; '.join(why for _, why in left)}.",
                remedy="Repair the revisions, roll the backend back first, or restore the database instead. To go on "
                f"all the same, waive: {', '.join(dict.fromkeys(name for name, _ in left))}.",
            )


def _hold_against(kept: Certificate, *, again: bool) -> None:
    """Raise `DowngradeUnfit` with what the last rehearsal found, unless another one is asked for."""
    if not again:
        raise DowngradeUnfit(
            f"It was rehearsed: {kept.words}.",
            remedy=f"Repair the revisions. Or rehearse again: rehearse=true. To go on all the same, waive: {WAIVED}.",
        )


NOT_REHEARSED = "It is not rehearsed: how long it holds its locks, and that it works at all, is not known."


def _warnings(path: tuple[Down, ...]) -> tuple[str, ...]:
    told = [
        f"{each.revision}: what it loses cannot be told in full; a rehearsal finds out."
        for each in path
        if not each.complete
    ]
    return tuple(told)


def _one(revisions: tuple[str, ...]) -> str:
    if len(revisions) != 1:
        found = f"several revisions: {', '.join(revisions)}" if revisions else "no revision of alembic's"
        raise DowngradeUnfit(
            f"The database is at {found}.",
            remedy="Only a database at one revision can be taken down by this procedure.",
        )
    return revisions[0]


def _require_straight(path: tuple[Down, ...]) -> None:
    """Raise `DowngradeUnfit` where the database would be at several revisions between the two."""
    nexts = [*(each.revision for each in path[1:]), path[-1].down_revision] if path else []
    for each, below in zip(path, nexts, strict=True):
        if each.merged or each.depends_on or each.down_revision != below:
            raise DowngradeUnfit(
                f"The way down leads through {each.revision} ({each.title}), where branches meet: below it the "
                "database is at several revisions.",
                remedy="Name a target above it, run alembic there by hand, or restore the database instead.",
            )


async def _require_sight(session: Session) -> None:
    if not await can_see_all(session):
        raise DowngradeUnfit(
            f"Our role on the {session.describe()} is not shown the sessions of others.",
            remedy="GRANT pg_monitor to it: whether alembic is still at work is told by its session.",
        )


async def check_still_holds(run: Run, plan: DowngradePlan) -> None:
    """Make sure that secret, cluster, revision and schema are still the plan's; raises `PlanIsStale`."""
    secret = await (await run.key_vault()).get_secret(plan.secret)
    if secret.version != plan.secret_version:
        raise PlanIsStale(
            f"Secret '{plan.secret}' has a new version since the plan was made: {secret.version}.",
            remedy="Nothing was touched. Begin again.",
        )
    async with signing_in.administrator(run, plan.host, plan.database) as session:
        system = await signing_in.read_system(session)
        revisions = await current_revisions(session, plan.user)
        schema = await read_schema(session)
    if system != plan.system or revisions != (plan.current,):
        raise PlanIsStale(
            f"'{plan.database}' on '{plan.host}' is at revision {' and '.join(revisions) or BASE}.",
            remedy=f"The plan was made for revision {plan.current}, and this very cluster. Begin again.",
        )
    if schema.fingerprint != plan.schema_now:
        raise PlanIsStale(
            f"The schema of '{plan.database}' was changed since the plan was made, and its revision was not.",
            remedy="Look at who changes it by hand. Begin again.",
        )
