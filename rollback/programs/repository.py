"""A release's files, in a clean worktree of the platform's git repository.

The user's working copy, index and branches are not touched, their hooks do not run, and nothing is fetched.
"""

import asyncio
import os
import re
import shutil
import tempfile
from collections.abc import AsyncGenerator, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import psutil

from rollback.errors import Refused
from rollback.programs.process import clean_environment, run_in_group
from rollback.redaction import blacken

TIMEOUT_SECONDS = 60.0
"""For each call of git: a checkout reads from the disk only."""

PREFIX = "fundrbolt-rollback-"
"""Of a worktree's folder; the number of its process follows."""
_OURS = re.compile(rf"{PREFIX}(\d+)-\w+")
_SETTINGS = {
    "core.hooksPath": "/dev/null",  # post-checkout hooks are made for the user's own working copy
    "core.sparseCheckout": "false",  # the whole release, whatever the user chose to see of it
    "core.fsmonitor": "false",
    "advice.detachedHead": "false",
}


class RepositoryUnfit(Refused):
    """The folder is no git repository that can be used, or there is no git."""


class RevisionMissing(Refused):
    """The repository has no such tag or commit."""


@asynccontextmanager
async def worktree(repository: Path, revision: str) -> AsyncGenerator[Path]:
    """The files of a tag or commit in a private folder for the length of the block; always removed.

    Raises `RepositoryUnfit` or `RevisionMissing`. A process that is killed leaves its folder behind: the next call for
    the same repository removes it.
    """
    commit = await find_commit(repository, revision)
    await _remove_left_behind(repository)
    folder = Path(await asyncio.to_thread(tempfile.mkdtemp, prefix=f"{PREFIX}{os.getpid()}-"))
    tree = folder / folder.name
    try:
        await _git(repository, "worktree", "add", "--quiet", "--detach", str(tree), commit)
        yield tree
    finally:
        await _to_its_end(_remove(repository, folder, tree))


async def find_commit(repository: Path, revision: str) -> str:
    """The commit of a tag or commit, in full; raises as `worktree`."""
    if not await asyncio.to_thread(repository.is_dir):
        raise RepositoryUnfit(
            f"There is no folder '{repository}'.", remedy="Set ROLLBACK_REPOSITORY to a clone of the platform."
        )
    status, said = await _call(repository, "rev-parse", "--git-dir")
    if status != 0:
        raise RepositoryUnfit(
            f"'{repository}' cannot be used as a git repository: {said}.",
            remedy="Set ROLLBACK_REPOSITORY to a clone of the platform that belongs to the user who runs this.",
        )
    name = f"{revision}^{{commit}}"
    status, said = await _call(repository, "rev-parse", "--verify", "--quiet", "--end-of-options", name)
    if status != 0:
        raise RevisionMissing(
            f"The repository '{repository}' has no tag or commit '{revision}'.",
            remedy="Fetch it there: git fetch --tags",
        )
    return said.splitlines()[-1]


async def _remove_left_behind(repository: Path) -> None:
    """Remove the worktrees of processes that are gone, as far as they are on this machine."""
    status, said = await _call(repository, "worktree", "list", "--porcelain")
    for line in said.splitlines() if status == 0 else []:
        tree = Path(line.removeprefix("worktree "))
        found = _OURS.fullmatch(tree.name)
        if line.startswith("worktree ") and found and not psutil.pid_exists(int(found[1])) and _is_there(tree):
            await _remove(repository, tree.parent, tree)


def _is_there(tree: Path) -> bool:
    """Whether it is one that we made here: in a private folder of the same name."""
    return tree.parent.name == tree.name and tree.is_dir()


async def _remove(repository: Path, folder: Path, tree: Path) -> None:
    await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
    # Not `prune`: that would also forget worktrees of the user's that are on a disk which is away just now. Forced
    # twice, since one whose making was interrupted is locked; what was never made is no worktree, and no fault.
    await _call(repository, "worktree", "remove", "--force", "--force", str(tree))


async def _git(repository: Path, *arguments: str) -> None:
    status, said = await _call(repository, *arguments)
    if status != 0:
        raise RepositoryUnfit(
            f"git {' '.join(arguments[:2])} failed in '{repository}': {said}.",
            remedy="Look whether the disk is full and whether the repository is whole: git fsck",
        )


async def _call(repository: Path, *arguments: str) -> tuple[int, str]:
    """Run git; its status and what it said, in one piece."""
    settings = [part for name, value in _SETTINGS.items() for part in ("-c", f"{name}={value}")]
    environment = clean_environment() | {"LC_ALL": "C", "GIT_TERMINAL_PROMPT": "0", "GIT_LFS_SKIP_SMUDGE": "1"}
    said = bytearray()
    try:
        async with asyncio.timeout(TIMEOUT_SECONDS):
            status = await run_in_group(
                ["git", *settings, *arguments], folder=repository, environment=environment, received=said.extend
            )
    except FileNotFoundError as error:
        raise RepositoryUnfit(
            "There is no git on this machine.", remedy="Install git, or use the way that needs none."
        ) from error
    except TimeoutError as error:
        raise RepositoryUnfit(
            f"git {arguments[0]} did not end within {TIMEOUT_SECONDS:.0f} s in '{repository}'.",
            remedy="Look whether the disk or a remote of a partial clone hangs.",
        ) from error
    return status, blacken(said.decode(errors="replace").strip())


async def _to_its_end(work: Coroutine[Any, Any, None]) -> None:
    """Do the work to its end, however often we are cancelled meanwhile; the cancellation is raised after it."""
    task = asyncio.ensure_future(work)
    cancelled = False
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            cancelled = True
    if cancelled:
        raise asyncio.CancelledError
    task.result()
