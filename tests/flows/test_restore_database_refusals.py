"""What speaks against a restore: refused with the reason and the way out, and nobody's app or server was touched."""

import os
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from azure.identity.aio import ClientSecretCredential
from azure.mgmt.postgresqlflexibleservers.aio import PostgreSQLManagementClient
from azure.mgmt.web.aio import WebSiteManagementClient
from azure.mgmt.web.models import StringDictionary
from azure_names import GROUP, SUBSCRIPTION
from restoring import APPS, SECRET, SOURCE, VAULT, Databases, plan_of, quick_restore_file, run_restore
from support import World

from rollback.outcomes import EndState

REFERENCE = f"@Microsoft.KeyVault(SecretUri=https://{VAULT}.vault.azure.net/secrets/{SECRET}/)"
WORKER = "fundrbolt-production-worker"


@pytest.fixture
def databases(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Databases:
    monkeypatch.setenv("ROLLBACK_CONFIG", str(quick_restore_file(tmp_path)))
    return Databases(world)


async def assert_refused(databases: Databases, *words: str, **parameters: object) -> None:
    """The run, without a dry one's promise, ends as refused, and asked nobody to change anything."""
    begun = datetime.now(UTC)
    outcome = await run_restore(**{"restore_point": begun - timedelta(seconds=1), **parameters})
    assert outcome.end_state is EndState.REFUSED, outcome
    told = f"{outcome.headline} {' '.join(outcome.next_steps)}"
    for word in words:
        assert word in told
    assert [each for each in databases.control.audit(begun) if changes(each.method, each.host, each.path)] == []
    assert databases.running() == dict.fromkeys(APPS, True)


def changes(method: str, host: str, path: str) -> bool:
    """Whether a request asks for a change, as users' own requests to the apps do not."""
    ours = host == "management.azure.com" or host.endswith("vault.azure.net")
    reads = path.partition("?")[0].endswith(("/list", "/checkNameAvailability"))
    return ours and method in {"POST", "PUT", "PATCH", "DELETE"} and not reads


def declare_no_worker(file: Path) -> None:
    content = file.read_text(encoding="utf-8")
    declared = f'workers = ["{WORKER}"]\n'
    assert declared in content
    file.write_text(content.replace(declared, ""), encoding="utf-8")


def credential() -> ClientSecretCredential:
    return ClientSecretCredential(
        *(os.environ[name] for name in ("AZURE_TENANT_ID", "AZURE_CLIENT_ID", "AZURE_CLIENT_SECRET"))
    )


async def set_database_setting(group: str, app: str, value: str) -> None:
    async with credential() as ours, WebSiteManagementClient(ours, SUBSCRIPTION) as client:
        found = (await client.web_apps.list_application_settings(group, app)).properties or {}
        changed = StringDictionary(properties={**found, "DATABASE_URL": value})
        await client.web_apps.update_application_settings(group, app, changed)


@pytest.mark.parametrize("slot", ["production", "staging"])
async def test_a_reference_to_one_version_is_refused_for_it_would_never_follow(databases: Databases, slot: str) -> None:
    databases.control.break_("reference-pinned", slot=slot)
    name = APPS[0] if slot == "production" else APPS[1]
    pinned = (await databases.secrets())[0].properties.version
    await assert_refused(
        databases, f"Setting DATABASE_URL of {name} refers to version {pinned}", "without a version", f"/{SECRET}/)"
    )


async def test_a_reference_that_does_not_resolve_is_refused_whosever_app_it_is(databases: Databases) -> None:
    await set_database_setting("fundrbolt-dev-rg", "fundrbolt-dev-api", REFERENCE)
    await assert_refused(
        databases, "DATABASE_URL of fundrbolt-dev-api cannot be resolved", "AccessToKeyVaultDenied", "Secrets User"
    )


async def test_a_deleted_secret_is_refused(databases: Databases) -> None:
    databases.control.break_("kv-secret-deleted", name=SECRET)
    await assert_refused(databases, f"There is no secret '{SECRET}' of vault '{VAULT}'", "platform file")


async def test_a_declared_worker_that_uses_another_database_is_refused(databases: Databases) -> None:
    await set_database_setting(GROUP, WORKER, "sqlite:////tmp/elsewhere.sqlite")
    await assert_refused(
        databases, f"App '{WORKER}' has no setting that refers to secret '{SECRET}'", f"go on using '{SOURCE}'"
    )


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        pytest.param(":5432/", ":6432/", "names port 6432: a connection pooler", id="PgBouncer's port"),
        pytest.param("@127.", "@128.", "no flexible server has that name", id="no server's host"),
        pytest.param("postgresql://", "mysql://", "does not hold a PostgreSQL database URL", id="another database"),
    ],
)
async def test_a_secret_that_does_not_name_a_server_itself_is_refused(
    databases: Databases, old: str, new: str, words: str
) -> None:
    url = await databases.url()
    assert old in url
    await databases.set_url(url.replace(old, new))
    await assert_refused(databases, words)


async def test_a_server_that_is_stopped_is_refused(databases: Databases) -> None:
    async with credential() as ours, PostgreSQLManagementClient(ours, SUBSCRIPTION) as client:
        await (await client.servers.begin_stop(GROUP, SOURCE, polling_interval=0.2)).result()
    await assert_refused(databases, f"The server '{SOURCE}'", "is stopped, not ready", "flexible-server start")


async def test_an_app_that_nobody_declared_is_found_by_its_reference_and_follows(
    databases: Databases, tmp_path: Path
) -> None:
    declare_no_worker(Path(os.environ["ROLLBACK_CONFIG"]))
    outcome = await run_restore(restore_point=datetime.now(UTC) - timedelta(seconds=1), dry_run=True)
    plan = plan_of(tmp_path / "state", outcome)
    assert "found by its reference" in dict(plan.facts())[f"Follows: {WORKER}"]
    assert WORKER in next(each.detail for each in plan.steps() if each.title == "Stop writers")


async def test_a_difference_stops_before_the_cut_over_unless_it_is_waived_by_name(
    databases: Databases, tmp_path: Path
) -> None:
    point, role, parameter = await databases.instant(), "role reporting", "idle_in_transaction_session_timeout"
    await databases.ask(await databases.host(), "CREATE ROLE reporting LOGIN")
    stopped = await run_restore(restore_point=point)
    assert stopped.end_state is EndState.TAKEN_BACK, stopped
    assert f": {role}: missing instead of" in stopped.headline
    named = re.findall(r"--waive '([^']+)'", " ".join(stopped.next_steps))
    assert role in named
    assert len(await databases.secrets()) == 1
    assert databases.running() == dict.fromkeys(APPS, True)
    assert await databases.parameter("default_transaction_read_only") == "off"
    databases.control.break_("pg-parameter-fails", times=1)
    waived = await run_restore(restore_point=point, stop_writes="at cut-over", waive=(*named, f"parameter {parameter}"))
    assert waived.end_state is EndState.RESTORED, waived
    plan = plan_of(tmp_path / "state", waived)
    assert plan.new.name == f"{plan_of(tmp_path / 'state', stopped).new.name}-2", "the first is left to people"
    assert await databases.parameter(parameter, plan.new.name) != await databases.parameter(parameter)
