"""Sites, slots, their configuration and what users get, through the genuine SDK."""

import re

import httpx
import psutil
import pytest
from azure.core.exceptions import ResourceExistsError, ResourceNotFoundError
from azure.mgmt.web.aio import WebSiteManagementClient
from azure.mgmt.web.models import RampUpRule, SiteConfigResource, StringDictionary
from azure_names import APP, GROUP, PRODUCTION_HOST, SITE, SLOT, STAGING_HOST

from sandbox.start import pinned

WORKER = "fundrbolt-production-worker"


async def version(https: httpx.AsyncClient, host: str, **options: object) -> str:
    answer = await https.get(f"https://{host}/health", **options)
    return answer.headers["X-Fundrbolt-Version"] if answer.status_code == 200 else str(answer.status_code)


async def test_the_starting_state_is_the_bad_release_in_production_and_the_good_one_beside(sdk, https):
    site = await sdk.web_apps.get(GROUP, APP)
    [slot] = [each async for each in sdk.web_apps.list_slots(GROUP, APP)]
    assert (site.name, slot.name) == (APP, f"{APP}/staging")
    assert site.properties.site_config.linux_fx_version == pinned("v1.2.3")
    assert slot.properties.site_config.linux_fx_version == pinned("v1.2.2")
    for each in (site, slot):
        assert each.properties.slot_swap_status.source_slot_name == "staging"
        assert each.properties.slot_swap_status.destination_slot_name == "production"
        assert each.properties.last_modified_time_utc <= each.properties.slot_swap_status.timestamp_utc
        assert each.properties.in_progress_operation_id is None
    assert await version(https, PRODUCTION_HOST) == "v1.2.3"
    assert await version(https, STAGING_HOST) == "v1.2.2"
    assert await version(https, "api.fundrbolt.com") == "v1.2.3"
    history = [each async for each in sdk.web_apps.list_deployments_slot(GROUP, APP, "staging")]
    assert all(
        each.properties.end_time.replace(tzinfo=None) < slot.properties.last_modified_time_utc for each in history
    )


async def test_sites_are_found_by_group_and_by_subscription(sdk):
    assert [each.name async for each in sdk.web_apps.list_by_resource_group(GROUP)] == [APP, WORKER]
    every = [each.name async for each in sdk.web_apps.list()]
    assert every == [APP, "fundrbolt-staging-api", "fundrbolt-dev-api", WORKER]
    assert [each async for each in sdk.web_apps.list_slots("fundrbolt-dev-rg", "fundrbolt-dev-api")] == []
    with pytest.raises(ResourceNotFoundError):
        await sdk.web_apps.get_slot(GROUP, APP, "nosuch")


async def test_what_the_sdk_reads_is_all_that_was_sent(arm, sdk):
    sent = (await arm.ask("GET", SITE)).json()
    read = (await sdk.web_apps.get(GROUP, APP)).as_dict()
    assert read == sent


async def test_another_image_runs_and_the_time_of_the_change_is_told(sdk, https, eventually):
    before = (await sdk.web_apps.get_slot(GROUP, APP, "staging")).properties.last_modified_time_utc
    wanted = SiteConfigResource(properties={"linuxFxVersion": pinned("v1.2.1")})
    answer = await sdk.web_apps.update_configuration_slot(GROUP, APP, "staging", wanted)
    assert answer.properties.linux_fx_version == pinned("v1.2.1")
    assert (await sdk.web_apps.get_slot(GROUP, APP, "staging")).properties.last_modified_time_utc > before

    async def runs() -> bool:
        return await version(https, STAGING_HOST) == "v1.2.1"

    await eventually(runs)
    assert await version(https, PRODUCTION_HOST) == "v1.2.3"


async def test_an_image_that_is_not_there_ends_in_an_application_error(sdk, https, eventually):
    wanted = SiteConfigResource(properties={"linuxFxVersion": "DOCKER|ghcr.io/fundrbolt/fundrbolt-api:v9"})
    await sdk.web_apps.update_configuration_slot(GROUP, APP, "staging", wanted)

    async def failed() -> bool:
        return await version(https, STAGING_HOST) == "503"

    await eventually(failed)


async def test_app_settings_are_what_the_process_gets(sdk, control, https, eventually):
    settings = (await sdk.web_apps.list_application_settings_slot(GROUP, APP, "staging")).properties
    first = control.status().sites["production"].slots["staging"].pid
    changed = StringDictionary(properties={**settings, "FAILURE_SHARE": "1"})
    assert (await sdk.web_apps.update_application_settings_slot(GROUP, APP, "staging", changed)).properties[
        "FAILURE_SHARE"
    ] == "1"
    await eventually(lambda: control.status().sites["production"].slots["staging"].pid != first)

    async def fails() -> bool:
        return (await https.get(f"https://{STAGING_HOST}/api/v1/donations")).status_code == 500

    await eventually(fails)


def test_a_process_gets_its_app_settings_and_nothing_of_the_sandbox(control, environment):
    got = psutil.Process(control.status().sites["production"].slots["production"].pid).environ()
    assert got["FUNDRBOLT_ENVIRONMENT"] == "production"
    assert got.keys() == {
        "PATH",
        "LANG",
        "PYTHONUNBUFFERED",
        "WEBSITE_SITE_NAME",
        "WEBSITE_INSTANCE_ID",
        "PGSSLROOTCERT",
        "DATABASE_URL",
        "FUNDRBOLT_ENVIRONMENT",
        "PAYMENT_TIMEOUT_SECONDS",
        "SESSION_SECRET",
        "WEBSITES_PORT",
    }
    assert environment["AZURE_CLIENT_SECRET"] not in got.values()


async def test_sticky_names_belong_to_the_whole_app(sdk, arm):
    names = {"properties": {"appSettingNames": ["DATABASE_URL"]}}
    await sdk.web_apps.update_slot_configuration_names(GROUP, APP, names)
    read = await sdk.web_apps.list_slot_configuration_names(GROUP, APP)
    assert (read.properties.app_setting_names, read.properties.connection_string_names) == (["DATABASE_URL"], [])
    assert (await arm.ask("GET", f"{SLOT}/config/slotConfigNames")).status_code == 501


async def test_a_restart_takes_a_new_process_and_loses_no_request(sdk, control, https, eventually):
    first = control.status().sites["production"].slots["production"].pid
    await sdk.web_apps.restart(GROUP, APP)

    async def replaced() -> bool:
        assert await version(https, PRODUCTION_HOST) == "v1.2.3"
        return control.status().sites["production"].slots["production"].pid != first

    await eventually(replaced)


async def test_a_stopped_slot_says_so_until_it_is_started(sdk, control, https, eventually):
    await sdk.web_apps.stop_slot(GROUP, APP, "staging")
    answer = await https.get(f"https://{STAGING_HOST}/health")
    assert (answer.status_code, "This web app is stopped" in answer.text) == (403, True)
    assert (await sdk.web_apps.get_slot(GROUP, APP, "staging")).properties.state == "Stopped"
    assert control.status().sites["production"].slots["staging"].pid is None
    await sdk.web_apps.start_slot(GROUP, APP, "staging")

    async def runs() -> bool:
        return await version(https, STAGING_HOST) == "v1.2.2"

    await eventually(runs)


async def test_a_request_waits_for_a_slot_that_is_starting(sdk, control, https):
    control.break_("stop-slot")
    control.break_("slow-start", seconds=0.3)
    await sdk.web_apps.start_slot(GROUP, APP, "staging")
    assert await version(https, STAGING_HOST) == "v1.2.2"


async def test_a_process_that_dies_is_missed_and_started_again(control, https, eventually):
    control.break_("kill-process", slot="production")
    assert await version(https, PRODUCTION_HOST) == "503"

    async def runs() -> bool:
        return await version(https, PRODUCTION_HOST) == "v1.2.3"

    await eventually(runs)


async def test_ramp_up_rules_send_that_share_of_new_users_to_the_slot(sdk: WebSiteManagementClient, https):
    rules = {"experiments": {"rampUpRules": [_rule(100)]}}
    await sdk.web_apps.update_configuration(GROUP, APP, SiteConfigResource(properties=rules))
    answer = await https.get(f"https://{PRODUCTION_HOST}/health")
    assert answer.headers["X-Fundrbolt-Version"] == "v1.2.2"
    assert re.match("x-ms-routing-name=staging;", answer.headers["Set-Cookie"])
    assert await version(https, f"{PRODUCTION_HOST}", params={"x-ms-routing-name": "self"}) == "v1.2.3"
    https.cookies.clear()
    rules = {"experiments": {"rampUpRules": [_rule(0)]}}
    await sdk.web_apps.update_configuration(GROUP, APP, SiteConfigResource(properties=rules))
    assert await version(https, PRODUCTION_HOST) == "v1.2.3"
    https.cookies.clear()
    assert await version(https, PRODUCTION_HOST, headers={"Cookie": "x-ms-routing-name=staging"}) == "v1.2.2"
    read = (await sdk.web_apps.get_configuration(GROUP, APP)).properties.experiments.ramp_up_rules
    assert [each.action_host_name for each in read] == [STAGING_HOST]


def _rule(percent: float) -> dict[str, object]:
    return RampUpRule(name="staging", action_host_name=STAGING_HOST, reroute_percentage=percent).as_dict()


async def test_a_ramp_up_rule_for_a_foreign_host_is_refused(arm):
    rules = {"rampUpRules": [{"name": "x", "actionHostName": "example.com", "reroutePercentage": 5}]}
    answer = await arm.ask("PATCH", f"{SITE}/config/web", json={"properties": {"experiments": rules}})
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "BadRequest")


async def test_a_body_reaches_the_app_and_what_it_stores_is_gone_after_a_reset(https, control):
    url = f"https://{STAGING_HOST}/api/v1/donations"
    donation = {"donor": "Ada Lovelace", "amount_cents": 500, "currency": "EUR"}
    made = await https.post(url, json=donation)
    assert made.status_code == 201
    assert "Ada Lovelace" in (await https.get(url)).text
    control.reset()
    assert "Ada Lovelace" not in (await https.get(url)).text


async def test_kudu_and_unknown_apps_are_not_made_up(https):
    assert (await https.get(f"https://{APP}.scm.azurewebsites.net/api/settings")).status_code == 401
    assert (await https.get("https://nosuch.azurewebsites.net/")).status_code == 404


async def test_another_operation_keeps_every_write_out(sdk, arm, control):
    control.break_("busy")
    operation = (await sdk.web_apps.get(GROUP, APP)).properties.in_progress_operation_id
    with pytest.raises(ResourceExistsError, match="another operation is in progress. Details: Id: " + operation):
        await sdk.web_apps.restart(GROUP, APP)
    for method, path in [("PATCH", "config/web"), ("PUT", "config/appsettings"), ("POST", "slots/staging/stop")]:
        assert (await arm.ask(method, f"{SITE}/{path}", json={"properties": {}})).status_code == 409
    control.repair("busy")
    await sdk.web_apps.restart(GROUP, APP)
