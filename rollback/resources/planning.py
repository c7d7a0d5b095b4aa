"""Which configuration a resource goes back to, and what of it a PATCH can bring back: decided once, only by reading."""

from pathlib import Path

from rollback.context import Run
from rollback.errors import NothingToPatch, OperationInProgress, ResourceIdInvalid, ResourceLocked
from rollback.permissions import READ_PERMISSIONS
from rollback.resources import earlier
from rollback.resources.by_id import STICKY, Resources
from rollback.resources.choosing import Chooser, Compared
from rollback.resources.diff import Difference
from rollback.resources.earlier import Earlier
from rollback.resources.ids import ResourceId
from rollback.resources.patching import DECIDED, NEVER_PATCHED, Left, body_of, sort_out
from rollback.resources.revert_plans import RevertResourcePlan
from rollback.resources.secrets import SETTINGS, Tree, marked

APP = "microsoft.web/sites"
MOST_TOLD = 5
UNPATCHABLE = {
    DECIDED: "Name what is to come back with --only PATH, or let roll-back-infrastructure make it anew.",
    NEVER_PATCHED: "Set it by hand, in the portal or with its own 'az' command, or let roll-back-infrastructure; what "
    "else there is comes back with --only PATH.",
}
"""Why a difference is not sent, and what to do instead."""

PUT_WHOLE = {
    SETTINGS: ("App settings are", ", secrets included"),
    STICKY.lower(): ("The list of sticky settings is", ""),
}
"""Configurations of a site that Azure has no PATCH for."""


class RevertPlanner:
    """Makes the plan of reverting one resource."""

    def __init__(self, run: Run, resources: Resources, resource: ResourceId) -> None:
        self._run = run
        self._resources = resources
        self._resource = resource
        self._kind = resource.type
        self._archives = run.store.archives(run.header.environment)

    async def plan(self, archive: str, from_git: str, only: tuple[str, ...], reason: str) -> RevertResourcePlan:
        """The plan; raises what refuses, with nothing touched."""
        self._require_of_environment()
        actions = (READ_PERMISSIONS, f"{self._kind}/read", f"{self._kind}/write")
        await self._resources.check_permissions(self._resource, actions)
        if locks := await self._resources.find_locks(self._resource):
            raise ResourceLocked(
                f"'{self._resource.short}' is locked by {'; '.join(locks)}.",
                remedy="Whoever set the lock has to take it away first: nothing was touched.",
            )
        then, shown, now, wanted, found, others = await self._compare(archive, from_git, only)
        if shown.moving:
            raise OperationInProgress(
                f"An operation on '{self._resource.short}' is in progress ({shown.provisioning_state}).",
                remedy="Wait for it to end, then plan again.",
            )
        changes, left = sort_out(self._kind, found, now, wanted)
        self._require_patchable(changes, left)
        return RevertResourcePlan(
            procedure=self._run.header.procedure,
            environment=self._run.header.environment,
            reason=reason,
            resource=self._resource,
            api_version=shown.api_version,
            source=then.source,
            then=then.name,
            only=only,
            before=now,
            changes=tuple(changes),
            left=tuple(left),
            body=body_of(changes, now, wanted),
            has_etag=bool(shown.etag),
            serves=self._serves(),
            already_there=not changes,
            warnings=tuple(self._warnings(then, now, others, needs_restart=bool(changes) and shown.needs_restart)),
        )

    def _require_of_environment(self) -> None:
        """The lease is of one environment: nothing else may be touched under it."""
        environment = self._run.header.environment
        groups = self._run.settings.environments[environment].resource_groups
        subscription = self._run.settings.azure.subscription_id
        ours = {each.lower() for each in groups}
        if self._resource.group.lower() not in ours or self._resource.subscription.lower() != subscription.lower():
            raise ResourceIdInvalid(
                f"'{self._resource}' does not belong to '{environment}'.",
                remedy=f"Its resource groups are {', '.join(groups)}: name the right environment, or add the group to "
                f"environments.{environment}.archive.resource_groups.",
            )

    async def _compare(self, archive: str, from_git: str, only: tuple[str, ...]) -> Compared:
        """The earlier configuration beside the present one."""
        chooser = Chooser(self._archives, self._resources, self._resource, only)
        if from_git:
            then = await earlier.from_git(self._run.settings.repository.path or Path(), from_git, self._resource)
            return await chooser.given(then)
        return await (chooser.named(archive) if archive else chooser.newest())

    def _require_patchable(self, changes: list[Difference], left: list[Left]) -> None:
        kind, name = self._resource.parts[-1]
        if changes and kind.lower() == "config" and name.lower() in PUT_WHOLE:
            what, with_it = PUT_WHOLE[name.lower()]
            raise NothingToPatch(
                f"{what} only replaced as a whole{with_it}: {_list(changes)}.",
                remedy="Set the named ones: az webapp config appsettings set; or roll-back-infrastructure.",
            )
        for why, remedy in UNPATCHABLE.items():
            if found := [each.difference for each in left if each.why == why]:
                raise NothingToPatch(f"A PATCH cannot bring back {_list(found)}: {why}.", remedy=remedy)
        if left and not changes:
            raise NothingToPatch(
                f"What differs is a secret, or only written with one: {_list([each.difference for each in left])}.",
                remedy="Set it by hand, with the secret from its vault.",
            )

    def _serves(self) -> bool:
        """Whether it is the environment's app, or its configuration."""
        backend = self._run.backend
        root = self._resource.root
        same = (root.group.lower(), root.parts[0][1].lower()) == (backend.resource_group.lower(), backend.app.lower())
        return same and root.type.lower() == APP and "/slots" not in self._kind.lower()

    def _warnings(self, then: Earlier, now: Tree, others: int, *, needs_restart: bool) -> list[str]:
        warnings: list[str] = []
        if needs_restart:
            warnings.append("It only holds after a restart of the server, which this procedure leaves to people.")
        if hidden := list(marked(now)):
            warnings.append(f"Secrets are neither compared nor written: {', '.join(hidden[:MOST_TOLD])}.")
        if then.partial:
            warnings.append(f"What {then.name} does not mention stays as it is.")
        if others:
            warnings.append(f"{others} other differences stay: only what --only names is brought back.")
        return warnings


def _list(found: list[Difference]) -> str:
    more = f"; and {len(found) - MOST_TOLD} more" if len(found) > MOST_TOLD else ""
    return "; ".join(each.words for each in found[:MOST_TOLD]) + more
