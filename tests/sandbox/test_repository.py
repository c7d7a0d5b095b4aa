"""The platform's repository: what `git` finds in it."""

import subprocess
from pathlib import Path

import pytest

from sandbox.fundrbolt import images, repository
from sandbox.fundrbolt.releases import RELEASES


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("repository") / "platform.git"
    repository.build(made)
    return made


def git(place: Path, *arguments: str) -> str:
    return subprocess.run(["git", "-C", place, *arguments], check=True, capture_output=True, text=True).stdout.strip()


def test_every_release_is_an_annotated_tag(place: Path):
    told = git(place, "for-each-ref", "--format=%(refname:short) %(objecttype) %(*objecttype)", "refs/tags")
    assert told.splitlines() == [f"{release} tag commit" for release in RELEASES]
    assert git(place, "rev-parse", "main") == git(place, "rev-parse", "v1.2.3^{commit}")


def test_its_tree_has_the_releases_revisions_below_backend(place: Path):
    for release in RELEASES:
        paths = git(place, "ls-tree", "-r", "--name-only", release).splitlines()
        assert paths == sorted(f"backend/{path}" for path in images.files_of(release))
    told = git(place, "show", "v1.2.3:backend/migrations/versions/add_tip.py")
    assert told == images.files_of("v1.2.3")["migrations/versions/add_tip.py"].decode().strip()


def test_it_is_the_same_wherever_it_is_made_and_is_kept(place: Path, tmp_path: Path):
    repository.build(tmp_path / "another.git")
    assert git(tmp_path / "another.git", "rev-parse", "v1.2.1", "v1.2.3") == git(place, "rev-parse", "v1.2.1", "v1.2.3")
    before = (place / "HEAD").stat().st_ino
    repository.build(place)
    assert (place / "HEAD").stat().st_ino == before
    git(place, "fsck", "--strict")


def test_a_worktree_of_a_release_can_be_added_and_removed(place: Path, tmp_path: Path):
    git(place, "worktree", "add", "--quiet", "--detach", str(tmp_path / "tree"), "v1.2.2")
    assert (tmp_path / "tree" / "backend" / "alembic.ini").exists()
    git(place, "worktree", "remove", "--force", str(tmp_path / "tree"))
