"""The platform's own infrastructure, as the sandbox begins: back to v1.2.2's template, from its own repository."""

import os
from pathlib import Path

import pytest
from azure.identity import ClientSecretCredential
from azure.keyvault.secrets import SecretClient
from infrastructure import Infrastructure, Repository, infrastructure_file, roll_back
from support import World

from rollback.infrastructure.plans import RollBackInfrastructurePlan
from rollback.outcomes import EndState
from rollback.redaction import BLACK

VAULT = "https://fundrbolt-production-kv.vault.azure.net"


class Platform:
    """What the sandbox shows of it."""

    def __init__(self, infrastructure: Infrastructure) -> None:
        self.store = infrastructure.store
        self.executed = infrastructure.executed

    async def plan(self) -> RollBackInfrastructurePlan:
        outcome = await roll_back(dry_run=True)
        assert outcome.end_state is EndState.PLANNED, outcome
        made = self.store.get(outcome.run).plan(RollBackInfrastructurePlan)
        assert made is not None
        return made

    @staticmethod
    def vault() -> SecretClient:
        names = ("AZURE_TENANT_ID", "AZURE_CLIENT_ID", "AZURE_CLIENT_SECRET")
        return SecretClient(VAULT, ClientSecretCredential(*(os.environ[name] for name in names)))


@pytest.fixture
def platform(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Platform:
    monkeypatch.setenv("ROLLBACK_CONFIG", str(infrastructure_file(tmp_path)))
    return Platform(Infrastructure(world, tmp_path / "state", Repository(tmp_path / "unused")))


async def test_the_plan_tells_what_is_different_and_no_more(platform: Platform) -> None:
    made = await platform.plan()
    told = [(each.path, each.before[:12], each.after[:12], bool(each.high)) for each in made.differences()]
    noise = [bool(each.noise) for each in made.differences()]
    assert told[: noise.index(True)] == [
        ("properties.administratorLoginPassword", "", "[parameters(", True),
        ("properties.value", "", "[format('red", True),
        ("properties.siteConfig.linuxFxVersion", "DOCKER|ghcr.", "DOCKER|ghcr.", True),
        ("properties.PAYMENT_TIMEOUT_SECONDS", "1", "", True),
        ("properties.ftpsState", "FtpsOnly", "Disabled", True),
        ("properties.http20Enabled", "false", "true", True),
        ("properties.redisConfiguration.maxmemory-policy", "volatile-lru", "allkeys-lru", False),
        ("tags.hotfix", "2026-11", "", False),
    ]
    assert [each.name for each in made.left] == ["fundrboltreceipts"]


async def test_it_is_deployed_and_nothing_is_left_to_change(platform: Platform) -> None:
    outcome = await roll_back()
    assert outcome.end_state is EndState.ROLLED_BACK, outcome
    assert platform.executed() == ["Succeeded"]
    assert any("fundrboltreceipts" in each for each in outcome.next_steps)
    (told,) = [each for each in outcome.evidence if "could not compare" in each]
    assert "secrets fundrbolt-production-kv/redis-url properties.value" in told
    assert "flexibleServers fundrbolt-production-pg properties.administratorLoginPassword" in told


async def test_what_what_if_cannot_compare_is_deployed_again_unless_it_is_named(
    platform: Platform, tmp_path: Path
) -> None:
    await roll_back()
    assert not (await platform.plan()).already_there
    infrastructure_file(
        tmp_path,
        noise=[
            "Microsoft.DBforPostgreSQL/flexibleServers: properties.administratorLoginPassword",
            "Microsoft.KeyVault/vaults/secrets: properties.value",
        ],
    )
    again = await roll_back()
    assert again.end_state is EndState.ALREADY_THERE, again
    assert platform.executed() == ["Succeeded"]


async def test_the_apps_database_is_the_same_afterwards(platform: Platform) -> None:
    with platform.vault() as vault:
        before = vault.get_secret("database-url").value
        await roll_back()
        assert vault.get_secret("database-url").value == before


async def test_after_a_restore_a_template_that_names_the_old_server_is_refused(platform: Platform) -> None:
    with platform.vault() as vault:
        before = vault.get_secret("database-url").value or ""
        host = before.rpartition("@")[2].partition(":")[0]
        vault.set_secret("database-url", before.replace(host, "fundrbolt-restored.postgres.database.azure.com"))
        password = before.rpartition("@")[0].rpartition(":")[2]
    outcome = await roll_back()
    assert outcome.end_state is EndState.REFUSED, outcome
    assert "'fundrbolt-production-pg', and the app uses 'fundrbolt-restored'" in outcome.headline
    assert "infrastructure.values" in outcome.next_steps[0]
    assert password not in outcome.model_dump_json()
    assert platform.executed() == []


async def test_a_restore_between_approval_and_deployment_touches_nothing(platform: Platform) -> None:
    def restore(entry: object) -> None:
        if (getattr(entry, "event", ""), getattr(entry, "step", "")) == ("step finished", "Approval"):
            with platform.vault() as vault:
                url = vault.get_secret("database-url").value or ""
                host = url.rpartition("@")[2].partition(":")[0]
                vault.set_secret("database-url", url.replace(host, "elsewhere.postgres.database.azure.com"))

    outcome = await roll_back(restore)
    assert outcome.end_state is EndState.REFUSED, outcome
    assert platform.executed() == []


async def test_no_secret_is_in_anything_that_is_kept(platform: Platform) -> None:
    outcome = await roll_back()
    with platform.vault() as vault:
        names = ("database-admin-password", "database-app-password", "session-secret")
        secrets = [vault.get_secret(name).value or "" for name in names]
    folder = platform.store.get(outcome.run).folder
    kept = {each.name: each.read_bytes() for each in folder.iterdir() if each.is_file()}
    assert "replaced-template.json" in kept
    for name, content in kept.items():
        assert not [each for each in secrets if each.encode() in content], name
    assert BLACK in kept["plan.json"].decode()
