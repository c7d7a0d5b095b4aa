"""Alembic on this machine, in a clean worktree of the release that has the current revision's file."""

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rollback.migrations.ways.checking import require_found
from rollback.migrations.ways.shell import looking, running
from rollback.migrations.ways.url_forms import forms_of
from rollback.migrations.ways.way import Ended, WayUnfit
from rollback.postgres.url import DatabaseUrl
from rollback.programs.output import OnLine, Output
from rollback.programs.process import clean_environment, run_in_group

SHELL = "/bin/sh"


@dataclass(frozen=True)
class WorktreeWay:
    """Runs alembic in a folder of a worktree; `python` is the interpreter that we run in ourselves."""

    worktree: Path
    """As `repository.worktree` gives it."""
    release: str
    path: str
    """Where alembic.ini is in the repository; empty for its root."""
    command: tuple[str, ...]
    url_variable: str
    revision: str
    """The one that the database is at: its file must be there."""

    @property
    def name(self) -> str:
        """For people."""
        return f"worktree of {self.release}"

    @property
    def _folder(self) -> str:
        return str(self.worktree / self.path)

    async def check(self) -> None:
        """Raise `WayUnfit` unless alembic is there, with the current revision's file."""
        if not (self.worktree / self.path).resolve().is_relative_to(self.worktree.resolve()):
            raise WayUnfit(f"The path '{self.path}' leads out of the worktree.", remedy="Look at [migrations] path.")
        output = Output()
        ended = await self._start(looking(self._folder, self.command, self.revision), b"", output)
        require_found(
            ended,
            name=self.name,
            folder=self.path,
            command=" ".join(self.command),
            revision=self.revision,
        )

    async def run(
        self, arguments: Sequence[str], url: DatabaseUrl, environment: Mapping[str, str], on_line: OnLine
    ) -> Ended:
        """Run alembic to its end; cancelled, its whole process group is ended first."""
        script = running(self._folder, self.command, arguments, self.url_variable, environment)
        given = url.text.get_secret_value().strip().encode() + b"\n"
        return await self._start(script, given, Output(on_line, forms_of(url)))

    async def _start(self, script: str, given: bytes, output: Output) -> Ended:
        environment = clean_environment()
        environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment.get('PATH', os.defpath)}"
        status = await run_in_group(
            [SHELL, "-c", script], folder=self.worktree, environment=environment, received=output.feed, given=given
        )
        output.end()
        return Ended(status=status if status >= 0 else None, tail=output.tail)
