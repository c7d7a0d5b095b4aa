"""`rollback doctor` on frontends and GitHub: whether an earlier release could be deployed again, by each way."""

import os
import re
from pathlib import Path

import pytest
from frontends import frontends_file
from support import World

from deployments.doctor import examine

WEB = "✓ production: frontend 'web': "


def change(old: str, new: str) -> None:
    """Change the platform file that is in use."""
    file = Path(os.environ["ROLLBACK_CONFIG"])
    content = file.read_text(encoding="utf-8")
    assert old in content
    file.write_text(content.replace(old, new), encoding="utf-8")


async def test_what_each_frontend_serves_and_that_an_earlier_release_can_be_had_is_told(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    before = len(world.changes_asked_for())
    assert await examine("production")
    told = capsys.readouterr().out
    for text in (
        f"{WEB}fundrbolt-production-web serves v1.2.3",
        f"{WEB}the credential may do everything that redeploy-frontend does by way 'artifact'",
        f"{WEB}https://www.fundrbolt.com answers, with v1.2.3",
        f"{WEB}release v1.2.2 on GitHub has its archive frontend-web.zip",
        "✓ production: frontend 'admin': fundrbolt-production-admin serves v1.2.3",
        "✓ production: GitHub accepts secret 'github-token' as fundrbolt-operator, and shows fundrbolt/fundrbolt",
        "✓ production: workflow 'deploy-frontend.yml' is there and active",
        "✓ production: fundrbolt-operator may approve deployments to environment 'production' on GitHub",
    ):
        assert text in told
    assert re.search(r"✓ production: GitHub's rate limit: 4\d\d\d of 5000 requests left until \d\d:\d\d UTC", told)
    assert re.search(
        r"✓ production: the last good run of 'deploy-frontend.yml' for v1\.2\.2, \d+, can be run again until 20\d\d-",
        told,
    )
    assert len(world.changes_asked_for()) == before


async def test_a_token_that_github_does_not_accept_is_named_with_what_helps(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    world.control.break_("github-token-revoked")
    assert not await examine("production")
    told = capsys.readouterr().out
    assert "✗ production: GitHub does not accept the token (Bad credentials)" in told
    assert "Put a valid one into the secret that [github] of the platform file names." in told
    assert f"{WEB}fundrbolt-production-web serves v1.2.3" in told
    assert "– production: frontend 'web': which release could be deployed again is not known" in told


async def test_a_workflow_that_is_not_there_a_run_that_is_too_old_and_a_missing_archive_are_named(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    world.control.break_("github-run-too-old")
    assert await examine("production")
    told = capsys.readouterr().out
    assert re.search(
        r"– production: the last good run of 'deploy-frontend.yml' for v1\.2\.2, \d+, is 4\d days old", told
    )
    world.control.break_("github-asset-missing", name="frontend-web.zip", tag="v1.2.2")
    change('file = "deploy-frontend.yml"', 'file = "deploy-site.yml"')
    assert not await examine("production")
    told = capsys.readouterr().out
    assert "✗ production: GitHub shows no workflow 'deploy-site.yml' in fundrbolt/fundrbolt." in told
    assert "✗ production: frontend 'web': Release v1.2.2 on GitHub has no file 'frontend-web.zip'." in told


async def test_the_scripts_way_needs_its_tag_in_the_repository_and_the_right_to_the_token(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    frontends_file(tmp_path, '{ command = ["./deploy.sh"] }')
    world.control.break_("deny", action="Microsoft.Web/staticSites/listSecrets/action")
    assert not await examine("production")
    told = capsys.readouterr().out
    assert re.search(r"✓ production: frontend 'web': its script can be run from v1\.2\.2 \(commit [0-9a-f]{12}\)", told)
    assert "Microsoft.Web/staticSites/listSecrets/action" in told
    monkeypatch.setenv("ROLLBACK_REPOSITORY", str(tmp_path))
    assert not await examine("production")
    assert f"✗ production: frontend 'web': '{tmp_path}' cannot be used as a git repository" in capsys.readouterr().out


async def test_an_app_that_does_not_exist_and_a_public_address_that_leads_elsewhere_are_named(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    world.control.break_("swa-stale-edge")
    change('app = "fundrbolt-production-admin"', 'app = "fundrbolt-admin"')
    assert not await examine("production")
    told = capsys.readouterr().out
    assert "✗ production: frontend 'web': www.fundrbolt.com: /: answered by a cache" in told
    assert re.search(r"✗ production: frontend 'admin': .*fundrbolt-admin", told)


async def test_nothing_is_asked_of_github_where_no_frontends_are_configured(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    await examine("staging")
    told = capsys.readouterr().out
    assert "✓ staging:" in told
    assert "frontend" not in told
    assert "GitHub" not in told
