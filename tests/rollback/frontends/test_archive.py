"""Archives that Static Web Apps may be given, and those that nobody should unpack."""

import hashlib
import io
import json
import stat
import struct
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable
from contextlib import nullcontext

import pytest

from rollback.errors import ArtifactUnfit
from rollback.frontends import archive
from rollback.frontends.archive import Contents, look_through
from rollback.frontends.settings import VersionPage

NAME = "frontend-web.zip"
DIGEST = f"sha256:{'0' * 64}"
INDEX = b"<!DOCTYPE html><title>Fundrbolt</title>"
MIB = 1024**2
DEFLATED = zipfile.ZIP_DEFLATED


def packed(*members: tuple[str | zipfile.ZipInfo, bytes], version: object = "v1.2.2", index: bool = True) -> bytes:
    """An archive of a frontend with these members besides."""
    pages = [("index.html", INDEX)] if index else []
    if version is not None:
        body = version if isinstance(version, bytes) else json.dumps({"version": version}).encode()
        pages.append(("version.json", body))
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", DEFLATED) as made:
        for name, content in [*pages, *members]:
            made.writestr(name, content)
    return file.getvalue()


def look(content: bytes, page: VersionPage | None = None) -> Contents:
    return look_through(io.BytesIO(content), NAME, DIGEST, page or VersionPage())


def refusal(content: bytes) -> str:
    """What is told of an archive that is refused: always which file it was and what to do, and all of it printable."""
    with pytest.raises(ArtifactUnfit) as raised:
        look(content)
    told = str(raised.value)
    assert told.startswith(f"File '{NAME}' must not be deployed: ")
    assert "Upload it again" in told
    assert told.isprintable()
    return told


def test_a_good_archive_is_told_with_its_version_and_size() -> None:
    content = packed(("assets/app.js", b"x" * 1000), ("assets/", b""), ("..well-known/a..b.js", b""))
    assert look(content) == Contents(
        digest=DIGEST,
        index_digest=f"sha256:{hashlib.sha256(INDEX).hexdigest()}",
        version="v1.2.2",
        files=4,
        unpacked_bytes=len(INDEX) + len('{"version": "v1.2.2"}') + 1000,
    )


def test_the_version_is_read_where_the_platform_file_says() -> None:
    page = VersionPage(path="/about/build.json", json_field="build.release")
    content = packed(("about/build.json", b'{"build": {"release": "v9"}}'), version=None)
    assert look(content, page).version == "v9"


@pytest.mark.parametrize(
    "name",
    ["../evil.js", "a/../../evil.js", "/etc/evil.js", "C:/evil.js", "c:evil.js", "..\\evil.js", "a\\..\\..\\evil.js"],
)
def test_a_name_that_leads_out_of_the_folder_is_refused(name: str) -> None:
    assert f"{name!r} leads out of the folder" in refusal(packed((name, b"evil")))


def test_a_name_that_is_cut_at_a_nul_is_refused_and_told_printably() -> None:
    content = packed(("evil.js#.png", b"evil")).replace(b"evil.js#.png", b"evil.js\x00.png")
    assert r"'evil.js\x00.png' leads out" in refusal(content)


def test_a_second_name_that_leads_out_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Info-ZIP's Unicode path, which Python takes for the name since 3.12. Source: APPNOTE.TXT 4.6.9."""
    content = packed(("harmless.js", b"evil"))
    genuine = zipfile.ZipFile.infolist

    def infolist(of: zipfile.ZipFile) -> list[zipfile.ZipInfo]:
        genuine(of)[-1].filename = "../evil.js"
        return genuine(of)

    monkeypatch.setattr(zipfile.ZipFile, "infolist", infolist)
    assert "leads out of the folder" in refusal(content)


def test_a_symbolic_link_is_refused() -> None:
    link = zipfile.ZipInfo("assets/\x1b[2Jlink")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    assert r"'assets/\x1b[2Jlink' is a symbolic link" in refusal(packed((link, b"/etc/passwd")))


@pytest.mark.parametrize("again", ["index.html", "./index.html", ".\\index.html", "index.html/"])
def test_a_name_that_is_there_twice_is_refused(again: str) -> None:
    with pytest.warns(UserWarning, match="Duplicate") if again == "index.html" else nullcontext():
        content = packed((again, b""))
    assert f"{again!r} is in it twice" in refusal(content)


def test_more_files_than_azure_takes_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "MOST_FILES", 4)
    assert look(packed(("a", b""), ("b", b""))).files == 4
    assert "it has 5 files, and Static Web Apps takes 4" in refusal(packed(("a", b""), ("b", b""), ("c", b"")))


def test_what_announces_more_than_azure_takes_is_refused_and_not_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "MOST_BYTES", MIB)
    exactly = MIB - len(INDEX) - len('{"version": "v1.2.2"}')
    assert look(packed(("zeros", bytes(exactly)))).unpacked_bytes == MIB
    content = packed(("zeros", bytes(exactly + 1)))
    monkeypatch.setattr(zipfile.ZipFile, "open", lambda *_: pytest.fail("it is unpacked"))
    assert "unpacked it has 1 MB, and Static Web Apps takes 1 MB" in refusal(content)


def announced(content: bytes, name: bytes, size: int, checked: bytes) -> bytes:
    """The archive with another size and checksum of one member, in both of its headers."""
    changed, crc = bytearray(content), zlib.crc32(checked)
    for signature, at, before in ((b"PK\x03\x04", 14, 30), (b"PK\x01\x02", 16, 46)):
        start = -1
        while (start := content.find(signature, start + 1)) >= 0:
            if content[start + before :].startswith(name):
                struct.pack_into("<I", changed, start + at, crc)
                struct.pack_into("<I", changed, start + at + 8, size)
    return bytes(changed)


def test_a_bomb_that_announces_little_is_refused_in_little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "MOST_BYTES", 24 * MIB)
    content = announced(packed(("zeros", bytes(64 * MIB))), b"zeros", 10, bytes(10))
    tracemalloc.start()
    try:
        assert "unpacked it has 25 MB, and Static Web Apps takes 25 MB" in refusal(content)
        assert tracemalloc.get_traced_memory()[1] < 8 * MIB
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("kind", [DEFLATED, zipfile.ZIP_STORED])
def test_what_is_a_little_larger_than_it_announces_is_refused(kind: int) -> None:
    member = zipfile.ZipInfo("zeros")
    member.compress_type = kind
    content = packed((member, bytes(20)))
    assert refusal(announced(content, b"zeros", 10, bytes(10)))
    assert refusal(announced(content, b"zeros", 10, bytes(20)))
    assert refusal(announced(content, b"zeros", 30, bytes(20)))


@pytest.mark.parametrize("kind", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_what_cannot_be_unpacked_in_pieces_is_refused(kind: int) -> None:
    member = zipfile.ZipInfo("zeros")
    member.compress_type = kind
    assert "'zeros' is packed in another way than deflate" in refusal(packed((member, bytes(MIB))))


def encrypted(content: bytes) -> bytes:
    changed = bytearray(content)
    for signature, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        changed[content.find(signature) + at] |= 1
    return bytes(changed)


def damaged(content: bytes) -> bytes:
    """Its first member's data are no deflated data any more."""
    return content.replace(zlib.compress(INDEX, wbits=-15), b"\xff" * len(zlib.compress(INDEX, wbits=-15)))


def wrongly_checked(content: bytes) -> bytes:
    return announced(content, b"index.html", len(INDEX), b"another")


def wrongly_encoded(content: bytes) -> bytes:
    """A name that is called UTF-8, and is none."""
    told_to_be = content.replace(b"\x14\x00\x00\x00", b"\x14\x00\x00\x08")
    return told_to_be.replace(b"index.html", b"\xff\xfendex.htm")


def patched(content: bytes) -> bytes:
    """A flag that no program but PKWARE's understands: it is read when the member is opened."""
    changed = bytearray(content)
    changed[content.find(b"PK\x01\x02") + 8] |= 0x20
    return bytes(changed)


def reaching_beyond_the_end(content: bytes) -> bytes:
    """Its first member is said to be stored, with more bytes than the whole archive has."""
    changed = bytearray(content)
    for signature, at in ((b"PK\x03\x04", 8), (b"PK\x01\x02", 10)):
        struct.pack_into("<H", changed, content.find(signature) + at, zipfile.ZIP_STORED)
        struct.pack_into("<I", changed, content.find(signature) + at + 10, 100_000)
    return bytes(changed)


def test_an_encrypted_archive_is_refused() -> None:
    assert "'index.html' is encrypted" in refusal(encrypted(packed()))


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (lambda _: b"", "not a zip file"),
        (lambda _: b"\x1f\x8b\x08" + bytes(100), "not a zip file"),
        (lambda content: content[:-40], "not a zip file"),
        (lambda content: content[10:], "."),
        (damaged, "invalid"),
        (wrongly_checked, "Bad CRC-32 for file 'index.html'"),
        (patched, "compressed patched data"),
        (reaching_beyond_the_end, "()"),
        (wrongly_encoded, "decode byte 0xff"),
    ],
    ids=[
        "empty",
        "gzip",
        "truncated",
        "beginning-missing",
        "damaged",
        "checksum",
        "patched",
        "reaching-on",
        "no-utf-8",
    ],
)
def test_what_cannot_be_read_is_refused_with_the_reason(spoil: Callable[[bytes], bytes], why: str) -> None:
    told = refusal(spoil(packed()))
    assert "it is no zip archive that can be read" in told
    assert why in told


def test_an_archive_without_the_pages_that_tell_what_it_is_is_refused() -> None:
    assert "it has no index.html" in refusal(packed(index=False))
    assert "it has no index.html" in refusal(packed(("dist/index.html", INDEX), index=False))
    assert "it has no version.json" in refusal(packed(version=None))


@pytest.mark.parametrize(
    "page", [b"v1.2.2", b"\xff", b"", b'{"release": "v1.2.2"}', b'["v1.2.2"]', b'{"version": 122}', b"[" * 100_000]
)
def test_a_version_page_that_does_not_tell_the_version_is_refused(page: bytes) -> None:
    assert "its /version.json does not tell a version in 'version'" in refusal(packed(version=page))
