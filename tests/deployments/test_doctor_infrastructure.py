"""`rollback doctor` on infrastructure: whether an earlier template could be deployed."""

import os
from pathlib import Path

import pytest
from support import World

from deployments.doctor import examine


def change(old: str, new: str) -> None:
    """Change the platform file that is in use."""
    file = Path(os.environ["ROLLBACK_CONFIG"])
    file.write_text(file.read_text(encoding="utf-8").replace(old, new), encoding="utf-8")


async def test_where_templates_can_be_deployed_it_is_told(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    await examine("production")
    told = capsys.readouterr().out
    assert "✓ production: releases' templates come from" in told
    assert "✓ production: deployed last as 'fundrbolt-infrastructure'" in told
    assert "✓ production: the credential may deploy what the last deployment did, and its locks allow it" in told


async def test_a_lock_and_a_missing_repository_are_named(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    world.control.break_("arm-lock", scope="fundrbolt-production-rg")
    monkeypatch.setenv("ROLLBACK_REPOSITORY", str(tmp_path / "nowhere"))
    assert not await examine("production")
    told = capsys.readouterr().out
    assert f"✗ production: There is no folder '{tmp_path / 'nowhere'}'" in told
    assert "✗ production: Lock 'somebody-elses-lock' (ReadOnly)" in told


async def test_a_missing_permission_is_named(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    world.control.break_("deny", action="Microsoft.Web/serverfarms/write")
    assert not await examine("production")
    assert "Microsoft.Web/serverfarms/write on resource group 'fundrbolt-production-rg'" in capsys.readouterr().out


async def test_a_deployment_that_is_in_no_history_is_a_hint(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    change('"fundrbolt-infrastructure"', '"other"')
    await examine("production")
    assert "– production: Azure's history has no deployment 'other' to the subscription" in capsys.readouterr().out
