"""Any resource by its id, through the genuine resources SDK: read, put, patched; and what each provider does then."""

import pytest
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError
from azure.mgmt.resource.resources.aio import ResourceManagementClient
from azure_names import SITE, SUBSCRIPTION

from sandbox.start import pinned

GROUP = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/fundrbolt-production-rg/providers"
INSIGHTS = f"{GROUP}/Microsoft.Insights/components/fundrbolt-production-insights"
PLAN = f"{GROUP}/Microsoft.Web/serverfarms/fundrbolt-production-plan"
STORAGE = f"{GROUP}/Microsoft.Storage/storageAccounts/fundrboltreports"
NETWORK = f"{GROUP}/Microsoft.Network/virtualNetworks/fundrbolt-production-vnet"
WORKSPACE = f"{GROUP}/Microsoft.OperationalInsights/workspaces/fundrbolt-production-logs"
VAULT = f"{GROUP}/Microsoft.KeyVault/vaults/fundrbolt-production-kv"
SERVER = f"{GROUP}/Microsoft.DBforPostgreSQL/flexibleServers/fundrbolt-production-pg"
STATIC = f"{GROUP}/Microsoft.Web/staticSites/fundrbolt-production-web"
COMPONENT = f"{GROUP}/microsoft.insights/components/fundrbolt-production-insights"
WEB, STORAGE_VERSION, NETWORK_VERSION = "2023-12-01", "2023-05-01", "2024-05-01"


@pytest.fixture
async def resources(credential, environment):
    options = {"polling_interval": 0.05, "retry_total": 0, "connection_verify": environment["SSL_CERT_FILE"]}
    async with ResourceManagementClient(credential, SUBSCRIPTION, **options) as client:
        yield client.resources


async def put(resources, resource_id: str, version: str, body: dict):
    return await (await resources.begin_create_or_update_by_id(resource_id, body, api_version=version)).result()


async def patch(resources, resource_id: str, version: str, body: dict):
    return await (await resources.begin_update_by_id(resource_id, body, api_version=version)).result()


@pytest.mark.parametrize(
    ("resource_id", "version"),
    [
        (PLAN, WEB),
        (SITE, WEB),
        (f"{SITE}/slots/staging", WEB),
        (f"{SITE}/config/web", WEB),
        (VAULT, "2023-07-01"),
        (f"{VAULT}/secrets/database-url", "2023-07-01"),
        (SERVER, "2022-12-01"),
        (f"{SERVER}/firewallRules/operators", "2022-12-01"),
        (f"{SERVER}/configurations/work_mem", "2022-12-01"),
        (STATIC, WEB),
        (COMPONENT, "2020-02-02"),
    ],
)
async def test_every_resource_of_the_platform_is_read_by_its_id(resources, resource_id, version):
    found = await resources.get_by_id(resource_id, api_version=version)
    assert found.id.lower() == resource_id.lower()
    assert found.properties


async def test_a_plain_resource_is_made_changed_in_part_and_deleted(resources):
    body = {
        "location": "eastus",
        "sku": {"name": "Standard_LRS"},
        "kind": "StorageV2",
        "tags": {"environment": "production"},
        "properties": {"minimumTlsVersion": "TLS1_2"},
    }
    made = await put(resources, STORAGE, STORAGE_VERSION, body)
    assert (made.sku.name, made.properties["provisioningState"]) == ("Standard_LRS", "Succeeded")
    change = {"properties": {"minimumTlsVersion": "TLS1_0", "networkAcls": {"defaultAction": "Deny"}}}
    patched = await patch(resources, STORAGE, STORAGE_VERSION, change)
    assert patched.tags == {"environment": "production"}
    assert patched.properties["minimumTlsVersion"] == "TLS1_0"
    acls = patched.properties["networkAcls"]
    assert (acls["bypass"], acls["defaultAction"]) == ("AzureServices", "Deny")
    await (await resources.begin_delete_by_id(STORAGE, api_version=STORAGE_VERSION)).result()
    with pytest.raises(ResourceNotFoundError) as gone:
        await resources.get_by_id(STORAGE, api_version=STORAGE_VERSION)
    assert gone.value.error.code == "ResourceNotFound"


async def test_read_only_properties_cannot_be_set(resources):
    body = {"location": "eastus", "properties": {"provisioningState": "Failed", "resourceGuid": "mine"}}
    made = await put(resources, NETWORK, NETWORK_VERSION, body)
    assert made.properties["provisioningState"] == "Succeeded"
    assert made.properties["resourceGuid"] != "mine"


async def test_a_resource_cannot_be_moved_by_a_put(resources):
    await put(resources, STORAGE, STORAGE_VERSION, {"location": "eastus"})
    with pytest.raises(HttpResponseError) as refused:
        await put(resources, STORAGE, STORAGE_VERSION, {"location": "westus"})
    assert (refused.value.status_code, refused.value.error.code) == (409, "InvalidResourceLocation")


async def test_an_etag_keeps_two_people_from_overwriting_each_other(arm):
    query = {"api-version": NETWORK_VERSION}
    made = await arm.ask("PUT", NETWORK, query=query, json={"location": "eastus"})
    first = {"If-Match": made.json()["etag"]}
    changed = await arm.ask("PATCH", NETWORK, query=query, json={"tags": {"by": "one"}}, headers=first)
    assert changed.status_code == 200
    late = await arm.ask("PATCH", NETWORK, query=query, json={"tags": {"by": "two"}}, headers=first)
    assert (late.status_code, late.json()["error"]["code"]) == (412, "PreconditionFailed")
    assert (await arm.ask("GET", NETWORK, query=query)).json()["tags"] == {"by": "one"}
    again = await arm.ask("PUT", NETWORK, query=query, json={"location": "eastus"}, headers={"If-None-Match": "*"})
    assert again.status_code == 412


async def test_an_api_version_that_the_type_does_not_have_is_refused_with_those_it_has(resources):
    with pytest.raises(HttpResponseError) as refused:
        await resources.get_by_id(PLAN, api_version="2010-01-01")
    assert refused.value.error.code == "NoRegisteredProviderFound"
    assert "2023-12-01" in refused.value.message


async def test_a_type_that_the_sandbox_does_not_have_is_named(arm):
    answer = await arm.ask("PUT", f"{GROUP}/Microsoft.Compute/virtualMachines/one", json={"location": "eastus"})
    assert (answer.status_code, "Microsoft.Compute/virtualMachines" in answer.text) == (501, True)


async def test_a_plan_with_apps_on_it_is_not_deleted(resources):
    with pytest.raises(HttpResponseError) as refused:
        await resources.begin_delete_by_id(PLAN, api_version=WEB)
    assert refused.value.status_code == 409


async def test_site_config_in_a_site_is_what_config_web_shows_and_the_process_gets_its_settings(
    resources, arm, control, eventually
):
    before = control.status().sites["production"].slots["production"].pid
    settings = (await arm.ask("POST", f"{SITE}/config/appsettings/list")).json()["properties"]
    listed = [{"name": name, "value": value} for name, value in settings.items()]
    config = {"ftpsState": "Disabled", "appSettings": [*listed, {"name": "WARM_UP_SECONDS", "value": "0"}]}
    await patch(resources, SITE, WEB, {"properties": {"httpsOnly": False, "siteConfig": config}})
    assert (await resources.get_by_id(SITE, api_version=WEB)).properties["httpsOnly"] is False
    assert (await resources.get_by_id(f"{SITE}/config/web", api_version=WEB)).properties["ftpsState"] == "Disabled"
    changed = (await arm.ask("POST", f"{SITE}/config/appsettings/list")).json()["properties"]
    assert changed == {**settings, "WARM_UP_SECONDS": "0"}
    await eventually(lambda: control.status().sites["production"].slots["production"].pid != before)


async def test_an_image_in_a_sites_body_is_deployed(resources, control, eventually):
    await patch(resources, SITE, WEB, {"properties": {"siteConfig": {"linuxFxVersion": pinned("v1.2.1")}}})
    await eventually(lambda: control.status().sites["production"].slots["production"].release == "v1.2.1")


async def test_a_database_server_is_put_as_it_is_and_changed_without_a_restore(resources):
    body = {
        "location": "eastus",
        "sku": {"name": "Standard_D2ds_v5", "tier": "GeneralPurpose"},
        "tags": {"environment": "production"},
        "properties": {"version": "18", "backup": {"backupRetentionDays": 14, "geoRedundantBackup": "Enabled"}},
    }
    made = await put(resources, SERVER, "2022-12-01", body)
    assert made.properties["backup"]["backupRetentionDays"] == 14
    assert (await resources.get_by_id(SERVER, api_version="2022-12-01")).tags == {"environment": "production"}
    with pytest.raises(HttpResponseError) as refused:
        await put(resources, SERVER, "2022-12-01", {**body, "properties": {"version": "17"}})
    assert "version" in refused.value.message


async def test_a_secret_is_put_and_its_value_is_never_shown(resources, arm):
    secret = f"{VAULT}/secrets/by-template"
    made = await put(resources, secret, "2023-07-01", {"properties": {"value": "hush", "contentType": "text/plain"}})
    assert made.properties["contentType"] == "text/plain"
    answer = await arm.ask("GET", secret, query={"api-version": "2023-07-01"})
    assert "hush" not in answer.text


@pytest.mark.parametrize(("resource_id", "version"), [(VAULT, "2023-07-01"), (STATIC, WEB), (COMPONENT, "2020-02-02")])
async def test_tags_of_every_provider_are_patched(resources, resource_id, version):
    await patch(resources, resource_id, version, {"tags": {"owner": "platform"}})
    assert (await resources.get_by_id(resource_id, api_version=version)).tags == {"owner": "platform"}


async def test_plain_resources_are_in_the_list_of_all_resources(resources):
    await put(resources, STORAGE, STORAGE_VERSION, {"location": "eastus"})
    found = [each.name async for each in resources.list(filter="resourceType eq 'Microsoft.Storage/storageAccounts'")]
    assert found == ["fundrboltreceipts", "fundrboltreports"]


@pytest.mark.parametrize("scope", [PLAN, VAULT, SERVER, COMPONENT, GROUP.removesuffix("/providers")])
async def test_azures_tags_are_those_of_the_resource_itself(arm, scope, eventually):
    path = f"{scope}/providers/Microsoft.Resources/tags/default"
    before = (await arm.ask("GET", path)).json()["properties"]["tags"]
    change = {"operation": "Merge", "properties": {"tags": {"owner": "platform"}}}
    assert (await arm.ask("PATCH", path, json=change)).json()["properties"]["tags"] == {**before, "owner": "platform"}

    async def there() -> bool:
        version = "2023-12-01" if scope == PLAN else "2025-05-01"
        return (await arm.ask("GET", scope, query={"api-version": version})).json()["tags"].get("owner") == "platform"

    await eventually(there)


@pytest.mark.parametrize(
    ("resource", "body"),
    [
        (PLAN, {"sku": {"capacity": 2}}),
        (INSIGHTS, {"properties": {"RetentionInDays": 30}}),
    ],
)
async def test_a_patch_has_only_what_azures_has(arm, resource, body):
    before = (await arm.ask("GET", resource)).json()
    answer = await arm.ask("PATCH", resource, json=body)
    assert (answer.status_code, "PATCH" in answer.text) == (501, True)
    assert (await arm.ask("GET", resource)).json() == before
