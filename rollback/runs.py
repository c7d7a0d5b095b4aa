"""Runs: what is kept of each, in one folder a run.

Only the plan is taken from here when a run is resumed; everything about the world is read again.
"""

import uuid
from collections.abc import Iterable
from datetime import datetime, timedelta
from pathlib import Path
from typing import TypeVar

from pydantic import Field, ValidationError

from rollback.approvals.records import ApprovalBooks
from rollback.errors import RunUnknown
from rollback.journal import Journal, Listener
from rollback.lease import FileLeases
from rollback.measurements import Measurements
from rollback.migrations.certificates import Certificates
from rollback.models import Model
from rollback.outcomes import EndState
from rollback.plans import Plan
from rollback.resources.archives import Archives
from rollback.served import ServedRecord

PlanType = TypeVar("PlanType", bound=Plan)


class RunHeader(Model):
    """What is known of a run from its start."""

    run: str
    procedure: str
    environment: str
    started_at: datetime
    reason: str
    release: str | None = None
    asked: dict[str, str] = Field(default_factory=dict[str, str])
    """What else was asked for: needed again where the run is gone on with before it has a plan."""
    started_by: str = ""


class Outcome(Model):
    """How a run ended, in words for people."""

    run: str
    procedure: str
    environment: str
    end_state: EndState
    headline: str
    """One line: what is true now."""
    results: tuple[tuple[str, str], ...] = ()
    """What the procedure came to, in figures: name and value, for people."""
    done: tuple[str, ...] = ()
    not_done: tuple[str, ...] = ()
    approvals: tuple[str, ...] = ()
    """Who approved the plan, when, how and by which rule; or why nobody had to."""
    evidence: tuple[str, ...] = ()
    next_steps: tuple[str, ...] = ()
    started_at: datetime
    ended_at: datetime
    azure_seconds: float = 0.0
    """How much of the time Azure itself took."""
    throttled_seconds: float | None = None
    """How long Azure made us wait by throttling; none where it was not measured."""
    measurements: Measurements | None = None
    """What users got before, during and after; none where it was not measured."""
    report: Path | None = None
    report_failure: str = ""
    """Why there is no report."""

    @property
    def duration(self) -> timedelta:
        """From start to end, all tries included."""
        return self.ended_at - self.started_at


def new_run_id() -> str:
    """A run's name: eight hex digits, short enough to type."""
    return uuid.uuid4().hex[:8]


class RunFolder:
    """One run's files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.report_file = folder / "report.html"

    @property
    def header(self) -> RunHeader:
        """What is known of the run from its start."""
        return RunHeader.model_validate_json((self.folder / "run.json").read_text(encoding="utf-8"))

    def journal(self, listeners: Iterable[Listener] = ()) -> Journal:
        """The run's journal, with what is in it already."""
        return Journal(self.folder / "journal.jsonl", listeners)

    def plan(self, kind: type[PlanType]) -> PlanType | None:
        """The plan as it was made; none where the run ended before."""
        file = self.folder / "plan.json"
        return kind.model_validate_json(file.read_text(encoding="utf-8")) if file.exists() else None

    def keep_plan(self, plan: Plan) -> None:
        """Keep the plan; durable on return."""
        self._write("plan.json", plan.model_dump_json())

    def outcome(self) -> Outcome | None:
        """How the run ended; none while it runs or where it was cut off."""
        file = self.folder / "outcome.json"
        return Outcome.model_validate_json(file.read_text(encoding="utf-8")) if file.exists() else None

    def keep_outcome(self, outcome: Outcome) -> None:
        """Keep how the run ended."""
        self._write("outcome.json", outcome.model_dump_json())

    def keep_report(self, page: str) -> None:
        """Keep the report, whole or not at all."""
        try:
            self._write(self.report_file.name, page)
        except OSError:
            (self.folder / f"{self.report_file.name}.tmp").unlink(missing_ok=True)
            raise

    def keep_header(self, header: RunHeader) -> None:
        """Keep what is known from the start."""
        self._write("run.json", header.model_dump_json())

    def forget_outcome(self) -> None:
        """The run goes on: how an earlier try ended is told by the journal."""
        (self.folder / "outcome.json").unlink(missing_ok=True)

    def _write(self, name: str, content: str) -> None:
        temporary = self.folder / f"{name}.tmp"
        temporary.write_text(content, encoding="utf-8")
        temporary.replace(self.folder / name)


class Store:
    """The state folder: runs, leases and records."""

    def __init__(self, folder: Path) -> None:
        self._runs = folder / "runs"
        self._environments = folder / "environments"
        self._archive = folder / "archive"
        for each in (self._runs, self._environments):
            each.mkdir(parents=True, exist_ok=True)
        self.leases = FileLeases(self._environments)
        self.approvals = ApprovalBooks(folder / "approvals")

    def certificates(self, environment: str) -> Certificates:
        """The rehearsals of an environment's migrations."""
        return Certificates(self._environments, environment)

    def archives(self, environment: str) -> Archives:
        """The archived configurations of an environment's resources."""
        return Archives(self._archive, environment)

    def served(self, environment: str) -> ServedRecord:
        """What served an environment."""
        return ServedRecord(self._environments, environment)

    def served_frontend(self, environment: str, frontend: str) -> ServedRecord:
        """What one of an environment's frontends served."""
        return ServedRecord(self._environments, f"{environment}.{frontend}")

    def create(self, header: RunHeader) -> RunFolder:
        """A folder for a new run."""
        folder = self._runs / header.run
        folder.mkdir(mode=0o700)
        run = RunFolder(folder)
        run.keep_header(header)
        return run

    def find(self, run: str) -> RunFolder | None:
        """The run of that name, if there is one."""
        folder = self._runs / run
        return RunFolder(folder) if run.isalnum() and (folder / "run.json").is_file() else None

    def get(self, run: str) -> RunFolder:
        """The run of that name; raises `RunUnknown`."""
        found = self.find(run)
        if found is None:
            raise RunUnknown(f"There is no run '{run}'.", remedy="See 'rollback status' for the latest runs.")
        return found

    def latest(self, count: int) -> list[RunFolder]:
        """The newest runs first."""
        runs = [RunFolder(each) for each in self._runs.iterdir() if (each / "run.json").is_file()]
        readable = [run for run in runs if _is_readable(run)]
        return sorted(readable, key=lambda run: run.header.started_at, reverse=True)[:count]


def _is_readable(run: RunFolder) -> bool:
    try:
        return bool(run.header.run)
    except ValidationError:
        return False
