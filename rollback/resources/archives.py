"""Archives of an environment's resources in the state folder: one folder an instant, one file a resource, an index.

A folder is there whole or not at all. The index has every file's digest: what was damaged is an error, never a state.
"""

import hashlib
import json
import os
import re
import shutil
from datetime import datetime
from pathlib import Path

from pydantic import JsonValue, ValidationError

from rollback.errors import ArchiveUnreadable, NoEarlierState
from rollback.models import Model
from rollback.resources.diff import comparable, digest_of
from rollback.resources.ids import ResourceId

INDEX = "index.json"
REPLACED = "-before-"
_NAME = "%Y-%m-%dT%H%M%S"
LONGEST_NAME = 60


class Archived(Model):
    """A resource as it was, without secrets."""

    id: str
    type: str
    api_version: str
    content: dict[str, JsonValue]


class Entry(Model):
    """One resource in the index."""

    id: str
    file: str
    sha256: str
    configuration: str
    """Digest of what of it is its configuration: without what Azure decides, and without secrets."""


class Index(Model):
    """What an archive has."""

    environment: str
    at: datetime
    run: str
    entries: tuple[Entry, ...]
    unread: dict[str, str]
    """Resources that could not be read, by id, and why."""

    @property
    def configurations(self) -> dict[str, str]:
        """What was there, by id, with each one's digest."""
        return {each.id: each.configuration for each in self.entries}


def name_of(at: datetime) -> str:
    """What the archive of an instant is called."""
    return f"{at:{_NAME}}.{at.microsecond // 1000:03}Z"


def replaced_by(run: str, at: datetime) -> str:
    """What is called what a run is about to replace: one resource, only found by this name."""
    return f"{name_of(at)}{REPLACED}{run}"


class Archives:
    """The archives of one environment."""

    def __init__(self, folder: Path, environment: str) -> None:
        self._environment = environment
        self._folder = folder / environment

    def all_names(self) -> list[str]:
        """Every archive, the newest first, with those of single resources that a run replaced."""
        if not self._folder.is_dir():
            return []
        return sorted((each.parent.name for each in self._folder.glob(f"[0-9]*/{INDEX}")), reverse=True)

    def names(self) -> list[str]:
        """Every archive of the whole environment, the newest first."""
        return [each for each in self.all_names() if REPLACED not in each]

    def find(self, name: str) -> str:
        """The archive of that name, or whose name begins so; raises `NoEarlierState`."""
        wanted = name.strip().replace(":", "")
        known = self.all_names()
        found = [wanted] if wanted in known else [each for each in known if each.startswith(wanted.removesuffix("Z"))]
        if len(found) != 1:
            what = "Several archives begin" if found else "No archive begins"
            raise NoEarlierState(
                f"{what} with '{name}'.",
                remedy=f"There are: {', '.join(self.names()[:10]) or 'none; run archive first'}.",
            )
        return found[0]

    def index(self, name: str) -> Index:
        """What an archive has; raises `ArchiveUnreadable`."""
        file = self._folder / name / INDEX
        try:
            return Index.model_validate_json(file.read_bytes())
        except (OSError, ValidationError) as error:
            raise _unreadable(file) from error

    def newest(self) -> Index | None:
        """What the newest archive has; none where there is none."""
        names = self.names()
        return self.index(names[0]) if names else None

    def read(self, name: str, resource: ResourceId) -> Archived | None:
        """A resource as it was; none where the archive does not have it. Raises `ArchiveUnreadable`."""
        entry = next((each for each in self.index(name).entries if each.id.lower() == resource.key), None)
        if entry is None:
            return None
        file = self._folder / name / entry.file
        try:
            content = file.read_bytes()
            if hashlib.sha256(content).hexdigest() != entry.sha256:
                raise _unreadable(file)
            return Archived.model_validate_json(content)
        except (OSError, ValidationError) as error:
            raise _unreadable(file) from error

    def keep(self, name: str, at: datetime, run: str, resources: list[Archived], unread: dict[str, str]) -> Index:
        """Write an archive; whole and durable on return. One of this name that is there stays as it is."""
        if name in self.all_names():
            return self.index(name)
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        made = self._folder / f".{name}"
        shutil.rmtree(made, ignore_errors=True)
        made.mkdir(mode=0o700)
        entries = tuple(_write_resource(made, each) for each in resources)
        index = Index(environment=self._environment, at=at, run=run, entries=entries, unread=unread)
        _write(made / INDEX, index.model_dump_json(indent=1).encode())
        made.rename(self._folder / name)
        _sync(self._folder)
        return index

    def prune(self, keep: int) -> list[str]:
        """Remove the oldest beyond so many, and what runs replaced before those; their names."""
        known = self.names()
        if len(known) <= keep:
            return []
        gone = [each for each in self.all_names() if each < known[keep - 1]]
        for name in gone:
            # Without its index it is no archive any more, also where the rest is left behind.
            (self._folder / name / INDEX).unlink()
            shutil.rmtree(self._folder / name)
        return gone


def _write_resource(folder: Path, resource: Archived) -> Entry:
    text = json.dumps(resource.model_dump(mode="json"), indent=1, ensure_ascii=False, sort_keys=True)
    short = re.sub(r"[^\w.-]", "-", ResourceId.parse(resource.id).short)[:LONGEST_NAME]
    file = f"{short}-{hashlib.sha256(resource.id.lower().encode()).hexdigest()[:12]}.json"
    content = text.encode()
    _write(folder / file, content)
    configuration = digest_of(comparable(resource.type, resource.content))
    return Entry(id=resource.id, file=file, sha256=hashlib.sha256(content).hexdigest(), configuration=configuration)


def _write(file: Path, content: bytes) -> None:
    with file.open("xb") as opened:
        opened.write(content)
        opened.flush()
        os.fsync(opened.fileno())


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _unreadable(file: Path) -> ArchiveUnreadable:
    return ArchiveUnreadable(
        f"The archive is damaged: {file} is not what was written.",
        remedy="Name another archive with --archive ('rollback archives'), or a file in git with --from-git.",
    )
