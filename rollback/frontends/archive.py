"""A release's archive of a frontend: looked through before Azure is told of it, and never unpacked on our disk."""

import hashlib
import re
import stat
import zipfile
import zlib
from collections.abc import Iterator
from copy import copy
from pathlib import PurePosixPath
from typing import IO

from rollback.errors import ArtifactUnfit
from rollback.frontends.settings import VersionPage
from rollback.models import Model
from rollback.probes import json_field

MOST_BYTES = 250 * 1024**2
"""Static Web Apps' limit in the Free plan; 500 MB in the Standard plan, which is not told apart here."""
MOST_FILES = 15_000
"""Their limit in both plans. Source, also of the other: learn.microsoft.com, "Quotas in Azure Static Web Apps"."""
PIECE_BYTES = 1024**2
INDEX = "index.html"
ENCRYPTED = 0x1
"""In a member's flags. Source: APPNOTE.TXT 4.4.4."""
UNPACKED_PIECEWISE = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED})
"""Python unpacks other kinds in one go, however much comes of it; build tools do not write them."""
_UNREADABLE = (
    zipfile.BadZipFile,
    zipfile.LargeZipFile,
    zlib.error,
    NotImplementedError,
    EOFError,
    OSError,
    ValueError,  # names that are no UTF-8, places outside of the file
)
_DRIVE = re.compile(r"[A-Za-z]:")


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
    except _UNREADABLE as error:
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
    seen = set[PurePosixPath]()
    for each in members:
        # Two fields of an archive tell a name, and who unpacks it chooses; Python cuts the second at a NUL.
        if any(_leads_out(told) for told in (each.orig_filename, each.filename)):
            raise _unfit(name, f"{_shown(each.orig_filename)} leads out of the folder it is unpacked into")
        if stat.S_ISLNK(each.external_attr >> 16):
            raise _unfit(name, f"{_shown(each.filename)} is a symbolic link")
        if each.flag_bits & ENCRYPTED:
            raise _unfit(name, f"{_shown(each.filename)} is encrypted")
        if each.compress_type not in UNPACKED_PIECEWISE:
            raise _unfit(name, f"{_shown(each.filename)} is packed in another way than deflate")
        path = PurePosixPath(each.filename.replace("\\", "/"))
        if path in seen:
            raise _unfit(name, f"{_shown(each.filename)} is in it twice")
        seen.add(path)


def _leads_out(told: str) -> bool:
    path = PurePosixPath(told.replace("\\", "/"))
    return path.is_absolute() or ".." in path.parts or _DRIVE.match(told) is not None or "\x00" in told


def _shown(told: str) -> str:
    """A name from an archive in quotes, short and printable."""
    return repr(told[:100])


def _check_bytes(archive: zipfile.ZipFile, name: str) -> int:
    """Read everything once, against its checksums, and no more of it than is allowed: headers may lie."""
    announced = sum(each.file_size for each in archive.infolist())
    if announced > MOST_BYTES:
        raise _too_large(name, announced)
    total = 0
    for each in archive.infolist():
        for length in _piece_lengths(archive, each):
            total += length
            if total > MOST_BYTES:
                raise _too_large(name, total)
    if total != announced:
        raise _unfit(name, f"unpacked it has {total} bytes, and its headers announce {announced}")
    return total


def _piece_lengths(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Iterator[int]:
    whole = copy(member)
    whole.file_size = MOST_BYTES + 1  # as announced, it would be read no further than that
    with archive.open(whole) as content:
        while piece := content.read(PIECE_BYTES):
            yield len(piece)


def _too_large(name: str, size: int) -> ArtifactUnfit:
    told = f"{size / 1e6:,.0f} MB"
    return _unfit(name, f"unpacked it has {told}, and Static Web Apps takes {MOST_BYTES / 1e6:.0f} MB")


def _read(archive: zipfile.ZipFile, member: str, name: str) -> bytes:
    try:
        return archive.read(member)
    except KeyError as error:
        raise _unfit(name, f"it has no {member}") from error
