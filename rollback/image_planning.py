"""Whether a release's image may be put in place: the plans of deploying and redeploying. Only reads."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from rollback import compatibility, registry
from rollback.app_service import AppService
from rollback.backend_plans import DeployPlan, ImagePlan, RedeployPlan
from rollback.compatibility import Current, SchemaFit
from rollback.errors import TargetUnfit, TargetUnknown
from rollback.permissions import ACTIONS
from rollback.releases import Build, Manifest
from rollback.served import TAG_BAD_DIGEST, ServedRecord, Verdict
from rollback.settings import Backend, Settings
from rollback.slots import Slot
from rollback.swap_planning import check_at_rest, describe

REDEPLOY = "redeploy-backend"
DEPLOY = "deploy-backend"

Kind = TypeVar("Kind", bound=ImagePlan)


class ImagePlanner:
    """Plans how a release's image comes into production of one environment.

    `read_schema` gives what was read meanwhile of the environment's database.
    """

    def __init__(
        self,
        app: AppService,
        record: ServedRecord,
        manifest: Manifest,
        read_schema: Callable[[], Awaitable[Current]],
        settings: Settings,
        environment: str,
    ) -> None:
        self._app = app
        self._record = record
        self._manifest = manifest
        self._read_schema = read_schema
        self._settings = settings
        self._environment = environment
        self._backend: Backend = settings.backend(environment)

    async def plan_redeploy(self, release: str, reason: str) -> RedeployPlan:
        """Bring a named release back; raises a `Refused` that says why not."""
        return await self._plan(RedeployPlan, REDEPLOY, release, reason, {})

    async def plan_deploy(self, release: str, reason: str, watch_minutes: float | None) -> DeployPlan:
        """Bring a new release into production; raises a `Refused` that says why not."""
        self._app.require_slot()
        minutes = self._backend.watch.minutes if watch_minutes is None else watch_minutes
        return await self._plan(DeployPlan, DEPLOY, release, reason, {"watch_minutes": minutes})

    async def _plan(self, kind: type[Kind], procedure: str, release: str, reason: str, extra: dict[str, float]) -> Kind:
        digest = self._manifest.digest_of(release)
        await self._app.check_permissions(ACTIONS[procedure])
        production, slot = await self._read()
        already_there = production.build.digest == digest
        repository = registry.parse_repository(production.build.image)
        target = Build(image=f"{repository}@{digest}", digest=digest, release=release)
        evidence, schema_fit, warnings = "in production already", None, ()
        if not already_there:
            self._check(production, slot, target, new=kind is DeployPlan)
            evidence = await self._find_image(target)
            warnings = await self._warnings(slot)
            schema_fit, unknown = await self._check_schema(production.build, target)
            warnings = (*unknown, *warnings)
        fields: dict[str, object] = {
            "procedure": procedure,
            "environment": self._environment,
            "reason": reason,
            "resource_group": self._backend.resource_group,
            "app": self._app.name,
            "slot": slot.name if slot else None,
            "serving": production.build,
            "holds": slot.build if slot else None,
            "target": target,
            "evidence": evidence,
            "last_swap_at": production.last_swap.at if production.last_swap else None,
            "schema_fit": schema_fit,
            "already_there": already_there,
            "warnings": warnings,
        }
        return kind.model_validate(fields | extra)

    async def _read(self) -> tuple[Slot, Slot | None]:
        if self._backend.slot is None:
            return await self._app.get_slot(), None
        return await self._app.get_pair()

    def _check(self, production: Slot, slot: Slot | None, target: Build, *, new: bool) -> None:
        if production.build.digest is None:
            raise TargetUnknown(
                f"Which build production runs is not known: {production.build.image} is not pinned by digest.",
                remedy="Deploy images by digest, or name the tag's digest in the release manifest.",
            )
        check_at_rest(production, slot or production)
        if slot is not None and slot.auto_swap_to:
            raise TargetUnfit(
                f"Auto-swap is on for {describe(slot)}: an image put there goes into production by itself, unprobed.",
                remedy=f"Turn it off: az webapp deployment slot auto-swap --slot {slot.name} --disable.",
            )
        if slot is not None and any(rule.host == slot.host for rule in production.ramp_up):
            raise TargetUnfit(
                f"Ramp-up rules send users to {describe(slot)}: they would get an image that is not probed yet.",
                remedy="Remove the rules first: az webapp traffic-routing clear.",
            )
        known = self._record.latest(target.digest)
        if new and (target.digest == production.tags.get(TAG_BAD_DIGEST) or (known and known.verdict is Verdict.BAD)):
            raise TargetUnfit(
                f"{target} is the bad build that users were taken off.", remedy="Deploy a mended release instead."
            )

    async def _check_schema(self, serving: Build, target: Build) -> tuple[SchemaFit, tuple[str, ...]]:
        schema = await self._read_schema()
        judged = compatibility.judge(self._manifest, self._environment, serving, target, schema)
        return judged.require(), judged.warnings

    async def _find_image(self, target: Build) -> str:
        async with registry.connect(target.image, self._settings.registry.token) as found:
            await found.get_digest(target.digest or "")
        return f"{target.image} exists in the registry"

    async def _warnings(self, slot: Slot | None) -> tuple[str, ...]:
        if slot is None:
            return ("Without slots the app itself restarts: its users may see errors for some seconds.",)
        warnings = [f"Slot '{slot.name}' loses {slot.build}: until the swap there is nothing to swap back to."]
        if differing := await self._app.list_sticky_settings_that_differ():
            warnings.append(f"Settings that stay with their slot and differ: {', '.join(differing)}.")
        return tuple(warnings)
