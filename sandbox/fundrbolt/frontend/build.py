"""Build one frontend: `python3 build.py web|admin ARCHIVE`. The zip has the same bytes wherever it is built."""

import hashlib
import io
import json
import pathlib
import sys
import zipfile
from collections.abc import Mapping

FRONTENDS = ("web", "admin")
HASH_DIGITS = 10
WHEN = (2026, 1, 1, 0, 0, 0)


def files_of(sources: Mapping[str, bytes], frontend: str) -> dict[str, bytes]:
    """What is served, by path: a page that names its script and its style by their content."""
    version = sources["VERSION"].decode().strip()
    words = {"__FRONTEND__": frontend, "__VERSION__": version}
    script = _filled(sources["shared/app.js"], words)
    style = _filled(sources["shared/style.css"], words)
    names = {"__SCRIPT__": f"assets/app.{_hash(script)}.js", "__STYLE__": f"assets/style.{_hash(style)}.css"}
    return {
        names["__SCRIPT__"]: script,
        names["__STYLE__"]: style,
        "index.html": _filled(sources[f"{frontend}/index.html"], words | names),
        "staticwebapp.config.json": sources["shared/staticwebapp.config.json"],
        "version.json": json.dumps({"version": version, "frontend": frontend}).encode() + b"\n",
    }


def archive(sources: Mapping[str, bytes], frontend: str) -> bytes:
    """The zip of what is served. Stored, not compressed: zlib's output is not the same everywhere."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as made:
        for path, content in sorted(files_of(sources, frontend).items()):
            entry = zipfile.ZipInfo(path, WHEN)
            entry.create_system = 3
            entry.external_attr = 0o100644 << 16
            made.writestr(entry, content)
    return buffer.getvalue()


def _filled(template: bytes, words: Mapping[str, str]) -> bytes:
    text = template.decode()
    for name, value in words.items():
        text = text.replace(name, value)
    return text.encode()


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:HASH_DIGITS]


def main(arguments: list[str]) -> int:
    """Build, and write the zip down."""
    if len(arguments) != 2 or arguments[0] not in FRONTENDS:
        sys.stderr.write(f"usage: build.py {'|'.join(FRONTENDS)} ARCHIVE\n")
        return 2
    here = pathlib.Path(__file__).resolve().parent
    folders = ("shared", arguments[0])
    sources = {f"{name}/{file.name}": file.read_bytes() for name in folders for file in (here / name).iterdir()}
    sources["VERSION"] = (here / "VERSION").read_bytes()
    made = archive(sources, arguments[0])
    pathlib.Path(arguments[1]).write_bytes(made)
    sys.stdout.write(f"built {arguments[0]} {sources['VERSION'].decode().strip()}: {len(made)} bytes\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
