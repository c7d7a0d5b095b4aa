"""`rollback manifest fetch`: what GitHub's releases say of themselves, told, written, or refused."""

import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from support import PLATFORM_FILE, World

from deployments.cli import main
from rollback.manifest_assets import compare
from rollback.releases import Manifest, load_manifest
from sandbox.fundrbolt import repository
from sandbox.fundrbolt.releases import RELEASES

DIGEST = f"sha256:{'a' * 64}"


@pytest.fixture
def manifest_file(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The platform's own files, where they may be changed."""
    for name in ("fundrbolt.toml", "releases.toml"):
        (tmp_path / name).write_bytes((PLATFORM_FILE.parent / name).read_bytes())
    monkeypatch.setenv("ROLLBACK_CONFIG", str(tmp_path / "fundrbolt.toml"))
    # The command line sets it for its own process.
    monkeypatch.setattr("sys.excepthook", sys.excepthook)
    return tmp_path / "releases.toml"


def rollback(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["manifest", *arguments])


def replace(file: Path, old: str, new: str) -> None:
    content = file.read_text(encoding="utf-8")
    assert old in content
    file.write_text(content.replace(old, new), encoding="utf-8")


def test_what_is_missing_is_added_what_differs_is_changed_and_comments_stay(manifest_file: Path) -> None:
    content = manifest_file.read_text(encoding="utf-8")
    newest = content.index('[releases."v1.2.3"]')
    manifest_file.write_text(content[:newest], encoding="utf-8")
    told = rollback("fetch", "--dry-run")
    assert told.exit_code == 0, told.output
    assert manifest_file.read_text(encoding="utf-8") == content[:newest]
    ended = rollback("fetch")
    assert ended.exit_code == 0, ended.output
    assert "✓ v1.2.1: changed: frontend_version was unknown, is v1.2.1\n" in ended.stdout
    assert "✓ v1.2.3: added\n" in ended.stdout
    assert f"Written to {manifest_file}: v1.2.1, v1.2.2, v1.2.3." in ended.stdout
    known = load_manifest(manifest_file).releases
    assert (known["v1.2.3"].image_digest, known["v1.2.3"].alembic_head) == (RELEASES["v1.2.3"], "e2a8c40b7f15")
    assert known["v1.2.2"].usable == ("d95a3b1e7f08", "e2a8c40b7f15"), "what an asset does not say stays"
    after = manifest_file.read_text(encoding="utf-8")
    assert all(line in after for line in content[:newest].splitlines())
    again = rollback("fetch")
    assert again.stdout.endswith(f"Nothing to write: {manifest_file} says the same.\n")
    assert manifest_file.read_text(encoding="utf-8") == after


def test_a_manifest_that_is_not_there_yet_is_made(manifest_file: Path) -> None:
    manifest_file.unlink()
    ended = rollback("fetch")
    assert ended.exit_code == 0, ended.output
    assert {name: each.image_digest for name, each in load_manifest(manifest_file).releases.items()} == RELEASES


def test_one_asset_that_is_corrupt_leaves_the_manifest_as_it_is(world: World, manifest_file: Path) -> None:
    before = manifest_file.read_bytes()
    world.control.break_("github-asset-corrupt", name="release.toml", tag="v1.2.2")
    ended = rollback("fetch")
    assert ended.exit_code == 4
    assert "✗ v1.2.2: wrong: File 'release.toml' is corrupt" in ended.stdout
    assert "✓ v1.2.3: changed" in ended.stdout
    assert "Nothing was written" in ended.stderr
    assert manifest_file.read_bytes() == before


def test_a_release_without_the_file_is_named_and_the_others_are_written(world: World, manifest_file: Path) -> None:
    world.control.break_("github-asset-missing", name="release.toml", tag="v1.2.2")
    ended = rollback("fetch")
    assert ended.exit_code == 0, ended.output
    assert "– v1.2.2: has no file release.toml on GitHub" in ended.stdout
    known = load_manifest(manifest_file).releases
    assert [each.frontend_version for each in known.values()] == ["v1.2.1", None, "v1.2.3"]


def test_the_files_name_is_the_platforms_to_say(manifest_file: Path) -> None:
    platform = manifest_file.parent / "fundrbolt.toml"
    replace(platform, 'manifest = "releases.toml"', 'manifest = "releases.toml"\nasset = "facts.toml"')
    ended = rollback("fetch")
    assert ended.exit_code == 0, ended.output
    assert ended.stdout.count("has no file facts.toml on GitHub") == 3


@pytest.mark.parametrize("fault", ["github-token-revoked", "github-down"])
def test_nothing_is_written_where_github_cannot_be_read(world: World, manifest_file: Path, fault: str) -> None:
    before = manifest_file.read_bytes()
    world.control.break_(fault)
    ended = rollback("fetch")
    assert ended.exit_code == 4
    assert "GitHub" in ended.stderr
    assert manifest_file.read_bytes() == before


def test_an_image_that_is_another_releases_too_is_a_contradiction(manifest_file: Path) -> None:
    replace(manifest_file, "v1.2.1", "v1.2.0")
    ended = rollback("fetch")
    assert ended.exit_code == 4
    assert "✗ v1.2.1: wrong: image_digest is also that of v1.2.0" in ended.stdout
    assert "v1.2.1" not in load_manifest(manifest_file).releases


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (f'["v2"]\nimage_digest = "{DIGEST}"\nalembic_head = "b"\nschemas = ["a"]', "alembic_head b is not among its"),
        (f'["v1"]\nimage_digest = "{DIGEST}"', "it must have the table of v2 and no other; it has: v1"),
        (f'["v2"]\nimage_digest = "{DIGEST}"\n["v3"]', "it has: v2, v3"),
        ('releases = "v2"', "it has: none"),
        ('["v2"]\nalembic_head = "a"', "image_digest: Field required"),
        ('["v2"', "it is no TOML"),
    ],
)
def test_an_asset_that_contradicts_itself_is_wrong_and_says_why(content: str, why: str) -> None:
    found = compare("v2", content.encode(), Manifest())
    assert found.entry is None
    assert why in found.wrong[0]


def test_an_asset_that_contradicts_what_the_manifest_says_besides_is_told_so(manifest_file: Path) -> None:
    content = f'["v1.2.3"]\nimage_digest = "{DIGEST}"\nalembic_head = "f00d"'
    found = compare("v1.2.3", content.encode(), load_manifest(manifest_file))
    assert found.wrong == ("entry: alembic_head f00d is not among its schemas, with what the manifest says besides",)


def test_build_writes_a_file_for_the_release_that_fetch_takes_and_says_how_to_upload_it(
    manifest_file: Path, tmp_path: Path
) -> None:
    checkout, asset = tmp_path / "platform.git", tmp_path / "release.toml"
    repository.build(checkout)
    command = ("build", "--release", "v1.2.3", "--checkout", str(checkout), "--image", f"ghcr.io/o/a@{DIGEST}")
    ended = rollback(*command, "--output", str(asset))
    assert ended.exit_code == 0, ended.output
    assert f"Upload it with the release: gh release upload v1.2.3 {asset}" in ended.stderr
    found = compare("v1.2.3", asset.read_bytes(), load_manifest(manifest_file))
    assert found.changed[0] == f"image_digest was {RELEASES['v1.2.3']}, is {DIGEST}"
    assert "add --output release.toml, then: gh release upload v1.2.3 release.toml" in rollback(*command).stderr
