"""Key Vault references in app settings: what the slots' processes really get, and when it changes."""

from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
from azure.core.exceptions import ResourceExistsError, ResourceNotFoundError
from azure.identity.aio import ClientSecretCredential
from azure.keyvault.secrets.aio import SecretClient
from azure.mgmt.web.models import SiteConfigResource, StringDictionary
from azure_names import APP, GROUP, PRODUCTION_HOST, SITE, SLOT

from sandbox.clock import now
from sandbox.control import Control
from sandbox.keyvault.model import References
from sandbox.keyvault.references import are_due, basis_of, parse
from sandbox.start import pinned
from sandbox.state import Content, Slot

VAULT = "https://fundrbolt-production-kv.vault.azure.net"
LEGACY = "https://fundrbolt-legacy-kv.vault.azure.net"
REFERENCE = f"@Microsoft.KeyVault(SecretUri={VAULT}/secrets/session-secret/)"
REFRESH = "/config/configreferences/appsettings/refresh"


@pytest.fixture
async def vault(credential: ClientSecretCredential, environment: dict[str, str]) -> AsyncIterator[SecretClient]:
    async with SecretClient(VAULT, credential, connection_verify=environment["SSL_CERT_FILE"]) as client:
        yield client


class Slots:
    """What runs in production's slots and what it was given."""

    def __init__(self, control: Control, sdk, eventually: Callable) -> None:
        self.control, self.sdk, self.eventually = control, sdk, eventually

    def pid(self, slot: str) -> int | None:
        return self.control.status().sites["production"].slots[slot].pid

    def given(self, slot: str = "production", name: str = "SESSION_SECRET") -> str | None:
        """An environment variable of the slot's process."""
        pid = self.pid(slot)
        try:
            lines = Path(f"/proc/{pid}/environ").read_text().split("\0") if pid is not None else []
        except (FileNotFoundError, ProcessLookupError):
            return None
        return dict(line.split("=", 1) for line in lines if line).get(name)

    async def gets(self, value: str, slot: str = "production", name: str = "SESSION_SECRET") -> None:
        await self.eventually(lambda: self.given(slot, name) == value)

    async def set(self, slot: str = "production", **changed: str) -> None:
        on_slot = () if slot == "production" else (slot,)
        suffix = "_slot" if on_slot else ""
        listed = await getattr(self.sdk.web_apps, f"list_application_settings{suffix}")(GROUP, APP, *on_slot)
        wanted = StringDictionary(properties={**listed.properties, **changed})
        await getattr(self.sdk.web_apps, f"update_application_settings{suffix}")(GROUP, APP, *on_slot, wanted)

    async def reference(self, name: str = "SESSION_SECRET", slot: str = "production"):
        if slot == "production":
            return (await self.sdk.web_apps.get_app_setting_key_vault_reference(GROUP, APP, name)).properties
        return (await self.sdk.web_apps.get_app_setting_key_vault_reference_slot(GROUP, APP, name, slot)).properties

    async def restart(self, slot: str = "production") -> None:
        before = self.pid(slot)
        await (
            self.sdk.web_apps.restart(GROUP, APP)
            if slot == "production"
            else self.sdk.web_apps.restart_slot(GROUP, APP, slot)
        )
        await self.eventually(lambda: self.pid(slot) not in (before, None))


@pytest.fixture
def slots(control: Control, sdk, eventually) -> Slots:
    return Slots(control, sdk, eventually)


async def test_both_slots_run_with_the_secrets_that_their_settings_refer_to(slots, sdk, vault, https):
    url, secret = [(await vault.get_secret(name)).value for name in ("database-url", "session-secret")]
    for slot in ("production", "staging"):
        assert slots.given(slot, "DATABASE_URL") == url
        assert slots.given(slot) == secret
    settings = (await sdk.web_apps.list_application_settings(GROUP, APP)).properties
    assert settings["SESSION_SECRET"] == REFERENCE
    assert settings["DATABASE_URL"] == REFERENCE.replace("session-secret", "database-url")
    health = (await https.get(f"https://{PRODUCTION_HOST}/health/detailed")).json()
    assert health["checks"]["database"] == "ok"


async def test_references_are_listed_without_their_values(slots, sdk, vault, arm):
    secret = await vault.get_secret("session-secret")
    listed = [each async for each in sdk.web_apps.get_app_settings_key_vault_references(GROUP, APP)]
    on_slot = [each async for each in sdk.web_apps.get_app_settings_key_vault_references_slot(GROUP, APP, "staging")]
    names = ["DATABASE_URL", "REDIS_URL", "SESSION_SECRET"]
    assert sorted(each.name for each in listed) == sorted(each.name for each in on_slot) == names
    shown = {each.name: each for each in on_slot}
    assert shown["DATABASE_URL"].id == f"{SLOT}/config/configreferences/appsettings/DATABASE_URL"
    found = next(each.properties for each in listed if each.name == "SESSION_SECRET")
    assert (found.reference, found.status, found.source) == (REFERENCE, "Resolved", "KeyVault")
    assert (found.vault_name, found.secret_name, found.secret_version) == (
        "fundrbolt-production-kv",
        "session-secret",
        None,
    )
    assert (found.active_version, found.details) == (
        secret.properties.version,
        "Reference has been successfully resolved.",
    )
    raw = (await arm.ask("GET", f"{SITE}/config/configreferences/appsettings")).text
    assert secret.value not in raw
    with pytest.raises(ResourceNotFoundError):
        await slots.reference("FUNDRBOLT_ENVIRONMENT")


async def test_a_restart_does_not_fetch_but_the_refresh_does(slots, vault, arm):
    old = await vault.get_secret("session-secret")
    new = await vault.set_secret("session-secret", "rotated")
    await slots.restart()
    assert slots.given() == old.value
    assert (await slots.reference()).active_version == old.properties.version
    answer = await arm.ask("POST", SITE + REFRESH)
    assert answer.status_code == 200
    told = {each["name"]: each["properties"] for each in answer.json()["value"]}
    assert told["SESSION_SECRET"]["activeVersion"] == new.properties.version
    assert told["SESSION_SECRET"]["identityType"] == "SystemAssigned"
    await slots.gets("rotated")


async def test_a_refresh_is_for_one_slot_only(slots, vault, arm):
    old = (await vault.get_secret("session-secret")).value
    await vault.set_secret("session-secret", "rotated")
    await arm.ask("POST", SITE + REFRESH)
    await slots.gets("rotated")
    await slots.restart("staging")
    assert slots.given("staging") == old
    await arm.ask("POST", SLOT + REFRESH)
    await slots.gets("rotated", "staging")


async def test_a_refresh_that_finds_nothing_new_restarts_nothing(slots, arm):
    before = slots.pid("production")
    await arm.ask("POST", SITE + REFRESH)
    # A restart of production would have been asked for before this one.
    await slots.restart("staging")
    assert slots.pid("production") == before


async def test_a_changed_setting_fetches_every_reference_of_the_slot(slots, vault):
    await vault.set_secret("session-secret", "rotated")
    await slots.set(EMAIL_SENDER="muted")
    await slots.gets("rotated")


async def test_another_image_fetches_too(slots, sdk, vault):
    await vault.set_secret("session-secret", "rotated")
    wanted = SiteConfigResource(properties={"linuxFxVersion": pinned("v1.2.1")})
    await sdk.web_apps.update_configuration_slot(GROUP, APP, "staging", wanted)
    await slots.gets("rotated", "staging")


async def test_a_reference_that_names_a_version_never_moves(slots, vault, arm):
    old = await vault.get_secret("session-secret")
    exact = f"{VAULT}/secrets/session-secret/{old.properties.version}"
    await slots.set(SESSION_SECRET=f"@Microsoft.KeyVault(SecretUri={exact})")
    await vault.set_secret("session-secret", "rotated")
    await arm.ask("POST", SITE + REFRESH)
    await slots.set(EMAIL_SENDER="muted")
    await slots.gets("muted", name="EMAIL_SENDER")
    found = await slots.reference()
    assert (found.secret_version, found.active_version) == (old.properties.version, old.properties.version)
    assert slots.given() == old.value


async def test_the_other_syntax_is_understood_too(slots, vault):
    version = (await vault.get_secret("github-token")).properties.version
    await slots.set(
        ONE="@Microsoft.KeyVault(VaultName=fundrbolt-production-kv;SecretName=github-token)",
        TWO=f"@Microsoft.KeyVault(VaultName=fundrbolt-legacy-kv;SecretName=smtp-password;SecretVersion={version})",
    )
    await slots.gets((await vault.get_secret("github-token")).value, name="ONE")
    assert (await slots.reference("TWO")).status == "SecretVersionNotFound"


@pytest.mark.parametrize(
    "reference",
    [
        "SecretUri=https://v.vault.azure.net/secrets/a",
        "SecretUri=https://v.vault.azure.net/secrets/a/",
        f"SecretUri=https://v.vault.azure.net/secrets/a/{'0' * 32}",
        "VaultName=v;SecretName=a",
        f"VaultName=v;SecretName=a;SecretVersion={'0' * 32}",
    ],
)
def test_every_form_of_a_reference_is_parsed(reference):
    target = parse(f"@Microsoft.KeyVault({reference})")
    assert target is not None
    assert (target.vault, target.secret, target.version) == ("v", "a", "0" * 32 if "0" in reference else "")


@pytest.mark.parametrize(
    "reference",
    ["", "SecretUri=http://v.vault.azure.net/secrets/a", "SecretUri=https://example.com/secrets/a", "VaultName=v", "a"],
)
def test_a_reference_that_makes_no_sense_is_not_parsed(reference):
    assert parse(f"@Microsoft.KeyVault({reference})") is None
    assert parse(f"@Microsoft.KeyVault({reference}") is None


def test_references_are_fetched_again_after_a_day():
    slot = Slot(name="production", host="a", content=Content(linux_fx_version="x"), last_modified=now())
    basis = basis_of(slot, {}, {})
    assert are_due(slot, basis)
    for age, due in ((timedelta(hours=23), False), (timedelta(hours=24), True)):
        slot.references = References(basis=basis, fetched=now() - age)
        assert are_due(slot, basis) is due


def reference_to(secret: str, vault: str = VAULT) -> str:
    return f"@Microsoft.KeyVault(SecretUri={vault}/secrets/{secret})"


@pytest.mark.parametrize(
    ("reference", "status"),
    [
        (reference_to("nosuch"), "SecretNotFound"),
        (reference_to(f"session-secret/{'0' * 32}"), "SecretVersionNotFound"),
        (reference_to("a", "https://nosuch.vault.azure.net"), "VaultNotFound"),
        ("@Microsoft.KeyVault(nonsense)", "InvalidSyntax"),
    ],
)
async def test_an_unresolved_reference_gives_the_app_its_literal_text(slots, reference, status):
    await slots.set(EXTRA=reference)
    await slots.gets(reference, name="EXTRA")
    found = await slots.reference("EXTRA")
    assert (found.status, found.active_version) == (status, None)
    assert found.details.startswith("Key Vault reference was not able to be resolved")


@pytest.mark.parametrize(
    ("fault", "options", "status"),
    [
        ("kv-secret-disabled", {"name": "session-secret"}, "OtherReasons"),
        ("kv-secret-deleted", {"name": "session-secret"}, "SecretNotFound"),
        ("kv-forbidden", {"principal": APP}, "AccessToKeyVaultDenied"),
        ("kv-unavailable", {}, "FetchTimedOut"),
    ],
)
async def test_a_secret_that_cannot_be_had_is_missed_only_when_it_is_fetched(
    slots, control, arm, vault, fault, options, status
):
    before = (await vault.get_secret("session-secret")).value
    # Its own database, so that the process lives on where no reference can be resolved.
    await slots.set(DATABASE_URL="sqlite://")
    await slots.gets("sqlite://", name="DATABASE_URL")
    control.break_(fault, **options)
    await slots.restart()
    assert (slots.given(), (await slots.reference()).status) == (before, "Resolved")
    await arm.ask("POST", SITE + REFRESH)
    await slots.gets(REFERENCE)
    assert (await slots.reference()).status == status
    control.repair(fault)
    await arm.ask("POST", SITE + REFRESH)
    await slots.gets(before)


async def test_an_app_that_gets_literal_text_for_its_database_does_not_start(slots, control, arm, https, eventually):
    control.break_("kv-secret-deleted", name="database-url")
    await arm.ask("POST", SITE + REFRESH)

    async def fails() -> bool:
        return (await https.get(f"https://{PRODUCTION_HOST}/health")).status_code == 503

    await eventually(fails)


async def test_the_vault_with_access_policies_lets_production_in_and_the_slot_not(slots, credential, environment):
    async with SecretClient(LEGACY, credential, connection_verify=environment["SSL_CERT_FILE"]) as legacy:
        password = (await legacy.get_secret("smtp-password")).value
    reference = reference_to("smtp-password", LEGACY)
    await slots.set(SMTP=reference)
    await slots.set("staging", SMTP=reference)
    await slots.gets(password, name="SMTP")
    await slots.gets(reference, "staging", "SMTP")
    assert (await slots.reference("SMTP", "staging")).status == "AccessToKeyVaultDenied"


async def test_a_swap_takes_the_fetched_values_along_and_fetches_nothing(slots, vault, arm, swapped):
    old = await vault.get_secret("session-secret")
    new = await vault.set_secret("session-secret", "rotated")
    await arm.ask("POST", SITE + REFRESH)
    await slots.gets("rotated")
    await arm.swap()
    await swapped(1)
    await slots.gets("rotated", "staging")
    assert slots.given() == old.value
    assert (await slots.reference()).active_version == old.properties.version
    assert (await slots.reference(slot="staging")).active_version == new.properties.version


async def test_a_swap_that_brings_other_settings_to_a_slot_fetches_there(slots, sdk, vault, arm, swapped):
    await slots.set(EMAIL_SENDER="live")
    await slots.set("staging", EMAIL_SENDER="muted")
    await sdk.web_apps.update_slot_configuration_names(
        GROUP, APP, {"properties": {"appSettingNames": ["EMAIL_SENDER"]}}
    )
    await slots.gets("live", name="EMAIL_SENDER")
    await slots.gets("muted", "staging", "EMAIL_SENDER")
    await vault.set_secret("session-secret", "rotated")
    await arm.swap()
    await swapped(1)
    for slot, sender in (("production", "live"), ("staging", "muted")):
        await slots.gets("rotated", slot)
        await slots.gets(sender, slot, "EMAIL_SENDER")


async def test_a_sticky_reference_stays_with_its_slot(slots, sdk, vault, arm, swapped):
    await vault.set_secret("staging-secret", "for staging")
    await sdk.web_apps.update_slot_configuration_names(
        GROUP, APP, {"properties": {"appSettingNames": ["SESSION_SECRET"]}}
    )
    own = (await vault.get_secret("session-secret")).value
    await slots.set("staging", SESSION_SECRET=reference_to("staging-secret"))
    await slots.gets("for staging", "staging")
    await arm.swap()
    await swapped(1)
    await slots.gets(own)
    await slots.gets("for staging", "staging")


async def test_a_stuck_refresh_answers_as_if_it_had_worked(slots, control, vault, arm):
    old = await vault.get_secret("session-secret")
    await vault.set_secret("session-secret", "rotated")
    control.break_("reference-stuck")
    refreshed = (await arm.ask("POST", SITE + REFRESH)).json()["value"]
    told = next(each["properties"] for each in refreshed if each["name"] == "SESSION_SECRET")
    assert (told["status"], told["activeVersion"]) == ("Resolved", old.properties.version)
    await slots.restart()
    assert slots.given() == old.value
    control.repair("reference-stuck")
    await arm.ask("POST", SITE + REFRESH)
    await slots.gets("rotated")


async def test_one_reference_can_stay_old_while_the_others_follow(slots, control, vault, arm):
    before = {name: await vault.get_secret(name) for name in ("database-url", "session-secret")}
    control.break_("reference-stays-old")
    for name, secret in before.items():
        await vault.set_secret(name, secret.value + "?rotated")
    told = (await arm.ask("POST", SITE + REFRESH)).json()["value"]
    assert told[0]["properties"]["activeVersion"] == before["database-url"].properties.version
    assert told[1]["properties"]["activeVersion"] != before["session-secret"].properties.version
    await slots.gets(before["session-secret"].value + "?rotated")
    await slots.set(ANOTHER="setting")
    await slots.gets("setting", name="ANOTHER")
    assert slots.given(name="DATABASE_URL") == before["database-url"].value
    control.repair("reference-stays-old")
    await arm.ask("POST", SITE + REFRESH)
    assert (await slots.reference("DATABASE_URL")).active_version != before["database-url"].properties.version


async def test_a_pinned_reference_stays_until_it_is_repaired(slots, control, vault, arm):
    old = await vault.get_secret("session-secret")
    control.break_("reference-pinned", name="SESSION_SECRET")
    await vault.set_secret("session-secret", "rotated")
    await arm.ask("POST", SITE + REFRESH)
    assert (await slots.reference()).secret_version == old.properties.version
    assert slots.given() == old.value
    control.repair("reference-pinned")
    await slots.gets("rotated")


async def test_the_version_may_be_untold(slots, control):
    control.break_("reference-version-untold")
    found = await slots.reference()
    assert (found.status, found.active_version) == ("Resolved", None)


async def test_a_refresh_waits_for_no_other_operation(sdk, control, arm):
    control.break_("busy")
    assert (await arm.ask("POST", SITE + REFRESH)).status_code == 409
    with pytest.raises(ResourceExistsError):
        await sdk.web_apps.restart(GROUP, APP)


async def test_a_refresh_needs_its_permission(control, arm):
    control.break_("deny", action="Microsoft.Web/sites/config/appsettings/refresh/action")
    answer = await arm.ask("POST", SITE + REFRESH)
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "AuthorizationFailed")
    assert (await arm.ask("POST", SLOT + REFRESH)).status_code == 200


async def test_secrets_outlive_a_reset_and_nothing_restarts_for_it(slots, control, vault):
    before = (await vault.get_secret("session-secret")).value, slots.pid("production")
    control.reset()
    assert ((await vault.get_secret("session-secret")).value, slots.pid("production")) == before


async def test_the_references_of_a_stopped_slot_are_known(sdk, slots, arm: httpx.AsyncClient):
    await sdk.web_apps.stop_slot(GROUP, APP, "staging")
    await slots.set("staging", EXTRA=reference_to("nosuch"))
    assert (await slots.reference("EXTRA", "staging")).status == "SecretNotFound"
