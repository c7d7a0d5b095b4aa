"""No secret is kept: by its name, by what is known of its type, by what it looks like; and nothing else is left out."""

import json

import pytest

from rollback.resources.secrets import MARK, holds_mark, marked, without_secrets

REFERENCE = "@Microsoft.KeyVault(SecretUri=https://vault.vault.azure.net/secrets/redis-url/)"


@pytest.mark.parametrize(
    "name",
    [
        "administratorLoginPassword",
        "publishingPassword",
        "primaryKey",
        "secondaryKey",
        "accountKey",
        "InstrumentationKey",
        "ConnectionString",
        "aof-storage-connection-string-0",
        "rdb-storage-connection-string",
        "clientSecret",
        "repositoryToken",
        "HockeyAppToken",
        "sharedAccessSignature",
        "sas",
        "key1",
        "serviceUri",
        "callbackUrl",
        "httpTriggerUrl",
        "webhookUri",
        "customData",
        "pfxBlob",
    ],
)
def test_what_is_secret_by_its_name_is_left_out(name: str) -> None:
    content = {"properties": {"inner": {name: "canary"}, "list": [{name: "canary", "id": "1"}]}}
    assert "canary" not in json.dumps(without_secrets("Microsoft.Any/things", content))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("passwordAuth", "Disabled"),
        ("keyVaultReferenceIdentity", "SystemAssigned"),
        ("keyVaultUri", "https://vault.vault.azure.net"),
        ("secretName", "redis-url"),
        ("connectionStringNames", ["main"]),
        ("sshPublicKey", "ssh-ed25519 AAAA"),
        ("tokenStoreEnabled", True),
        ("adminPassword", None),
        ("minTlsVersion", "1.2"),
        ("maxmemory-policy", "allkeys-lru"),
        ("REDIS_URL", REFERENCE),
        ("vaultUri", "https://vault.vault.azure.net/"),
        ("callbackUri", "https://app/signed-in?returnTo=%2F&keyboard=1"),
        ("requireCode", "?code"),
    ],
)
def test_what_only_sounds_like_a_secret_is_kept(name: str, value: object) -> None:
    content = {"properties": {name: value}}
    assert without_secrets("Microsoft.Any/things", content) == content


def test_everything_below_a_secret_name_is_left_out() -> None:
    content = {"properties": {"secrets": {"a": "canary"}, "accessKeys": {"primary": "canary"}, "keys": ["canary"]}}
    assert without_secrets("Microsoft.Any/things", content) == {
        "properties": dict.fromkeys(content["properties"], MARK)
    }


def test_what_a_vault_lets_people_do_with_secrets_is_no_secret() -> None:
    policy = {"objectId": "1", "permissions": {"keys": ["get"], "secrets": ["get", "list"]}}
    content = {"properties": {"accessPolicies": [policy]}}
    assert without_secrets("Microsoft.KeyVault/vaults", content) == content


@pytest.mark.parametrize("kind", ["Microsoft.Web/sites/config", "Microsoft.Web/sites/slots/config"])
def test_of_app_settings_only_names_and_references_to_a_vault_are_kept(kind: str) -> None:
    content = {"id": "/x/config/appsettings", "properties": {"PLAIN": "canary", "REDIS_URL": REFERENCE, "OFF": "false"}}
    kept = without_secrets(kind, content)
    assert kept["properties"] == {"PLAIN": MARK, "REDIS_URL": REFERENCE, "OFF": MARK}


def test_app_settings_within_a_sites_configuration_are_left_out_as_well() -> None:
    settings = [{"name": "A", "value": "canary"}, {"name": "B", "value": REFERENCE}, {"name": "C", "value": None}]
    kept = without_secrets("Microsoft.Web/sites", {"properties": {"siteConfig": {"appSettings": settings}}})
    assert "canary" not in json.dumps(kept)
    assert REFERENCE in json.dumps(kept)


@pytest.mark.parametrize(
    "pair",
    [
        {"key": "X-Api-Key", "value": "canary"},
        {"name": "A", "value": "canary", "slotSetting": True},
        {"keyName": "key1", "value": "canary", "permissions": "FULL"},
        {"Name": "A", "Value": "canary"},
    ],
)
def test_of_what_is_named_beside_it_only_the_value_is_left_out(pair: dict[str, object]) -> None:
    kept = without_secrets("Microsoft.Any/things", {"properties": {"headers": [pair]}})
    assert kept == {
        "properties": {"headers": [{key: MARK if each == "canary" else each for key, each in pair.items()}]}
    }


@pytest.mark.parametrize(
    "value",
    [
        "run --password=canary1",
        "postgresql://user:canary1@host/db",
        "Bearer canary1canary1",
        "https://functions.azurewebsites.net/api/notify?code=canary1",
        "https://events.example/v2?region=eu&subscription-key=canary1",
        "-----BEGIN RSA PRIVATE KEY-----\ncanary1\n-----END RSA PRIVATE KEY-----",
    ],
)
def test_what_looks_like_a_secret_is_left_out_wherever_it_is(value: str) -> None:
    kept = without_secrets("Microsoft.Web/sites/config", {"properties": {"appCommandLine": value}})
    assert kept == {"properties": {"appCommandLine": MARK}}


def test_what_was_left_out_is_named_by_its_place() -> None:
    kept = without_secrets("Microsoft.Any/things", {"properties": {"password": "x", "hooks": [{"key": "y"}]}})
    assert list(marked(kept)) == ["properties.password", "properties.hooks[0].key"]
    assert holds_mark(kept)
    assert not holds_mark({"a": [1, None]})
