"""`rollback manifest build|check` from the command line: what is printed, written, and the exit status."""

import os
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from support import PLATFORM_FILE, World

from deployments.cli import main
from rollback.releases import load_manifest
from sandbox.fundrbolt import repository
from sandbox.fundrbolt.releases import IMAGE, RELEASES

OTHER = f"sha256:{'a' * 64}"


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("checkout") / "platform.git"
    repository.build(folder)
    return str(folder)


@pytest.fixture
def manifest_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The platform's own files, where they may be changed."""
    for name in ("fundrbolt.toml", "releases.toml"):
        (tmp_path / name).write_bytes((PLATFORM_FILE.parent / name).read_bytes())
    monkeypatch.setenv("ROLLBACK_CONFIG", str(tmp_path / "fundrbolt.toml"))
    monkeypatch.setenv("AZURE_SUBSCRIPTION_ID", os.environ.get("AZURE_SUBSCRIPTION_ID", "11111111"))
    # The command line sets it for its own process.
    monkeypatch.setattr("sys.excepthook", sys.excepthook)
    return tmp_path / "releases.toml"


def rollback(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["manifest", *arguments])


def test_build_prints_the_entry_and_writes_it_beside_the_platform_file(manifest_file: Path, checkout: str) -> None:
    command = ("build", "--release", "v1.2.4", "--revision", "v1.2.3", "--checkout", checkout)
    ended = rollback(*command, "--image", f"{IMAGE}@{OTHER}", "--oldest-schema", "d95a3b1e7f08")
    assert ended.exit_code == 0, ended.output
    assert '[releases."v1.2.4"]' in ended.stdout
    entry = load_manifest(manifest_file).releases["v1.2.4"]
    assert (entry.image_digest, entry.usable) == (OTHER, ("d95a3b1e7f08", "e2a8c40b7f15"))


def test_build_with_output_to_the_screen_writes_nothing(manifest_file: Path, checkout: str) -> None:
    before = manifest_file.read_bytes()
    ended = rollback("build", "--release", "v1.2.1", "--checkout", checkout, "--cache-version", "7", "--output", "-")
    assert ended.exit_code == 0, ended.output
    assert 'cache_version = "7"' in ended.stdout
    assert manifest_file.read_bytes() == before


def test_build_asks_the_registry_for_the_digest_of_a_tag(world: World, manifest_file: Path, checkout: str) -> None:
    ended = rollback("build", "--release", "v1.2.2", "--checkout", checkout, "--image", IMAGE, "--output", "-")
    assert f'image_digest = "{RELEASES["v1.2.2"]}"' in ended.stdout
    ended = rollback("build", "--release", "v1.2.2", "--checkout", checkout, "--image", f"{IMAGE}:v1.2.3")
    assert load_manifest(manifest_file).releases["v1.2.2"].image_digest == RELEASES["v1.2.3"]
    ended = rollback("build", "--release", "v1.2.2", "--checkout", checkout, "--image", f"{IMAGE}:v9")
    assert ended.exit_code == 4
    assert "There is no image v9" in ended.stderr


def test_check_is_green_with_what_is_unknown_named_unless_it_is_strict(manifest_file: Path, checkout: str) -> None:
    ended = rollback("check", "--checkout", checkout)
    assert ended.exit_code == 0, ended.output
    assert "d95a3b1e7f08 to e2a8c40b7f15" in ended.stdout
    assert "– v1.2.1: unknown: frontend_version, cache_version, registry: not asked" in ended.stdout
    assert rollback("check", "--strict").exit_code == 4


def test_check_asks_the_registry_for_every_image(world: World, manifest_file: Path) -> None:
    ended = rollback("check", "--image", IMAGE)
    assert ended.exit_code == 0, ended.output
    assert ended.stdout.count("registry") == 3
    world.control.break_("image-missing", tag="v1.2.1")
    ended = rollback("check", "--image", IMAGE)
    assert ended.exit_code == 4
    assert f"✗ v1.2.1: image_digest is not in {IMAGE}" in ended.stdout


def test_check_ends_with_4_on_a_contradiction(manifest_file: Path) -> None:
    content = manifest_file.read_text(encoding="utf-8")
    manifest_file.write_text(content.replace(RELEASES["v1.2.3"], RELEASES["v1.2.2"]), encoding="utf-8")
    ended = rollback("check")
    assert ended.exit_code == 4
    assert "✗ v1.2.3: image_digest is also that of v1.2.2" in ended.stdout


def test_a_wrong_field_is_told_with_its_release(manifest_file: Path) -> None:
    content = manifest_file.read_text(encoding="utf-8")
    manifest_file.write_text(content.replace('alembic_head = "b7d04e9f6c21"', 'alembic_head = "x"'), encoding="utf-8")
    ended = rollback("check")
    assert ended.exit_code == 4
    assert "releases.v1.2.1: alembic_head x is not among its schemas" in ended.stderr
