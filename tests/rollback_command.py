"""The `rollback` command as a shell runs it: a process with an environment, an exit status and two streams."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from forked import ForkedModule, Streams
from support import ROOT

WAIT_SECONDS = 90.0
"""For two cores that others use too; what waits so long has failed."""
RUN = ("run", "roll-back-backend", "--environment")
MODULE = "deployments.cli"


@dataclass(frozen=True)
class Ended:
    """What a command left."""

    status: int
    out: str
    err: str

    @property
    def last_line(self) -> str:
        return self.out.strip().splitlines()[-1]


class Command:
    """`rollback`, running: `fresh` in an interpreter of its own, otherwise forked from one that has what it imports.

    A fresh one finds an import that is missing, and costs seconds of a processor.
    """

    def __init__(
        self, folder: Path, environment: Mapping[str, str], *arguments: str, typed: str = "", fresh: bool = False
    ) -> None:
        number = len(list(folder.glob("command-*.out")))
        typing, self._out, self._err = (folder / f"command-{number}.{each}" for each in ("in", "out", "err"))
        for file in (self._out, self._err):
            file.touch()
        typing.write_text(typed, encoding="utf-8")
        streams = (typing, self._out, self._err)
        start = _start_fresh if fresh else _fork
        self._process = start(arguments, environment, streams)

    @property
    def out(self) -> str:
        return self._out.read_text(encoding="utf-8")

    def wait_until_it_says(self, text: str) -> None:
        wait_until(lambda: text in self.out or self._process.poll() is not None)
        assert text in self.out, f"it never said {text!r}: {self.out}{self._err.read_text()}"

    def interrupt(self, number: signal.Signals = signal.SIGINT) -> None:
        self._process.send_signal(number)

    def end(self) -> Ended:
        try:
            status = self._process.wait(WAIT_SECONDS)
        finally:
            if self._process.poll() is None:
                self._process.kill()
                self._process.wait(WAIT_SECONDS)
        return Ended(status, self.out, self._err.read_text(encoding="utf-8"))


def _fork(arguments: Sequence[str], environment: Mapping[str, str], streams: Streams) -> ForkedModule:
    return ForkedModule(MODULE, arguments, environment, streams)


def _start_fresh(arguments: Sequence[str], environment: Mapping[str, str], streams: Streams) -> subprocess.Popen[bytes]:
    typing, out, err = streams
    with typing.open("rb") as stdin, out.open("wb") as stdout, err.open("wb") as stderr:
        return subprocess.Popen(
            [sys.executable, "-m", MODULE, *arguments],
            cwd=ROOT,
            env=dict(environment),
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            start_new_session=True,
        )


def wait_until(condition: Callable[[], bool], pause_seconds: float = 0.05) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "the condition was never met"
        time.sleep(pause_seconds)


def plain_environment(**changes: str) -> dict[str, str]:
    """This process's environment without a Prefect server."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_API")}
    return inherited | changes
