"""What a release's assets hold, made once, when first asked for; faults change it."""

import io
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from hashlib import sha256

from sandbox.fundrbolt.frontends import archive_of
from sandbox.fundrbolt.releases import HEADS, RELEASES
from sandbox.state import State

MISSING, CORRUPT = "github-asset-missing", "github-asset-corrupt"
CLIMBS, HUGE = "github-asset-climbs", "github-asset-huge"
CHUNK_BYTES = 1 << 20
HUGE_CHUNKS = 1100
"""So many times `CHUNK_BYTES` in the archive of `github-asset-huge`: more than a gigabyte."""
EPOCH = (2026, 1, 1, 0, 0, 0)


@dataclass(frozen=True)
class Content:
    """An asset's bytes, and what GitHub says of them."""

    data: bytes
    size: int
    digest: str
    """`sha256:` and 64 hexadecimal digits."""


def content_of(state: State, tag: str, name: str) -> Content | None:
    """The asset as it is now; None when a fault took it away."""
    kinds = [
        fault.name
        for fault in state.faults
        if fault.name in (MISSING, CORRUPT, CLIMBS, HUGE)
        and fault.options["name"] == name
        and fault.options["tag"] in ("", tag)
    ]
    if MISSING in kinds:
        return None
    return content(tag, name, climbs=CLIMBS in kinds, huge=HUGE in kinds, truncated=CORRUPT in kinds)


@cache
def content(tag: str, name: str, *, climbs: bool = False, huge: bool = False, truncated: bool = False) -> Content:
    """The asset `name` of the release `tag`, with what faults do to it."""
    if name.endswith(".zip"):
        data = archive_of(name.removeprefix("frontend-").removesuffix(".zip"), tag)
        data = _with(data, ["../../outside.html", "/etc/outside.html"]) if climbs else data
        data = _with(data, [], HUGE_CHUNKS) if huge else data
    else:
        data = _manifest(tag).encode()
    digest = f"sha256:{sha256(data).hexdigest()}"
    return Content(data[: len(data) // 2] if truncated else data, len(data), digest)


def _manifest(tag: str) -> str:
    """What is in the release, as TOML."""
    lines = [f'image_digest = "{RELEASES[tag]}"', f'alembic_head = "{HEADS[tag]}"', f'frontend_version = "{tag}"']
    return "\n".join([f'["{tag}"]', *lines, ""])


def _with(data: bytes, names: Sequence[str], chunks: int = 0) -> bytes:
    """The archive with more in it: files called `names`, and one of `chunks` times `CHUNK_BYTES` zeros."""
    made = io.BytesIO(data)
    with zipfile.ZipFile(made, "a", zipfile.ZIP_DEFLATED) as target:
        for name in names:
            target.writestr(zipfile.ZipInfo(name, EPOCH), b"<p>outside</p>")
        zeros = _add_zeros(target, "assets/map.bin", chunks) if chunks else None
    if zeros is not None:
        made.seek(zeros.header_offset)
        made.write(zeros.FileHeader())
    return made.getvalue()


def _add_zeros(target: zipfile.ZipFile, name: str, chunks: int) -> zipfile.ZipInfo:
    """Add a file of zeros without compressing all of it: every chunk's compressed form is the same."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    zeros = bytes(CHUNK_BYTES)
    packed = packer.compress(zeros) + packer.flush(zlib.Z_FULL_FLUSH)
    checksum = 0
    for _ in range(chunks):
        checksum = zlib.crc32(zeros, checksum)
    stream = packed * chunks + packer.flush()
    info = zipfile.ZipInfo(name, EPOCH)
    # Written as it is, and said afterwards to be compressed: zipfile would compress it itself.
    target.writestr(info, stream, zipfile.ZIP_STORED)
    info.compress_type, info.file_size, info.CRC = zipfile.ZIP_DEFLATED, chunks * CHUNK_BYTES, checksum
    return info
