"""Deployments of the subscription and of groups, through the genuine SDK."""

import asyncio
import json

import pytest
from arm_templates import ALERT, STORAGE, app_settings, nested, template
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError
from azure.mgmt.resource.deployments.aio import DeploymentsMgmtClient
from azure_names import GROUP, SITE, SUBSCRIPTION

BASE = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/{GROUP}"
PROVIDERS = f"{BASE}/providers"
STORAGE_ID = f"{PROVIDERS}/Microsoft.Storage/storageAccounts/fundrboltreports"
VERSION = {"api-version": "2025-04-01"}


@pytest.fixture
async def client(credential, environment):
    options = {"polling_interval": 0.05, "retry_total": 0, "connection_verify": environment["SSL_CERT_FILE"]}
    async with DeploymentsMgmtClient(credential, SUBSCRIPTION, **options) as made:
        yield made


@pytest.fixture
def deployments(client):
    return client.deployments


def wanted(content: dict, parameters: dict | None = None, **more: object) -> dict:
    return {"properties": {"mode": "Incremental", "template": content, "parameters": parameters or {}}, **more}


async def deploy(deployments, name: str, content: dict, parameters: dict | None = None):
    poller = await deployments.begin_create_or_update(GROUP, name, wanted(content, parameters))
    return await poller.result()


async def deploy_to_subscription(deployments, name: str, content: dict):
    poller = await deployments.begin_create_or_update_at_subscription_scope(name, wanted(content, location="eastus"))
    return await poller.result()


async def settings_of(arm) -> dict[str, str]:
    return (await arm.ask("POST", f"{SITE}/config/appsettings/list")).json()["properties"]


async def test_a_template_is_deployed_to_a_group_in_the_order_of_its_dependencies(deployments, arm, control):
    outputs = {"where": {"type": "string", "value": "[reference('fundrboltreports').primaryLocation]"}}
    done = await deploy(deployments, "reports", template(ALERT, STORAGE, outputs=outputs))
    assert done.properties.provisioning_state == "Succeeded"
    assert done.properties.outputs == {"where": {"type": "String", "value": "eastus"}}
    alert = f"{PROVIDERS}/Microsoft.Insights/metricAlerts/fundrbolt-production-errors"
    found = (await arm.ask("GET", alert, query={"api-version": "2018-03-01"})).json()
    assert found["properties"]["description"] == "eastus"
    (told,) = [each for each in control.arm_deployments(GROUP) if each.name == "reports"]
    assert (told.state, told.by) == ("Succeeded", "rollback")
    assert [each.resource_id for each in told.writes] == [STORAGE_ID, alert]


async def test_a_subscriptions_deployment_deploys_into_groups_and_both_have_their_history(deployments):
    await deploy_to_subscription(deployments, "outer", nested(GROUP, STORAGE))
    outer = await deployments.get_at_subscription_scope("outer")
    inner = await deployments.get(GROUP, "inner")
    assert (outer.location, outer.properties.provisioning_state) == ("eastus", "Succeeded")
    assert inner.properties.provisioning_state == "Succeeded"
    assert inner.properties.correlation_id == outer.properties.correlation_id
    assert "inner" in [each.name async for each in deployments.list_by_resource_group(GROUP)]
    assert await deployments.check_existence_at_subscription_scope("outer")
    assert not await deployments.check_existence(GROUP, "nosuch")


async def test_app_settings_of_a_template_reach_the_process_as_by_the_providers_put(
    deployments, arm, control, eventually
):
    before = control.status().sites["production"].slots["production"].pid
    settings = await settings_of(arm)
    await deploy(deployments, "settings", template(app_settings({**settings, "WARM_UP_SECONDS": "0"})))
    assert (await settings_of(arm))["WARM_UP_SECONDS"] == "0"
    await eventually(lambda: control.status().sites["production"].slots["production"].pid != before)


async def test_deploying_the_same_again_changes_nothing_and_restarts_nothing(deployments, arm, control):
    before = control.status().sites["production"].slots["production"].pid
    await deploy(deployments, "settings", template(app_settings(await settings_of(arm))))
    assert control.status().sites["production"].slots["production"].pid == before


async def test_secure_parameters_are_shown_nowhere(deployments, arm, running_sandbox):
    secret = {
        "type": "Microsoft.KeyVault/vaults/secrets",
        "apiVersion": "2023-07-01",
        "name": "fundrbolt-production-kv/by-template",
        "properties": {"value": "[parameters('password')]"},
    }
    content = template(secret, parameters={"password": {"type": "securestring"}, "size": {"type": "int"}})
    given = {"password": {"value": "hush-hush"}, "size": {"value": 3}}
    done = await deploy(deployments, "secrets", content, given)
    assert done.properties.parameters == {"password": {"type": "SecureString"}, "size": {"type": "Int", "value": 3}}
    told = await arm.ask("GET", f"{BASE}/providers/Microsoft.Resources/deployments/secrets", query=VERSION)
    assert "hush-hush" not in told.text
    state = json.loads((running_sandbox.folder / "state.json").read_text())
    assert "hush-hush" not in json.dumps(state["arm_deployments"])


async def test_a_failing_resource_leaves_what_was_applied_and_stops_what_depends_on_it(
    client, deployments, arm, control
):
    control.break_("arm-deployment-fails", type="Microsoft.Storage/storageAccounts")
    network = {
        "type": "Microsoft.Network/virtualNetworks",
        "apiVersion": "2024-05-01",
        "name": "fundrboltother",
        "location": "eastus",
    }
    with pytest.raises(HttpResponseError) as failed:
        await deploy(deployments, "half", template(ALERT, STORAGE, network))
    assert failed.value.error.code == "DeploymentFailed"
    found = await deployments.get(GROUP, "half")
    assert found.properties.provisioning_state == "Failed"
    assert [each.code for each in found.properties.error.details] == ["InternalServerError"]
    operations = {
        each.properties.target_resource.resource_name: each
        async for each in client.deployment_operations.list(GROUP, "half")
    }
    assert operations["fundrboltreports"].properties.provisioning_state == "Failed"
    assert operations["fundrboltreports"].properties.status_message.error.code == "InternalServerError"
    assert operations["fundrboltother"].properties.provisioning_state == "Succeeded"
    assert "fundrbolt-production-errors" not in operations
    assert (await arm.ask("GET", STORAGE_ID, query={"api-version": "2023-05-01"})).status_code == 404


async def test_a_nested_failure_is_told_through_to_the_outer_deployment(deployments, control):
    control.break_("arm-deployment-fails")
    with pytest.raises(HttpResponseError):
        await deploy_to_subscription(deployments, "outer", nested(GROUP, STORAGE))
    outer = await deployments.get_at_subscription_scope("outer")
    (inner,) = outer.properties.error.details
    assert (inner.code, inner.details[0].code) == ("DeploymentFailed", "InternalServerError")
    assert inner.details[0].target == STORAGE_ID


async def test_a_lock_is_met_where_the_resource_is_written(deployments, control):
    control.break_("arm-lock", scope=STORAGE_ID)
    with pytest.raises(HttpResponseError):
        await deploy(deployments, "locked", template(STORAGE))
    found = await deployments.get(GROUP, "locked")
    assert [each.code for each in found.properties.error.details] == ["ScopeLocked"]


async def test_a_locked_group_takes_no_deployment(deployments, control):
    control.break_("arm-lock")
    with pytest.raises(HttpResponseError) as refused:
        await deploy(deployments, "locked", template(STORAGE))
    assert (refused.value.status_code, refused.value.error.code) == (409, "ScopeLocked")


async def test_permissions_that_are_missing_are_found_before_anything_is_written(deployments, arm, control):
    control.break_("deny", action="Microsoft.Storage/storageAccounts/write")
    with pytest.raises(HttpResponseError) as refused:
        await deploy(deployments, "forbidden", template(STORAGE, ALERT))
    error = refused.value.error
    assert (refused.value.status_code, error.code) == (403, "InvalidTemplateDeployment")
    assert [(each.code, each.target) for each in error.details] == [("AuthorizationFailed", STORAGE_ID)]
    with pytest.raises(ResourceNotFoundError) as gone:
        await deployments.get(GROUP, "forbidden")
    assert gone.value.error.code == "DeploymentNotFound"


@pytest.mark.parametrize(
    ("fault", "code"), [("arm-policy-denies", "RequestDisallowedByPolicy"), ("arm-quota", "QuotaExceeded")]
)
async def test_policies_and_quotas_are_found_by_validation(deployments, control, fault, code):
    control.break_(fault)
    with pytest.raises(HttpResponseError) as refused:
        await deployments.begin_validate(GROUP, "checked", wanted(template(STORAGE)))
    assert (refused.value.status_code, refused.value.error.code) == (400, "InvalidTemplateDeployment")
    assert [each.code for each in refused.value.error.details] == [code]


async def test_validation_deploys_nothing(deployments, arm):
    poller = await deployments.begin_validate(GROUP, "checked", wanted(template(STORAGE)))
    result = await poller.result()
    assert result.error is None
    assert [each.id for each in result.properties.validated_resources] == [STORAGE_ID]
    assert (await arm.ask("GET", STORAGE_ID, query={"api-version": "2023-05-01"})).status_code == 404
    assert not await deployments.check_existence(GROUP, "checked")


async def test_a_template_that_is_wrong_is_refused_in_azures_words(deployments):
    with pytest.raises(HttpResponseError) as refused:
        await deploy(deployments, "wrong", template({**STORAGE, "dependsOn": ["nosuch"]}))
    assert (refused.value.status_code, refused.value.error.code) == (400, "InvalidTemplate")
    assert "'nosuch'" in refused.value.message


async def test_two_deployments_of_one_name_do_not_run_at_once_and_one_can_be_cancelled(
    deployments, arm, control, eventually
):
    control.break_("arm-deployment-never-ends")
    path = f"{BASE}/providers/Microsoft.Resources/deployments/slow"
    begun = await arm.ask("PUT", path, query=VERSION, json=wanted(template(ALERT, STORAGE)))
    assert (begun.status_code, begun.json()["properties"]["provisioningState"]) == (201, "Accepted")
    again = await arm.ask("PUT", path, query=VERSION, json=wanted(template(STORAGE)))
    assert (again.status_code, again.json()["error"]["code"]) == (409, "DeploymentActive")
    assert (await arm.ask("DELETE", path, query=VERSION)).status_code == 409
    await deployments.cancel(GROUP, "slow")

    async def ended() -> bool:
        found = await deployments.get(GROUP, "slow")
        operations = (await arm.ask("GET", f"{path}/operations", query=VERSION)).json()["value"]
        states = [each["properties"]["provisioningState"] for each in operations]
        return found.properties.provisioning_state == "Canceled" and "Running" not in states

    await eventually(ended)
    assert (await arm.ask("GET", STORAGE_ID, query={"api-version": "2023-05-01"})).status_code == 404


async def test_a_deployment_goes_on_when_the_fault_is_repaired(deployments, control, eventually):
    control.break_("arm-deployment-never-ends", type="Microsoft.Storage/storageAccounts")
    running = asyncio.create_task(deploy(deployments, "held", template(STORAGE)))
    await eventually(lambda: deployments.check_existence(GROUP, "held"))
    assert (await deployments.get(GROUP, "held")).properties.provisioning_state in ("Accepted", "Running")
    control.repair()
    assert (await running).properties.provisioning_state == "Succeeded"


async def test_another_operation_on_a_resource_is_waited_for(deployments):
    rules = [
        {
            "type": "Microsoft.DBforPostgreSQL/flexibleServers/firewallRules",
            "apiVersion": "2022-12-01",
            "name": f"fundrbolt-production-pg/rule{number}",
            "properties": {"startIpAddress": "203.0.113.9", "endIpAddress": "203.0.113.9"},
        }
        for number in range(3)
    ]
    done = await deploy(deployments, "rules", template(*rules))
    assert done.properties.provisioning_state == "Succeeded"


async def test_the_history_is_filtered_exported_and_forgotten(deployments, arm):
    await deploy(deployments, "good", template(STORAGE))
    listed = [each.name async for each in deployments.list_by_resource_group(GROUP, top=1)]
    assert listed == ["good"]
    failed = deployments.list_by_resource_group(GROUP, filter="provisioningState eq 'Failed'")
    assert [each.name async for each in failed] == []
    assert (await deployments.export_template(GROUP, "good")).template == template(STORAGE)
    await (await deployments.begin_delete(GROUP, "good")).result()
    assert not await deployments.check_existence(GROUP, "good")
    assert (await arm.ask("GET", STORAGE_ID, query={"api-version": "2023-05-01"})).status_code == 200


@pytest.mark.parametrize(
    ("properties", "status"), [({"mode": "Complete"}, 400), ({"onErrorDeployment": {"type": "LastSuccessful"}}, 501)]
)
async def test_what_deletes_or_rolls_back_by_itself_is_refused(arm, properties, status):
    body = wanted(nested(GROUP, STORAGE), location="eastus")
    body["properties"] |= properties
    path = f"/subscriptions/{SUBSCRIPTION}/providers/Microsoft.Resources/deployments/dangerous"
    assert (await arm.ask("PUT", path, query=VERSION, json=body)).status_code == status


async def test_a_name_keeps_its_region(deployments):
    await deploy_to_subscription(deployments, "outer", nested(GROUP, STORAGE))
    with pytest.raises(HttpResponseError) as refused:
        await deployments.begin_create_or_update_at_subscription_scope(
            "outer", wanted(nested(GROUP, STORAGE), location="westus")
        )
    assert (refused.value.status_code, refused.value.error.code) == (409, "InvalidDeploymentLocation")


async def test_a_type_that_the_sandbox_does_not_have_is_named_before_anything_is_written(arm):
    machine = {**STORAGE, "type": "Microsoft.Compute/virtualMachines", "apiVersion": "2024-07-01"}
    path = f"{BASE}/providers/Microsoft.Resources/deployments/machines"
    answer = await arm.ask("PUT", path, query=VERSION, json=wanted(template(STORAGE, machine)))
    assert (answer.status_code, "Microsoft.Compute/virtualMachines" in answer.text) == (501, True)
    assert (await arm.ask("GET", STORAGE_ID, query={"api-version": "2023-05-01"})).status_code == 404


async def test_a_body_as_the_azure_cli_writes_it_is_read(arm):
    lenient = """{"properties": {"mode": "Incremental", "parameters": {}, template: {
        // made by hand
        "$schema": "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#",
        "contentVersion": "1.0.0.0", /* nothing yet */
        "resources": [],
    }}}"""
    path = f"{BASE}/providers/Microsoft.Resources/deployments/lenient"
    headers = {"Content-Type": "application/json"}
    answer = await arm.ask("PUT", path, query=VERSION, content=lenient.encode(), headers=headers)
    assert answer.status_code == 201
