"""Everything that can be broken, each as a client meets it, and that it is taken back."""

import asyncio
from datetime import timedelta

import httpx
import pytest
from azure.core.exceptions import HttpResponseError
from azure_names import APP, GROUP, PRODUCTION_HOST, SITE, STAGING_HOST, SUBSCRIPTION

from sandbox.control import Control
from sandbox.errors import SandboxError
from sandbox.server import FAULTS

DROPPED = (httpx.RemoteProtocolError, httpx.ReadError)


def serving(control: Control) -> str | None:
    return control.status().sites["production"].slots["production"].release


async def test_a_swap_whose_answer_is_lost_afterwards_is_done(arm, control):
    control.break_("swap-answer-lost-after")
    with pytest.raises(DROPPED):
        await arm.swap()
    assert (serving(control), len(control.swaps())) == ("v1.2.2", 1)
    assert control.audit()[-1].status is None


async def test_a_swap_whose_answer_is_lost_before_does_not_happen(arm, control, swapped):
    control.break_("swap-answer-lost-before")
    with pytest.raises(DROPPED):
        await arm.swap()
    assert control.status().sites["production"].operation is None
    assert (await arm.swap()).status_code == 202
    await swapped(1)


async def test_a_swap_accepted_late_shows_its_operation_long_before_its_effect(arm, sdk, control, swapped):
    control.break_("swap-accepted-late", seconds=0.5)
    with pytest.raises(DROPPED):
        await arm.swap()
    assert (await sdk.web_apps.get(GROUP, APP)).properties.in_progress_operation_id
    assert (serving(control), control.swaps()) == ("v1.2.3", [])
    await swapped(1)
    assert serving(control) == "v1.2.2"


@pytest.mark.parametrize(
    ("fault", "options", "status", "code"),
    [
        ("swap-conflict", {}, 409, "Conflict"),
        ("swap-throttled", {"retry_after": 7}, 429, "TooManyRequests"),
        ("swap-error", {}, 500, "InternalServerError"),
    ],
)
async def test_a_refused_swap_does_not_happen_and_the_next_one_does(
    arm, control, swapped, fault, options, status, code
):
    control.break_(fault, **options)
    answer = await arm.swap()
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    assert answer.headers.get("Retry-After") == ("7" if options else None)
    assert control.status().sites["production"].operation is None
    assert (await arm.swap()).status_code == 202
    await swapped(1)


async def test_a_swap_answered_500_may_happen_nevertheless(arm, control, swapped):
    control.break_("swap-error-after")
    assert (await arm.swap()).status_code == 500
    await swapped(1)


async def test_a_swap_that_fails_tells_why_and_leaves_everything_as_it_was(sdk, control):
    before = (await sdk.web_apps.get(GROUP, APP)).properties.slot_swap_status
    control.break_("swap-fails")
    poller = await sdk.web_apps.begin_swap_slot(GROUP, APP, "staging", {"targetSlot": "production"})
    with pytest.raises(HttpResponseError, match="Cannot swap slots for site"):
        await poller.result()
    after = (await sdk.web_apps.get(GROUP, APP)).properties
    assert (after.slot_swap_status, after.in_progress_operation_id, serving(control)) == (before, None, "v1.2.3")


async def test_a_swap_that_never_ends_is_in_progress_until_it_is_repaired(arm, sdk, control):
    control.break_("swap-never-ends")
    location = (await arm.swap()).headers["Location"].removeprefix("https://management.azure.com").partition("?")[0]
    assert (await arm.ask("GET", location)).status_code == 202
    assert (await arm.swap()).status_code == 409
    control.repair("swap-never-ends")
    assert (await arm.ask("GET", location)).status_code == 500
    assert (await sdk.web_apps.get(GROUP, APP)).properties.in_progress_operation_id is None
    assert control.swaps() == []


async def test_a_rival_swaps_just_before_us_so_that_ours_swaps_back(arm, control, swapped):
    control.break_("rival-swap")
    assert (await arm.swap()).status_code == 202
    await swapped(2)
    assert [swap.by for swap in control.swaps()] == ["rival", "client"]
    assert serving(control) == "v1.2.3"


async def test_a_rivals_swap_in_progress_refuses_ours(arm, control, swapped):
    control.break_("rival-swap-running")
    assert (await arm.swap()).status_code == 409
    await swapped(1)
    assert ([swap.by for swap in control.swaps()], serving(control)) == (["rival"], "v1.2.2")


async def test_a_fault_hits_as_often_as_it_says_after_as_many_as_it_skips(arm, control):
    control.break_("error", path="/sites/", method="GET", skip=1, times=2, status=503)
    answers = [(await arm.ask("GET", SITE)).status_code for _ in range(4)]
    assert answers == [200, 503, 503, 200]
    assert control.status().faults == []


async def test_a_fault_hits_only_what_it_names(arm, https, control):
    control.break_("throttle", path="/slots$", retry_after=3)
    assert (await arm.ask("GET", SITE)).status_code == 200
    assert (await https.get(f"https://{PRODUCTION_HOST}/slots")).status_code == 404
    answer = await arm.ask("GET", f"{SITE}/slots")
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "3")


async def test_a_delayed_request_is_answered_after_a_later_one(arm, control):
    control.break_("delay", path="/slots$", seconds=0.3)
    answered: list[str] = []

    async def ask(path: str) -> None:
        assert (await arm.ask("GET", path)).status_code == 200
        answered.append(path)

    await asyncio.gather(ask(f"{SITE}/slots"), ask(SITE))
    assert answered == [SITE, f"{SITE}/slots"]


@pytest.mark.parametrize(("fault", "state"), [("drop-before", "Running"), ("drop-after", "Stopped")])
async def test_a_connection_is_dropped_before_or_after_the_effect(arm, control, fault, state):
    control.break_(fault, path="/stop$")
    with pytest.raises(DROPPED):
        await arm.ask("POST", f"{SITE}/slots/staging/stop")
    assert control.status().sites["production"].slots["staging"].state == state


async def test_faults_reach_entra_too(https, control, environment):
    control.break_("error", host="login", status=503)
    url = f"https://login.microsoftonline.com/{environment['AZURE_TENANT_ID']}/v2.0/.well-known/openid-configuration"
    assert (await https.get(url)).status_code == 503
    assert (await https.get(url)).status_code == 200


async def test_a_deployment_to_the_slot_is_seen_in_its_history_and_its_time(sdk, control):
    before = (await sdk.web_apps.get_slot(GROUP, APP, "staging")).properties
    control.break_("redeploy", release="v1.2.1")
    slot = control.status().sites["production"].slots["staging"]
    history = [each.properties async for each in sdk.web_apps.list_deployments_slot(GROUP, APP, "staging")]
    assert (slot.release, slot.listens) == ("v1.2.1", True)
    assert [(each.message, each.active) for each in history] == [("Deploy v1.2.1", True), ("Deploy v1.2.2", False)]
    after = (await sdk.web_apps.get_slot(GROUP, APP, "staging")).properties
    assert after.last_modified_time_utc > before.slot_swap_status.timestamp_utc


async def test_the_same_build_leaves_no_trace_in_the_history(sdk, control):
    control.break_("same-build")
    slots = control.status().sites["production"].slots
    assert slots["staging"].image == slots["production"].image
    assert slots["staging"].last_modified <= slots["staging"].swap_status.timestamp
    control.repair("same-build")
    assert control.status().sites["production"].slots["staging"].release == "v1.2.2"


async def test_an_unfinished_swap_is_pending_until_it_is_repaired(sdk, control):
    control.break_("unfinished-swap")
    assert (await sdk.web_apps.get_slot(GROUP, APP, "staging")).properties.target_swap_slot == "production"
    control.repair()
    assert (await sdk.web_apps.get_slot(GROUP, APP, "staging")).properties.target_swap_slot is None


async def test_sticky_settings_differ_until_they_are_repaired(sdk, control):
    control.break_("sticky-differs", name="DATABASE_URL", production="sqlite://", other="sqlite:///:memory:")
    names = await sdk.web_apps.list_slot_configuration_names(GROUP, APP)
    assert names.properties.app_setting_names == ["DATABASE_URL"]
    production = (await sdk.web_apps.list_application_settings(GROUP, APP)).properties
    slot = (await sdk.web_apps.list_application_settings_slot(GROUP, APP, "staging")).properties
    assert (production["DATABASE_URL"], slot["DATABASE_URL"]) == ("sqlite://", "sqlite:///:memory:")
    control.repair("sticky-differs")
    slot = (await sdk.web_apps.list_application_settings_slot(GROUP, APP, "staging")).properties
    assert slot["DATABASE_URL"].startswith("@Microsoft.KeyVault(")
    assert (await sdk.web_apps.list_slot_configuration_names(GROUP, APP)).properties.app_setting_names == []


@pytest.mark.parametrize(("follows", "hosts"), [("build", [200, 500]), ("slot", [500, 200])])
async def test_an_app_that_fails_fails_with_its_build_or_with_its_slot(arm, https, control, swapped, follows, hosts):
    control.break_("app-error", follows=follows)
    assert (await https.get(f"https://{PRODUCTION_HOST}/health")).status_code == 500
    await arm.swap()
    await swapped(1)
    answers = [(await https.get(f"https://{host}/health")).status_code for host in (PRODUCTION_HOST, STAGING_HOST)]
    assert answers == hosts
    control.repair("app-error")
    for host in (PRODUCTION_HOST, STAGING_HOST):
        assert (await https.get(f"https://{host}/health")).status_code == 200


async def test_a_cold_slot_warms_up_by_being_asked(https, control):
    control.break_("cold-slot", answers=2, seconds=0)
    answers = [(await https.get(f"https://{STAGING_HOST}/health")).status_code for _ in range(3)]
    assert answers == [503, 503, 200]


async def test_a_stale_cache_goes_on_answering_what_was_there(arm, https, control, swapped):
    async def told(query: str) -> str:
        return (await https.get(f"https://api.fundrbolt.com/health?{query}")).headers["X-Fundrbolt-Version"]

    assert await told("a") == "v1.2.3"
    control.break_("stale-cache")
    await arm.swap()
    await swapped(1)
    assert await told("b") == "v1.2.3"
    control.repair("stale-cache")
    assert await told("c") == "v1.2.2"


async def test_the_swap_history_may_be_missing(sdk, control):
    control.break_("no-swap-history")
    assert (await sdk.web_apps.get(GROUP, APP)).properties.slot_swap_status is None
    assert (await sdk.web_apps.get_slot(GROUP, APP, "staging")).properties.slot_swap_status is None
    control.repair("no-swap-history")
    assert (await sdk.web_apps.get(GROUP, APP)).properties.slot_swap_status.source_slot_name == "staging"


async def test_processes_may_start_slowly(sdk, control):
    control.break_("slow-start", seconds=0.4)
    control.break_("redeploy", release="v1.2.1")
    [newest, _] = [each.properties async for each in sdk.web_apps.list_deployments_slot(GROUP, APP, "staging")]
    assert newest.end_time - newest.start_time >= timedelta(seconds=0.4)


@pytest.mark.parametrize(
    ("fault", "options", "words"),
    [
        ("nonsense", {}, "There is no fault 'nonsense'"),
        ("swap-fails", {"seconds": 1}, "swap-fails has no option 'seconds'; it takes times, skip."),
        ("swap-fails", {"times": "often"}, "times must be a whole number that is not negative, not 'often'"),
        ("deny", {}, "deny needs action="),
        ("redeploy", {"release": "v9"}, "There is no release 'v9'; there are v1.2.1, v1.2.2, v1.2.3."),
        ("stop-slot", {"slot": "blue"}, f"{APP} has no slot 'blue'; it has production, staging."),
        ("busy", {"environment": "moon"}, "There is no environment 'moon'; there are production, staging, dev, "),
        ("error", {"path": "("}, "'(' is not a regular expression"),
        ("ramp-up", {"percent": 101}, "percent must be at most 100"),
        ("app-error", {"share": 2}, "share is from 0 to 1"),
    ],
)
def test_a_fault_that_makes_no_sense_is_refused_and_changes_nothing(control, fault, options, words):
    with pytest.raises(SandboxError) as refused:
        control.break_(fault, **options)
    assert words in str(refused.value)
    assert control.status().faults == []


def test_a_fault_that_cannot_be_taken_back_says_so(control):
    with pytest.raises(SandboxError, match="reset"):
        control.repair("redeploy")


def test_setting_a_lasting_fault_again_replaces_it(control):
    for percent in (20, 50):
        control.break_("ramp-up", percent=percent)
    assert [fault.options["percent"] for fault in control.status().faults] == [50]
    control.repair()
    assert control.status().sites["production"].slots["production"].ramp_up_rules == []


STORAGE = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/{GROUP}/providers/Microsoft.Storage/storageAccounts"
RECEIPTS = f"{STORAGE}/fundrboltreceipts"
NEEDS = {
    "arm-drift": {"id": RECEIPTS, "tag": "by-hand", "value": "yes"},
    "arm-resource-gone": {"id": RECEIPTS},
    "whatif-unsupported": {"type": "Microsoft.Storage/storageAccounts"},
    "deny": {"action": "*/write"},
    "redeploy": {"release": "v1.2.1"},
    **{f"kv-secret-{what}": {"name": "github-token"} for what in ("disabled", "deleted", "expired")},
}


def test_every_fault_can_be_set_and_a_reset_forgets_them_all(control):
    fresh = control.status().sites
    for kind in FAULTS:
        control.break_(kind.name, **NEEDS.get(kind.name, {}))
    control.reset()
    status = control.status()
    assert (status.faults, status.swaps) == ([], [])
    for environment, site in status.sites.items():
        for name, slot in site.slots.items():
            assert (slot.release, slot.state, slot.listens) == (fresh[environment].slots[name].release, "Running", True)


@pytest.mark.parametrize("kind", FAULTS, ids=lambda kind: kind.name)
def test_every_fault_has_a_line_of_help_for_itself_and_each_option(kind):
    assert kind.help.endswith(".")
    assert all(option.help for option in kind.options.values())
