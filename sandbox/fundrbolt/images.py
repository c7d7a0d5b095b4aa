"""What a release has in its image's folder `/app`: alembic's configuration, and the revisions up to its own head.

An older release's image knows nothing of newer revisions: it cannot even tell where a newer database is.
"""

import ast
import shutil
from hashlib import sha256
from pathlib import Path

from sandbox.fundrbolt.releases import HEADS

HERE = Path(__file__).parent
CONFIGURATION, ENVIRONMENT, VERSIONS = "alembic.ini", "migrations/env.py", "migrations/versions"
CONTENTS = ".contents"
"""A file in the folder of all images: the digest of what they were made from."""


def files_of(release: str) -> dict[str, bytes]:
    """The content of the release's folder, by path below it."""
    chain = _chain(HEADS[release])
    sources = [HERE / CONFIGURATION, HERE / ENVIRONMENT, *chain]
    return {str(each.relative_to(HERE)): each.read_bytes() for each in sources}


def build(folder: Path) -> None:
    """Make one folder for each release below `folder`; what is there already is kept if it is as it must be."""
    images = {release: files_of(release) for release in HEADS}
    digest = sha256(repr(images).encode()).hexdigest()
    made = folder / CONTENTS
    if made.exists() and made.read_text() == digest:
        return
    shutil.rmtree(folder, ignore_errors=True)
    for release, files in images.items():
        for path, content in files.items():
            target = folder / release / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
            target.chmod(0o444)
    made.write_text(digest)


def _chain(head: str) -> list[Path]:
    """The revisions' files from `head` down to the first one."""
    by_revision = {values["revision"]: (file, values["down_revision"]) for file, values in _revisions()}
    chain: list[Path] = []
    revision: str | None = head
    while revision is not None:
        file, revision = by_revision[revision]
        chain.append(file)
    return chain


def _revisions() -> list[tuple[Path, dict[str, str | None]]]:
    """Every revision's file and what it says of its place, read without running it: that takes its time."""
    found: list[tuple[Path, dict[str, str | None]]] = []
    for file in sorted((HERE / VERSIONS).glob("*.py")):
        values = {
            target.id: ast.literal_eval(node.value)
            for node in ast.parse(file.read_bytes()).body
            if isinstance(node, ast.Assign)
            for target in node.targets
            if isinstance(target, ast.Name)
        }
        found.append((file, values))
    return found
