"""What-if as Microsoft documents it, read without its secrets, its noise marked, its risk told."""

import json
from typing import Any

import pytest

from rollback.infrastructure import judging, noise
from rollback.infrastructure.blinding import Blinding
from rollback.infrastructure.what_if import ChangeKind, ResourceChange, gather, read_changes

GROUP = "/subscriptions/11111111-1111-4111-8111-111111111111/resourceGroups/rg/providers"
SITE = f"{GROUP}/Microsoft.Web/sites/api"
SERVER = f"{GROUP}/Microsoft.DBforPostgreSQL/flexibleServers/db"
NETWORK = f"{GROUP}/Microsoft.Network/virtualNetworks/vnet-001"
BLINDING = Blinding(b"a key of a test", ["correct-horse"])
DOCUMENTED: list[dict[str, Any]] = [
    {
        "changeType": "Modify",
        "resourceId": NETWORK,
        "before": {"properties": {"addressSpace": {"addressPrefixes": ["10.0.0.0/16"]}}},
        "after": {"properties": {"addressSpace": {"addressPrefixes": ["10.0.0.0/15"]}}},
        "delta": [
            {"path": "tags.Owner", "propertyChangeType": "Delete", "before": "Team A", "after": None},
            {"path": "properties.enableVmProtection", "propertyChangeType": "NoEffect", "before": False, "after": None},
            {
                "path": "properties.addressSpace.addressPrefixes",
                "propertyChangeType": "Array",
                "children": [
                    {"path": "0", "propertyChangeType": "Delete", "before": "10.0.0.0/16"},
                    {"path": "0", "propertyChangeType": "Create", "after": "10.0.0.0/15"},
                ],
            },
            {
                "path": "properties.subnets",
                "propertyChangeType": "Array",
                "children": [
                    {
                        "path": "0",
                        "propertyChangeType": "Modify",
                        "children": [{"path": "name", "propertyChangeType": "Modify", "before": "a", "after": "b"}],
                    }
                ],
            },
        ],
    }
]
"""From learn.microsoft.com, "Bicep what-if", as the REST API gives it."""


def modified(resource: str, *delta: dict[str, Any], **payloads: Any) -> dict[str, Any]:
    return {"changeType": "Modify", "resourceId": resource, "delta": list(delta), **payloads}


def property_change(path: str, before: Any = None, after: Any = None, kind: str = "Modify") -> dict[str, Any]:
    return {"path": path, "propertyChangeType": kind, "before": before, "after": after}


def read(*raw: dict[str, Any], globs: tuple[str, ...] = ()) -> tuple[ResourceChange, ...]:
    return judging.judge(noise.mark(read_changes(list(raw), BLINDING), globs))


def settings_of_site(name: str, before: str, after: str) -> dict[str, Any]:
    child = {"path": "0", "propertyChangeType": "Modify", "children": [property_change("value", before, after)]}
    delta = {"path": "properties.siteConfig.appSettings", "propertyChangeType": "Array", "children": [child]}
    payload = {"properties": {"siteConfig": {"appSettings": [{"name": name, "value": after}]}}}
    return modified(SITE, delta, after=payload)


def test_nested_changes_have_their_whole_path() -> None:
    (change,) = read(*DOCUMENTED)
    assert (change.type, change.name) == ("Microsoft.Network/virtualNetworks", "vnet-001")
    told = {
        (each.path, each.kind, each.before and each.before.text, each.after and each.after.text)
        for each in change.properties
    }
    assert told == {
        ("tags.Owner", "Delete", "Team A", None),
        ("properties.enableVmProtection", "NoEffect", "false", None),
        ("properties.addressSpace.addressPrefixes[0]", "Delete", "10.0.0.0/16", None),
        ("properties.addressSpace.addressPrefixes[0]", "Create", None, "10.0.0.0/15"),
        ("properties.subnets[0].name", "Modify", "a", "b"),
    }


def test_what_has_no_effect_is_marked_and_still_there() -> None:
    (change,) = read(*DOCUMENTED)
    marked = [each for each in change.properties if each.noise]
    assert [each.path for each in marked] == ["properties.enableVmProtection"]
    assert change.properties[-1] == marked[0]
    assert change.counts


def test_an_element_with_a_name_is_called_by_it() -> None:
    (change,) = read(settings_of_site("REGION", "eastus", "westus"))
    (own,) = change.properties
    assert own.path == "properties.siteConfig.appSettings[REGION].value"
    assert own.high == "settings of a site"


def test_a_setting_called_a_key_is_blackened_and_can_be_compared() -> None:
    (one,) = read(settings_of_site("STRIPE_KEY", "sk_live_before", "sk_live_after"))
    (same,) = read(settings_of_site("STRIPE_KEY", "sk_live_before", "sk_live_after"))
    (other,) = read(settings_of_site("STRIPE_KEY", "sk_live_before", "sk_live_third"))
    assert "sk_live" not in one.model_dump_json()
    assert one.binding() == same.binding()
    assert one.binding() != other.binding()


def test_a_secret_that_is_known_is_blackened_wherever_it_is() -> None:
    (change,) = read(settings_of_site("GREETING", "hello", "say correct-horse to enter"))
    assert "correct-horse" not in change.model_dump_json()


def test_a_password_in_an_address_is_blackened() -> None:
    (change,) = read(settings_of_site("SOURCE", "", "postgresql://app:hunter2x@db/app"))
    assert "hunter2x" not in change.model_dump_json()


def test_a_reference_to_a_vault_is_shown() -> None:
    reference = "@Microsoft.KeyVault(SecretUri=https://kv.vault.azure.net/secrets/database-url)"
    (change,) = read(settings_of_site("DATABASE_PASSWORD", "x", reference))
    assert change.properties[0].after is not None
    assert change.properties[0].after.text == reference


def test_the_value_of_a_vaults_secret_is_never_shown_and_of_high_risk() -> None:
    secret = f"{GROUP}/Microsoft.KeyVault/vaults/kv/secrets/greeting"
    (change,) = read(modified(secret, property_change("properties.value", "good morning", "good evening")))
    assert "good" not in change.model_dump_json()
    assert change.properties[0].high == "a vault's secret"


def test_an_expression_that_azure_did_not_evaluate_may_be_a_change_and_is_none_that_is_known() -> None:
    expression = "[reference(resourceId('Microsoft.Insights/components', 'x'), '2020-02-02').ConnectionString]"
    (change,) = read(modified(SITE, property_change("properties.clientAffinity", "a", expression)))
    assert not change.properties[0].noise
    assert (change.is_open, change.counts, change.differs) == (True, True, False)


@pytest.mark.parametrize("expression", ["[listKeys('x', '2024-03-01').primaryKey]", "[parameters('password')]"])
def test_an_expression_has_the_risk_of_its_type(expression: str) -> None:
    secret = f"{GROUP}/Microsoft.KeyVault/vaults/kv/secrets/redis-url"
    (change,) = read(modified(secret, property_change("properties.value", None, expression)))
    assert change.properties[0].high == "a vault's secret"
    (noted,) = read(
        modified(secret, property_change("properties.value", None, expression)), globs=("properties.value",)
    )
    assert (noted.is_high, noted.is_open, noted.counts) == (False, False, False)


@pytest.mark.parametrize(
    ("kind", "path", "marked"),
    [
        ("Microsoft.Authorization/roleAssignments", "properties.principalId", False),
        ("Microsoft.KeyVault/vaults", "properties.tenantId", False),
        ("Microsoft.Web/sites", "identity.principalId", True),
        ("Microsoft.Web/sites", "identity.tenantId", True),
    ],
)
def test_whose_identity_is_changed_is_noise_only_where_azure_gives_it(kind: str, path: str, *, marked: bool) -> None:
    target = f"/subscriptions/s/resourceGroups/g/providers/{kind}/x"
    (change,) = read(modified(target, property_change(path, "a", "b")))
    assert bool(change.properties[0].noise) is marked


def test_a_list_is_no_expression() -> None:
    (change,) = read(modified(SITE, property_change("properties.hosts", [], ["a"])))
    assert not change.properties[0].noise


def test_the_platform_files_noise_is_marked_with_its_glob() -> None:
    raw = modified(SITE, property_change("tags.deployed", "1", "2"), property_change("tags.owner", "a", "b"))
    (change,) = read(raw, globs=("tags.dep*",))
    assert {each.path: bool(each.noise) for each in change.properties} == {"tags.deployed": True, "tags.owner": False}
    assert "tags.dep*" in change.properties[-1].noise


def test_noise_of_one_type_is_none_of_another() -> None:
    raw = (modified(SITE, property_change("tags.a", "1", "2")), modified(NETWORK, property_change("tags.a", "1", "2")))
    marked = {each.id: each.counts for each in read(*raw, globs=("Microsoft.Web/sites: tags.*",))}
    assert marked == {SITE: False, NETWORK: True}


def test_brackets_in_a_glob_mean_themselves() -> None:
    path = "properties.siteConfig.appSettings[REGION].value"
    (change,) = read(settings_of_site("REGION", "a", "b"), globs=(path,))
    assert change.properties[0].noise


def test_noise_is_not_bound_and_what_counts_is() -> None:
    quiet = read(modified(SITE, property_change("tags.a", "1", "2"), property_change("etag", "1", "2")))
    louder = read(modified(SITE, property_change("tags.a", "1", "2"), property_change("etag", "1", "3")))
    changed = read(modified(SITE, property_change("tags.a", "1", "3"), property_change("etag", "1", "2")))
    assert quiet[0].binding() == louder[0].binding()
    assert quiet[0].binding() != changed[0].binding()


def test_a_delete_comes_first_and_is_of_high_risk() -> None:
    changes = read(*DOCUMENTED, {"changeType": "Delete", "resourceId": SITE})
    assert changes[0].id == SITE
    assert changes[0].high == "it is deleted"
    assert changes[0].counts


def test_what_cannot_be_changed_in_place_is_named() -> None:
    (change,) = read(modified(SERVER, property_change("properties.version", "16", "15")))
    assert "must be made anew" in change.properties[0].high


def test_any_change_of_a_database_server_is_of_high_risk_but_its_tags() -> None:
    (change,) = read(modified(SERVER, property_change("properties.storage.storageSizeGB", 64, 32)))
    assert change.properties[0].high == "a database server"
    (tagged,) = read(modified(SERVER, property_change("tags.owner", "a", "b")))
    assert not tagged.is_high


def test_an_image_is_of_high_risk() -> None:
    (change,) = read(modified(SITE, property_change("properties.siteConfig.linuxFxVersion", "DOCKER|a", "DOCKER|b")))
    assert change.properties[0].high == "a site's image"


def test_what_azure_did_not_evaluate_is_told_with_its_reason() -> None:
    unsupported = {"changeType": "Unsupported", "resourceId": SITE, "unsupportedReason": "The id is unknown."}
    ignored = {"changeType": "Ignore", "resourceId": NETWORK}
    changes = {each.kind: each for each in read(unsupported, ignored)}
    assert changes[ChangeKind.UNSUPPORTED].why == "The id is unknown."
    assert changes[ChangeKind.UNSUPPORTED].is_high
    assert not changes[ChangeKind.IGNORE].is_high
    assert not changes[ChangeKind.IGNORE].counts


def test_what_is_made_is_bound_by_all_that_it_is_made_of() -> None:
    made = {"changeType": "Create", "resourceId": SERVER, "after": {"properties": {"password": "correct-horse"}}}
    other = json.loads(json.dumps(made).replace("correct-horse", "wrong-horse"))
    (one,), (two,) = read(made), read(other)
    assert one.is_high
    assert one.binding() != two.binding()
    assert "horse" not in one.model_dump_json() + two.model_dump_json()


def test_a_long_value_is_cut_and_can_still_be_compared() -> None:
    long = "x" * 5000
    (one,), (two,) = (read(modified(NETWORK, property_change("properties.text", "", long + end))) for end in "ab")
    assert len(one.model_dump_json()) < 2000
    assert one.binding() != two.binding()


SKIPPED = f"{GROUP}/Microsoft.Resources/deployments/app"


def warning(target: str | None, level: str = "Warning") -> dict[str, Any]:
    return {"level": level, "code": "NestedDeploymentShortCircuited", "message": "Not looked into.", "target": target}


def test_a_skipped_deployment_is_of_high_risk_bound_and_has_azures_words() -> None:
    ignored = {"changeType": "Ignore", "resourceId": SKIPPED}
    (change,) = read(*gather({"changes": [ignored], "diagnostics": [warning(SKIPPED.upper())]}))
    assert (change.kind, change.high) == (ChangeKind.IGNORE, "Azure did not look into it")
    assert change.why == "NestedDeploymentShortCircuited: Not looked into."
    assert change.is_skipped
    (without,) = read(ignored)
    assert without.is_skipped


@pytest.mark.parametrize("target", [SITE, None])
def test_a_warning_about_what_is_evaluated_or_about_nothing_is_of_high_risk(target: str | None) -> None:
    same = {"changeType": "NoChange", "resourceId": SITE}
    changes = read(*gather({"changes": [same], "diagnostics": [warning(target)]}))
    assert [(each.is_high, each.is_skipped) for each in changes] == [(True, True), (False, False)]


def test_what_azure_only_informs_of_is_no_warning() -> None:
    same = {"changeType": "NoChange", "resourceId": SITE}
    (change,) = read(*gather({"changes": [same], "diagnostics": [warning(SITE, "Info")]}))
    assert not change.is_high


def test_what_may_happen_is_judged_as_if_it_did_and_does_not_count_as_a_change() -> None:
    (change,) = read(*gather({"potentialChanges": [modified(SERVER, property_change("properties.storage", 1, 2))]}))
    assert (change.is_high, change.is_skipped, change.counts) == (True, True, False)
