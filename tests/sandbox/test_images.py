"""Each release's image: its own revisions and no newer ones."""

from pathlib import Path

import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory

from sandbox.fundrbolt import images
from sandbox.fundrbolt.releases import HEADS, RELEASES


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("images")
    images.build(made)
    return made


def graph(folder: Path, release: str) -> ScriptDirectory:
    return ScriptDirectory.from_config(Config(folder / release / "alembic.ini"))


@pytest.mark.parametrize("release", RELEASES)
def test_an_image_holds_the_revisions_up_to_its_releases_head(folder: Path, release: str, monkeypatch):
    monkeypatch.chdir(folder / release)
    script = graph(folder, release)
    assert script.get_heads() == [HEADS[release]]
    assert script.get_bases() == ["3f1c9a7d2b40"]


def test_an_older_image_does_not_know_the_newest_revision(folder: Path):
    files = {release: images.files_of(release).keys() for release in RELEASES}
    assert files["v1.2.3"] - files["v1.2.2"] == {"migrations/versions/add_tip.py"}
    assert files["v1.2.2"] - files["v1.2.1"] == {"migrations/versions/index_expiry.py"}
    assert not (folder / "v1.2.2" / "migrations/versions/add_tip.py").exists()


def test_images_are_made_again_only_when_they_would_differ(folder: Path):
    configuration = folder / "v1.2.3" / "alembic.ini"
    before = configuration.stat().st_ino
    images.build(folder)
    assert configuration.stat().st_ino == before
    (folder / images.CONTENTS).write_text("something else")
    (folder / "v1.2.3" / "left over").touch()
    images.build(folder)
    assert not (folder / "v1.2.3" / "left over").exists()
    assert configuration.exists()
