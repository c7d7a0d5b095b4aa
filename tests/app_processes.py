"""The sample app as a process of a test's own, forked from one that has imported it, as the sandbox itself does."""

import os
from collections.abc import Mapping
from multiprocessing.connection import Connection
from pathlib import Path

from sandbox import forks
from sandbox.fundrbolt.__main__ import main


class AppProcess:
    """Used like a `subprocess.Popen` whose output is a pipe; what it says besides goes to a file."""

    def __init__(self, release: str, environment: Mapping[str, str], log: Path) -> None:
        context = forks._context()
        ours, output = context.Pipe(duplex=False)
        errors = Connection(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), readable=False)
        given = (main, ["--release", release], dict(environment), output, errors)
        self._process = context.Process(target=forks._run, args=given, daemon=True)
        self._process.start()
        output.close()
        errors.close()
        self.stdout = os.fdopen(os.dup(ours.fileno()), encoding="utf-8")
        ours.close()

    @property
    def pid(self) -> int:
        return self._process.pid or 0

    def read_port(self) -> int:
        """Return when it takes requests."""
        line = self.stdout.readline()
        assert line.startswith("listening on "), line
        return int(line.split()[-1])

    def stop(self, within_seconds: float = 10) -> int | None:
        """Its exit status; none where it goes on for so long."""
        self._process.terminate()
        self._process.join(within_seconds)
        self.stdout.close()
        return self._process.exitcode
