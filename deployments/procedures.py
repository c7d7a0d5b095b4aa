"""The procedures that can be started, and what a request to start one must say."""

import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rollback.errors import SettingsInvalid
from rollback.plans import Plan
from rollback.releases import load_manifest
from rollback.runs import RunFolder, Store
from rollback.settings import Settings

if TYPE_CHECKING:
    from prefect import Flow


@dataclass(frozen=True)
class Procedure:
    """Where a procedure's flow and its kind of plan are; imported only when they are needed."""

    flow: str
    plan: str


PROCEDURES = {
    "roll-back-backend": Procedure(flow="flows.roll_back_backend:roll_back_backend", plan="rollback.slot_swap:SwapPlan")
}


@dataclass(frozen=True)
class Request:
    """What an operator asks for; the flow's parameters."""

    procedure: str
    environment: str
    release: str | None = None
    reason: str = ""
    dry_run: bool = False
    resume: str | None = None

    @property
    def deployment(self) -> str:
        """The Prefect deployment that carries it out."""
        return f"{self.procedure}/{self.procedure}"

    def parameters(self) -> dict[str, Any]:
        """As the flow takes them."""
        return {
            "environment": self.environment,
            "release": self.release,
            "reason": self.reason,
            "dry_run": self.dry_run,
            "resume": self.resume,
        }


def flow_of(procedure: str) -> "Flow[..., Any]":
    """The procedure's flow. Imports Prefect: that takes a second or more."""
    return _load(PROCEDURES[procedure].flow)


def plan_of(folder: RunFolder) -> Plan | None:
    """The plan of a run; none where it ended before."""
    return folder.plan(_load(PROCEDURES[folder.header.procedure].plan))


def check(settings: Settings, request: Request) -> None:
    """Refuse, before anything is started, what the platform file or the manifest speaks against."""
    _ = settings.backend(request.environment)
    manifest = load_manifest(settings.releases.manifest)
    if request.release is not None:
        manifest.digest_of(request.release)
    store = open_store(settings)
    if request.resume is not None:
        store.get(request.resume)


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


def _load(entry_point: str) -> Any:
    module, name = entry_point.split(":")
    return getattr(importlib.import_module(module), name)
