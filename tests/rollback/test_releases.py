from pathlib import Path

import pytest

from rollback.errors import SettingsInvalid, UnknownRelease
from rollback.releases import load_manifest

DIGEST = "sha256:" + "a" * 64
OTHER = "sha256:" + "b" * 64


@pytest.fixture
def manifest_file(tmp_path: Path) -> Path:
    file = tmp_path / "releases.toml"
    file.write_text(f'[releases."v1"]\nimage_digest = "{DIGEST}"\n', encoding="utf-8")
    return file


@pytest.mark.parametrize(
    ("linux_fx_version", "digest", "release"),
    [
        (f"DOCKER|ghcr.io/o/app@{DIGEST}", DIGEST, "v1"),
        (f"docker|ghcr.io/o/app:v1@{DIGEST}", DIGEST, "v1"),
        (f"DOCKER|ghcr.io/o/app@{OTHER}", OTHER, None),
        (f"DOCKER|ghcr.io/o/app:v1@{OTHER}", OTHER, None),
        ("DOCKER|ghcr.io/o/app:v1", DIGEST, "v1"),
        ("DOCKER|localhost:5000/app:v1", DIGEST, "v1"),
        ("DOCKER|ghcr.io/o/app:latest", None, None),
        ("PYTHON|3.11", None, None),
        ("", None, None),
    ],
)
def test_a_build_is_known_by_its_digest(
    manifest_file: Path, linux_fx_version: str, digest: str | None, release: str | None
) -> None:
    build = load_manifest(manifest_file).build_of(linux_fx_version)
    assert (build.digest, build.release) == (digest, release)


def test_an_unknown_release_is_told_with_those_that_there_are(manifest_file: Path) -> None:
    with pytest.raises(UnknownRelease, match=r"no release 'v2'.*v1"):
        load_manifest(manifest_file).digest_of("v2")


def test_without_a_manifest_no_release_is_known_by_name() -> None:
    with pytest.raises(UnknownRelease, match=r"releases\.manifest"):
        load_manifest(None).digest_of("v1")


def test_a_wrong_digest_in_the_manifest_is_named(manifest_file: Path) -> None:
    manifest_file.write_text('[releases."v1"]\nimage_digest = "sha256:short"\n', encoding="utf-8")
    with pytest.raises(SettingsInvalid, match=r"releases\.v1\.image_digest"):
        load_manifest(manifest_file)


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        ('alembic_head = "c"', "alembic_head c is not among its schemas"),
        ('oldest_schema = "x"\nnewest_schema = "b"', "oldest_schema x is not among its schemas"),
        ('oldest_schema = "a"\nnewest_schema = "x"', "newest_schema x is not among its schemas"),
        ('oldest_schema = "b"\nnewest_schema = "a"', "oldest_schema comes after newest_schema"),
        ('oldest_schema = "a"', "oldest_schema and newest_schema belong together"),
        ('alembic_head = "b"\noldest_schema = "a"\nnewest_schema = "a"', "alembic_head is outside of oldest_schema"),
        ('frontend_version = ""', "frontend_version"),
    ],
)
def test_schemas_that_contradict_each_other_are_told_with_release_and_field(
    manifest_file: Path, lines: str, told: str
) -> None:
    with manifest_file.open("a", encoding="utf-8") as file:
        file.write(f'schemas = ["a", "b"]\n{lines}\n')
    with pytest.raises(SettingsInvalid, match=rf"releases\.v1.*{told}"):
        load_manifest(manifest_file)


@pytest.mark.parametrize(
    ("schemas", "told"), [('["a", "a"]', "schemas names a revision twice"), ('["a", "-1"]', r"schemas\.1")]
)
def test_relative_and_repeated_revisions_are_no_schemas(manifest_file: Path, schemas: str, told: str) -> None:
    with manifest_file.open("a", encoding="utf-8") as file:
        file.write(f"schemas = {schemas}\n")
    with pytest.raises(SettingsInvalid, match=rf"releases\.v1.*{told}"):
        load_manifest(manifest_file)


@pytest.mark.parametrize(
    ("lines", "usable"),
    [
        ('oldest_schema = "b"\nnewest_schema = "c"\nschemas = ["a", "b", "c", "d"]', ("b", "c")),
        ('alembic_head = "b"\nschemas = ["a", "b"]', ("b",)),
        ('alembic_head = "b"', ("b",)),
        ('schemas = ["a", "b"]', ()),
        ("", ()),
    ],
)
def test_a_release_runs_on_what_is_said_else_on_its_own_head(
    manifest_file: Path, lines: str, usable: tuple[str, ...]
) -> None:
    with manifest_file.open("a", encoding="utf-8") as file:
        file.write(f"{lines}\n")
    assert load_manifest(manifest_file).releases["v1"].usable == usable


def test_the_platforms_own_manifest_says_what_the_sandbox_runs() -> None:
    from sandbox.fundrbolt.releases import HEADS, RELEASES

    manifest = load_manifest(Path(__file__).parents[2] / "deployments" / "releases.toml")
    assert {name: release.image_digest for name, release in manifest.releases.items()} == RELEASES
    assert {name: release.alembic_head for name, release in manifest.releases.items()} == HEADS
