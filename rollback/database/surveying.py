"""The database in use as it is now: the server that the secret names, and every app that reads the secret.

Only reads. Whatever could not follow to another server is refused here, with what is known and what to do.
"""

from collections.abc import Callable

from rollback.context import Run
from rollback.database import maintenance
from rollback.database.consumers import RUNNING, App, Consumer, Reference
from rollback.database.models import Server
from rollback.database.moves import MovePlan
from rollback.errors import ConsumerUnfit, OperationInProgress, PlanIsStale, ResourceMissing, SecretUnusable
from rollback.key_vault import SecretVersion
from rollback.permissions import READ_SERVER, check_may_set
from rollback.postgres.url import DatabaseUrl
from rollback.slots import PRODUCTION


class Survey:
    """Looks at one environment's database."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._settings = run.database
        groups = {each.backend.resource_group for each in run.settings.environments.values()}
        self._groups = (run.backend.resource_group, *sorted(groups - {run.backend.resource_group}))
        self.warnings: list[str] = []
        """What was seen on the way that the operator should know."""

    async def find_source(self, url: DatabaseUrl) -> Server:
        """The server whose address is in the secret."""
        servers = await (await self._run.servers()).list_servers(self._groups)
        source = next((each for each in servers if each.host.lower() == url.host.lower()), None)
        if source is None:
            raise ResourceMissing(
                f"Secret '{self._settings.secret}' names host '{url.host}', and no flexible server has that name.",
                remedy="Let the secret name the server's own host, not an alias; check the subscription, and that the "
                f"credential has {READ_SERVER}.",
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

    async def check_may_cut_over(self) -> None:
        """Make sure now that the secret can be given its new version then: users are away in between."""
        warning = await check_may_set(await self._run.connection(), self._settings.vault, self._settings.secret)
        self.warnings += [warning] if warning else []

    async def find_consumers(self, secret: SecretVersion, source: Server) -> tuple[Consumer, ...]:
        """Every app and slot whose settings refer to the secret; raises `ConsumerUnfit` for one that cannot follow."""
        apps = await self._run.apps()
        found, whole = await apps.list_apps(self._groups)
        if not whole:
            self.warnings.append(
                f"Only apps of {', '.join(self._groups)} could be looked at: others may use the database too."
            )
        consumers: list[Consumer] = []
        for app in found:
            references = await apps.list_references(app)
            mine = [each for each in references if each.is_to(self._settings.vault, self._settings.secret)]
            if mine:
                self._check_references(app, mine, secret)
                mode = await maintenance.plan_for(self._run, app)
                consumers.append(self._consumer(app, mine).model_copy(update={"maintenance": mode}))
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
                self.warnings.append(f"{name} still uses version {each.active_version} of the secret.")

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


async def check_still_holds(
    run: Run, plan: MovePlan, as_planned: Callable[[Consumer], Consumer] = lambda found: found
) -> None:
    """Read the plan's basis again before the first change; raises `PlanIsStale` with what moved.

    `as_planned` gives what the plan makes of a consumer as it is found.
    """
    secret = await (await run.key_vault()).get_secret(plan.secret)
    survey = Survey(run)
    moved: list[str] = []
    if secret.version != plan.secret_version:
        moved.append(f"secret '{plan.secret}' has version {secret.version}, not {plan.secret_version}")
    source = await survey.find_source(DatabaseUrl.parse(secret.value.get_secret_value()))
    if source.id != plan.source:
        moved.append(f"the secret names {source.id}")
    consumers = [as_planned(each) for each in await survey.find_consumers(secret, source)]
    now_found = {each.name: each.maintenance for each in consumers}
    planned = {each.name: each.maintenance for each in plan.consumers}
    if now_found.keys() != planned.keys():
        moved.append(f"it is used by {', '.join(sorted(now_found))}")
    elif now_found != planned:
        moved.append("maintenance mode of the apps changed")
    if (await (await run.servers()).get_settings(source)) != plan.settings:
        moved.append(f"settings of '{source.id.name}' changed")
    if moved:
        raise PlanIsStale(f"Things changed since the plan was made: {'; '.join(moved)}.", remedy="Plan again.")
