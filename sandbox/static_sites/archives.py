"""What a deployment brings: a zip that is checked as a whole before anybody gets anything of it."""

import io
import json
import lzma
import re
import stat
import struct
import zipfile
import zlib
from collections.abc import Mapping
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Any, cast

from sandbox.static_sites.model import MOST_BYTES, MOST_FILES, Sku

CONFIGURATION = "staticwebapp.config.json"
MOST_CONFIGURATION_BYTES = 20 * 1024
"""Source: learn.microsoft.com/azure/static-web-apps/configuration, "Restrictions"."""
DEFAULT_FILES = ("index.html", "Index.html")
UNREADABLE = (
    zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error, EOFError, OSError, ValueError,
    NotImplementedError,  # a way to compress that is not known
    RuntimeError,  # an encrypted file
)  # fmt: skip
"""What zipfile tells of a broken file with."""
KEPT_CONTENTS = 16
"""So many sites' contents are held in memory."""
UPPER = "For a higher app size limit, consider upgrading to the Standard plan."


class BadArchiveError(Exception):
    """The content cannot be deployed; says why, in the words that Azure's uploader uses where they are known.

    Known are those about size, number of files and the default file; the others are the sandbox's own.
    """


class Content:
    """The files of one archive, by path."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive
        self._names = {each.filename for each in archive.infolist() if not each.is_dir()}
        self._configuration = _configuration(archive, self._names)

    def __contains__(self, path: str) -> bool:
        return path in self._names

    def read(self, path: str) -> bytes:
        """The file at `path`."""
        return self._archive.read(path)

    @property
    def configuration(self) -> Mapping[str, Any]:
        """What its staticwebapp.config.json says."""
        return self._configuration

    @property
    def version(self) -> str | None:
        """What its version.json says."""
        if "version.json" not in self._names:
            return None
        try:
            told: Any = json.loads(self.read("version.json"))
        except ValueError:
            return None
        found = cast("dict[str, Any]", told).get("version") if isinstance(told, dict) else None
        return found if isinstance(found, str) else None

    @property
    def default_file(self) -> str:
        """What is served at the root."""
        return next(each for each in DEFAULT_FILES if each in self._names)

    def first_asset(self) -> str | None:
        """The first file of the content that the default file refers to."""
        words = re.findall(r"""(?:src|href)=["']/?([^"'?#]+)""", self.read(self.default_file).decode(errors="replace"))
        return next((each for each in words if each in self._names), None)


def digest_of(archive: bytes) -> str:
    """How an archive is called in the state folder."""
    return sha256(archive).hexdigest()


def check(archive: bytes, sku: Sku) -> Content:
    """The archive's content, or `BadArchiveError`. Reads all of it: a broken file is found before it is served."""
    try:
        opened = zipfile.ZipFile(io.BytesIO(archive))
        _check_entries(opened.infolist(), sku)
        if (broken := opened.testzip()) is not None:
            raise BadArchiveError(f"The zip is damaged: {broken} cannot be read.")
        content = Content(opened)
    except UNREADABLE as error:
        raise BadArchiveError(f"The content is not a zip that can be unpacked: {error}.") from error
    return content


def _check_entries(entries: list[zipfile.ZipInfo], sku: Sku) -> None:
    for each in entries:
        # zipfile writes / for the separator of this system only.
        parts = re.split(r"[/\\]", each.orig_filename)
        if "" in parts[:-1] or ".." in parts or ":" in parts[0] or "\0" in each.orig_filename:
            raise BadArchiveError(f"The zip has a path that leads out of it: {each.orig_filename!r}.")
        if stat.S_ISLNK(each.external_attr >> 16):
            raise BadArchiveError(f"The zip has a link in it: {each.orig_filename!r}.")
    files = [each for each in entries if not each.is_dir()]
    if len(files) > MOST_FILES:
        raise BadArchiveError("The number of static files was too large.")
    if sum(each.file_size for each in files) > MOST_BYTES[sku]:
        limit = f"The limit for this Static Web App is {MOST_BYTES[sku]} bytes."
        told = f"The size of the app content was too large. {limit}"
        raise BadArchiveError(told if sku == "Standard" else f"{told} {UPPER}")
    if not {each.filename for each in files} & set(DEFAULT_FILES):
        raise BadArchiveError(
            "Failed to find a default file in the app artifacts folder (/). Valid default files: index.html,Index.html."
        )


def _configuration(archive: zipfile.ZipFile, names: set[str]) -> dict[str, Any]:
    if CONFIGURATION not in names:
        return {}
    told = "Encountered an issue while validating staticwebapp.config.json:"
    if archive.getinfo(CONFIGURATION).file_size > MOST_CONFIGURATION_BYTES:
        raise BadArchiveError(f"{told} The file size exceeds the limit of 20 KB.")
    try:
        found: Any = json.loads(archive.read(CONFIGURATION))
    except ValueError as error:
        raise BadArchiveError(f"{told} {error}.") from error
    if not isinstance(found, dict):
        raise BadArchiveError(f"{told} it must be an object.")
    configuration = cast("dict[str, Any]", found)
    for key in ("globalHeaders", "navigationFallback"):
        if not isinstance(configuration.get(key, {}), dict):
            raise BadArchiveError(f"{told} {key} must be an object.")
    return configuration


def keep(folder: Path, archive: bytes) -> str:
    """Keep a checked archive in `folder`; returns its digest. One that is there already is not written again."""
    digest = digest_of(archive)
    file = folder / f"{digest}.zip"
    if not file.exists():
        folder.mkdir(exist_ok=True, mode=0o700)
        beside = file.with_suffix(".new")
        beside.write_bytes(archive)
        beside.replace(file)
    return digest


@lru_cache(maxsize=KEPT_CONTENTS)
def kept(folder: Path, digest: str) -> Content:
    """The content of an archive that was kept."""
    return Content(zipfile.ZipFile(folder / f"{digest}.zip"))


def forget(folder: Path, wanted: set[str]) -> None:
    """Remove every archive but the wanted ones."""
    for file in folder.glob("*.zip"):
        if file.stem not in wanted:
            # Who reads it now goes on: it is open.
            file.unlink()
