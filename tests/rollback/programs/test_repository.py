import asyncio
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from rollback.programs.repository import RepositoryUnfit, RevisionMissing, worktree

AUTHOR = ("-c", "user.name=A Developer", "-c", "user.email=developer@example.org")


def git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(["git", *AUTHOR, *arguments], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Two releases, a working copy with changes of its own, and a hook that tells when it ran."""
    folder = tmp_path / "platform"
    folder.mkdir()
    git(folder, "init", "--quiet", "--initial-branch=main")
    for release in ("v1.2.2", "v1.2.3"):
        (folder / "release").write_text(release)
        git(folder, "add", "release")
        git(folder, "commit", "--quiet", "--message", release)
        git(folder, "tag", "--annotate", release, "--message", release)
    (folder / "release").write_text("being worked on")
    (folder / "staged").write_text("for the next commit")
    git(folder, "add", "staged")
    hook = folder / ".git" / "hooks" / "post-checkout"
    hook.write_text("#!/bin/sh\ntouch hook-ran\n")
    hook.chmod(0o755)
    return folder


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    return folder


def assert_nothing_is_left(repository: Path, temporary: Path) -> None:
    assert list(temporary.iterdir()) == []
    assert len(git(repository, "worktree", "list").splitlines()) == 1
    assert git(repository, "worktree", "prune", "--dry-run", "--verbose") == ""
    assert list(repository.glob("**/worktrees")) == []


async def test_a_worktree_has_the_releases_files_and_the_users_stay(repository: Path, temporary: Path) -> None:
    before = git(repository, "status", "--porcelain=v2", "--branch"), (repository / ".git" / "index").read_bytes()
    async with worktree(repository, "v1.2.2") as tree:
        assert (tree / "release").read_text() == "v1.2.2"
        assert sorted(each.name for each in tree.iterdir()) == [".git", "release"]
        assert git(tree, "rev-parse", "--abbrev-ref", "HEAD") == "HEAD\n"
        assert tree.parent.stat().st_mode & 0o077 == 0
    after = git(repository, "status", "--porcelain=v2", "--branch"), (repository / ".git" / "index").read_bytes()
    assert before == after
    assert_nothing_is_left(repository, temporary)


async def test_a_commit_of_a_bare_repository_does_as_well(repository: Path, tmp_path: Path, temporary: Path) -> None:
    git(tmp_path, "clone", "--quiet", "--bare", str(repository), "bare.git")
    commit = git(repository, "rev-parse", "v1.2.3^{commit}").strip()
    async with worktree(tmp_path / "bare.git", commit) as tree:
        assert (tree / "release").read_text() == "v1.2.3"
    assert_nothing_is_left(tmp_path / "bare.git", temporary)


async def test_variables_of_git_in_our_environment_lead_nowhere_else(
    repository: Path, temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setenv("GIT_DIR", "/nowhere")
        patched.setenv("GIT_INDEX_FILE", "/nowhere/index")
        async with worktree(repository, "v1.2.2") as tree:
            assert (tree / "release").read_text() == "v1.2.2"
    assert_nothing_is_left(repository, temporary)


async def test_it_is_removed_after_an_error_and_with_files_that_were_made_in_it(
    repository: Path, temporary: Path
) -> None:
    async def fail() -> None:
        async with worktree(repository, "v1.2.3") as tree:
            (tree / "made").write_text("by a migration")
            raise LookupError

    with pytest.raises(LookupError):
        await fail()
    assert_nothing_is_left(repository, temporary)


async def test_it_is_removed_when_its_user_is_cancelled_twice(repository: Path, temporary: Path) -> None:
    ready = asyncio.Event()

    async def use() -> None:
        async with worktree(repository, "v1.2.3"):
            ready.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(use())
    await ready.wait()
    task.cancel()
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert_nothing_is_left(repository, temporary)


async def test_it_is_removed_when_its_making_is_cancelled(
    repository: Path, temporary: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    programs = tmp_path / "programs"
    programs.mkdir()
    fifo = tmp_path / "made"
    os.mkfifo(fifo)
    real = shutil.which("git")
    wrapper = programs / "git"
    # Git locks a worktree while it makes it.
    wrapper.write_text(
        f'#!/bin/sh\ncase "$*" in *"worktree add"*) {real} "$@"; for each; do tree=$last last=$each; done;'
        f' {real} worktree lock "$tree"; echo made > {fifo}; exec sleep 300;; esac\n'
        f'exec {real} "$@"\n'
    )
    wrapper.chmod(0o755)

    async def use() -> None:
        async with worktree(repository, "v1.2.3"):
            pytest.fail("it was never made")

    with monkeypatch.context() as patched:
        patched.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
        task = asyncio.create_task(use())
        await asyncio.to_thread(fifo.read_text)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert_nothing_is_left(repository, temporary)


async def test_what_cannot_be_used_is_named_with_what_to_do(
    repository: Path, temporary: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def use(folder: Path, revision: str) -> None:
        async with worktree(folder, revision):
            pytest.fail("there is nothing to be used")

    with pytest.raises(RepositoryUnfit, match=r"no folder '.*/away'.*ROLLBACK_REPOSITORY"):
        await use(tmp_path / "away", "v1.2.3")
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / ".git").write_text("gitdir: /nowhere")
    with pytest.raises(RepositoryUnfit, match="not a git repository"):
        await use(broken, "v1.2.3")
    with pytest.raises(RevisionMissing, match=r"no tag or commit 'v9\.9\.9'.*git fetch --tags"):
        await use(repository, "v9.9.9")
    with pytest.raises(RevisionMissing, match="no tag or commit '--all'"):
        await use(repository, "--all")
    with pytest.raises(RevisionMissing, match="no tag or commit '--since=yesterday'"):
        await use(repository, "--since=yesterday")
    with monkeypatch.context() as patched:
        patched.setenv("PATH", str(tmp_path / "no-programs"))
        with pytest.raises(RepositoryUnfit, match="no git on this machine"):
            await use(repository, "v1.2.3")
    assert_nothing_is_left(repository, temporary)
