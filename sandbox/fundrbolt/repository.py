"""The platform's own git repository: bare, one commit and one annotated tag for each release, always with the same ids.

Each release's tree has alembic's configuration and revisions below `backend`, the frontends' sources and their deploy
script below `frontend`, the workflow that deploys them, and production's template below `infrastructure`.
"""

import os
import shutil
import subprocess
from collections.abc import Iterator
from functools import cache
from hashlib import sha1, sha256
from pathlib import Path

from sandbox.errors import SandboxError
from sandbox.fundrbolt import frontends
from sandbox.fundrbolt.images import files_of
from sandbox.fundrbolt.infrastructure import sources
from sandbox.fundrbolt.releases import HEADS

FOLDER, FRONTEND, INFRASTRUCTURE = "backend", "frontend", "infrastructure"
WORKFLOWS = ".github/workflows"
WHO = "Fundrbolt Developers <developers@fundrbolt.com>"
FIRST_SECONDS = 1_790_000_000
"""When the first release was made, in seconds since 1970; each later one a week after that."""
WEEK_SECONDS = 7 * 86_400
CONTENTS = "sandbox-contents"
"""A file in the repository: the digest of what it was made from."""


def build(repository: Path) -> None:
    """Make the bare repository; one that is there already is kept if it is as it must be."""
    stream = b"".join(_stream())
    digest = sha256(stream).hexdigest()
    made = repository / CONTENTS
    if made.exists() and made.read_text() == digest:
        return
    shutil.rmtree(repository, ignore_errors=True)
    # No template: a user's own would bring hooks.
    _git("init", "--quiet", "--bare", "--template=", "--initial-branch=main", str(repository))
    _git("-C", str(repository), "fast-import", "--quiet", content=stream)
    made.write_text(digest)


def tree_of(release: str) -> dict[str, tuple[str, bytes]]:
    """Every file of a release, by path: git's mode and the content."""
    files = {f"{FOLDER}/{path}": content for path, content in files_of(release).items()}
    files |= {f"{FRONTEND}/{path}": content for path, content in frontends.sources_of(release).items()}
    files |= {f"{INFRASTRUCTURE}/{path}": content for path, content in sources.sources_of(release).items()}
    here = Path(__file__).parent / "workflows"
    files |= {f"{WORKFLOWS}/{file.name}": file.read_bytes() for file in sorted(here.glob("*.yml"))}
    executable = f"{FRONTEND}/{frontends.EXECUTABLE}"
    return {path: ("100755" if path == executable else "100644", files[path]) for path in sorted(files)}


@cache
def commit_of(release: str) -> str:
    """The id of the release's commit: always the same for the same sources, without asking git."""
    releases = list(HEADS)
    number = releases.index(release)
    who = f"{WHO} {FIRST_SECONDS + number * WEEK_SECONDS} +0000"
    lines = [f"tree {_tree(tree_of(release)).hex()}"]
    if number:
        lines.append(f"parent {commit_of(releases[number - 1])}")
    lines += [f"author {who}", f"committer {who}", "", f"Release {release}", ""]
    return _object_id("commit", "\n".join(lines).encode()).hex()


def _tree(files: dict[str, tuple[str, bytes]]) -> bytes:
    folders: dict[str, dict[str, tuple[str, bytes]]] = {}
    entries: list[tuple[str, bytes]] = []
    for path, (mode, content) in files.items():
        name, slash, rest = path.partition("/")
        if slash:
            folders.setdefault(name, {})[rest] = mode, content
        else:
            entries.append((name, f"{mode} {name}\0".encode() + _object_id("blob", content)))
    # Git sorts a folder as if its name ended in a slash.
    entries += [(f"{name}/", f"40000 {name}\0".encode() + _tree(inside)) for name, inside in folders.items()]
    return _object_id("tree", b"".join(entry for _, entry in sorted(entries)))


def _object_id(kind: str, content: bytes) -> bytes:
    return sha1(f"{kind} {len(content)}\0".encode() + content, usedforsecurity=False).digest()


def _stream() -> Iterator[bytes]:
    for number, release in enumerate(HEADS):
        when = f"{WHO} {FIRST_SECONDS + number * WEEK_SECONDS} +0000\n"
        yield f"commit refs/heads/main\ncommitter {when}".encode()
        yield _data(f"Release {release}\n".encode())
        yield b"deleteall\n"
        for path, (mode, content) in tree_of(release).items():
            yield f"M {mode} inline {path}\n".encode() + _data(content)
        yield f"tag {release}\nfrom refs/heads/main\ntagger {when}".encode()
        yield _data(f"Release {release}\n".encode())


def _data(content: bytes) -> bytes:
    return b"data %d\n%s\n" % (len(content), content)


def _git(*arguments: str, content: bytes = b"") -> None:
    """Run git with nobody's configuration; `SandboxError` with its words if it fails."""
    environment = {"PATH": os.environ.get("PATH", os.defpath), "GIT_CONFIG_GLOBAL": os.devnull, "LC_ALL": "C"}
    environment |= {"GIT_CONFIG_NOSYSTEM": "1"}
    try:
        done = subprocess.run(["git", *arguments], input=content, env=environment, capture_output=True, check=False)  # noqa: S607 -- the one on PATH
    except FileNotFoundError as error:
        raise SandboxError("The sandbox needs git, and there is none on PATH.") from error
    if done.returncode:
        raise SandboxError(f"git {arguments[0]} failed: {done.stderr.decode('utf-8', 'replace').strip()}")
