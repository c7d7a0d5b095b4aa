"""Which server is restored, to when, under which name, and who follows: the plan of a restore.

Only reads. Whatever speaks against it is refused here, with what is known and what to do, before anything is touched.
"""

import re
from datetime import UTC, datetime, timedelta

from rollback.context import Run
from rollback.database import signing_in
from rollback.database.consumers import RUNNING, App, Consumer, Reference
from rollback.database.loss import estimate
from rollback.database.models import READ_ONLY, Server, ServerId
from rollback.database.plans import RestorePlan
from rollback.errors import (
    ConsumerUnfit,
    OperationInProgress,
    PlanIsStale,
    Refused,
    ResourceMissing,
    RestorePointInvalid,
    SecretUnusable,
)
from rollback.key_vault import SecretVersion
from rollback.models import now
from rollback.permissions import ACTIONS, SERVER_ACTIONS
from rollback.postgres.url import DatabaseUrl
from rollback.settings import StopWrites
from rollback.slots import PRODUCTION

PROCEDURE = "restore-database"
NEWEST_LAG = timedelta(minutes=5)
"""Azure archives what was written at the latest after this time; a later point may be refused."""
LONGEST_NAME = 63
MOST_NAMES = 9


def parse_restore_point(text: str) -> datetime:
    """The instant that is meant, in UTC; raises `RestorePointInvalid` for one without a time zone."""
    example = "Write it as 2026-03-01T10:02:13Z or 2026-03-01T05:02:13-05:00."
    try:
        point = datetime.fromisoformat(text.strip())
    except ValueError as error:
        raise RestorePointInvalid(f"'{text}' is not a restore point.", remedy=example) from error
    if point.tzinfo is None:
        raise RestorePointInvalid(f"Restore point '{text}' has no time zone.", remedy=example)
    return point.astimezone(UTC)


class RestorePlanner:
    """Plans the restore of one environment's database."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._settings = run.database
        groups = {each.backend.resource_group for each in run.settings.environments.values()}
        self._groups = (run.backend.resource_group, *sorted(groups - {run.backend.resource_group}))
        self._warnings: list[str] = []

    async def plan(self, point: datetime, stop_writes: StopWrites, waived: tuple[str, ...]) -> RestorePlan:
        """The plan; raises a `Refused` that says why not."""
        run, database = self._run, self._settings
        await (await run.app_service()).check_permissions(ACTIONS[PROCEDURE])
        secret = await (await run.key_vault()).get_secret(database.secret)
        url = DatabaseUrl.parse(secret.value.get_secret_value())
        source = await self.find_source(url)
        await (await run.servers()).check_permissions(source.id, SERVER_ACTIONS[PROCEDURE])
        self._check_point(source, point)
        consumers = await self.find_consumers(secret, source)
        servers = await run.servers()
        settings = await servers.get_settings(source)
        async with signing_in.administrator(run, source.host, url.database) as session:
            system = await signing_in.read_system(session)
            bill = await estimate(session, point)
        await signing_in.check_password(run, url, source.host)
        return RestorePlan(
            procedure=PROCEDURE,
            environment=run.header.environment,
            reason=run.header.reason,
            source=source.id,
            source_host=source.host,
            source_system=system,
            private=source.is_private,
            new=await self._free_name(source, point),
            point=point,
            stop_writes=stop_writes,
            vault=database.vault,
            secret=database.secret,
            secret_version=secret.version,
            database=url.database,
            user=url.user,
            consumers=consumers,
            settings=settings,
            read_only=await servers.get_parameter(source.id, READ_ONLY),
            waived=waived,
            tolerance_rows=database.tolerance_rows,
            tolerance_share=database.tolerance_share,
            estimated=bill,
            observations=self._observations(source),
            warnings=(*self._warnings, *await self._build_warning()),
        )

    async def find_source(self, url: DatabaseUrl) -> Server:
        """The server whose address is in the secret."""
        servers = await (await self._run.servers()).list_servers(self._groups)
        source = next((each for each in servers if each.host.lower() == url.host.lower()), None)
        if source is None:
            raise ResourceMissing(
                f"Secret '{self._settings.secret}' names host '{url.host}', and no flexible server has that name.",
                remedy="Let the secret name the server's own host, not an alias, and check the subscription.",
            )
        if source.state != "Ready":
            raise OperationInProgress(
                f"The {source.id} is {source.state.lower()}, not ready.",
                remedy="Wait until it is, or start it: az postgres flexible-server start.",
            )
        if url.port != 5432:
            raise SecretUnusable(
                f"Secret '{self._settings.secret}' names port {url.port}: a connection pooler in front of the server.",
                remedy="Only the server's own port 5432 is known to follow.",
            )
        return source

    def _check_point(self, source: Server, point: datetime) -> None:
        earliest, newest = source.earliest_restore_point, now()
        window = f"{_words(earliest)} to {_words(newest)}" if earliest else "nothing yet: there is no backup"
        if earliest is None or not earliest <= point <= newest:
            raise RestorePointInvalid(
                f"Restore point {_words(point)} is not within what '{source.id.name}' can be restored to: {window}.",
                remedy="Choose an instant in this window, as shortly before the damage as is known.",
            )
        if newest - point < NEWEST_LAG:
            self._warnings.append(
                f"The restore point is less than {NEWEST_LAG.seconds // 60} minutes old: Azure may not have archived "
                "it yet and refuse it; then begin again a little later."
            )

    def _observations(self, source: Server) -> tuple[str, ...]:
        earliest = source.earliest_restore_point
        return (f"'{source.id.name}' can be restored from {_words(earliest)} on",) if earliest else ()

    async def _free_name(self, source: Server, point: datetime) -> ServerId:
        stem = re.sub(r"-r\d{10}(-\d)?$", "", source.id.name)
        name = f"{stem[: LONGEST_NAME - 14]}-r{point:%y%m%d%H%M}"
        servers = await self._run.servers()
        why = ""
        for candidate in (name, *(f"{name}-{number}" for number in range(2, MOST_NAMES + 1))):
            new = ServerId(resource_group=source.id.resource_group, name=candidate)
            if await servers.find(new) is None and (why := await servers.why_not_free(candidate)) is None:
                return new
        raise Refused(
            f"No name for the new server is free, from '{name}' on. {why}",
            remedy="Delete servers of earlier tries that nobody needs.",
        )

    async def find_consumers(self, secret: SecretVersion, source: Server) -> tuple[Consumer, ...]:
        """Every app and slot whose settings refer to the secret; raises `ConsumerUnfit` for one that cannot follow."""
        apps = await self._run.apps()
        found, whole = await apps.list_apps(self._groups)
        if not whole:
            self._warnings.append(
                f"Only apps of {', '.join(self._groups)} could be looked at: others may use the database too."
            )
        consumers: list[Consumer] = []
        for app in found:
            references = await apps.list_references(app)
            mine = [each for each in references if each.is_to(self._settings.vault, self._settings.secret)]
            if mine:
                self._check_references(app, mine, secret)
                consumers.append(self._consumer(app, mine))
        self._check_declared(consumers, source)
        return tuple(sorted(consumers, key=lambda each: (each.app != self._run.backend.app, each.name)))

    def _check_references(self, app: App, references: list[Reference], secret: SecretVersion) -> None:
        name = app.app if app.slot == PRODUCTION else f"{app.app}/{app.slot}"
        for each in references:
            if each.pinned_to:
                raise ConsumerUnfit(
                    f"Setting {each.setting} of {name} refers to version {each.pinned_to} of the secret: it never "
                    "follows to another.",
                    remedy=f"Let it name the secret without a version: @Microsoft.KeyVault(SecretUri=https://"
                    f"{self._settings.vault}.vault.azure.net/secrets/{secret.name}/). Nothing was touched.",
                )
            if each.status != "Resolved":
                raise ConsumerUnfit(
                    f"Setting {each.setting} of {name} cannot be resolved now: {each.status}.",
                    remedy="Give the app's identity the role 'Key Vault Secrets User' on the vault; look at its "
                    "reference in the portal. Nothing was touched.",
                )
            if each.active_version and each.active_version != secret.version:
                self._warnings.append(f"{name} still uses version {each.active_version} of the secret.")

    def _consumer(self, app: App, references: list[Reference]) -> Consumer:
        declared = app.app == self._run.backend.app or app.app in self._settings.workers
        return Consumer(
            resource_group=app.resource_group,
            app=app.app,
            slot=app.slot,
            host=app.host,
            settings=tuple(sorted(each.setting for each in references)),
            was_running=app.state == RUNNING,
            addresses=app.addresses,
            how="named in the platform file" if declared else "found by its reference",
        )

    def _check_declared(self, consumers: list[Consumer], source: Server) -> None:
        known = {each.app for each in consumers}
        for name in (self._run.backend.app, *self._settings.workers):
            if name not in known:
                raise ConsumerUnfit(
                    f"App '{name}' has no setting that refers to secret '{self._settings.secret}' of vault "
                    f"'{self._settings.vault}': it would go on using '{source.id.name}'.",
                    remedy="Let its database setting be a reference to the secret, or mend the platform file.",
                )

    async def _build_warning(self) -> tuple[str, ...]:
        serving = (await (await self._run.app_service()).get_slot(PRODUCTION)).build
        return (f"{serving.name} goes on serving, on the restored data: if it did the damage, roll it back first.",)


async def check_still_holds(run: Run, plan: RestorePlan) -> None:
    """Read the plan's basis again before the first change; raises `PlanIsStale` with what moved."""
    secret = await (await run.key_vault()).get_secret(plan.secret)
    planner = RestorePlanner(run)
    moved: list[str] = []
    if secret.version != plan.secret_version:
        moved.append(f"secret '{plan.secret}' has version {secret.version}, not {plan.secret_version}")
    source = await planner.find_source(DatabaseUrl.parse(secret.value.get_secret_value()))
    if source.id != plan.source:
        moved.append(f"the secret names {source.id}")
    now_found = {each.name for each in await planner.find_consumers(secret, source)}
    planned = {each.name for each in plan.consumers}
    if now_found != planned:
        moved.append(f"it is used by {', '.join(sorted(now_found))}")
    if (await (await run.servers()).get_settings(source)) != plan.settings:
        moved.append(f"settings of '{source.id.name}' changed")
    if moved:
        raise PlanIsStale(f"Things changed since the plan was made: {'; '.join(moved)}.", remedy="Plan again.")


def _words(at: datetime | None) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S} UTC" if at else "nothing"
