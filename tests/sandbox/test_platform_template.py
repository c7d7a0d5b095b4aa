"""The platform's own template on the sandbox: what was deployed with it, what differs by now, and going back."""

import json

import pytest
from azure.mgmt.resource.deployments.aio import DeploymentsMgmtClient
from azure_names import GROUP, SITE, SUBSCRIPTION

from sandbox.fundrbolt.infrastructure.sources import sources_of

NAME = "fundrbolt-infrastructure"
PROVIDERS = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/{GROUP}/providers"
SERVER = f"{PROVIDERS}/Microsoft.DBforPostgreSQL/flexibleServers/fundrbolt-production-pg"
CACHE = f"{PROVIDERS}/Microsoft.Cache/redis/fundrbolt-production-redis"
STORAGE = f"{PROVIDERS}/Microsoft.Storage/storageAccounts/fundrboltreceipts"
VAULT = f"{PROVIDERS}/Microsoft.KeyVault/vaults/fundrbolt-production-kv"


@pytest.fixture
async def deployments(credential, environment):
    options = {"polling_interval": 0.05, "retry_total": 0, "connection_verify": environment["SSL_CERT_FILE"]}
    async with DeploymentsMgmtClient(credential, SUBSCRIPTION, **options) as made:
        yield made.deployments


async def secret(arm, https, credential, name: str) -> str:
    token = await credential.get_token("https://vault.azure.net/.default")
    url = f"https://fundrbolt-production-kv.vault.azure.net/secrets/{name}"
    headers = {"Authorization": f"Bearer {token.token}"}
    return (await https.get(url, params={"api-version": "7.5"}, headers=headers)).json()["value"]


@pytest.fixture
async def wish(arm, https, credential):
    passwords = {
        "administratorPassword": {"value": await secret(arm, https, credential, "database-admin-password")},
        "appPassword": {"value": await secret(arm, https, credential, "database-app-password")},
    }

    def made(release: str) -> dict:
        files = sources_of(release)
        parameters = json.loads(files["production.parameters.json"])["parameters"] | passwords
        template = json.loads(files["main.json"])
        properties = {"mode": "Incremental", "template": template, "parameters": parameters}
        return {"location": "eastus", "properties": properties}

    return made


async def predicted(deployments, wish: dict) -> dict:
    poller = await deployments.begin_what_if_at_subscription_scope(NAME, wish)
    return {each.resource_id: each for each in (await poller.result()).properties.changes}


def paths(change) -> dict[str, str]:
    return {each.path: each.property_change_type for each in change.delta or []}


async def test_the_release_that_runs_was_deployed_with_its_template(deployments):
    found = await deployments.get_at_subscription_scope(NAME)
    inner = await deployments.get(GROUP, "fundrbolt-platform")
    assert (found.properties.provisioning_state, inner.properties.provisioning_state) == ("Succeeded", "Succeeded")
    assert found.properties.outputs["apiUrl"]["value"] == "https://fundrbolt-production-api.azurewebsites.net"
    assert found.properties.parameters["appPassword"] == {"type": "SecureString"}
    exported = await deployments.export_template_at_subscription_scope(NAME)
    assert exported.template == json.loads(sources_of("v1.2.3")["main.json"])


async def test_what_if_of_the_template_that_is_deployed_tells_what_people_changed_and_noise(deployments, wish):
    changes = await predicted(deployments, wish("v1.2.3"))
    assert not [name for name, each in changes.items() if each.change_type in ("Create", "Delete", "Unsupported")]
    told = {name: paths(each) for name, each in changes.items() if each.change_type == "Modify"}
    assert told.pop(f"{PROVIDERS}/Microsoft.Web/serverfarms/fundrbolt-production-plan")["tags.hotfix"] == "Delete"
    assert told.pop(f"{SITE}/config/web")["properties.http20Enabled"] == "Modify"
    noise = {
        f"{SITE}/config/appsettings": {"properties": "Create"},
        SITE: {"properties.clientCertMode": "Delete", "properties.keyVaultReferenceIdentity": "Delete"},
        f"{VAULT}/secrets/database-url": {"properties.value": "Create"},
        f"{VAULT}/secrets/redis-url": {"properties.value": "Create"},
        STORAGE: {"properties.encryption": "Delete"},
    }
    assert {name: told[name] for name in noise} == noise
    rest = {path for name, each in told.items() if name not in noise for path in each}
    assert rest == {
        "properties.administratorLoginPassword",
        "properties.availabilityZone",
        "properties.clientCertMode",
        "properties.keyVaultReferenceIdentity",
        "properties.maintenanceWindow",
        "properties.publicNetworkAccess",
        "properties.updateChannel",
    }


async def test_what_if_of_the_earlier_template_tells_what_v1_2_3_changed_and_leaves_what_it_added(deployments, wish):
    changes = await predicted(deployments, wish("v1.2.2"))
    assert paths(changes[f"{SITE}/config/web"])["properties.ftpsState"] == "Modify"
    assert paths(changes[CACHE])["properties.redisConfiguration.maxmemory-policy"] == "Modify"
    assert paths(changes[SITE])["properties.siteConfig.linuxFxVersion"] == "Modify"
    assert "PAYMENT_TIMEOUT_SECONDS" not in changes[f"{SITE}/config/appsettings"].after["properties"]
    assert changes[STORAGE].change_type == "Ignore"


async def test_the_earlier_template_is_deployed_and_the_apps_databases_and_caches_follow(
    deployments, wish, arm, control, eventually
):
    poller = await deployments.begin_create_or_update_at_subscription_scope(NAME, wish("v1.2.2"))
    done = await poller.result()
    assert done.properties.provisioning_state == "Succeeded"
    settings = (await arm.ask("POST", f"{SITE}/config/appsettings/list")).json()["properties"]
    assert "PAYMENT_TIMEOUT_SECONDS" not in settings
    assert (await arm.ask("GET", f"{SITE}/config/web")).json()["properties"]["ftpsState"] == "Disabled"
    cache = (await arm.ask("GET", CACHE)).json()["properties"]["redisConfiguration"]
    assert cache["maxmemory-policy"] == "allkeys-lru"
    assert (await arm.ask("GET", STORAGE, query={"api-version": "2023-05-01"})).status_code == 200
    await eventually(lambda: control.status().sites["production"].slots["production"].release == "v1.2.2")
    (told,) = [each for each in control.arm_deployments() if each.name == NAME]
    assert (told.state, told.by) == ("Succeeded", "rollback")
