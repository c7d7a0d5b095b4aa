"""Entries of the release manifest, made from a checkout by alembic's own graph."""

import subprocess
from pathlib import Path

import pytest

from rollback.errors import SettingsInvalid
from rollback.manifest_checks import Checked, check_checkout, check_each_other
from rollback.manifest_entries import CheckoutUnfit, EntryInvalid, find_digest, make_entry, read_chain, write_entry
from rollback.programs.repository import RevisionMissing
from rollback.releases import Manifest, Release, load_manifest
from sandbox.fundrbolt import repository

OWN = Path(__file__).parents[2] / "deployments" / "releases.toml"
CHAIN = ("3f1c9a7d2b40", "8c52e6f0a1d3", "b7d04e9f6c21", "d95a3b1e7f08", "e2a8c40b7f15")
DIGEST = f"sha256:{'a' * 64}"


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("checkout") / "platform.git"
    repository.build(folder)
    return folder


@pytest.fixture
def manifest() -> Manifest:
    return load_manifest(OWN)


def git(*arguments: str) -> str:
    options = ("-c", "user.name=somebody", "-c", "user.email=somebody@example.org")
    return subprocess.run(["git", *options, *arguments], check=True, capture_output=True, text=True).stdout


async def test_a_tags_chain_is_read_and_the_repository_is_as_it_was(checkout: Path) -> None:
    assert await read_chain(checkout, "v1.2.1") == CHAIN[:3]
    assert len(git("-C", str(checkout), "worktree", "list").splitlines()) == 1


async def test_a_tag_that_is_not_there_is_told(checkout: Path) -> None:
    with pytest.raises(RevisionMissing, match="no tag or commit 'v9'"):
        await read_chain(checkout, "v9")


@pytest.fixture(scope="module")
def unusual(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working copy with two folders of revisions, one of which has two heads; something in it is not committed."""
    copy = tmp_path_factory.mktemp("unusual") / "copy"
    git("clone", "-q", str(checkout), str(copy))
    versions = copy / "backend" / "migrations" / "versions"
    (versions / "branch.py").write_text('revision = "beef"\ndown_revision = "8c52e6f0a1d3"\n', encoding="utf-8")
    (copy / "other").mkdir()
    (copy / "other" / "alembic.ini").touch()
    git("-C", str(copy), "add", ".")
    git("-C", str(copy), "commit", "-q", "-m", "Branch")
    (copy / "not-committed").touch()
    return copy


async def test_two_folders_of_revisions_have_to_be_told_apart(unusual: Path) -> None:
    with pytest.raises(CheckoutUnfit, match=r"not one alembic\.ini: backend, other.*--path"):
        await read_chain(unusual, "HEAD")


async def test_two_heads_are_no_chain_and_the_working_copy_is_as_it_was(unusual: Path) -> None:
    before = git("-C", str(unusual), "status", "--porcelain")
    with pytest.raises(CheckoutUnfit, match=r"beef.*e2a8c40b7f15|e2a8c40b7f15.*beef"):
        await read_chain(unusual, "HEAD", "backend")
    assert git("-C", str(unusual), "status", "--porcelain") == before == "?? not-committed\n"


def test_a_new_release_claims_only_its_own_head(manifest: Manifest) -> None:
    entry = make_entry(manifest, "v1.2.4", (*CHAIN, "f00d"), DIGEST, {"oldest_schema": None})
    assert entry.usable == ("f00d",)
    assert (entry.alembic_head, entry.schemas, entry.image_digest) == ("f00d", (*CHAIN, "f00d"), DIGEST)


def test_an_entry_keeps_what_is_not_told_anew(manifest: Manifest) -> None:
    entry = make_entry(manifest, "v1.2.2", CHAIN[:4], None, {"frontend_version": "4.1.0", "cache_version": None})
    assert entry == manifest.releases["v1.2.2"].model_copy(update={"frontend_version": "4.1.0"})


def test_later_revisions_come_in_the_order_of_the_releases_that_have_them(manifest: Manifest) -> None:
    entry = make_entry(manifest, "v1.2.1", CHAIN[:3], None, {"newest_schema": CHAIN[4]})
    assert entry.schemas == CHAIN
    assert entry.usable == CHAIN[2:]


@pytest.mark.parametrize(
    ("digest", "told", "words"),
    [
        (None, {}, "v1.2.4: image_digest is not known.*--image"),
        ("sha256:short", {}, "v1.2.4: image_digest: "),
        (DIGEST, {"newest_schema": "f00d"}, "newest_schema f00d is no revision of its own"),
        (DIGEST, {"oldest_schema": "f00d"}, "oldest_schema f00d is not among its schemas"),
        (DIGEST, {"newest_schema": CHAIN[1]}, "comes after newest_schema"),
    ],
)
def test_an_entry_that_contradicts_itself_is_refused(
    manifest: Manifest, digest: str | None, told: dict[str, str | None], words: str
) -> None:
    with pytest.raises(EntryInvalid, match=words):
        make_entry(manifest, "v1.2.4", CHAIN, digest, told)


def test_writing_an_entry_leaves_everything_else_as_it_is(tmp_path: Path, manifest: Manifest) -> None:
    file = tmp_path / "releases.toml"
    before = OWN.read_text(encoding="utf-8")
    file.write_text(before, encoding="utf-8")
    write_entry(file, "v1.2.2", manifest.releases["v1.2.2"])
    assert file.read_text(encoding="utf-8") == before
    write_entry(file, "v1.2.2", manifest.releases["v1.2.2"].model_copy(update={"newest_schema": CHAIN[3]}))
    changed = file.read_text(encoding="utf-8")
    assert changed == before.replace(
        'newest_schema = "e2a8c40b7f15" # tested with tips', 'newest_schema = "d95a3b1e7f08" # tested with tips'
    )
    write_entry(file, "v1.2.4", Release(image_digest=DIGEST))
    assert file.read_text(encoding="utf-8") == f'{changed}\n[releases."v1.2.4"]\nimage_digest = "{DIGEST}"\n'
    assert [each.name for each in tmp_path.iterdir()] == ["releases.toml"]


def test_a_manifest_begins_with_its_first_entry(tmp_path: Path) -> None:
    write_entry(tmp_path / "releases.toml", "v1", Release(image_digest=DIGEST))
    assert load_manifest(tmp_path / "releases.toml").releases == {"v1": Release(image_digest=DIGEST)}


def test_a_manifest_that_is_wrong_already_is_not_written_to(tmp_path: Path) -> None:
    file = tmp_path / "releases.toml"
    file.write_text('[releases."v1"]\nimage_digest = "short"\n', encoding="utf-8")
    with pytest.raises(SettingsInvalid, match=r"releases\.v1\.image_digest"):
        write_entry(file, "v2", Release(image_digest=DIGEST))
    assert file.read_text(encoding="utf-8").count("releases") == 1


async def test_a_digest_in_the_reference_needs_no_registry() -> None:
    assert await find_digest(f"ghcr.io/o/app:v1@{DIGEST}", "v1", None) == DIGEST


def contradictions(found: list[Checked]) -> str:
    return "; ".join(f"{each.release}: {', '.join(each.contradictions)}" for each in found if each.contradictions)


def test_the_platforms_own_manifest_has_no_contradictions(manifest: Manifest) -> None:
    found = check_each_other(manifest)
    assert contradictions(found) == ""
    assert {each.unknown for each in found} == {("frontend_version", "cache_version")}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"schemas": (*CHAIN[:2], CHAIN[3])}, "v2: schemas has another order or other revisions than those of v1"),
        ({"schemas": tuple(reversed(CHAIN))}, "v2: schemas has another order or other revisions than those of v1"),
        ({"schemas": CHAIN[:3]}, ""),
        ({"schemas": ("squashed", *CHAIN[2:], "f00d")}, ""),
        ({"schemas": ()}, ""),
        ({"image_digest": DIGEST}, "v2: image_digest is also that of v1"),
    ],
)
def test_entries_that_contradict_each_other(change: dict[str, object], told: str) -> None:
    other = {"image_digest": f"sha256:{'b' * 64}", "schemas": CHAIN} | change
    both = {"v1": {"image_digest": DIGEST, "schemas": CHAIN}, "v2": other}
    assert contradictions(check_each_other(Manifest.model_validate({"releases": both}))) == told


async def test_the_checkout_confirms_contradicts_or_does_not_know(checkout: Path, manifest: Manifest) -> None:
    wrong = manifest.releases["v1.2.2"].model_copy(update={"alembic_head": CHAIN[4]})
    unknown = Release(image_digest=DIGEST)
    releases = {"v1.2.1": manifest.releases["v1.2.1"], "v1.2.2": wrong, "v9": unknown}
    good, bad, missing = await check_checkout(Manifest(releases=releases), checkout, None)
    assert good.agreed == ("checkout",)
    assert bad.contradictions == ("alembic_head is e2a8c40b7f15, and in the checkout d95a3b1e7f08",)
    assert "no tag or commit 'v9'" in missing.unknown[0]
