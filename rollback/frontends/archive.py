"""A release's archive of a frontend: looked through before Azure is told of it, and never unpacked on our disk."""

import hashlib
import stat
import zipfile
from pathlib import PurePosixPath
from typing import IO

from rollback.errors import ArtifactUnfit
from rollback.frontends.settings import VersionPage
from rollback.models import Model
from rollback.probes import json_field

MOST_BYTES = 250 * 1024**2
MOST_FILES = 15_000
"""Static Web Apps' limits in the Standard plan. Source: learn.microsoft.com, "Quotas in Azure Static Web Apps"."""
PIECE_BYTES = 1024**2
INDEX = "index.html"


class Contents(Model):
    """What an archive holds, as far as users can be shown to get it."""

    digest: str
    """Of the archive: `sha256:` and 64 hex digits."""
    index_digest: str
    """Of its index.html, which tells one build from another."""
    version: str
    files: int
    unpacked_bytes: int


def look_through(file: IO[bytes], name: str, digest: str, page: VersionPage) -> Contents:
    """What is in a zip archive; raises `ArtifactUnfit` where Static Web Apps must not be given it, with the reason."""
    try:
        with zipfile.ZipFile(file) as archive:
            _check_names(archive, name)
            total = _check_bytes(archive, name)
            index = _read(archive, INDEX, name)
            version = json_field(_read(archive, page.path.lstrip("/"), name), page.json_field)
            files = sum(not each.is_dir() for each in archive.infolist())
    except (zipfile.BadZipFile, zipfile.LargeZipFile, NotImplementedError, EOFError, RuntimeError, OSError) as error:
        raise _unfit(name, f"it is no zip archive that can be read ({error})") from error
    if version is None:
        raise _unfit(name, f"its {page.path} does not tell a version in '{page.json_field}'")
    index_digest = f"sha256:{hashlib.sha256(index).hexdigest()}"
    return Contents(digest=digest, index_digest=index_digest, version=version, files=files, unpacked_bytes=total)


def _unfit(name: str, why: str) -> ArtifactUnfit:
    return ArtifactUnfit(
        f"File '{name}' must not be deployed: {why}.",
        remedy="Upload it again from a build of the tag, name another release, or use way 'script'.",
    )


def _check_names(archive: zipfile.ZipFile, name: str) -> None:
    """No more files than Azure takes, and each of them inside of the folder it is unpacked into, once."""
    members = archive.infolist()
    if len(members) > MOST_FILES:
        raise _unfit(name, f"it has {len(members)} files, and Static Web Apps takes {MOST_FILES}")
    seen = set[str]()
    for each in members:
        path = PurePosixPath(each.orig_filename.replace("\\", "/"))
        drive = path.parts[0].endswith(":") if path.parts else False
        if path.is_absolute() or ".." in path.parts or drive or "\x00" in each.orig_filename:
            raise _unfit(name, f"'{each.orig_filename[:100]!r}' leads out of the folder it is unpacked into")
        if stat.S_ISLNK(each.external_attr >> 16):
            raise _unfit(name, f"'{each.filename[:100]}' is a symbolic link")
        if str(path) in seen:
            raise _unfit(name, f"'{each.filename[:100]}' is in it twice")
        seen.add(str(path))


def _check_bytes(archive: zipfile.ZipFile, name: str) -> int:
    """Read everything once, against its checksums, and no more of it than is allowed: headers may lie."""
    announced = sum(each.file_size for each in archive.infolist())
    total = 0
    if announced <= MOST_BYTES:
        for each in archive.infolist():
            with archive.open(each) as content:
                while piece := content.read(PIECE_BYTES):
                    total += len(piece)
                    if total > MOST_BYTES:
                        break
    if max(announced, total) > MOST_BYTES:
        size = f"{max(announced, total) / 1e6:,.0f} MB"
        raise _unfit(name, f"unpacked it has {size}, and Static Web Apps takes {MOST_BYTES / 1e6:.0f} MB")
    return total


def _read(archive: zipfile.ZipFile, member: str, name: str) -> bytes:
    try:
        return archive.read(member)
    except KeyError as error:
        raise _unfit(name, f"it has no {member}") from error
