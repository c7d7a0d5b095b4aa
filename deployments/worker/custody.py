"""Which runs this machine's workers have started, and in which processes: what is left when a worker is killed.

One file a run, in the state folder, until Prefect knows how the run ended.
"""

import fcntl
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from uuid import UUID

from pydantic import ValidationError

from rollback.lease import Holder, this_process
from rollback.models import Model


class Started(Model):
    """A run that a worker of this machine has started."""

    flow_run: UUID
    starts: int
    """How often it was started on this machine."""
    worker: Holder
    """Who sees it to its end."""
    process: Holder | None = None
    """The run's own process; none until it has told of itself."""


class Custody:
    """The runs that were started on this machine and have not been told to have ended."""

    def __init__(self, state: Path) -> None:
        self._folder = state / "worker"
        self._folder.mkdir(parents=True, exist_ok=True)

    def begin(self, flow_run: UUID) -> Started:
        """Keep that this worker is about to start the run; to be called before its process is there."""
        with self._locked():
            before = self.read(flow_run)
            started = Started(flow_run=flow_run, starts=(before.starts if before else 0) + 1, worker=this_process())
            self._write(started)
        return started

    def tell_process(self, flow_run: UUID) -> None:
        """Keep that this process is the run's; its first act."""
        with self._locked():
            started = self.read(flow_run)
            if started is not None:
                self._write(started.model_copy(update={"process": this_process()}))

    def read(self, flow_run: UUID) -> Started | None:
        """What is known of a run; none where no worker of this machine has it."""
        return _parse(self._file(flow_run))

    def is_ours(self, flow_run: UUID) -> bool:
        """Whether this worker is the one that sees the run to its end."""
        started = self.read(flow_run)
        return started is not None and started.worker == this_process()

    def end(self, flow_run: UUID) -> None:
        """Forget a run that has ended."""
        self._file(flow_run).unlink(missing_ok=True)

    def take_orphans(self) -> list[Started]:
        """Take over the runs whose worker is gone; each is given to one worker only."""
        with self._locked():
            found = [started for file in self._folder.glob("*.json") if (started := _parse(file))]
            orphans = [each for each in found if each.worker.is_gone()]
            for each in orphans:
                self._write(each.model_copy(update={"worker": this_process()}))
        return orphans

    def _file(self, flow_run: UUID) -> Path:
        return self._folder / f"{flow_run}.json"

    def _write(self, started: Started) -> None:
        temporary = self._file(started.flow_run).with_suffix(".tmp")
        temporary.write_text(started.model_dump_json(), encoding="utf-8")
        temporary.replace(self._file(started.flow_run))

    @contextmanager
    def _locked(self) -> Generator[None]:
        with (self._folder / "lock").open("w", encoding="utf-8") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


def _parse(file: Path) -> Started | None:
    try:
        return Started.model_validate_json(file.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValidationError):
        return None
