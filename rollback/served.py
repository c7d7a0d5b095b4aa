"""Our own record of which builds have served production, and which of them were rolled back from."""

import os
from datetime import datetime
from enum import StrEnum
from pathlib import Path

from pydantic import ValidationError

from rollback.errors import SettingsInvalid
from rollback.models import Model
from rollback.releases import Build

TAG_RELEASE = "rollback-release"
TAG_DIGEST = "rollback-digest"
TAG_SINCE = "rollback-since"
TAG_PREVIOUS_RELEASE = "rollback-previous-release"
TAG_PREVIOUS_DIGEST = "rollback-previous-digest"
TAG_BAD_DIGEST = "rollback-bad-digest"
"""Of the app itself: what serves and what served before, for every machine to read."""


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


def tags_of(serving: Build, since: datetime, *, previous: Build | None, previous_is_bad: bool) -> dict[str, str]:
    """The app's tags once a build serves; a bad one stays named until another takes its place."""
    tags = {
        TAG_RELEASE: serving.release or "unknown",
        TAG_DIGEST: serving.digest or "unknown",
        TAG_SINCE: f"{since:%Y-%m-%dT%H:%M:%SZ}",
    }
    if previous is not None:
        tags[TAG_PREVIOUS_RELEASE] = previous.release or "unknown"
        tags[TAG_PREVIOUS_DIGEST] = previous.digest or "unknown"
        if previous_is_bad:
            tags[TAG_BAD_DIGEST] = previous.digest or "unknown"
    return tags


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

    def latest_of_release(self, *names: str) -> Served | None:
        """The newest entry about a release, under any of its names."""
        return next((each for each in reversed(self.all()) if each.build.release in names), None)

    def add(self, entry: Served) -> None:
        """Keep an entry, once for each run and build; durable on return."""
        if any(each.run == entry.run and each.build.digest == entry.build.digest for each in self.all()):
            return
        self._file.parent.mkdir(parents=True, exist_ok=True)
        with self._file.open("a", encoding="utf-8") as file:
            file.write(entry.model_dump_json() + "\n")
            file.flush()
            os.fsync(file.fileno())
