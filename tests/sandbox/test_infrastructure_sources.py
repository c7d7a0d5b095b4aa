"""The platform's own template: what it declares is what the sandbox has, and what its releases change."""

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from sandbox.fundrbolt.infrastructure.sources import sources_of
from sandbox.fundrbolt.releases import RELEASES
from sandbox.insights.components import component_id
from sandbox.keyvault.start import reference
from sandbox.start import SUBSCRIPTION, TENANT, pinned, starting_state
from sandbox.templates.expansion import Declared, Expansion, Scope, expand

GROUP = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/fundrbolt-production-rg"
PLATFORM = f"{GROUP}/providers/Microsoft.Resources/deployments/fundrbolt-platform"
SITE = f"{GROUP}/providers/Microsoft.Web/sites/fundrbolt-production-api"
SERVER = f"{GROUP}/providers/Microsoft.DBforPostgreSQL/flexibleServers/fundrbolt-production-pg"
CACHE = f"{GROUP}/providers/Microsoft.Cache/redis/fundrbolt-production-redis"
VAULT = f"{GROUP}/providers/Microsoft.KeyVault/vaults/fundrbolt-production-kv"
STORAGE = f"{GROUP}/providers/Microsoft.Storage/storageAccounts/fundrboltreceipts"
FRAME = {"apiVersion", "type", "copy", "count", "mode", "serial", "batchSize"}
"""Words of the template that Bicep has no need of, or writes in another way."""
SECRETS = {"administratorPassword": {"value": "admin's"}, "appPassword": {"value": "app's"}}


class Platform:
    """A reader of the platform as it runs."""

    def reference(self, resource_id: str, api_version: str | None, full: bool) -> dict[str, Any]:
        assert api_version
        assert not full
        return {
            SITE: {"defaultHostName": "fundrbolt-production-api.azurewebsites.net"},
            SERVER: {"fullyQualifiedDomainName": "db.example"},
            CACHE: {"hostName": "cache.example", "sslPort": 6380},
            PLATFORM: {"outputs": {"apiUrl": {"value": "https://api"}, "databaseHost": {"value": "db.example"}}},
        }[resource_id]

    def listing(self, function: str, resource_id: str, api_version: str) -> dict[str, Any]:
        assert (function, resource_id) == ("listKeys", CACHE)
        assert api_version
        return {"primaryKey": "key/with="}

    def group_location(self, name: str) -> str:
        assert name == "fundrbolt-production-rg"
        return "eastus"


def file(release: str, name: str) -> dict[str, Any]:
    return json.loads(sources_of(release)[name])


def whole(release: str) -> Expansion:
    parameters = file(release, "production.parameters.json")["parameters"] | SECRETS
    scope = Scope(TENANT, SUBSCRIPTION, None, "eastus", "fundrbolt-infrastructure")
    return expand(file(release, "main.json"), parameters, scope)


@cache
def declared(release: str) -> dict[str, Declared]:
    """What the release declares in production's group, by id."""
    return {each.id: each for each in whole(release).resources[1].nested(Platform()).resources}


@cache
def bodies(release: str) -> dict[str, dict[str, Any]]:
    return {each.id: each.body(Platform()) for each in declared(release).values()}


def test_it_is_a_group_and_a_deployment_into_it():
    made = whole("v1.2.3")
    assert [each.id for each in made.resources] == [GROUP, PLATFORM]
    assert made.outputs(Platform()) == {
        "apiUrl": {"type": "String", "value": "https://api"},
        "databaseHost": {"type": "String", "value": "db.example"},
    }
    assert made.resources[1].nested(Platform()).outputs(Platform())["apiUrl"]["value"] == (
        "https://fundrbolt-production-api.azurewebsites.net"
    )


def test_it_declares_what_production_has(tmp_path: Path):
    state = starting_state(tmp_path)
    sites = [each for each in state.sites if each.group == "fundrbolt-production-rg"]
    ids = {f"{GROUP}/providers/Microsoft.Web/sites/{each.name}" for each in sites}
    assert (
        ids | {f"{GROUP}/providers/Microsoft.Web/serverfarms/{each.plan}" for each in sites}
        <= declared("v1.2.3").keys()
    )
    assert {f"{SITE}/slots/{name}" for name in sites[0].slots if name != "production"} <= declared("v1.2.3").keys()
    assert component_id(state).lower() in {each.lower() for each in declared("v1.2.3")}
    for kind, name in (
        ("Microsoft.Web/staticSites", "fundrbolt-production-web"),
        ("Microsoft.Web/staticSites", "fundrbolt-production-admin"),
        ("Microsoft.KeyVault/vaults", "fundrbolt-production-kv/secrets/database-url"),
        ("Microsoft.KeyVault/vaults", "fundrbolt-production-kv/secrets/redis-url"),
        ("Microsoft.KeyVault/vaults", "fundrbolt-production-kv/providers/Microsoft.Authorization/locks/fundrbolt-keep"),
    ):
        assert f"{GROUP}/providers/{kind}/{name}" in declared("v1.2.3")
    assert {CACHE, SERVER, f"{SITE}/config/web", f"{SITE}/config/appsettings"} <= declared("v1.2.3").keys()


def test_the_app_runs_the_release_and_has_its_settings(tmp_path: Path):
    for release in RELEASES:
        assert bodies(release)[SITE]["properties"]["siteConfig"] == {"linuxFxVersion": pinned(release)}
    live = starting_state(tmp_path).sites[0].slots["production"].content
    assert bodies("v1.2.3")[SITE]["properties"]["siteConfig"]["linuxFxVersion"] == live.linux_fx_version
    references = {
        name: reference("fundrbolt-production-kv", secret)
        for name, secret in (
            ("DATABASE_URL", "database-url"),
            ("REDIS_URL", "redis-url"),
            ("SESSION_SECRET", "session-secret"),
        )
    }
    assert bodies("v1.2.3")[f"{SITE}/config/appsettings"]["properties"] == {**live.settings, **references}


def test_the_secrets_lead_to_the_declared_server_and_cache():
    made = bodies("v1.2.3")
    assert made[f"{VAULT}/secrets/database-url"]["properties"]["value"] == (
        "postgresql://fundrbolt_app:app's@db.example:5432/fundrbolt?sslmode=require"
    )
    assert made[f"{VAULT}/secrets/redis-url"]["properties"]["value"] == "rediss://:key%2Fwith%3D@cache.example:6380/0"
    assert set(declared("v1.2.3")[f"{VAULT}/secrets/database-url"].depends_on) == {SERVER, VAULT}


def test_no_secret_is_in_the_repository_or_in_a_preview():
    for release in RELEASES:
        given = file(release, "production.parameters.json")["parameters"]
        assert given.keys() & SECRETS.keys() == set()
        shown = json.dumps([each.preview(Platform()) for each in declared(release).values()])
        assert "app's" not in shown
        assert "admin's" not in shown


def test_the_servers_parameters_are_set_one_after_another():
    made = [each for each in declared("v1.2.3") if "/configurations/" in each]
    assert [each.rpartition("/")[2] for each in made] == [
        "idle_in_transaction_session_timeout",
        "work_mem",
        "max_connections",
    ]
    assert made[1] in declared("v1.2.3")[made[2]].depends_on


def test_the_bad_release_adds_a_storage_account_and_changes_three_things():
    before, after = bodies("v1.2.2"), bodies("v1.2.3")
    assert after.keys() - before.keys() == {STORAGE}
    changed = {each for each in before if before[each] != after[each]}
    assert changed == {SITE, f"{SITE}/config/web", f"{SITE}/config/appsettings", CACHE}
    assert before[f"{SITE}/config/web"]["properties"]["ftpsState"] == "Disabled"
    assert "PAYMENT_TIMEOUT_SECONDS" not in before[f"{SITE}/config/appsettings"]["properties"]
    assert after[f"{SITE}/config/appsettings"]["properties"]["PAYMENT_TIMEOUT_SECONDS"] == "1"
    policies = [each[CACHE]["properties"]["redisConfiguration"]["maxmemory-policy"] for each in (before, after)]
    assert policies == ["allkeys-lru", "volatile-lru"]


def test_releases_before_differ_in_their_images_only():
    before, after = bodies("v1.2.1"), bodies("v1.2.2")
    worker = f"{GROUP}/providers/Microsoft.Web/sites/fundrbolt-production-worker"
    assert {each for each in after if before.get(each) != after[each]} == {SITE, worker}
    assert before.keys() == after.keys()


@pytest.mark.parametrize("release", RELEASES)
def test_the_bicep_files_and_the_template_declare_the_same(release: str):
    written = "".join(sources_of(release)[name].decode() for name in ("main.bicep", "platform.bicep"))
    top = file(release, "main.json")
    inner = top["resources"][1]["properties"]["template"]
    found = [f"{each['type']}@{each['apiVersion']}" for each in (top["resources"][0], *inner["resources"])]
    assert sorted(re.findall(r"^resource \w+ '([^']+)'", written, re.MULTILINE)) == sorted(found)
    values = {
        word
        for each in (inner["resources"], inner["variables"])
        for word in re.findall(r'"([\w./-]+)"', json.dumps(each))
        if not word.startswith("Microsoft.") and word not in FRAME
    }
    assert {word for word in values if word not in written} == set()
