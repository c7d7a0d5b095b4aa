"""The procedures that can be started, and what a request to start one must say."""

import importlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rollback.backend_plans import DeployPlan, RedeployPlan, SwapPlan
from rollback.database.plans import RestorePlan
from rollback.database.undo_plans import UndoRestorePlan
from rollback.errors import SettingsInvalid
from rollback.frontends.plans import RedeployFrontendPlan
from rollback.frontends.rerun_plans import RerunWorkflowPlan
from rollback.infrastructure.plans import RollBackInfrastructurePlan
from rollback.migrations.plans import DowngradePlan
from rollback.plans import Plan
from rollback.releases import load_manifest
from rollback.runs import RunFolder, Store
from rollback.settings import Settings, StopWrites

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
    "roll-back-infrastructure": RollBackInfrastructurePlan,
}
"""What each procedure plans; every procedure that keeps a run is here."""
RESTORE, UNDO_RESTORE, DOWNGRADE = "restore-database", "undo-restore-database", "downgrade-database"
REDEPLOY_FRONTEND, RERUN_WORKFLOW = "redeploy-frontend", "rerun-frontend-workflow"
INFRASTRUCTURE = "roll-back-infrastructure"


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
    archived: str | None = None
    """The run of which the replaced template is deployed again."""

    @property
    def deployment(self) -> str:
        """The Prefect deployment that carries it out."""
        return f"{self.procedure}/{self.procedure}"

    def parameters(self) -> dict[str, Any]:
        """As the flow takes them."""
        parameters: dict[str, Any] = {
            "environment": self.environment,
            "reason": self.reason,
            "dry_run": self.dry_run,
            "resume": self.resume or "",
        }
        if self.procedure == RESTORE:
            parameters |= {"restore_point": self.restore_point or "", "waive": list(self.waive)}
            if self.stop_writes is not None:
                parameters["stop_writes"] = self.stop_writes.value
            return parameters
        if self.procedure == UNDO_RESTORE:
            return parameters | {"restore": self.restore or ""}
        if self.procedure == DOWNGRADE:
            return parameters | {"target": self.target or "", "rehearse": self.rehearse, "waive": list(self.waive)}
        parameters["release"] = self.release or ""
        if self.procedure == REDEPLOY_FRONTEND:
            parameters["frontends"] = list(self.frontends)
        if self.procedure == INFRASTRUCTURE:
            parameters["archived"] = self.archived or ""
        if self.watch_minutes is not None:
            parameters["watch_minutes"] = self.watch_minutes
        return parameters

    def resuming(self, store: Store) -> "Request":
        """The same, with the release of the run that is gone on with."""
        if self.resume is None:
            return self
        return replace(self, release=store.get(self.resume).header.release)


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
