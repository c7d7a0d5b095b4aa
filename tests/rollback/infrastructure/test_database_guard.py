"""The next deployment does not point the app back to an old database."""

from dataclasses import replace
from typing import Any

import pytest

from rollback.errors import WrongDatabase
from rollback.infrastructure.database_guard import InUse, check, sites_of
from rollback.postgres.url import DatabaseUrl

GROUP = "/subscriptions/11111111-1111-4111-8111-111111111111/resourceGroups/rg/providers"
SECRET = f"{GROUP}/Microsoft.KeyVault/vaults/kv/secrets/database-url"
SITE = f"{GROUP}/Microsoft.Web/sites/api"
PASSWORD = "s3cret-of-the-database"  # noqa: S105 - a test's
HERE = f"postgresql://app:{PASSWORD}@db-restored.postgres.database.azure.com:5432/fund"
OLD = f"postgresql://app:{PASSWORD}@db.postgres.database.azure.com:5432/fund"
HOSTS = {name: f"{name}.postgres.database.azure.com" for name in ("db", "db-restored")}
NOW = InUse("kv", "database-url", "v7", DatabaseUrl.parse(HERE), "DATABASE_URL", HOSTS)
WRITES = {
    "parameters": {"databaseUrl": {"type": "securestring"}},
    "resources": [
        {
            "type": "Microsoft.KeyVault/vaults/secrets",
            "name": "[format('{0}/{1}', 'kv', 'database-url')]",
            "properties": {"value": "[parameters('databaseUrl')]"},
        }
    ],
}


def changed(resource: str, after: Any, kind: str = "Modify") -> dict[str, Any]:
    return {"changeType": kind, "resourceId": resource, "after": after}


def setting(name: str, value: Any) -> dict[str, Any]:
    return changed(SITE, {"properties": {"siteConfig": {"appSettings": [{"name": name, "value": value}]}}})


def refused(*changes: dict[str, Any], template: dict[str, Any] | None = None, **parameters: Any) -> WrongDatabase:
    given = {name: {"value": value} for name, value in parameters.items()}
    with pytest.raises(WrongDatabase) as error:
        check(changes, template or {}, given, NOW)
    assert PASSWORD not in str(error.value)
    assert error.value.remedy
    return error.value


def test_a_template_that_touches_nothing_of_it_is_let_through() -> None:
    assert check([changed(f"{GROUP}/Microsoft.Cache/redis/x", {})], {}, {}, NOW) == []


def test_a_secret_that_would_name_the_old_server_is_refused_by_host_only() -> None:
    error = refused(changed(SECRET, {"properties": {"value": OLD}}))
    assert "host 'db.postgres.database.azure.com'" in error.message
    assert "'db-restored.postgres.database.azure.com' now" in error.message


def test_a_masked_secret_is_followed_to_its_parameter() -> None:
    masked = changed(SECRET, {"properties": {"value": "*******"}})
    assert check([masked], WRITES, {"databaseUrl": {"value": HERE}}, NOW)
    refused(masked, template=WRITES, databaseUrl=OLD)


@pytest.mark.parametrize("scope", ["inner", "outer"])
def test_it_is_followed_into_a_deployment_within(scope: str) -> None:
    inner = {
        "type": "Microsoft.Resources/deployments",
        "name": "app",
        "properties": {
            "expressionEvaluationOptions": {"scope": scope},
            "parameters": {"databaseUrl": {"value": "[parameters('url')]"}},
            "template": WRITES
            if scope == "inner"
            else {"resources": [{**WRITES["resources"][0], "properties": {"value": "[parameters('url')]"}}]},  # type: ignore[dict-item]
        },
    }
    whole = {"parameters": {"url": {"type": "securestring"}}, "resources": [inner]}
    masked = changed(SECRET, {"properties": {}})
    assert check([masked], whole, {"url": {"value": HERE}}, NOW)
    refused(masked, template=whole, url=OLD)


def test_what_cannot_be_told_is_refused() -> None:
    computed = {"properties": {"value": "[format('postgresql://{0}/fund', reference('db').fqdn)]"}}
    error = refused(changed(SECRET, computed), template={"resources": [{**WRITES["resources"][0], **computed}]})
    assert "cannot be told" in error.message
    assert "secret_parameters" in error.remedy
    refused(changed(SECRET, None))


FORMATTED = (
    "[format('postgresql://app:{0}@{1}:5432/fund', parameters('appPassword'), "
    "reference(resourceId('Microsoft.DBforPostgreSQL/flexibleServers', parameters('databaseServer')), "
    "'2022-12-01').fullyQualifiedDomainName)]"
)


def composed(server: str, password: str, value: str = FORMATTED) -> tuple[dict[str, Any], dict[str, Any]]:
    """A template that puts the URL together from a password and a server's host."""
    whole = {"resources": [{**WRITES["resources"][0], "properties": {"value": value}}]}
    return whole, {"databaseServer": {"value": server}, "appPassword": {"value": password}}


def test_a_url_that_is_put_together_is_evaluated_with_the_server_in_use() -> None:
    assert check([changed(SECRET, {"properties": {"value": FORMATTED}})], *composed("db-restored", PASSWORD), NOW)


def test_a_url_that_is_put_together_of_another_server_is_refused() -> None:
    for server, words in (("db", "point the app back: it writes host 'db.postgres"), ("other", "cannot be told")):
        whole, given = composed(server, PASSWORD)
        with pytest.raises(WrongDatabase, match=words):
            check([changed(SECRET, {"properties": {"value": FORMATTED}})], whole, given, NOW)


def test_another_password_than_the_one_in_use_is_refused() -> None:
    whole, given = composed("db-restored", "another-password")
    with pytest.raises(WrongDatabase, match="another role or password") as error:
        check([changed(SECRET, {"properties": {}})], whole, given, NOW)
    assert "another-password" not in str(error.value)


def test_a_secret_that_is_in_no_change_of_the_template_is_not_asked_for() -> None:
    assert check([changed(SECRET, None, kind="Ignore")], {}, {}, NOW) == []


@pytest.mark.parametrize(
    "value",
    [
        "@Microsoft.KeyVault(SecretUri=https://kv.vault.azure.net/secrets/database-url)",
        "@Microsoft.KeyVault(SecretUri=https://kv.vault.azure.net/secrets/database-url/)",
        "@Microsoft.KeyVault(SecretUri=https://kv.vault.azure.net/secrets/database-url/v7)",
        "@Microsoft.KeyVault(VaultName=kv;SecretName=database-url)",
        "[format('@Microsoft.KeyVault(SecretUri={0}secrets/database-url)', reference('kv').vaultUri)]",
        HERE,
    ],
)
def test_a_setting_that_leads_to_the_database_of_now_is_let_through(value: str) -> None:
    assert check([setting("DATABASE_URL", value)], {}, {}, NOW)


@pytest.mark.parametrize(
    "value",
    [
        "@Microsoft.KeyVault(SecretUri=https://kv.vault.azure.net/secrets/database-url/v6)",
        "@Microsoft.KeyVault(SecretUri=https://kv.vault.azure.net/secrets/old-database-url)",
        "@Microsoft.KeyVault(VaultName=other;SecretName=database-url)",
        "[parameters('x')]",
        OLD,
        None,
    ],
)
def test_a_setting_that_leads_elsewhere_is_refused(value: str | None) -> None:
    refused(setting("DATABASE_URL", value))


def test_a_url_of_another_setting_is_looked_at_too() -> None:
    refused(setting("REPORTING_DATABASE", OLD))


def test_settings_of_their_own_resource_are_looked_at() -> None:
    resource = f"{SITE}/slots/staging/config/appsettings"
    refused(changed(resource, {"properties": {"DATABASE_URL": OLD}}))


def test_an_old_server_of_the_template_is_refused() -> None:
    server = changed(f"{GROUP}/Microsoft.DBforPostgreSQL/flexibleServers/db", {}, kind="NoChange")
    error = refused(server)
    assert "database server 'db', and the app uses 'db-restored'" in error.message
    restored = changed(f"{GROUP}/Microsoft.DBforPostgreSQL/flexibleServers/db-restored", {}, kind="NoChange")
    assert check([server, restored], {}, {}, NOW)


PROVIDERS = f"{GROUP}/Microsoft.Resources/deployments"


def nested(*resources: dict[str, Any], name: str = "app", **properties: Any) -> dict[str, Any]:
    """A deployment within a template; it is given a parameter that is known only when it is deployed."""
    inner = {
        "expressionEvaluationOptions": {"scope": "inner"},
        "parameters": {"later": {"value": "[reference('x').y]"}},
        "template": {"resources": list(resources)},
    }
    return {"type": "Microsoft.Resources/deployments", "name": name, "properties": {**inner, **properties}}


def skip(*resources: dict[str, Any], skipped: str = f"{PROVIDERS}/app") -> list[str]:
    ignored = changed(skipped, None, kind="Ignore")
    return check([ignored], {"resources": list(resources)}, {}, NOW, [skipped])


def resource(kind: str, name: str, **properties: Any) -> dict[str, Any]:
    return {"type": kind, "name": name, "properties": properties}


SITE_TYPE, SECRET_TYPE, SERVER_TYPE = (
    "Microsoft.Web/sites",
    "Microsoft.KeyVault/vaults/secrets",
    "Microsoft.DBforPostgreSQL/flexibleServers",
)


@pytest.mark.parametrize(
    "inner",
    [
        pytest.param(resource(SECRET_TYPE, "kv/database-url", value=OLD), id="a secret"),
        pytest.param(resource(SECRET_TYPE, "[parameters('later')]", value=HERE), id="a secret without a name"),
        pytest.param(resource(SECRET_TYPE, "kv/database-url", value="[parameters('later')]"), id="without a value"),
        pytest.param(
            {
                "type": "Microsoft.KeyVault/vaults",
                "name": "kv",
                "resources": [resource("secrets", "database-url", value=OLD)],
            },
            id="a secret below its vault",
        ),
        pytest.param(resource(f"{SITE_TYPE}/config", "api/appsettings", DATABASE_URL=OLD), id="a setting"),
        pytest.param(
            resource(SITE_TYPE, "api", siteConfig={"appSettings": [{"name": "DATABASE_URL", "value": OLD}]}),
            id="a setting of the site's own",
        ),
        pytest.param(resource(SERVER_TYPE, "db"), id="a server"),
        pytest.param(resource(SERVER_TYPE, "[parameters('later')]"), id="a server without a name"),
        pytest.param(nested(resource(SECRET_TYPE, "kv/database-url", value=OLD), name="inner"), id="one more within"),
        pytest.param(nested(name="inner", template=None, templateLink={"uri": "https://x"}), id="behind a link"),
    ],
)
def test_what_a_skipped_deployment_has_is_read_in_the_template(inner: dict[str, Any]) -> None:
    with pytest.raises(WrongDatabase) as error:
        skip(nested(inner))
    assert PASSWORD not in str(error.value)
    assert error.value.remedy


def test_a_skipped_deployment_whose_template_is_behind_a_link_is_refused_by_its_name() -> None:
    with pytest.raises(WrongDatabase, match="nested deployment 'app', whose own template is not in it"):
        skip(nested(template=None, templateLink={"uri": "https://x"}))


def test_what_leads_to_the_database_of_now_may_be_in_a_skipped_deployment() -> None:
    assert skip(nested(resource(SECRET_TYPE, "kv/database-url", value=HERE))) == [
        "the template writes secret 'database-url' of vault 'kv' in nested deployment 'app', which Azure did not "
        "evaluate, and it goes on naming db-restored.postgres.database.azure.com"
    ]
    assert skip(nested(resource(SECRET_TYPE, "kv/greeting", value="[parameters('later')]"))) == []


def test_what_is_not_deployed_is_not_looked_at() -> None:
    old = resource(SECRET_TYPE, "kv/database-url", value=OLD)
    assert skip(nested({**old, "condition": False}, {**old, "existing": True})) == []


def test_a_deployment_that_was_evaluated_is_not_read_again() -> None:
    old = nested(resource(SECRET_TYPE, "[parameters('later')]", value=OLD), name="other")
    assert skip(nested(), old) == []


def test_a_type_that_what_if_does_not_know_is_read_in_the_template() -> None:
    with pytest.raises(WrongDatabase, match="setting 'DATABASE_URL' of 'api'"):
        skip(
            resource(f"{SITE_TYPE}/config", "api/appsettings", DATABASE_URL=OLD),
            skipped=f"{SITE}/config/appsettings",
        )


def test_a_warning_about_nothing_by_name_may_be_about_everything() -> None:
    with pytest.raises(WrongDatabase):
        skip(nested(resource(SECRET_TYPE, "kv/database-url", value=OLD)), skipped="unknown")


HOLDER = replace(NOW, holders=frozenset({"api", "api/staging"}))
SETTINGS = f"{SITE}/config/appsettings"
REFERENCE = "@Microsoft.KeyVault(VaultName=kv;SecretName=database-url)"


def site_with(*names: str) -> dict[str, Any]:
    listed = [{"name": name, "value": REFERENCE if name == "DATABASE_URL" else "x"} for name in names]
    return changed(SITE, {"properties": {"siteConfig": {"appSettings": listed}}})


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(changed(SETTINGS, {"properties": {"REGION": "eastus"}}), id="a resource of settings"),
        pytest.param(changed(SETTINGS.upper(), {"properties": {}}), id="of none at all"),
        pytest.param(changed(f"{SITE}/slots/staging/config/appsettings", {"properties": {"A": "b"}}), id="a slot's"),
        pytest.param(site_with("REGION"), id="settings of the site's own"),
    ],
)
def test_a_template_that_takes_the_setting_away_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(WrongDatabase, match=r"(?i)takes setting 'DATABASE_URL' from 'api(/staging)?'") as error:
        check([change], {}, {}, HOLDER)
    assert "secret 'database-url' of vault 'kv'" in (error.value.remedy or "")
    assert check([change], {}, {}, NOW) == []


def test_settings_that_azure_evaluates_only_when_it_deploys_are_refused() -> None:
    for change in (
        changed(SETTINGS, {"properties": "[union(list('x').properties, createObject('A', 'b'))]"}),
        changed(SITE, {"properties": {"siteConfig": {"appSettings": "[concat(parameters('x'))]"}}}),
        changed(SETTINGS, None, kind="Unsupported"),
    ):
        with pytest.raises(WrongDatabase, match="the settings of 'api', and which database"):
            check([change], {}, {}, HOLDER)


def test_the_setting_may_be_in_the_resource_that_comes_last() -> None:
    own = changed(SETTINGS, {"properties": {"DATABASE_URL": REFERENCE}})
    assert check([own, site_with("REGION")], {}, {}, HOLDER)
    with pytest.raises(WrongDatabase):
        check([changed(SETTINGS, {"properties": {}}), site_with("DATABASE_URL")], {}, {}, HOLDER)


def test_a_site_whose_settings_the_template_does_not_write_keeps_them() -> None:
    assert check([changed(SITE, {"properties": {"siteConfig": {"alwaysOn": True}}})], {}, {}, HOLDER) == []


def test_the_sites_whose_settings_are_written_are_known_by_name() -> None:
    slot = f"{SITE}/slots/staging"
    written = [changed(f"{slot}/config/appsettings", {}), site_with("A"), changed(f"{SITE}/config/web", {})]
    assert sites_of(written) == {"api": SITE, "api/staging": slot}
    assert sites_of([changed(SETTINGS.upper(), {})]) == {"api": SITE.upper()}


NET = "Server={host};Port=5432;Database={database};User Id=app;Password=" + PASSWORD


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (OLD, "Custom"),
        (NET.format(host="db.postgres.database.azure.com", database="fund"), "PostgreSQL"),
        (NET.format(host="db.postgres.database.azure.com", database="fund"), "Custom"),
        (NET.format(host="db-restored.postgres.database.azure.com", database="other"), "Custom"),
        ("host=db.postgres.database.azure.com dbname=fund user=app", "Custom"),
        ("[parameters('x')]", "PostgreSQL"),
    ],
)
def test_a_connection_string_that_leads_elsewhere_is_refused(value: str, kind: str) -> None:
    refused(changed(f"{SITE}/config/connectionstrings", {"properties": {"Main": {"type": kind, "value": value}}}))
    listed = [{"name": "Main", "type": kind, "connectionString": value}]
    refused(changed(SITE, {"properties": {"siteConfig": {"connectionStrings": listed}}}))


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (HERE, True),
        (NET.format(host="DB-restored.postgres.database.azure.com", database="fund"), True),
        (REFERENCE, False),
        ("Endpoint=sb://x.servicebus.windows.net/;SharedAccessKeyName=root", False),
        ("Server=tcp:other.database.windows.net,1433;Database=x", False),
    ],
)
def test_a_connection_string_that_leads_to_the_database_of_now_or_to_none_is_let_through(
    value: str, *, told: bool
) -> None:
    own = {"properties": {"Main": {"type": "Custom", "value": value}}}
    assert bool(check([changed(f"{SITE}/config/connectionstrings", own)], {}, {}, NOW)) is told
