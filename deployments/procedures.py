"""The procedures that can be started, and what a request to start one must say."""

import importlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from rollback.backend_plans import DeployPlan, RedeployPlan, SwapPlan
from rollback.cache.plans import ClearCachePlan
from rollback.database.plans import RestorePlan
from rollback.database.settings import StopWrites
from rollback.database.undo_plans import UndoRestorePlan
from rollback.errors import SettingsInvalid
from rollback.frontends.plans import RedeployFrontendPlan
from rollback.frontends.rerun_plans import RerunWorkflowPlan
from rollback.infrastructure.plans import RollBackInfrastructurePlan
from rollback.migrations.plans import DowngradePlan
from rollback.plans import Plan
from rollback.releases import load_manifest
from rollback.resources.archive_plans import ArchivePlan
from rollback.resources.revert_plans import RevertResourcePlan
from rollback.runs import RunFolder, Store
from rollback.settings import Settings

if TYPE_CHECKING:
    from prefect import Flow


PLANS: dict[str, type[Plan]] = {
    "roll-back-backend": SwapPlan,
    "redeploy-backend": RedeployPlan,
    "deploy-backend": DeployPlan,
    "restore-database": RestorePlan,
    "undo-restore-database": UndoRestorePlan,
    "downgrade-database": DowngradePlan,
    "redeploy-frontend": RedeployFrontendPlan,
    "rerun-frontend-workflow": RerunWorkflowPlan,
    "clear-cache": ClearCachePlan,
    "revert-resource": RevertResourcePlan,
    "archive": ArchivePlan,
    "roll-back-infrastructure": RollBackInfrastructurePlan,
}
"""What each procedure plans; every procedure that keeps a run is here."""
RESTORE, UNDO_RESTORE, DOWNGRADE = "restore-database", "undo-restore-database", "downgrade-database"
REDEPLOY_FRONTEND, RERUN_WORKFLOW = "redeploy-frontend", "rerun-frontend-workflow"
CLEAR_CACHE = "clear-cache"
REVERT, ARCHIVE = "revert-resource", "archive"
INFRASTRUCTURE = "roll-back-infrastructure"

OWN: dict[str, tuple[str, ...]] = {
    RESTORE: ("restore_point", "stop_writes", "waive"),
    UNDO_RESTORE: ("restore",),
    DOWNGRADE: ("target", "rehearse", "waive"),
    REDEPLOY_FRONTEND: ("release", "frontends"),
    RERUN_WORKFLOW: ("release",),
    CLEAR_CACHE: ("patterns", "everything", "explicitly", "restart"),
    INFRASTRUCTURE: ("release", "archived"),
    REVERT: ("resource", "archive", "from_git", "only"),
    ARCHIVE: (),
}
"""What the flows take besides what all take; those of the backend take a release, and some a window to watch."""
LEFT_OUT = ("stop_writes", "rehearse", "watch_minutes")
"""The platform file or the flow decides on these where they are not asked for; other texts are empty then."""


@dataclass(frozen=True)
class Request:
    """What an operator asks for; the flow's parameters."""

    procedure: str
    environment: str
    release: str | None = None
    reason: str = ""
    dry_run: bool = False
    resume: str | None = None
    watch_minutes: float | None = None
    restore_point: str | None = None
    stop_writes: StopWrites | None = None
    waive: tuple[str, ...] = ()
    restore: str | None = None
    """The run of the restore that is undone."""
    target: str | None = None
    """The revision that a schema is taken down to."""
    rehearse: bool | None = None
    frontends: tuple[str, ...] = ()
    """Those that are brought back; none for all."""
    patterns: tuple[str, ...] = ()
    """Of the keys that are deleted; none for the platform file's."""
    everything: bool = False
    """All keys of a cache."""
    explicitly: tuple[str, ...] = ()
    """Patterns that would be refused otherwise."""
    restart: bool = True
    """Whether production restarts once its cache is cleared."""
    resource: str | None = None
    """The id of the resource whose configuration comes back."""
    archive: str | None = None
    from_git: str | None = None
    """Where its earlier configuration is, instead of in an archive."""
    only: tuple[str, ...] = ()
    """Property paths that come back; none for all."""
    archived: str | None = None
    """The run of which the replaced template is deployed again."""

    @property
    def deployment(self) -> str:
        """The Prefect deployment that carries it out."""
        return f"{self.procedure}/{self.procedure}"

    def parameters(self) -> dict[str, Any]:
        """As the flow takes them."""
        own = OWN.get(self.procedure, ("release", "watch_minutes"))
        asked = {name: getattr(self, name) for name in ("environment", "reason", "dry_run", "resume", *own)}
        return {name: _as_json(value) for name, value in asked.items() if value is not None or name not in LEFT_OUT}

    def resuming(self, store: Store) -> "Request":
        """The same, with the release of the run that is gone on with."""
        if self.resume is None:
            return self
        return replace(self, release=store.get(self.resume).header.release)


def _as_json(value: object) -> object:
    if isinstance(value, tuple):
        return list(cast("tuple[str, ...]", value))
    return "" if value is None else value


def flow_of(procedure: str) -> "Flow[..., Any]":
    """The procedure's flow. Imports Prefect: that takes a second or more."""
    module = importlib.import_module(f"flows.{procedure.replace('-', '_')}")
    return getattr(module, procedure.replace("-", "_"))


def plan_of(folder: RunFolder) -> Plan | None:
    """The plan of a run; none where it ended before."""
    return folder.plan(PLANS[folder.header.procedure])


def check(settings: Settings, request: Request) -> Request:
    """The request, complete; refused, before anything is started, for what the platform file or manifest says."""
    _ = settings.backend(request.environment)
    manifest = load_manifest(settings.releases.manifest)
    if request.procedure in {REDEPLOY_FRONTEND, RERUN_WORKFLOW}:
        settings.frontends(request.environment, request.frontends)
        settings.repository_on_github()
    elif request.procedure == CLEAR_CACHE:
        settings.cache(request.environment)
    elif request.procedure == INFRASTRUCTURE:
        settings.infrastructure(request.environment)
    elif request.release is not None:
        manifest.digest_of(request.release)
    return request.resuming(open_store(settings))


def open_store(settings: Settings) -> Store:
    """The state folder, made if need be; raises `SettingsInvalid` where it cannot be written."""
    folder = settings.state.directory
    try:
        store = Store(folder)
        probe = folder / f".writable-{id(store):x}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise state_unusable(folder, error) from error
    return store


def state_unusable(folder: Path, error: OSError) -> SettingsInvalid:
    """The error for a state folder that cannot be used."""
    return SettingsInvalid(
        f"The state folder {folder} cannot be written: {error.strerror}.",
        remedy="Set ROLLBACK_STATE, or state.directory in the platform file.",
    )
