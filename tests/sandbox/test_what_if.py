"""What-if, through the genuine SDK: told from what is there, with Azure's own noise."""

import pytest
from arm_templates import ALERT, STORAGE, app_settings, nested, template
from azure.mgmt.resource.deployments.aio import DeploymentsMgmtClient
from azure_names import GROUP, SITE, SUBSCRIPTION

PROVIDERS = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/{GROUP}/providers"
STORAGE_ID = f"{PROVIDERS}/Microsoft.Storage/storageAccounts/fundrboltreports"
SETTINGS_ID = f"{SITE}/config/appsettings"


@pytest.fixture
async def deployments(credential, environment):
    options = {"polling_interval": 0.05, "retry_total": 0, "connection_verify": environment["SSL_CERT_FILE"]}
    async with DeploymentsMgmtClient(credential, SUBSCRIPTION, **options) as made:
        yield made.deployments


@pytest.fixture
def what_if(deployments):
    async def ask(content: dict, parameters: dict | None = None, **settings: str) -> dict:
        properties = {
            "mode": "Incremental",
            "template": content,
            "parameters": parameters or {},
            "whatIfSettings": {"resultFormat": "FullResourcePayloads", **settings},
        }
        poller = await deployments.begin_what_if(GROUP, "predicted", {"properties": properties})
        result = await poller.result()
        assert result.status == "Succeeded"
        return {each.resource_id: each for each in result.properties.changes}

    return ask


@pytest.fixture
async def stored(deployments) -> None:
    poller = await deployments.begin_create_or_update(
        GROUP, "before", {"properties": {"mode": "Incremental", "template": template(STORAGE)}}
    )
    await poller.result()


def site(**config: object) -> dict:
    return {
        "type": "Microsoft.Web/sites",
        "apiVersion": "2023-12-01",
        "name": "fundrbolt-production-api",
        "location": "eastus",
        "tags": {"environment": "production"},
        "properties": {
            "clientAffinityEnabled": False,
            "clientCertMode": "Required",
            "keyVaultReferenceIdentity": "SystemAssigned",
            "siteConfig": config,
        },
    }


def deltas(change) -> list[tuple]:
    return [(each.path, each.property_change_type, each.before, each.after) for each in change.delta or []]


async def test_what_is_not_there_is_created_and_what_is_there_besides_is_ignored(what_if):
    changes = await what_if(template(STORAGE))
    assert changes[STORAGE_ID].change_type == "Create"
    assert changes[STORAGE_ID].after["properties"] == {"minimumTlsVersion": "TLS1_2"}
    others = {each.change_type for name, each in changes.items() if name != STORAGE_ID}
    assert others == {"Ignore"}
    assert changes[SITE].before["tags"] == {"environment": "production"}


async def test_what_is_as_the_template_has_it_does_not_change(what_if, stored):
    noise = {"encryption": {"keySource": "Microsoft.Storage"}}
    changes = await what_if(template({**STORAGE, "properties": STORAGE["properties"] | noise}))
    assert (changes[STORAGE_ID].change_type, changes[STORAGE_ID].delta) == ("NoChange", None)


async def test_a_modification_is_told_by_its_path_with_before_and_after(what_if, stored, arm):
    change = {"tags": {"by": "hand"}, "properties": {"minimumTlsVersion": "TLS1_0"}}
    query = {"api-version": "2023-05-01"}
    assert (await arm.ask("PATCH", STORAGE_ID, query=query, json=change)).status_code == 200
    changed = (await what_if(template({**STORAGE, "tags": {"owner": "platform"}})))[STORAGE_ID]
    assert changed.change_type == "Modify"
    assert deltas(changed)[:3] == [
        ("tags.owner", "Create", None, "platform"),
        ("tags.by", "Delete", "hand", None),
        ("properties.minimumTlsVersion", "Modify", "TLS1_0", "TLS1_2"),
    ]
    assert changed.before["properties"]["minimumTlsVersion"] == "TLS1_0"
    assert changed.after["properties"]["minimumTlsVersion"] == "TLS1_2"


async def test_what_a_template_leaves_out_is_noise_for_some_properties_and_silence_for_others(what_if, stored):
    changed = (await what_if(template(STORAGE)))[STORAGE_ID]
    assert [(path, kind) for path, kind, *_ in deltas(changed)] == [("properties.encryption", "Delete")]


async def test_what_a_deployment_resets_is_told_as_deleted_before(what_if, stored, deployments, arm, control):
    for name, value in (("allowBlobPublicAccess", "true"), ("networkAcls.defaultAction", "Deny")):
        control.break_("arm-drift", id=STORAGE_ID, property=name, value=value)
    told = {path: (kind, before) for path, kind, before, _ in deltas((await what_if(template(STORAGE)))[STORAGE_ID])}
    assert told["properties.allowBlobPublicAccess"] == ("Delete", True)
    kind, before = told["properties.networkAcls"]
    assert (kind, before["defaultAction"]) == ("Delete", "Deny")
    wish = {"properties": {"mode": "Incremental", "template": template(STORAGE)}}
    await (await deployments.begin_create_or_update(GROUP, "again", wish)).result()
    there = (await arm.ask("GET", STORAGE_ID, query={"api-version": "2023-05-01"})).json()["properties"]
    assert (there["allowBlobPublicAccess"], there["networkAcls"]["defaultAction"]) == (False, "Allow")
    assert {path for path, *_ in deltas((await what_if(template(STORAGE)))[STORAGE_ID])} == {"properties.encryption"}


async def test_read_only_properties_are_never_told_as_changes(what_if, stored):
    changed = (await what_if(template({**STORAGE, "properties": {}})))[STORAGE_ID]
    told = {path for path, *_ in deltas(changed)}
    assert told.isdisjoint({"properties.provisioningState", "properties.creationTime", "properties.primaryEndpoints"})


async def test_site_configuration_that_a_site_does_not_show_is_told_as_created(what_if):
    changed = (await what_if(template(site(alwaysOn=False, minTlsVersion="1.2"))))[SITE]
    assert deltas(changed) == [
        ("properties.siteConfig.alwaysOn", "Modify", True, False),
        ("properties.siteConfig.minTlsVersion", "Create", None, "1.2"),
    ]


async def test_app_settings_are_told_as_one_creation_even_where_nothing_changes(what_if, arm):
    settings = (await arm.ask("POST", f"{SETTINGS_ID}/list")).json()["properties"]
    changed = (await what_if(template(app_settings(settings))))[SETTINGS_ID]
    assert deltas(changed) == [("properties", "Create", None, settings)]


async def test_arrays_are_told_by_index(what_if, deployments):
    receivers = [{"name": name, "emailAddress": f"{name}@fundrbolt.com"} for name in ("one", "two")]

    def group(*listed: dict) -> dict:
        return {
            "type": "Microsoft.Insights/actionGroups",
            "apiVersion": "2023-01-01",
            "name": "people",
            "location": "global",
            "properties": {"groupShortName": "people", "enabled": True, "emailReceivers": list(listed)},
        }

    wish = {"properties": {"mode": "Incremental", "template": template(group(*receivers))}}
    await (await deployments.begin_create_or_update(GROUP, "before", wish)).result()
    changes = await what_if(template(group({**receivers[0], "emailAddress": "new@fundrbolt.com"})))
    (change,) = changes[f"{PROVIDERS}/Microsoft.Insights/actionGroups/people"].delta
    assert (change.path, change.property_change_type) == ("properties.emailReceivers", "Array")
    assert [(each.path, each.property_change_type) for each in change.children] == [("0", "Modify"), ("1", "Delete")]
    (inner,) = change.children[0].children
    assert (inner.path, inner.after) == ("emailAddress", "new@fundrbolt.com")


async def test_what_refers_to_another_resource_stays_an_expression(what_if, deployments):
    wish = {"properties": {"mode": "Incremental", "template": template(ALERT, STORAGE)}}
    await (await deployments.begin_create_or_update(GROUP, "before", wish)).result()
    changes = await what_if(template(ALERT, STORAGE))
    changed = changes[f"{PROVIDERS}/Microsoft.Insights/metricAlerts/fundrbolt-production-errors"]
    expression = "[reference('fundrboltreports').primaryLocation]"
    assert deltas(changed) == [("properties.description", "Modify", "eastus", expression)]


async def test_secure_parameters_are_not_shown(deployments, arm):
    content = template(app_settings({"TOKEN": "[parameters('token')]"}), parameters={"token": {"type": "securestring"}})
    properties = {"mode": "Incremental", "template": content, "parameters": {"token": {"value": "hush-hush"}}}
    poller = await deployments.begin_what_if(GROUP, "predicted", {"properties": properties})
    result = await poller.result()
    assert "hush-hush" not in str(result.as_dict())


async def test_ids_alone_are_told_where_that_is_asked_for(what_if, stored):
    changes = await what_if(template(STORAGE, ALERT), resultFormat="ResourceIdOnly")
    assert (changes[STORAGE_ID].change_type, changes[STORAGE_ID].before) == ("Deploy", None)
    alert = changes[f"{PROVIDERS}/Microsoft.Insights/metricAlerts/fundrbolt-production-errors"]
    assert (alert.change_type, alert.after) == ("Create", None)


async def predicted(deployments, content: dict):
    wish = {"location": "eastus", "properties": {"mode": "Incremental", "template": content}}
    poller = await deployments.begin_what_if_at_subscription_scope("predicted", wish)
    return (await poller.result()).properties


async def test_a_subscriptions_what_if_looks_into_nested_templates(deployments):
    told = await predicted(deployments, nested(GROUP, STORAGE))
    changes = {each.resource_id: each.change_type for each in told.changes}
    assert (changes[STORAGE_ID], changes[SITE]) == ("Create", "Ignore")
    assert not any("fundrbolt-dev-rg" in name for name in changes)


async def test_nested_templates_beyond_azures_limit_are_ignored_and_said_to_be(deployments, control):
    control.break_("whatif-limit", nested=0)
    told = await predicted(deployments, nested(GROUP, STORAGE))
    assert {each.resource_id: each.change_type for each in told.changes}[
        f"{PROVIDERS}/Microsoft.Resources/deployments/inner"
    ] == "Ignore"
    assert [each.code for each in told.diagnostics] == ["NestedDeploymentLimitReached"]


async def test_a_type_that_what_if_does_not_support_is_named(what_if, control):
    control.break_("whatif-unsupported", type="Microsoft.Storage/storageAccounts")
    changed = (await what_if(template(STORAGE)))[STORAGE_ID]
    assert changed.change_type == "Unsupported"
    assert "Microsoft.Storage/storageAccounts" in changed.unsupported_reason


async def test_more_noise_is_made_on_demand(what_if, control):
    control.break_("whatif-noise", property="webSpace")
    changed = (await what_if(template(site())))[SITE]
    assert [(path, kind) for path, kind, *_ in deltas(changed)] == [("properties.webSpace", "Delete")]


async def test_drift_shows_in_what_if_and_not_what_a_client_hoped(what_if, stored, control):
    control.break_("arm-drift", id=STORAGE_ID, property="minimumTlsVersion", value="TLS1_0")
    changed = (await what_if(template(STORAGE)))[STORAGE_ID]
    assert ("properties.minimumTlsVersion", "Modify", "TLS1_0", "TLS1_2") in deltas(changed)
    control.break_("arm-resource-gone", id=STORAGE_ID)
    assert (await what_if(template(STORAGE)))[STORAGE_ID].change_type == "Create"


async def test_a_what_if_writes_nothing(what_if, arm, control):
    await what_if(template(STORAGE))
    assert (await arm.ask("GET", STORAGE_ID, query={"api-version": "2023-05-01"})).status_code == 404
    assert [each for each in control.arm_deployments(GROUP) if each.name == "predicted"] == []
