"""`rollback doctor` on migrations: whether the schema could be taken down, and whether the manifest knows enough."""

import os
from pathlib import Path

import pytest
from support import V1, World, quick_platform_file

from deployments.doctor import examine

HEAD = "e2a8c40b7f15"
APP = "fundrbolt-production-api"


def change(old: str, new: str) -> None:
    """Change the platform file that is in use."""
    file = Path(os.environ["ROLLBACK_CONFIG"])
    content = file.read_text(encoding="utf-8")
    assert old in content
    file.write_text(content.replace(old, new), encoding="utf-8")


async def test_where_alembic_can_go_down_is_told_and_on_which_schemas_the_releases_run(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    before = len(world.changes_asked_for())
    assert await examine("production")
    told = capsys.readouterr().out
    for text in (
        f"✓ production: the schema is at {HEAD}, and alembic can go down from there in the container of "
        f"{APP}/production",
        f"✓ production: by the manifest v1.2.3, in production, runs on d95a3b1e7f08 to {HEAD}",
        f"✓ production: by the manifest v1.2.2, in slot 'staging', runs on d95a3b1e7f08 to {HEAD}",
        "✓ production: the credential may make and delete scratch servers in resource group 'fundrbolt-rehearsal-rg'",
    ):
        assert text in told
    assert len(world.changes_asked_for()) == before


async def test_no_image_with_the_databases_revision_and_a_manifest_that_contradicts_it_are_named(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    world.control.break_("redeploy", release=V1, slot="production")
    change('rehearsal_resource_group = "fundrbolt-rehearsal-rg"', 'rehearsal_resource_group = "elsewhere-rg"')
    assert not await examine("production")
    told = capsys.readouterr().out
    assert f"✗ production: No slot can take the database down from revision {HEAD}." in told
    assert f"The container of {APP}/staging has no file of revision {HEAD}." in told
    assert (
        "✗ production: the manifest says that v1.2.1, in production, runs on b7d04e9f6c21 to d95a3b1e7f08, and the "
        f"database is at {HEAD}" in told
    )
    assert "on resource group 'elsewhere-rg'" in told


async def test_an_image_without_alembic_is_named_and_a_manifest_without_schemas_leaves_it_to_a_person(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    quick_platform_file(tmp_path, schemas_known=False)
    change('rehearsal_resource_group = "fundrbolt-rehearsal-rg"', "")
    world.control.break_("ssh-no-alembic", slot="production")
    assert not await examine("production")
    told = capsys.readouterr().out
    assert f"The container of {APP}/production has no alembic for 'python -m alembic'." in told
    assert "– production: whether v1.2.3 (sha256:42ea6026d3e0…), in production, can use a schema is unknown" in told
    assert "rollback manifest build" in told
    assert "– production: downgrades are not rehearsed: there is no place for it" in told


async def test_a_repository_is_looked_at_for_the_tag_that_has_the_revision(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    change('way = "ssh"', 'way = "worktree"')
    assert await examine("production")
    assert "alembic can go down from there in the worktree of v1.2.3" in capsys.readouterr().out
    monkeypatch.setenv("ROLLBACK_REPOSITORY", str(tmp_path))
    assert not await examine("production")
    assert f"✗ production: '{tmp_path}' cannot be used as a git repository" in capsys.readouterr().out
