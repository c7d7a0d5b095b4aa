"""Where an earlier configuration comes from: an archive, or a JSON file of the platform's git repository."""

import asyncio
import json
from pathlib import Path
from typing import NamedTuple, cast

from rollback.errors import NoEarlierState
from rollback.programs.repository import find_commit, worktree
from rollback.resources.archives import Archives
from rollback.resources.ids import ResourceId
from rollback.resources.secrets import Tree

PRINTED = "Name one with what 'az resource show' prints of this resource."
LARGEST_FILE_BYTES = 4 * 1024**2


class Earlier(NamedTuple):
    """A configuration as it was."""

    content: Tree
    api_version: str
    """With which it was read; empty where that is not known."""
    name: str
    source: str
    partial: bool
    """Whether it may be a part of a configuration only: what it does not mention stays."""


def archived(archives: Archives, resource: ResourceId, name: str) -> Earlier | None:
    """What a resource was in the archive of that name; none where it does not have it."""
    found = archives.read(name, resource)
    if found is None:
        return None
    return Earlier(found.content, found.api_version, f"archive {name}", f"archive {name}", partial=False)


async def from_git(repository: Path, named: str, resource: ResourceId) -> Earlier:
    """A JSON file at a commit: what `az resource show` prints, or a file of an archive; `named` is COMMIT:PATH.

    Raises `NoEarlierState`, or as `find_commit`.
    """
    revision, colon, path = named.partition(":")
    if not (revision and colon and path):
        raise NoEarlierState(
            f"'{named}' names no file in git.", remedy="Give tag or commit, a colon and the path: v1.2.2:infra/app.json"
        )
    commit = await find_commit(repository, revision)
    async with worktree(repository, commit) as tree:
        content = await asyncio.to_thread(_read, tree, path, named)
    version = str(content.get("api_version") or "")
    inner = content.get("content")
    found = cast("Tree", inner) if isinstance(inner, dict) and "id" in inner else content
    _require_of(found, resource, named)
    return Earlier(found, version, f"{revision}:{path}", f"{path} at {revision} (commit {commit[:12]})", partial=True)


def _read(tree: Path, path: str, named: str) -> Tree:
    file = (tree / path).resolve()
    if not file.is_relative_to(tree.resolve()) or not file.is_file():
        raise NoEarlierState(f"There is no file '{named}' in the repository.", remedy="See 'git ls-tree -r'.")
    if file.stat().st_size > LARGEST_FILE_BYTES:
        raise NoEarlierState(f"The file '{named}' is too large for one resource.", remedy="Name another.")
    try:
        content = json.loads(file.read_text(encoding="utf-8-sig"))
    except ValueError as error:
        raise NoEarlierState(f"The file '{named}' is not JSON.", remedy=PRINTED) from error
    if not isinstance(content, dict):
        raise NoEarlierState(f"The file '{named}' is no resource.", remedy=PRINTED)
    return cast("Tree", content)


def _require_of(content: Tree, resource: ResourceId, named: str) -> None:
    id_ = content.get("id")
    if "$schema" in content and "resources" in content:
        raise NoEarlierState(
            f"The file '{named}' is a template.",
            remedy="roll-back-infrastructure deploys templates; here a file has one resource.",
        )
    if not isinstance(content.get("properties"), dict) and "tags" not in content:
        raise NoEarlierState(f"The file '{named}' has no properties of a resource.", remedy=PRINTED)
    if id_ is not None and ResourceId.parse(str(id_)).key != resource.key:
        raise NoEarlierState(f"The file '{named}' is of another resource: {id_}.", remedy=PRINTED)
