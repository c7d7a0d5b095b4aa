"""Vaults and their secrets, through the genuine SDK and over plain HTTPS."""

import os
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from azure.core.exceptions import (
    ClientAuthenticationError,
    HttpResponseError,
    ResourceExistsError,
    ResourceNotFoundError,
)
from azure.identity.aio import ClientSecretCredential
from azure.keyvault.secrets.aio import SecretClient
from azure_names import GROUP, SUBSCRIPTION
from support import Sandbox

from sandbox.control import Control

VAULT, LEGACY = "https://fundrbolt-production-kv.vault.azure.net", "https://fundrbolt-legacy-kv.vault.azure.net"
GROUP_ID = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/{GROUP}"
VAULTS = f"{GROUP_ID}/providers/Microsoft.KeyVault/vaults"
SOMEBODY = "66666666-6666-4666-8666-000000000004"
CANARY = "canary-5f1c8e"


@pytest.fixture
async def vault(credential: ClientSecretCredential, environment: dict[str, str]) -> AsyncIterator[SecretClient]:
    """Without retries: a test must see what the sandbox answered."""
    async with SecretClient(VAULT, credential, retry_total=0, connection_verify=environment["SSL_CERT_FILE"]) as client:
        yield client


@pytest.fixture
async def legacy(credential: ClientSecretCredential, environment: dict[str, str]) -> AsyncIterator[SecretClient]:
    async with SecretClient(
        LEGACY, credential, retry_total=0, connection_verify=environment["SSL_CERT_FILE"]
    ) as client:
        yield client


class Plain:
    """Requests to the production vault with a token."""

    def __init__(self, https: httpx.AsyncClient, token: str) -> None:
        self.https, self.token = https, token

    async def ask(self, method: str, path: str, version: str | None = "7.4", **options: object) -> httpx.Response:
        query = ({"api-version": version} if version else {}) | options.pop("query", {})
        headers = {"Authorization": f"Bearer {self.token}"} | options.pop("headers", {})
        return await self.https.request(method, f"{VAULT}{path}", params=query, headers=headers, **options)


@pytest.fixture
async def plain(https: httpx.AsyncClient, credential: ClientSecretCredential) -> Plain:
    token = await credential.get_token("https://vault.azure.net/.default")
    return Plain(https, token.token)


def inner(error: HttpResponseError) -> str:
    return error.error.innererror["code"]


async def test_a_request_without_a_token_is_told_whom_to_ask_for_one(https):
    answer = await https.get(f"{VAULT}/secrets/database-url", params={"api-version": "7.5"})
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == (
        'Bearer authorization="https://login.microsoftonline.com/22222222-2222-4222-8222-222222222222", '
        'resource="https://vault.azure.net"'
    )
    assert answer.json() == {
        "error": {"code": "Unauthorized", "message": "AKV10000: Request is missing a Bearer or PoP token."}
    }


async def test_a_token_for_another_resource_is_refused(plain, arm):
    plain.token = arm.token
    answer = await plain.ask("GET", "/secrets/database-url")
    assert (answer.status_code, "AKV10022" in answer.text) == (401, True)
    assert "found: https://management.azure.com." in answer.json()["error"]["message"]
    assert "resource=" in answer.headers["WWW-Authenticate"]


async def test_an_expired_token_and_a_forged_one_are_refused(plain, control):
    assert (await plain.ask("GET", "/secrets/database-url")).status_code == 200
    control.break_("tokens-expire")
    assert "AKV10001" in (await plain.ask("GET", "/secrets/database-url")).text
    plain.token = plain.token[:-4] + "AAAA"
    assert "AKV10046" in (await plain.ask("GET", "/secrets/database-url")).text


async def test_the_sdk_reads_what_it_has_set(vault):
    expires, begins = datetime(2031, 1, 2, tzinfo=UTC), datetime(2020, 1, 2, tzinfo=UTC)
    made = await vault.set_secret(
        "New-One", "a", content_type="text/plain", tags={"by": "test"}, expires_on=expires, not_before=begins
    )
    read = await vault.get_secret("new-one")
    assert (read.value, read.name, read.id) == ("a", "New-One", made.id)
    about = read.properties
    assert (about.content_type, about.tags, about.expires_on, about.not_before) == (
        "text/plain",
        {"by": "test"},
        expires,
        begins,
    )
    assert (about.enabled, about.recovery_level, about.recoverable_days) == (True, "Recoverable+Purgeable", 90)
    assert abs(about.created_on - datetime.now(UTC)) < timedelta(minutes=1)


async def test_every_version_stays_readable_and_the_last_one_is_meant(vault):
    first = await vault.set_secret("rotated", "old")
    second = await vault.set_secret("rotated", "new")
    assert (await vault.get_secret("rotated")).value == "new"
    assert (await vault.get_secret("rotated", first.properties.version)).value == "old"
    versions = [each.version async for each in vault.list_properties_of_secret_versions("rotated")]
    assert versions == sorted([first.properties.version, second.properties.version])
    assert [each async for each in vault.list_properties_of_secret_versions("nosuch")] == []


async def test_attributes_of_one_version_change_and_its_value_does_not(vault):
    first = await vault.set_secret("changed", "a", tags={"keep": "me"})
    await vault.set_secret("changed", "b")
    changed = await vault.update_secret_properties("changed", first.properties.version, content_type="x")
    assert (changed.content_type, changed.tags, changed.version) == ("x", {"keep": "me"}, first.properties.version)
    assert (await vault.get_secret("changed", first.properties.version)).value == "a"
    assert (await vault.get_secret("changed")).properties.content_type is None


async def test_a_disabled_secret_cannot_be_read_but_is_listed(vault):
    await vault.set_secret("off", CANARY)
    await vault.update_secret_properties("off", enabled=False)
    with pytest.raises(HttpResponseError, match="Operation get is not allowed on a disabled secret") as refused:
        await vault.get_secret("off")
    assert (refused.value.status_code, refused.value.error.code, inner(refused.value)) == (
        403,
        "Forbidden",
        "SecretDisabled",
    )
    assert {each.name: each.enabled async for each in vault.list_properties_of_secrets()}["off"] is False


async def test_an_expired_secret_is_still_read(vault, control):
    before = (await vault.get_secret("database-url")).properties
    assert before.tags
    assert before.expires_on > datetime.now(UTC)
    control.break_("kv-secret-expired", name="database-url")
    read = await vault.get_secret("database-url")
    assert read.properties.expires_on < datetime.now(UTC)
    assert read.value.startswith("postgresql://")
    control.repair("kv-secret-expired")
    assert (await vault.get_secret("database-url")).properties.expires_on == before.expires_on


async def test_what_is_not_there_is_not_found(vault):
    with pytest.raises(ResourceNotFoundError, match=r"A secret with \(name/id\) nosuch was not found") as refused:
        await vault.get_secret("nosuch")
    assert refused.value.error.code == "SecretNotFound"
    with pytest.raises(ResourceNotFoundError, match="database-url/" + "0" * 32):
        await vault.get_secret("database-url", "0" * 32)
    for ask in (vault.get_deleted_secret, vault.purge_deleted_secret):
        with pytest.raises(ResourceNotFoundError, match="Deleted Secret not found: database-url"):
            await ask("database-url")


async def test_a_deleted_secret_keeps_its_name_until_it_is_purged(vault):
    await vault.set_secret("gone", "a")
    deleted = await vault.delete_secret("gone")
    assert deleted.recovery_id == f"{VAULT}/deletedsecrets/gone"
    assert deleted.scheduled_purge_date - deleted.deleted_date == timedelta(days=90)
    with pytest.raises(ResourceNotFoundError):
        await vault.get_secret("gone")
    with pytest.raises(ResourceExistsError, match="in a deleted but recoverable state") as refused:
        await vault.set_secret("gone", "b")
    assert inner(refused.value) == "ObjectIsDeletedButRecoverable"
    assert [each.name async for each in vault.list_deleted_secrets()] == ["gone"]
    assert (await vault.get_deleted_secret("gone")).name == "gone"
    await vault.purge_deleted_secret("gone")
    assert [each async for each in vault.list_deleted_secrets()] == []
    assert (await vault.set_secret("gone", "b")).value == "b"


async def test_a_deleted_secret_is_recovered_with_all_its_versions(vault):
    first = await vault.set_secret("back", "a")
    await vault.set_secret("back", "b")
    await vault.delete_secret("back")
    recovered = await vault.recover_deleted_secret("back")
    assert recovered.name == "back"
    assert (await vault.get_secret("back")).value == "b"
    assert (await vault.get_secret("back", first.properties.version)).value == "a"


async def test_long_lists_come_in_pages(vault):
    names = [f"many-{number:02}" for number in range(27)]
    for name in names:
        await vault.set_secret(name, "x")
    listed = [each.name async for each in vault.list_properties_of_secrets()]
    assert [name for name in listed if name.startswith("many-")] == names
    pages = vault.list_properties_of_secrets(max_page_size=10).by_page()
    sizes = [len([each async for each in page]) async for page in pages]
    assert sizes[:3] == [10, 10, 10]
    assert sum(sizes) == len(listed)


async def test_paging_that_makes_no_sense_is_refused(plain):
    for query in ({"maxresults": 0}, {"maxresults": 26}, {"maxresults": "x"}, {"$skiptoken": "é"}):
        answer = await plain.ask("GET", "/secrets", query=query)
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "BadParameter")


async def test_a_principal_without_the_role_is_refused_with_the_action_that_it_lacks(vault, control):
    control.break_("deny", action="Microsoft.KeyVault/vaults/secrets/getSecret/action")
    with pytest.raises(HttpResponseError, match="Caller is not authorized to perform action on resource") as refused:
        await vault.get_secret("database-url")
    assert (refused.value.status_code, inner(refused.value)) == (403, "ForbiddenByRbac")
    message = refused.value.message
    assert "Action: 'Microsoft.KeyVault/vaults/secrets/getSecret/action'" in message
    assert "oid=44444444-4444-4444-8444-444444444444" in message
    assert f"Resource: '{VAULTS}/fundrbolt-production-kv/secrets/database-url'".lower() in message.lower()
    listed = {each.name async for each in vault.list_properties_of_secrets()}
    assert {"database-url", "github-token", "session-secret"} <= listed


async def test_a_vault_with_access_policies_refuses_in_their_words(legacy, arm):
    assert (await legacy.get_secret("smtp-password")).value
    await legacy.delete_secret("smtp-password")
    with pytest.raises(HttpResponseError, match="does not have secrets purge permission on key vault") as refused:
        await legacy.purge_deleted_secret("smtp-password")
    assert (refused.value.status_code, inner(refused.value)) == (403, "ForbiddenByPolicy")
    assert "fundrbolt-legacy-kv;location=eastus" in refused.value.message


async def change_policies(arm, kind: str, who: str, *secrets: str) -> list[dict]:
    entry = {
        "tenantId": "22222222-2222-4222-8222-222222222222",
        "objectId": who,
        "permissions": {"secrets": list(secrets)},
    }
    body = {"properties": {"accessPolicies": [entry]}}
    answer = await arm.ask("PUT", f"{VAULTS}/fundrbolt-legacy-kv/accessPolicies/{kind}", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()["properties"]["accessPolicies"]


async def test_access_policies_are_added_replaced_and_removed(arm, legacy):
    def secrets(policies: list[dict], who: str) -> list[str] | None:
        return next((each["permissions"]["secrets"] for each in policies if each["objectId"] == who), None)

    rollback = "44444444-4444-4444-8444-444444444444"
    assert secrets(await change_policies(arm, "add", SOMEBODY, "Get"), SOMEBODY) == ["get"]
    assert secrets(await change_policies(arm, "add", SOMEBODY, "list"), SOMEBODY) == ["get", "list"]
    assert secrets(await change_policies(arm, "replace", SOMEBODY, "set"), SOMEBODY) == ["set"]
    assert secrets(await change_policies(arm, "remove", SOMEBODY, "set"), SOMEBODY) is None
    await change_policies(arm, "remove", rollback, "get")
    with pytest.raises(HttpResponseError, match="does not have secrets get permission"):
        await legacy.get_secret("smtp-password")
    shown = (await arm.ask("GET", f"{VAULTS}/fundrbolt-legacy-kv")).json()["properties"]["accessPolicies"]
    assert sorted(secrets(shown, rollback)) == ["delete", "list", "recover", "set"]


async def test_vaults_are_shown_by_name_group_and_subscription(arm):
    shown = (await arm.ask("GET", f"{VAULTS}/Fundrbolt-Production-KV")).json()
    assert (shown["name"], shown["properties"]["vaultUri"]) == ("fundrbolt-production-kv", f"{VAULT}/")
    assert (
        shown["properties"] | {"enableRbacAuthorization": True, "softDeleteRetentionInDays": 90} == shown["properties"]
    )
    names = ["fundrbolt-production-kv", "fundrbolt-legacy-kv"]
    for path in (VAULTS, f"/subscriptions/{SUBSCRIPTION}/providers/Microsoft.KeyVault/vaults"):
        assert [each["name"] for each in (await arm.ask("GET", path)).json()["value"]] == names
    for path in (f"{VAULTS}/nosuch", VAULTS.replace("production", "dev") + "/fundrbolt-legacy-kv"):
        answer = await arm.ask("GET", path)
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "ResourceNotFound")


async def test_vaults_are_found_in_the_list_of_resources_as_the_azure_cli_asks_for_them(arm):
    path, kind = f"/subscriptions/{SUBSCRIPTION}/resources", "resourceType eq 'Microsoft.KeyVault/vaults'"

    async def listed(wanted: str) -> list[str]:
        answer = await arm.ask("GET", path, query={"$filter": wanted, "api-version": "2015-11-01"})
        return [each["name"] for each in answer.json()["value"]]

    assert await listed(kind) == ["fundrbolt-production-kv", "fundrbolt-legacy-kv"]
    assert await listed(f"{kind} and name eq 'fundrbolt-legacy-kv'") == ["fundrbolt-legacy-kv"]
    assert await listed(f"{kind} and name eq 'nosuch'") == []
    assert (await arm.ask("GET", path, query={"$filter": "nonsense"})).status_code == 501


async def test_a_vault_changes_from_access_policies_to_roles_and_nothing_else_of_it(arm, legacy):
    path = f"{VAULTS}/fundrbolt-legacy-kv"
    shown = (await arm.ask("GET", path)).json()
    shown["properties"]["enableRbacAuthorization"] = True
    answer = await arm.ask("PUT", path, json=shown)
    assert (answer.status_code, answer.json()["properties"]["enableRbacAuthorization"]) == (200, True)
    # Its role lets the rollback principal purge; the access policies do not.
    await legacy.set_secret("purged", "x")
    await legacy.delete_secret("purged")
    await legacy.purge_deleted_secret("purged")
    shown["properties"]["enableRbacAuthorization"] = False
    shown["properties"]["accessPolicies"] = shown["properties"]["accessPolicies"][:1]
    assert len((await arm.ask("PUT", path, json=shown)).json()["properties"]["accessPolicies"]) == 1
    await legacy.delete_secret("smtp-password")
    with pytest.raises(HttpResponseError, match="does not have secrets purge permission"):
        await legacy.purge_deleted_secret("smtp-password")
    shown["properties"]["softDeleteRetentionInDays"] = 7
    assert (await arm.ask("PUT", path, json=shown)).status_code == 501
    assert (await arm.ask("PUT", f"{VAULTS}/another-kv", json=shown)).status_code == 501


async def test_throttling_tells_how_long_to_wait(plain, control):
    control.break_("kv-throttle", retry_after=7, times=2)
    for _ in range(2):
        answer = await plain.ask("GET", "/secrets/database-url")
        assert (answer.status_code, answer.headers["Retry-After"]) == (429, "7")
        assert answer.json()["error"]["code"] == "Throttled"
    assert (await plain.ask("GET", "/secrets/database-url")).status_code == 200


async def test_an_unavailable_vault_answers_503_until_it_is_repaired(plain, control):
    control.break_("kv-unavailable")
    assert (await plain.ask("GET", "/secrets/database-url")).status_code == 503
    control.repair()
    assert (await plain.ask("GET", "/secrets/database-url")).status_code == 200


@pytest.mark.parametrize("who", ["", "rollback", "44444444-4444-4444-8444-444444444444"])
async def test_a_forbidden_principal_is_refused_by_every_vault(vault, legacy, control, who):
    control.break_("kv-forbidden", principal=who)
    for client, name, code in (
        (vault, "database-url", "ForbiddenByRbac"),
        (legacy, "smtp-password", "ForbiddenByPolicy"),
    ):
        with pytest.raises(HttpResponseError) as refused:
            await client.get_secret(name)
        assert inner(refused.value) == code
    control.repair("kv-forbidden")
    assert (await vault.get_secret("database-url")).value
    control.break_("kv-forbidden", principal="somebody-else")
    assert (await vault.get_secret("database-url")).value


async def test_a_fault_disables_and_deletes_a_secret_and_repair_takes_it_back(vault, control):
    control.break_("kv-secret-disabled", name="database-url")
    with pytest.raises(HttpResponseError, match="disabled"):
        await vault.get_secret("database-url")
    control.break_("kv-secret-deleted", name="session-secret")
    with pytest.raises(ResourceNotFoundError):
        await vault.get_secret("session-secret")
    control.repair()
    assert (await vault.get_secret("database-url")).value.startswith("postgresql://")
    assert (await vault.get_secret("session-secret")).value


async def test_what_the_sandbox_does_not_do_is_501(plain):
    for method, path in (
        ("POST", "/secrets/database-url/backup"),
        ("POST", "/secrets/restore"),
        ("HEAD", "/secrets/database-url"),
        ("GET", "/keys/x"),
    ):
        assert (await plain.ask(method, path)).status_code == 501, path
    assert (await plain.ask("GET", "/secrets", query={"what": "ever"})).status_code == 501


async def test_versions_of_the_api_that_are_not_there_are_refused(plain):
    for version in (None, "1.0"):
        answer = await plain.ask("GET", "/secrets", version)
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "BadParameter")
    for version in ("7.4", "7.5", "7.6"):
        assert (await plain.ask("GET", "/secrets/database-url", version)).status_code == 200


async def test_a_vault_that_is_not_there_has_no_host(https):
    with pytest.raises(httpx.ProxyError):
        await https.get("https://nosuch.vault.azure.net/secrets?api-version=7.4")


async def test_a_bad_body_or_name_is_refused_without_telling_the_value(plain):
    for path, body in (
        ("/secrets/a_b", {"value": CANARY}),
        ("/secrets/a", {"value": [CANARY]}),
        ("/secrets/a", {"value": CANARY, "attributes": {"enabled": CANARY}}),
        ("/secrets/a", {"value": CANARY * 3000}),
    ):
        answer = await plain.ask("PUT", path, json=body)
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "BadParameter"), answer.text
        assert CANARY not in answer.text


async def test_a_secret_is_kept_in_the_state_file_only(vault, plain, control: Control, running_sandbox: Sandbox):
    await vault.set_secret("quiet", CANARY)
    await vault.update_secret_properties("quiet", enabled=False)
    with pytest.raises(HttpResponseError):
        await vault.get_secret("quiet")
    await plain.ask("POST", "/secrets/quiet/backup")
    control.break_("kv-secret-disabled", name="database-url")
    files = [Path(folder, name) for folder, _, names in os.walk(running_sandbox.folder) for name in names]
    assert [file.name for file in files if CANARY in file.read_text(errors="replace")] == ["state.json"]
    assert (running_sandbox.folder / "state.json").stat().st_mode & 0o777 == 0o600
    assert CANARY not in control.status().model_dump_json()


async def test_a_wrong_secret_of_the_client_ends_the_sdk_with_an_authentication_error(environment, control):
    names = [environment[name] for name in ("AZURE_TENANT_ID", "AZURE_CLIENT_ID")]
    ca = environment["SSL_CERT_FILE"]
    async with (
        ClientSecretCredential(*names, "wrong", connection_verify=ca) as credential,
        SecretClient(VAULT, credential, connection_verify=ca) as client,
    ):
        with pytest.raises(ClientAuthenticationError):
            await client.get_secret("database-url")
