"""Locks, through the genuine SDK: they bind whoever may do everything."""

import pytest
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError
from azure.mgmt.resource.locks.aio import ManagementLockClient
from azure_names import GROUP, SITE, SLOT, SUBSCRIPTION

SCOPE = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/{GROUP}"
RULE = f"{SCOPE}/providers/Microsoft.DBforPostgreSQL/flexibleServers/fundrbolt-production-pg/firewallRules/operators"


@pytest.fixture
async def locks(credential, environment):
    options = {"retry_total": 0, "connection_verify": environment["SSL_CERT_FILE"]}
    async with ManagementLockClient(credential, SUBSCRIPTION, **options) as client:
        yield client.management_locks


async def names(found) -> list[str]:
    return sorted([each.name async for each in found])


async def test_a_read_only_lock_refuses_every_change_below_it_in_azures_words(locks, arm):
    await locks.create_or_update_at_resource_group_level(GROUP, "freeze", {"level": "ReadOnly", "notes": "moving"})
    refused = await arm.ask("PATCH", SITE, json={"tags": {"a": "b"}})
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "ScopeLocked")
    assert refused.json()["error"]["message"] == (
        f"The scope '{SITE}' cannot perform write operation because following scope(s) are locked: '{SCOPE}'. "
        "Please remove the lock and try again."
    )
    assert (await arm.swap()).status_code == 409
    assert (await arm.ask("GET", SITE)).status_code == 200
    await locks.delete_at_resource_group_level(GROUP, "freeze")
    assert (await arm.ask("PATCH", SITE, json={"tags": {"a": "b"}})).status_code == 200


async def test_a_lock_against_deletion_lets_changes_through_and_no_deletion(locks, arm):
    await locks.create_or_update_by_scope(SCOPE, "keep", {"level": "CanNotDelete"})
    assert (await arm.ask("PATCH", SITE, json={"tags": {"a": "b"}})).status_code == 200
    refused = await arm.ask("DELETE", RULE)
    assert (refused.status_code, "cannot perform delete operation" in refused.text) == (409, True)


async def test_a_lock_of_a_resource_binds_that_resource_and_what_is_below_it(locks, arm):
    await locks.create_or_update_by_scope(SLOT, "slot", {"level": "ReadOnly"})
    assert (await arm.ask("PATCH", SLOT, json={"tags": {"a": "b"}})).status_code == 409
    assert (await arm.ask("POST", f"{SLOT}/restart")).status_code == 409
    assert (await arm.ask("PATCH", SITE, json={"tags": {"a": "b"}})).status_code == 200


async def test_locks_are_listed_where_they_bind(locks):
    await locks.create_or_update_at_subscription_level("all", {"level": "CanNotDelete"})
    await locks.create_or_update_at_resource_group_level(GROUP, "group", {"level": "CanNotDelete"})
    await locks.create_or_update_by_scope(SITE, "site", {"level": "CanNotDelete"})
    # The platform's own template keeps its vault.
    assert await names(locks.list_at_subscription_level()) == ["all", "fundrbolt-keep", "group", "site"]
    assert await names(locks.list_at_resource_group_level(GROUP)) == ["all", "fundrbolt-keep", "group", "site"]
    assert await names(locks.list_at_resource_group_level(GROUP, filter="atScope()")) == ["all", "group"]
    assert (await locks.get_by_scope(SITE, "site")).level == "CanNotDelete"


async def test_a_lock_that_is_not_there_is_not_found(locks):
    with pytest.raises(ResourceNotFoundError):
        await locks.get_by_scope(SITE, "nosuch")


async def test_who_may_only_look_makes_no_lock(arm, control):
    control.break_("deny", action="Microsoft.Authorization/locks/write")
    answer = await arm.ask(
        "PUT", f"{SCOPE}/providers/Microsoft.Authorization/locks/mine", json={"properties": {"level": "ReadOnly"}}
    )
    assert (answer.status_code, "Microsoft.Authorization/locks/write" in answer.text) == (403, True)


async def test_a_level_that_azure_does_not_have_is_refused(locks):
    with pytest.raises(HttpResponseError) as refused:
        await locks.create_or_update_by_scope(SITE, "odd", {"level": "NotSpecified"})
    assert refused.value.status_code == 400
