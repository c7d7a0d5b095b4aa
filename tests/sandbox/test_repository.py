"""The platform's repository: what `git` finds in it."""

import subprocess
from pathlib import Path

import pytest

from sandbox.fundrbolt import frontends, images, repository
from sandbox.fundrbolt.infrastructure import sources
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
        paths = git(place, "ls-tree", "-r", "--name-only", release, "backend").splitlines()
        assert paths == sorted(f"backend/{path}" for path in images.files_of(release))
    told = git(place, "show", "v1.2.3:backend/migrations/versions/add_tip.py")
    assert told == images.files_of("v1.2.3")["migrations/versions/add_tip.py"].decode().strip()


def test_its_tree_has_the_frontends_sources_their_deploy_script_and_the_workflow(place: Path):
    for release in RELEASES:
        listed = git(place, "ls-tree", "-r", release, "frontend", ".github").splitlines()
        modes = {line.partition("\t")[2]: line.split()[0] for line in listed}
        expected = {f"frontend/{path}" for path in frontends.sources_of(release)}
        assert modes.keys() == expected | {".github/workflows/deploy-frontend.yml"}
        assert [path for path, mode in modes.items() if mode == "100755"] == ["frontend/deploy.sh"]
        assert git(place, "show", f"{release}:frontend/VERSION") == release


def test_its_tree_has_the_releases_infrastructure(place: Path):
    for release in RELEASES:
        listed = git(place, "ls-tree", "-r", "--name-only", release, "infrastructure").splitlines()
        assert listed == [f"infrastructure/{path}" for path in sorted(sources.sources_of(release))]
        told = git(place, "show", f"{release}:infrastructure/main.json")
        assert told == sources.sources_of(release)["main.json"].decode().strip()


def test_a_releases_commit_is_known_without_asking_git(place: Path):
    for release in RELEASES:
        assert repository.commit_of(release) == git(place, "rev-parse", f"{release}^{{commit}}")


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
