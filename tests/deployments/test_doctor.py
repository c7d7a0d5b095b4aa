"""`rollback doctor`: what is in place is said, what is missing is named with what to do, and nothing is changed."""

import os
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from rollback_command import Command, Ended, plain_environment
from support import World

PRODUCTION = ("doctor", "--environment", "production")


@pytest.fixture(autouse=True)
def without_migrations(world: World) -> None:
    """Looking at these starts alembic in two containers: test_doctor_migrations.py does."""
    file = Path(os.environ["ROLLBACK_CONFIG"])
    content = file.read_text(encoding="utf-8")
    file.write_text(re.sub(r"\[environments\.\w+\.migrations\]\n(.+\n)+", "", content), encoding="utf-8")


@pytest.fixture
def rollback(world: World, tmp_path: Path) -> Callable[..., Ended]:
    def runs(*arguments: str, fresh: bool = False) -> Ended:
        return Command(tmp_path, plain_environment(), *arguments, fresh=fresh).end()

    return runs


def changed_file(tmp_path: Path, old: str, new: str) -> str:
    content = Path(os.environ["ROLLBACK_CONFIG"]).read_text(encoding="utf-8")
    assert old in content
    file = tmp_path / "changed.toml"
    file.write_text(content.replace(old, new), encoding="utf-8")
    return str(file)


def assert_lacks(ended: Ended, lack: str, remedy: str) -> None:
    assert ended.status == 4, ended.out
    assert f"✗ {lack}" in ended.out
    assert remedy in ended.out
    assert "Traceback" not in ended.err


def test_everything_in_place_is_found_and_only_read(
    rollback: Callable[..., Ended], world: World, tmp_path: Path
) -> None:
    since = datetime.now(UTC)
    ended = rollback("doctor", fresh=True)
    assert ended.status == 0, ended.out
    for text in (
        "✓ platform file",
        "✓ release manifest",
        "✓ Entra ID",
        "✓ approval: tokens for 7777",
        "slot 'staging' is running and runs v1.2.2",
        "production: health pages at api.fundrbolt.com",
        "– no Prefect server",
    ):
        assert text in ended.out
    asked = [f"{entry.method} {entry.path.partition('?')[0]}" for entry in world.control.audit(since)]
    assert not [each for each in asked if each.startswith(("PUT", "PATCH", "DELETE")) or each.endswith("slotsswap")]
    assert not list((tmp_path / "state" / "runs").glob("*")), "what looks leaves no run behind"


def test_a_database_that_could_be_restored_is_told_with_its_window_and_who_uses_it(
    rollback: Callable[..., Ended],
) -> None:
    ended = rollback(*PRODUCTION)
    assert ended.status == 0, ended.out
    for text in (
        "✓ production: secret 'database-url' of vault 'fundrbolt-production-kv' can be read",
        "on server 'fundrbolt-production-pg', which is ready, and can be restored from "
        f"{datetime.now(UTC) - timedelta(days=7):%Y-%m}",
        "may do everything with 'fundrbolt-production-pg' that restore-database does",
        "'fundrbolt-rollback' can sign in to 'fundrbolt-production-pg'",
        "role 'fundrbolt_app' can sign in with the secret's password",
        "used by fundrbolt-production-api (named in the platform file), fundrbolt-production-api/staging",
        "fundrbolt-production-worker (named in the platform file)",
    ):
        assert text in ended.out
    assert "postgresql://" not in ended.out


@pytest.mark.parametrize(
    ("fault", "options", "lack", "remedy"),
    [
        pytest.param(
            "deny",
            {"action": "Microsoft.Web/sites/slots/slotsswap/action"},
            "production: The credential may not do Microsoft.Web/sites/slots/slotsswap/action",
            "Assign a role",
            id="a permission on the app",
        ),
        pytest.param(
            "deny",
            {"action": "Microsoft.DBforPostgreSQL/flexibleServers/firewallRules/delete"},
            "production: The credential may not do Microsoft.DBforPostgreSQL/flexibleServers/firewallRules/delete on "
            "server 'fundrbolt-production-pg'",
            "Assign a role",
            id="a permission on the server",
        ),
        pytest.param(
            "kv-forbidden",
            {"principal": "rollback"},
            "production: The credential may not read the secret 'database-url'",
            "getSecret/action",
            id="a secret that may not be read",
        ),
        pytest.param(
            "kv-secret-disabled",
            {"name": "database-url"},
            "production: The secret 'database-url' of vault 'fundrbolt-production-kv' is disabled",
            "Enable it",
            id="a disabled secret",
        ),
        pytest.param(
            "reference-pinned",
            {"slot": "staging"},
            "production: Setting DATABASE_URL of fundrbolt-production-api/staging refers to version",
            "without a version",
            id="a pinned reference",
        ),
    ],
)
def test_a_lack_is_named_with_what_to_do(
    rollback: Callable[..., Ended], world: World, fault: str, options: dict[str, str], lack: str, remedy: str
) -> None:
    world.control.break_(fault, **options)
    assert_lacks(rollback(*PRODUCTION), lack, remedy)


@pytest.mark.parametrize(
    ("old", "new", "lack", "remedy"),
    [
        pytest.param(
            'slot = "staging"',
            'slot = "stagging"',
            "production: App 'fundrbolt-production-api' has no slot 'stagging'.",
            "",
            id="no such slot",
        ),
        pytest.param(
            "[approval]\n",
            '[approval]\ntenant_id = "99999999-9999-4999-8999-999999999999"\n',
            "The keys of tenant 99999999-9999-4999-8999-999999999999 cannot be had from Entra ID",
            "",
            id="keys that approvals could not be verified with",
        ),
        pytest.param(
            'administrator = "fundrbolt-rollback"',
            'administrator = "nobody"',
            "production: ",
            "nobody",
            id="an administrator that the server does not know",
        ),
        pytest.param(
            'workers = ["fundrbolt-production-worker"]',
            'workers = ["fundrbolt-production-worker", "fundrbolt-dev-api"]',
            "production: App 'fundrbolt-dev-api' has no setting that refers to secret 'database-url'",
            "mend the platform file",
            id="a worker that uses another database",
        ),
    ],
)
def test_what_speaks_against_the_platform_file_is_named(
    rollback: Callable[..., Ended], tmp_path: Path, old: str, new: str, lack: str, remedy: str
) -> None:
    assert_lacks(rollback(*PRODUCTION, "--config", changed_file(tmp_path, old, new)), lack, remedy)
