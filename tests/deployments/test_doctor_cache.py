"""`rollback doctor` on caches: whether they could be cleared, and whether the platform file says enough."""

from pathlib import Path

import pytest
from clearing import ALL, quick_cache_file
from support import World

from deployments.doctor import examine


async def test_a_cache_that_could_be_cleared_is_told_with_what_is_never_deleted(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ROLLBACK_CONFIG", str(quick_cache_file(tmp_path)))
    before = len(world.changes_asked_for())
    await examine("production")
    told = capsys.readouterr().out
    assert "✓ production: the credential may use cache 'fundrbolt-production-redis' and its keys" in told
    assert f"one primary, {ALL} keys" in told
    assert "✓ production: deleted by default: cache:*, session:*, ratelimit:*; never: celery, queue:*" in told
    assert len(world.changes_asked_for()) == before
    assert "session:0" not in told


async def test_a_cache_that_lets_nobody_in_is_named_with_what_to_do(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = quick_cache_file(tmp_path)
    content = file.read_text(encoding="utf-8").replace('name = "fundrbolt-production-redis"', 'name = "elsewhere"')
    file.write_text(content, encoding="utf-8")
    monkeypatch.setenv("ROLLBACK_CONFIG", str(file))
    assert not await examine("production")
    assert "There is no cache 'elsewhere' in resource group 'fundrbolt-production-rg'" in capsys.readouterr().out


async def test_what_the_platform_file_does_not_declare_is_told(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = quick_cache_file(tmp_path)
    content = file.read_text(encoding="utf-8")
    for declared in ('protected = ["celery", "queue:*"]', 'revocations = ["jwt_blacklist:*"]'):
        content = content.replace(declared, "", 1)
    file.write_text(content, encoding="utf-8")
    monkeypatch.setenv("ROLLBACK_CONFIG", str(file))
    assert await examine("production")
    told = capsys.readouterr().out
    assert "– production: protected is not said: no queue is kept" in told
    assert "– production: revocations is not said: jwt_blacklist:* is taken for the lists of revoked tokens" in told
    assert "revocations = []" in told
