"""A slot swap as Azure does it: what moves, what stays, what users notice (nothing), and when it is refused."""

import asyncio

import psutil
import pytest
from azure.core.exceptions import HttpResponseError, ResourceExistsError
from azure.mgmt.web.models import SiteConfigResource, StringDictionary
from azure_names import APP, GROUP, PRODUCTION_HOST, SITE, SLOT, STAGING_HOST

from sandbox.start import pinned

TO_PRODUCTION = {"targetSlot": "production", "preserveVnet": True}


async def swap(sdk) -> None:
    await (await sdk.web_apps.begin_swap_slot(GROUP, APP, "staging", TO_PRODUCTION)).result()


async def test_builds_change_places_and_the_swap_is_told_where_azure_tells_it(sdk, control):
    before = (await sdk.web_apps.get(GROUP, APP)).properties.slot_swap_status.timestamp_utc
    await swap(sdk)
    site, slot = await sdk.web_apps.get(GROUP, APP), await sdk.web_apps.get_slot(GROUP, APP, "staging")
    assert site.properties.site_config.linux_fx_version == pinned("v1.2.2")
    assert slot.properties.site_config.linux_fx_version == pinned("v1.2.3")
    assert site.properties.slot_swap_status == slot.properties.slot_swap_status
    assert site.properties.slot_swap_status.timestamp_utc > before
    [done] = control.swaps()
    assert (done.source, done.target, done.by) == ("staging", "production", "client")
    assert (done.target_image_before, done.target_image_after) == (pinned("v1.2.3"), pinned("v1.2.2"))


async def test_a_swap_is_a_toggle(sdk, control):
    for serving in ("v1.2.2", "v1.2.3"):
        await swap(sdk)
        assert control.status().sites["production"].slots["production"].release == serving
    assert len(control.swaps()) == 2


async def test_the_answer_is_202_with_a_location_that_ends_in_the_site(arm, eventually):
    answer = await arm.swap()
    assert (answer.status_code, answer.content) == (202, b"")
    location = answer.headers["Location"]
    assert location.startswith(f"https://management.azure.com{SLOT}/operationresults/")
    path = location.removeprefix("https://management.azure.com").partition("?")[0]
    waiting = await arm.ask("GET", path)
    assert waiting.status_code == 202
    assert float(waiting.headers["Retry-After"]) > 0

    async def ended() -> bool:
        return (await arm.ask("GET", path)).status_code == 200

    await eventually(ended)
    assert (await arm.ask("GET", path)).json()["properties"]["inProgressOperationId"] is None
    assert (await arm.ask("GET", f"{SLOT}/operationresults/nosuch")).status_code == 404


async def test_the_site_names_the_operation_while_it_runs(arm, sdk, control, eventually):
    control.break_("swap-never-ends")
    answer = await arm.swap()
    for each in (await sdk.web_apps.get(GROUP, APP), await sdk.web_apps.get_slot(GROUP, APP, "staging")):
        assert each.properties.in_progress_operation_id in answer.headers["Location"]
    control.repair()
    await eventually(lambda: control.status().sites["production"].operation is None)


async def test_no_request_is_lost_in_a_swap(arm, https, control, swapped, eventually):
    seen: list[tuple[int, str]] = []
    ended = asyncio.Event()

    async def user() -> None:
        while not ended.is_set():
            answer = await https.get(f"https://{PRODUCTION_HOST}/health")
            seen.append((answer.status_code, answer.headers.get("X-Fundrbolt-Version", "")))

    users = [asyncio.create_task(user()) for _ in range(4)]
    await eventually(lambda: seen)
    await arm.swap()
    await swapped(1)
    asked = len(seen)
    await eventually(lambda: len(seen) >= asked + 2 * len(users))
    ended.set()
    await asyncio.gather(*users)
    assert {status for status, _ in seen} == {200}
    assert {version for _, version in seen} == {"v1.2.3", "v1.2.2"}


async def test_sticky_settings_stay_and_the_others_move(sdk):
    await sdk.web_apps.update_slot_configuration_names(GROUP, APP, {"properties": {"appSettingNames": ["STAYS"]}})
    own = StringDictionary(properties={"STAYS": "production", "MOVES": "production"})
    await sdk.web_apps.update_application_settings(GROUP, APP, own)
    own = StringDictionary(properties={"STAYS": "staging", "MOVES": "staging"})
    await sdk.web_apps.update_application_settings_slot(GROUP, APP, "staging", own)
    await swap(sdk)
    settings = (await sdk.web_apps.list_application_settings(GROUP, APP)).properties
    assert settings == {"STAYS": "production", "MOVES": "staging"}
    settings = (await sdk.web_apps.list_application_settings_slot(GROUP, APP, "staging")).properties
    assert settings == {"STAYS": "staging", "MOVES": "production"}


async def test_rules_and_host_names_stay_where_they_are(sdk, control):
    control.break_("ramp-up", percent=20)
    control.break_("auto-swap")
    own = SiteConfigResource(properties={"alwaysOn": False, "webSocketsEnabled": True})
    await sdk.web_apps.update_configuration_slot(GROUP, APP, "staging", own)
    await swap(sdk)
    for always_on, web_sockets, read in [
        (True, True, await sdk.web_apps.get_configuration(GROUP, APP)),
        (False, False, await sdk.web_apps.get_configuration_slot(GROUP, APP, "staging")),
    ]:
        assert (read.properties.always_on, read.properties.web_sockets_enabled) == (always_on, web_sockets)
    slots = control.status().sites["production"].slots
    assert [rule.actionHostName for rule in slots["production"].ramp_up_rules] == [STAGING_HOST]
    assert (slots["production"].host, slots["staging"].auto_swap_slot) == (PRODUCTION_HOST, "production")


async def test_the_old_production_gets_a_new_process_and_the_new_one_keeps_its_own(sdk, control, eventually):
    before = control.status().sites["production"].slots
    await swap(sdk)
    await eventually(lambda: control.status().sites["production"].slots["staging"].pid != before["production"].pid)
    assert control.status().sites["production"].slots["production"].pid == before["staging"].pid


@pytest.mark.parametrize("slot", ["staging", "production"])
async def test_a_stopped_slot_cannot_be_swapped(sdk, control, slot):
    control.break_("stop-slot", slot=slot)
    with pytest.raises(ResourceExistsError, match=f"the '{slot}' slot is stopped"):
        await swap(sdk)
    assert control.swaps() == []


async def test_a_second_swap_is_refused_while_the_first_one_runs(arm, swapped, control):
    answers = await asyncio.gather(*(arm.swap() for _ in range(4)))
    assert sorted(answer.status_code for answer in answers) == [202, 409, 409, 409]
    await swapped(1)


@pytest.mark.parametrize(
    ("path", "target", "status"),
    [(SLOT, "nosuch", 404), (SLOT, "staging", 400), (SITE, "production", 400), (f"{SITE}/slots/no", "production", 404)],
)
async def test_slots_that_cannot_be_swapped_are_refused(arm, control, path, target, status):
    assert (await arm.swap(path, target)).status_code == status
    assert control.swaps() == []


async def test_production_can_be_named_as_the_source(arm, control, swapped):
    assert (await arm.swap(SITE, "staging")).status_code == 202
    await swapped(1)
    assert control.status().sites["production"].slots["production"].release == "v1.2.2"


async def test_a_preview_waits_keeps_other_changes_out_and_is_completed_by_the_swap(sdk, control):
    await sdk.web_apps.apply_slot_configuration_slot(GROUP, APP, "staging", TO_PRODUCTION)
    assert (await sdk.web_apps.get_slot(GROUP, APP, "staging")).properties.target_swap_slot == "production"
    with pytest.raises(ResourceExistsError, match="prepared for swap"):
        await sdk.web_apps.update_configuration(GROUP, APP, SiteConfigResource(properties={"alwaysOn": False}))
    await swap(sdk)
    assert (await sdk.web_apps.get_slot(GROUP, APP, "staging")).properties.target_swap_slot is None
    assert len(control.swaps()) == 1


async def test_a_preview_can_be_cancelled(sdk, control):
    control.break_("unfinished-swap")
    await sdk.web_apps.reset_slot_configuration_slot(GROUP, APP, "staging")
    assert (await sdk.web_apps.get_slot(GROUP, APP, "staging")).properties.target_swap_slot is None
    assert control.swaps() == []


async def test_the_source_runs_with_the_targets_sticky_settings_before_the_switch(sdk, control):
    control.break_("sticky-differs")
    first = control.status().sites["production"].slots["staging"].pid
    await sdk.web_apps.apply_slot_configuration_slot(GROUP, APP, "staging", TO_PRODUCTION)
    prepared = control.status().sites["production"].slots["staging"].pid
    assert prepared != first
    await swap(sdk)
    assert control.status().sites["production"].slots["production"].pid == prepared


async def test_a_plain_swap_restarts_the_source_first_if_sticky_settings_differ(sdk, control):
    control.break_("sticky-differs")
    first = control.status().sites["production"].slots["staging"].pid
    await swap(sdk)
    serving = control.status().sites["production"].slots["production"].pid
    assert serving != first
    assert psutil.Process(serving).environ()["EMAIL_SENDER"] == "live"


async def test_a_slot_that_never_answers_as_wanted_is_not_swapped(sdk, control):
    settings = StringDictionary(properties={"WEBSITE_SWAP_WARMUP_PING_STATUSES": "204"})
    await sdk.web_apps.update_application_settings_slot(GROUP, APP, "staging", settings)
    before = (await sdk.web_apps.get(GROUP, APP)).properties.slot_swap_status.timestamp_utc
    with pytest.raises(HttpResponseError, match="application initialization in 'staging' slot") as refused:
        await swap(sdk)
    assert refused.value.status_code == 400
    after = (await sdk.web_apps.get(GROUP, APP)).properties
    assert (after.slot_swap_status.timestamp_utc, after.in_progress_operation_id) == (before, None)
    assert control.swaps() == []


async def test_any_answer_is_warm_enough_otherwise(sdk, control):
    control.break_("cold-slot", answers=1, seconds=0)
    await swap(sdk)
    assert len(control.swaps()) == 1


async def test_a_deployment_to_a_slot_with_auto_swap_swaps(control, swapped):
    control.break_("auto-swap")
    control.break_("redeploy", release="v1.2.1")
    await swapped(1)
    assert control.swaps()[0].by == "auto-swap"
    assert control.status().sites["production"].slots["production"].release == "v1.2.1"


async def test_another_image_is_a_deployment_too(sdk, control, swapped):
    control.break_("auto-swap")
    wanted = SiteConfigResource(properties={"linuxFxVersion": pinned("v1.2.1")})
    await sdk.web_apps.update_configuration_slot(GROUP, APP, "staging", wanted)
    await swapped(1)
    assert control.status().sites["production"].slots["production"].release == "v1.2.1"


async def test_a_reset_takes_a_swap_back_without_starting_anything(arm, control, swapped):
    before = {name: slot.pid for name, slot in control.status().sites["production"].slots.items()}
    # After the swap the slot is started again: not before this test has ended.
    control.break_("slow-start", seconds=60)
    await arm.swap()
    await swapped(1)
    control.reset()
    after = control.status().sites["production"].slots
    assert {name: slot.pid for name, slot in after.items()} == before
    assert (after["production"].release, after["staging"].release) == ("v1.2.3", "v1.2.2")
