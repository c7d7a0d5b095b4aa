"""Our own record of which builds have served production, and which of them were rolled back from."""

import os
from datetime import datetime
from enum import StrEnum
from pathlib import Path

from pydantic import ValidationError

from rollback.errors import SettingsInvalid
from rollback.models import Model
from rollback.releases import Build


class Verdict(StrEnum):
    """What is known about a build that served users."""

    GOOD = "good"
    """Verified from outside while it served."""
    BAD = "bad"
    """Users were taken off it by a rollback."""


class Served(Model):
    """One entry: this build served the environment."""

    at: datetime
    environment: str
    build: Build
    verdict: Verdict
    run: str


class ServedRecord:
    """The record of one environment, a file of JSON lines that only grows."""

    def __init__(self, folder: Path, environment: str) -> None:
        self._file = folder / f"{environment}.served.jsonl"
        self._environment = environment

    def all(self) -> list[Served]:
        """Every entry, oldest first; raises `SettingsInvalid` where the record is damaged: unknown is not success."""
        if not self._file.exists():
            return []
        try:
            lines = self._file.read_text(encoding="utf-8").splitlines()
            return [Served.model_validate_json(line) for line in lines if line]
        except (ValidationError, UnicodeDecodeError) as error:
            raise SettingsInvalid(
                f"The record of what served '{self._environment}' is damaged: {self._file}.",
                remedy="Mend or move the file; without it only Azure's own swap history is known.",
            ) from error

    def latest(self, digest: str | None) -> Served | None:
        """The newest entry about a build, by its digest."""
        return next((each for each in reversed(self.all()) if digest and each.build.digest == digest), None)

    def add(self, entry: Served) -> None:
        """Keep an entry, once for each run and build; durable on return."""
        if any(each.run == entry.run and each.build.digest == entry.build.digest for each in self.all()):
            return
        self._file.parent.mkdir(parents=True, exist_ok=True)
        with self._file.open("a", encoding="utf-8") as file:
            file.write(entry.model_dump_json() + "\n")
            file.flush()
            os.fsync(file.fileno())
