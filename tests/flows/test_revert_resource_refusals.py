"""Refused, with nothing touched and a word on what to do instead."""

import asyncio
from collections.abc import Callable

import pytest
from azure_names import GROUP, SITE, SUBSCRIPTION
from reverting import CONFIG, PG_VERSION, SECONDS, Things, archive, revert

from rollback.journal import Entry, Event
from rollback.outcomes import EndState

PROVIDERS = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/{GROUP}/providers"
ALERT = f"{PROVIDERS}/Microsoft.Insights/metricAlerts/made-for-the-test"
ALERT_VERSION = "2018-03-01"
RULE = f"{PROVIDERS}/Microsoft.DBforPostgreSQL/flexibleServers/fundrbolt-production-pg/firewallRules/for-the-test"
PLAN = f"{PROVIDERS}/Microsoft.Web/serverfarms/fundrbolt-production-plan"


def lock(things: Things, scope: str = SITE) -> None:
    things.control.break_("arm-lock", scope=scope)


@pytest.mark.parametrize(
    ("resource", "why"),
    [
        ("/subscriptions/only", "is no id of a resource"),
        (CONFIG.replace(GROUP, "fundrbolt-staging-rg"), "does not belong to 'production'"),
        (CONFIG.replace(SUBSCRIPTION, "22222222-2222-4222-8222-222222222222"), "does not belong to 'production'"),
        (f"{SITE}-gone/config/web", "There is no"),
        (f"{PROVIDERS}/Microsoft.Web/hostingThings/x", "Azure has no type 'Microsoft.Web/hostingThings'"),
        (CONFIG, "is not in any archive"),
    ],
)
async def test_a_resource_that_cannot_be(things: Things, resource: str, why: str) -> None:
    outcome = await revert(resource=resource)
    assert outcome.end_state is EndState.REFUSED, outcome
    assert why in outcome.headline
    assert outcome.next_steps
    assert ("Check --resource" in outcome.next_steps[0]) == (why == "There is no")
    assert things.executed() == 0


async def test_an_archive_that_is_not_there_or_damaged(things: Things) -> None:
    await things.archived_and_changed(alwaysOn=False)
    outcome = await revert(archive="2001")
    assert outcome.end_state is EndState.REFUSED, outcome
    assert "No archive begins with '2001'" in outcome.headline
    damaged = next(each for each in things.folder.rglob("*config-web*") if "staging" not in each.name)
    damaged.write_text(damaged.read_text(encoding="utf-8").replace("alwaysOn", "alwaysOm"), encoding="utf-8")
    outcome = await revert()
    assert outcome.end_state is EndState.NOTHING_CHANGED, outcome
    assert f"{damaged} is not what was written" in outcome.headline
    assert things.executed() == 0


@pytest.mark.parametrize("scope", [SITE, SITE.partition("/providers/")[0], f"/subscriptions/{SUBSCRIPTION}"])
async def test_a_lock_that_is_there_when_it_is_planned(things: Things, scope: str) -> None:
    await things.archived_and_changed(alwaysOn=False)
    lock(things, scope)
    things.begin()
    outcome = await revert()
    assert outcome.end_state is EndState.REFUSED, outcome
    assert f"is locked by 'somebody-elses-lock' on {scope.rpartition('/')[2].lower()}" in outcome.headline
    assert things.executed() == 0


@pytest.mark.parametrize(
    ("only", "why"),
    [
        (("alwaysOn",), "'alwaysOn' names no property"),
        (("properties.alwaysOnn",), "'properties.alwaysOnn' names no property"),
        (("properties.alwaysOn", "properties.http2Enabled"), "'properties.http2Enabled' names no property"),
        (("properties.linuxFxVersion",), "'properties.linuxFxVersion' names no property"),
    ],
)
async def test_a_property_that_there_is_not(things: Things, only: tuple[str, ...], why: str) -> None:
    await things.archived_and_changed(alwaysOn=False)
    outcome = await revert(only=only)
    assert outcome.end_state is EndState.REFUSED, outcome
    assert why in outcome.headline
    if "alwaysOn" in only[0]:
        assert any("properties.alwaysOn" in each for each in outcome.next_steps)
    assert things.executed() == 0


async def test_a_property_that_only_an_older_archive_has_otherwise(things: Things) -> None:
    await things.archived_and_changed(alwaysOn=False)
    (good,) = things.store.archives("production").names()
    await things.archived_and_changed(http20Enabled=True)
    outcome = await revert(only=("properties.alwaysOn",))
    assert outcome.end_state is EndState.REFUSED, outcome
    assert "is as in the newest archive" in outcome.headline
    assert any(f"archive {good} (properties.alwaysOn: false → true)" in each for each in outcome.next_steps)
    assert things.executed() == 0


def after_the_approval(work: Callable[[], object]) -> Callable[[Entry], None]:
    """Do it when the plan is agreed to, before anything is sent."""

    def watch(entry: Entry) -> None:
        if (entry.event, entry.step) == (Event.STEP_FINISHED, "Approval"):
            work()

    return watch


async def test_a_lock_that_comes_after_the_approval(things: Things) -> None:
    await things.archived_and_changed(alwaysOn=False)
    outcome = await revert(after_the_approval(lambda: lock(things)))
    assert outcome.end_state is EndState.REFUSED, outcome
    assert "is locked" in outcome.headline
    assert things.config()["alwaysOn"] is False


async def test_drift_after_the_approval(things: Things) -> None:
    await things.archived_and_changed(alwaysOn=False)
    outcome = await revert(after_the_approval(lambda: things.change(http20Enabled=True)))
    assert outcome.end_state is EndState.REFUSED, outcome
    assert "was changed since the plan was made: properties.http20Enabled: false → true" in outcome.headline
    assert things.executed() == 1, "but for the drift itself"
    assert things.config()["alwaysOn"] is False


async def test_a_resource_that_goes_after_the_approval(things: Things) -> None:
    alert = {"location": "global", "properties": {"severity": 2}}
    things.ask("PUT", ALERT, alert, ALERT_VERSION)
    await archive()
    things.ask("PATCH", ALERT, {"properties": {"severity": 4}}, ALERT_VERSION)
    gone = after_the_approval(lambda: things.control.break_("arm-resource-gone", id=ALERT))
    outcome = await revert(gone, resource=ALERT)
    assert outcome.end_state is EndState.REFUSED, outcome
    assert "There is no 'made-for-the-test'" in outcome.headline


async def test_app_settings_and_what_is_decided_once(things: Things) -> None:
    await archive()
    settings = f"{SITE}/config/appsettings"
    known = things.ask("POST", f"{settings}/list")["properties"]
    elsewhere = "@Microsoft.KeyVault(SecretUri=https://elsewhere.vault.azure.net/secrets/x/)"
    things.ask("PUT", settings, {"properties": known | {"SESSION_SECRET": elsewhere}})
    things.begin()
    outcome = await revert(resource=settings)
    assert outcome.end_state is EndState.REFUSED, outcome
    assert "App settings are only replaced as a whole" in outcome.headline
    assert "properties.SESSION_SECRET" in outcome.headline
    assert things.executed() == 0


async def test_which_settings_are_sticky(things: Things) -> None:
    await archive()
    sticky = f"{SITE}/config/slotConfigNames"
    known = things.ask("GET", sticky)["properties"]
    things.ask("PUT", sticky, {"properties": known | {"appSettingNames": ["LOG_LEVEL"]}})
    things.begin()
    outcome = await revert(resource=sticky)
    assert outcome.end_state is EndState.REFUSED, outcome
    assert "The list of sticky settings is only replaced as a whole: properties.appSettingNames" in outcome.headline
    assert things.executed() == 0


async def put_rule(things: Things, address: str) -> None:
    """A rule of the database server's firewall; on return it is as it was put."""
    things.ask("PUT", RULE, {"properties": {"startIpAddress": "203.0.113.1", "endIpAddress": address}}, PG_VERSION)
    rules = RULE.rpartition("/")[0]
    async with asyncio.timeout(SECONDS):
        while address not in str(things.ask("GET", rules, version=PG_VERSION)):  # noqa: ASYNC110 - Azure tells by being asked only
            await asyncio.sleep(0.05)


async def test_a_rule_of_the_firewall_which_azure_only_replaces_as_a_whole(things: Things) -> None:
    await put_rule(things, "203.0.113.9")
    await archive()
    await put_rule(things, "255.255.255.255")
    things.begin()
    outcome = await revert(resource=RULE)
    assert outcome.end_state is EndState.REFUSED, outcome
    assert "Azure has no PATCH" in outcome.headline
    assert 'properties.endIpAddress: "255.255.255.255" → "203.0.113.9"' in outcome.headline
    assert things.executed() == 0


async def test_the_size_of_a_plan_which_no_patch_changes(things: Things) -> None:
    await archive()
    plan = things.ask("GET", PLAN)
    things.ask("PUT", PLAN, plan | {"sku": plan["sku"] | {"capacity": 7}})
    things.begin()
    outcome = await revert(resource=PLAN)
    assert outcome.end_state is EndState.REFUSED, outcome
    assert "Azure has no PATCH" in outcome.headline
    assert "sku.capacity" in outcome.headline
    assert things.executed() == 0


@pytest.mark.parametrize("action", ["Microsoft.Web/sites/config/write", "Microsoft.Authorization/locks/read"])
async def test_a_permission_that_is_missing_is_named(things: Things, action: str) -> None:
    await things.archived_and_changed(alwaysOn=False)
    things.control.break_("deny", action=action)
    outcome = await revert()
    assert outcome.end_state is EndState.REFUSED, outcome
    assert action in outcome.headline
    assert things.executed() == 0
