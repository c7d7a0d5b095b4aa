"""Which template is deployed again, and what that would change: decided once, only by reading."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import SecretStr

from rollback.context import Run
from rollback.errors import NoDatabase, ResourceLocked, ResourceMissing, TemplateUnfit
from rollback.infrastructure import archive, database_guard, judging, noise, parameters, templates
from rollback.infrastructure.blinding import Blinding
from rollback.infrastructure.database_guard import InUse
from rollback.infrastructure.deployments import ArmDeployment, Deployments, Lock
from rollback.infrastructure.parameters import Parameters
from rollback.infrastructure.plans import Left, RollBackInfrastructurePlan
from rollback.infrastructure.refining import Refiner
from rollback.infrastructure.settings import DeploymentScope
from rollback.infrastructure.sites import SiteReader
from rollback.infrastructure.templates import Template
from rollback.infrastructure.what_if import (
    WRITTEN,
    ChangeKind,
    RawChange,
    ResourceChange,
    group_of,
    name_of,
    read_changes,
    type_of,
)
from rollback.permissions import INFRASTRUCTURE, check_granted_in_group, type_actions
from rollback.postgres.url import DatabaseUrl

READ_ONLY, CAN_NOT_DELETE = "ReadOnly", "CanNotDelete"
NO_TYPES = frozenset({"microsoft.resources/deployments", "microsoft.resources/subscriptions"})
"""What what-if names and is no resource that is written."""
GROUP_TYPE = "microsoft.resources/resourcegroups"
GROUP_ACTIONS = "Microsoft.Resources/subscriptions/resourceGroups"
"""How actions call that type."""


@dataclass(frozen=True)
class Target:
    """What is deployed; secrets are in it, and it is never kept."""

    template: Template
    parameters: Parameters = field(repr=False)
    blinding: Blinding = field(repr=False)

    @property
    def parameters_digest(self) -> str:
        """Keyed, over all of them."""
        return self.blinding.digest(self.parameters.given)


@dataclass(frozen=True)
class Foreseen:
    """A what-if, as it is shown and bound."""

    changes: tuple[ResourceChange, ...]
    database: tuple[str, ...]
    """What was checked of the database."""


class InfrastructurePlanner:
    """Makes the plan, and asks its questions again when it is carried out."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._environment = run.header.environment
        self._settings = run.settings.infrastructure(self._environment)

    async def plan(self, release: str, archived: str, reason: str) -> RollBackInfrastructurePlan:
        """The plan for a tag or commit, or for what a run archived.

        Raises `TemplateUnfit`, `OperationInProgress`, `PermissionMissing`, `ResourceLocked`, `WrongDatabase` and what
        else refuses.
        """
        run, settings = self._run, self._settings
        target = await self.read_target(release, archived)
        client = await run.deployments()
        history = await client.list_named(settings.deployment)
        client.require_idle(history)
        name = f"{settings.deployment}-rollback-{run.header.run}"
        await client.validate(name, target.template.body, target.parameters.given)
        foreseen = await self.foresee(target)
        await self._check_permissions(foreseen.changes)
        replaced = next((each for each in history if each.succeeded), None)
        return RollBackInfrastructurePlan(
            procedure=run.header.procedure,
            environment=self._environment,
            reason=reason,
            release="" if archived else release,
            archived=archived,
            commit=target.template.commit,
            origin=target.template.origin,
            where=client.where,
            name=name,
            template_digest=target.template.digest,
            parameters=target.parameters.shown(target.blinding),
            parameters_digest=target.parameters_digest,
            changes=foreseen.changes,
            replaced=replaced.name if replaced else "",
            replaced_at=replaced.at if replaced else None,
            left=await self._find_left(history, foreseen.changes),
            database=foreseen.database,
            already_there=not any(each.counts or each.is_open for each in foreseen.changes),
            warnings=tuple(_warnings(settings.deployment, history, replaced)),
        )

    async def read_target(self, release: str, archived: str) -> Target:
        """The template and all parameters, read anew: nothing secret of it is kept anywhere."""
        run, settings = self._run, self._settings
        if archived:
            template = archive.read(run.store.get(archived), run.header)
        elif release:
            template = await templates.read_release(run.settings.repository.path or Path(), release, settings)
        else:
            raise TemplateUnfit(
                "Which release's infrastructure is to come back was not said.", remedy="Name a tag or a commit."
            )
        secrets: dict[str, SecretStr] = {}
        for name, secret in settings.secret_parameters.items():
            vault, _, own = secret.partition("/")
            secrets[name] = (await (await run.key_vault(vault)).get_secret(own)).value
        chosen = parameters.choose(template, settings.values, secrets, release or f"run {archived}")
        return Target(template, chosen, Blinding.of_run(run.folder.folder, chosen.secret_values))

    async def foresee(self, target: Target) -> Foreseen:
        """What Azure says now; raises `ResourceLocked` or `WrongDatabase` where it must not be deployed."""
        client = await self._run.deployments()
        body, given = target.template.body, target.parameters.given
        hosts = await self._hosts()
        refiner = Refiner(self._run, SiteReader(await self._run.connection()), body, given, hosts)
        raw = await refiner.refine(await client.what_if(body, given))
        changes = judging.judge(noise.mark(read_changes(raw, target.blinding), self._settings.noise))
        require_unlocked(changes, await client.list_locks())
        skipped = [each.id for each in changes if each.is_skipped]
        return Foreseen(changes, await self._check_database(raw, target, hosts, skipped))

    async def check_deployable(self, resources: Iterable[str], locks: tuple[Lock, ...]) -> None:
        """Make sure that these resources may be written; raises `PermissionMissing` or `ResourceLocked`."""
        written = tuple(ResourceChange(id=each, kind=ChangeKind.NO_CHANGE) for each in resources)
        await self._check_permissions(written)
        require_unlocked(written, locks)

    async def _hosts(self) -> dict[str, str]:
        """The hosts of the subscription's database servers, by their names in lower letters."""
        run = self._run
        if run.settings.environments[self._environment].database is None:
            return {}
        groups = {each.backend.resource_group for each in run.settings.environments.values()}
        found = await (await run.servers()).list_servers(tuple(sorted(groups)))
        return {each.id.name.lower(): each.host for each in found}

    async def _check_database(
        self, raw: list[RawChange], target: Target, hosts: dict[str, str], skipped: list[str]
    ) -> tuple[str, ...]:
        run = self._run
        try:
            database = run.database
        except NoDatabase:
            return ()
        secret = await (await run.key_vault(database.vault)).get_secret(database.secret)
        migrations = run.settings.environments[self._environment].migrations
        setting = migrations.url_variable if migrations else "DATABASE_URL"
        body, given = target.template.body, target.parameters.given
        written = database_guard.written_by(raw, body, given, hosts, skipped)
        now = InUse(
            vault=database.vault,
            secret=database.secret,
            version=secret.version,
            url=DatabaseUrl.parse(secret.value.get_secret_value()),
            setting=setting,
            hosts=hosts,
            holders=await self._holders(database_guard.sites_of(written), setting),
        )
        found = database_guard.check(raw, body, given, now, skipped)
        told = tuple(dict.fromkeys(found)) or ("the template does not touch what the app finds its database by",)
        return (*told, *(["what Azure did not evaluate was read in the template itself"] if skipped else []))

    async def _holders(self, sites: dict[str, str], setting: str) -> frozenset[str]:
        """Those of the sites that have the setting now; one whose group is not known is looked for in all of ours."""
        connection = await self._run.connection()
        subscription = f"/subscriptions/{connection.settings.subscription_id}"
        ours = {each.backend.resource_group for each in self._run.settings.environments.values()}
        groups = sorted({*ours, self._settings.resource_group} - {""})
        reader, holders = SiteReader(connection), set[str]()
        for name, site in sites.items():
            for each in [site] if group_of(site) else [f"{subscription}/resourceGroups/{own}{site}" for own in groups]:
                try:
                    if setting in await reader.get_settings(each):
                        holders.add(name)
                except ResourceMissing:
                    continue
        return frozenset(holders)

    async def _check_permissions(self, changes: tuple[ResourceChange, ...]) -> None:
        """What Azure would refuse in the middle of a deployment is refused before it."""
        connection = await self._run.connection()
        written = [each for each in changes if each.kind in WRITTEN and each.type.lower() not in NO_TYPES]
        groups = {group_of(each.id).lower(): group_of(each.id) for each in written}
        if self._settings.scope is DeploymentScope.GROUP:
            groups = {self._settings.resource_group.lower(): self._settings.resource_group}
        for key, group in groups.items():
            own = [each.type for each in written if group_of(each.id).lower() == key]
            types = [GROUP_ACTIONS if each.lower() == GROUP_TYPE else each for each in own]
            if group:
                await check_granted_in_group(connection, group, (*INFRASTRUCTURE, *type_actions(types)))

    async def _find_left(self, history: list[ArmDeployment], changes: tuple[ResourceChange, ...]) -> tuple[Left, ...]:
        """What the replaced deployments made, and the template does not have: later failed ones made some of it too.

        None while Azure did not look into all of the template: what it has is not known then.
        """
        if any(each.hides for each in changes):
            return ()
        client = await self._run.deployments()
        kept = {each.id.lower() for each in changes if each.kind in WRITTEN or each.is_skipped}
        there = {each.id.lower() for each in changes if each.kind is ChangeKind.IGNORE}
        made: dict[str, str] = {}
        for each in history:
            made |= {own.lower(): own for own in await list_deployed(client, each)}
            if each.succeeded:
                break
        return tuple(
            Left(id=own, type=type_of(own), name=name_of(own), seen=key in there)
            for key, own in sorted(made.items())
            if key not in kept
        )


async def list_deployed(client: Deployments, deployment: ArmDeployment) -> list[str]:
    """Ids of the resources that a deployment deployed, those of deployments within it too."""
    done = [each.resource for each in await client.list_operations(deployment.name) if each.state == "Succeeded"]
    ids = dict.fromkeys([*deployment.resources, *done])
    return [each for each in ids if type_of(each).lower() not in NO_TYPES]


def require_unlocked(changes: tuple[ResourceChange, ...], locks: tuple[Lock, ...]) -> None:
    """Raise `ResourceLocked` for the first lock that would stop the deployment in its middle."""
    for change in changes:
        if change.kind not in WRITTEN:
            continue
        for lock in locks:
            in_the_way = lock.level == READ_ONLY or (lock.level == CAN_NOT_DELETE and change.kind is ChangeKind.DELETE)
            if in_the_way and f"{change.id.lower()}/".startswith(f"{lock.scope}/"):
                notes = f" ({lock.notes})" if lock.notes else ""
                raise ResourceLocked(
                    f"Lock '{lock.name}' ({lock.level}){notes} on {lock.scope} forbids to write {change.type} "
                    f"'{change.name}'.",
                    remedy="Remove the lock if that is right, then plan again; nothing was touched.",
                )


def _warnings(deployment: str, history: list[ArmDeployment], replaced: ArmDeployment | None) -> list[str]:
    told: list[str] = []
    if replaced is None:
        told.append(
            "Azure's history has no deployment that is replaced: it cannot be archived, and which resources stay is "
            "not known. To undo this, name the tag that is deployed now."
        )
    newest = history[0] if history else None
    if newest is not None and not newest.succeeded:
        told.append(f"The newest deployment, '{newest.name}', is {newest.state.lower()}: {newest.failure or 'no word'}")
    if replaced is not None and deployment in {each.name for each in history[: history.index(replaced)]}:
        told.append(
            f"'{deployment}' did not succeed since '{replaced.name}', which is archived: an earlier deployment of that "
            "name is not known any more. Look whether another template was in place: then name its tag to undo this."
        )
    return told
