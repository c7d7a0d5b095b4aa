"""Maintenance mode instead of a stopped app: users are asked to come back, and the setting is put back exactly."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from azure.identity.aio import ClientSecretCredential
from azure.mgmt.web.aio import WebSiteManagementClient
from azure_names import GROUP, SUBSCRIPTION
from dying import run_killed_at
from restoring import APPS, SOURCE, Databases, plan_of, quick_restore_file, run_restore
from support import World, run_flow

from flows.restore_database import restore_database
from flows.undo_restore_database import undo_restore_database
from rollback.journal import Entry, Event
from rollback.outcomes import EndState
from rollback.runs import Store

MAINTENANCE = '{ setting = "MAINTENANCE_MODE", value = "on" }'
SETTING = "MAINTENANCE_MODE"
APP, SLOT, PUBLIC = "fundrbolt-production-api", "staging", "https://api.fundrbolt.com"
OWN_WORD = "The app itself says"
HIGHEST = "SELECT coalesce(max(id), 0) FROM donations"


@pytest.fixture
def databases(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Databases:
    monkeypatch.setenv("ROLLBACK_CONFIG", str(quick_restore_file(tmp_path, maintenance=MAINTENANCE)))
    return Databases(world)


@asynccontextmanager
async def web_apps() -> AsyncIterator[Any]:
    names = ("AZURE_TENANT_ID", "AZURE_CLIENT_ID", "AZURE_CLIENT_SECRET")
    async with (
        ClientSecretCredential(*(os.environ[name] for name in names)) as credential,
        WebSiteManagementClient(credential, SUBSCRIPTION) as client,
    ):
        yield client.web_apps


async def settings() -> list[dict[str, str]]:
    """Of production and of its slot."""
    async with web_apps() as apps:
        found = await apps.list_application_settings(GROUP, APP)
        of_slot = await apps.list_application_settings_slot(GROUP, APP, SLOT)
    return [dict(found.properties), dict(of_slot.properties)]


async def change_setting(value: str, slot: str | None = None) -> None:
    """As somebody else does."""
    production, of_slot = await settings()
    async with web_apps() as apps:
        if slot:
            await apps.update_application_settings_slot(GROUP, APP, slot, {"properties": of_slot | {SETTING: value}})
        else:
            await apps.update_application_settings(GROUP, APP, {"properties": production | {SETTING: value}})


def stops(databases: Databases) -> list[int]:
    """How often production, its slot and the worker were stopped."""
    return [databases.sent("POST", f"{name}/stop") for name in (APP, f"slots/{SLOT}", "fundrbolt-production-worker")]


async def ask_as_a_user() -> httpx.Response:
    async with httpx.AsyncClient() as client:
        return await client.get(f"{PUBLIC}/api/v1/donations?limit=3&probe={os.urandom(4).hex()}")


def at(step: str, event: Event, does: Any) -> tuple[Any, list[asyncio.Task[Any]]]:
    """A watch that begins something where the run is at this point, and what it began."""
    begun: list[asyncio.Task[Any]] = []

    def watch(entry: Entry) -> None:
        if (entry.event, entry.step) == (event, step):
            begun.append(asyncio.create_task(does()))

    return watch, begun


async def test_users_are_asked_to_come_back_and_every_setting_is_as_it_was_in_the_end(
    databases: Databases, tmp_path: Path
) -> None:
    await change_setting("off")
    set_before, stops_before = await settings(), stops(databases)
    point = await databases.instant()
    watch, answers = at("Compare both servers", Event.STEP_STARTED, ask_as_a_user)
    outcome = await run_restore(watch, restore_point=point)
    assert outcome.end_state is EndState.RESTORED, outcome
    answer = await answers[0]
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "120")
    assert await settings() == set_before
    assert databases.running() == dict.fromkeys(APPS, True)
    assert [count - earlier for count, earlier in zip(stops(databases), stops_before, strict=True)] == [0, 0, 1]
    new = await databases.host(plan_of(tmp_path / "state", outcome).new.name)
    assert f"{OWN_WORD} in /health/detailed that its database is on '{new}'" in " ".join(outcome.evidence)


async def test_no_commit_reaches_the_old_server_after_the_fence_though_a_writer_hammers(databases: Databases) -> None:
    point, source = await databases.instant(), await databases.host()
    databases.control.break_("writer-hammers")
    watch, highest = at("Fence the old server", Event.STEP_FINISHED, lambda: databases.ask(source, HIGHEST))
    outcome = await run_restore(watch, restore_point=point, stop_writes="at cut-over")
    assert outcome.end_state is EndState.RESTORED, outcome
    assert await databases.ask(source, HIGHEST) == await highest[0]


@pytest.mark.parametrize("fault", ["drop-before", "drop-after"])
async def test_a_lost_answer_leaves_every_setting_as_it_was_in_the_end(databases: Databases, fault: str) -> None:
    set_before = await settings()
    databases.control.break_(fault, method="PUT", path="config/appsettings$")
    outcome = await run_restore(restore_point=await databases.instant())
    assert outcome.end_state is EndState.RESTORED, outcome
    assert await settings() == set_before


@pytest.mark.parametrize(
    ("event", "step"),
    [
        pytest.param(Event.CONFIRMED, "Stop writers", id="after it was seen"),
        pytest.param(Event.SENDING, "Start on the restored server", id="right before it is put back"),
    ],
)
async def test_a_run_killed_around_its_maintenance_is_gone_on_with_and_puts_the_setting_back(
    databases: Databases, tmp_path: Path, event: Event, step: str
) -> None:
    set_before = await settings()
    point = await databases.instant()
    await asyncio.to_thread(run_killed_at, event, step, restore_database, restore_point=point.isoformat())
    outcome = await run_restore(resume=Store(tmp_path / "state").latest(1)[0].header.run)
    assert outcome.end_state is EndState.RESTORED, outcome
    assert await settings() == set_before
    assert len(await databases.secrets()) == 2


async def test_a_restore_that_is_taken_back_puts_the_setting_back(databases: Databases) -> None:
    set_before = await settings()
    point = await databases.instant()
    databases.control.break_("pg-restore-fails")
    outcome = await run_restore(restore_point=point)
    assert outcome.end_state is EndState.TAKEN_BACK, outcome
    assert await settings() == set_before
    assert databases.running() == dict.fromkeys(APPS, True)


async def test_an_app_that_goes_on_serving_has_everything_taken_back(databases: Databases, tmp_path: Path) -> None:
    quick_restore_file(tmp_path, maintenance=MAINTENANCE, answer_timeout_seconds=4)
    set_before = await settings()
    point = await databases.instant()
    databases.control.break_("instance-never-restarts")
    outcome = await run_restore(restore_point=point)
    assert outcome.end_state is EndState.TAKEN_BACK, outcome
    assert f"{APP} goes on serving" in outcome.headline
    assert "begin again" in outcome.next_steps[0]
    assert await settings() == set_before
    assert list(await databases.servers()) == [SOURCE]


async def test_a_slot_that_answers_nobody_counts_once_its_sessions_are_gone(databases: Databases) -> None:
    point = await databases.instant()

    async def stop_slot() -> None:
        async with web_apps() as apps:
            await apps.stop_slot(GROUP, APP, SLOT)

    watch, stopping = at("Stop writers", Event.STEP_STARTED, stop_slot)
    outcome = await run_restore(watch, restore_point=point)
    await stopping[0]
    assert outcome.end_state is EndState.RESTORED, outcome
    assert databases.running() == dict.fromkeys(APPS, True)


async def test_a_slot_that_was_in_maintenance_mode_before_is_left_there(databases: Databases, tmp_path: Path) -> None:
    await change_setting("on", SLOT)
    set_before = await settings()
    outcome = await run_restore(restore_point=await databases.instant())
    assert outcome.end_state is EndState.RESTORED, outcome
    assert await settings() == set_before
    facts = dict(plan_of(tmp_path / "state", outcome).facts())
    assert "is in maintenance mode, and stays so" in facts[f"Follows: {APP}/{SLOT}"]


async def test_a_setting_that_others_change_meanwhile_is_told_and_not_fought(databases: Databases) -> None:
    watch, changing = at("Export lost rows", Event.STEP_STARTED, lambda: change_setting("off"))
    outcome = await run_restore(watch, restore_point=await databases.instant())
    await changing[0]
    assert outcome.end_state is EndState.PART_WAY, outcome
    assert f"Setting {SETTING} of {APP} is neither ours nor what it was" in outcome.headline
    assert (await settings())[0][SETTING] == "off"


async def test_a_plan_says_which_apps_are_stopped_and_which_ask_users_to_come_back(
    databases: Databases, tmp_path: Path
) -> None:
    outcome = await run_restore(restore_point=await databases.instant(), dry_run=True)
    steps = {each.title: each.detail for each in plan_of(tmp_path / "state", outcome).steps()}
    assert f"{APP}, {APP}/{SLOT}: in maintenance mode by {SETTING}=on, then back to absent" in steps["Stop writers"]
    assert "fundrbolt-production-worker: stopped" in steps["Stop writers"]


@pytest.mark.parametrize(
    ("action", "words"),
    [
        ("Microsoft.Web/sites/config/write", "sites/config/write"),
        ("Microsoft.Web/sites/slots/config/list/action", "slots/config/list/action"),
    ],
)
async def test_a_credential_that_may_not_change_settings_is_refused(
    databases: Databases, action: str, words: str
) -> None:
    databases.control.break_("deny", action=action)
    outcome = await run_restore(restore_point=await databases.instant())
    assert outcome.end_state is EndState.REFUSED
    assert words in outcome.headline.lower()


async def test_a_setting_that_is_no_switch_is_refused_and_not_told(databases: Databases) -> None:
    await change_setting("a-secret-that-is-in-the-wrong-place-by-mistake", SLOT)
    outcome = await run_restore(restore_point=await databases.instant())
    assert outcome.end_state is EndState.REFUSED
    assert "is no switch for maintenance" in outcome.headline
    assert "a-secret" not in f"{outcome}"


async def test_an_app_that_contradicts_makes_it_not_verified(databases: Databases, tmp_path: Path) -> None:
    file = quick_restore_file(tmp_path)
    content = file.read_text(encoding="utf-8").replace("checks.database_host", "version")
    file.write_text(content.replace("verify_within_seconds = 8", "verify_within_seconds = 2"), encoding="utf-8")
    outcome = await run_restore(restore_point=await databases.instant())
    assert outcome.end_state is EndState.RESTORED_NOT_VERIFIED
    assert "that its database is on 'v1.2.3', not" in outcome.headline


async def test_a_restore_and_its_undo_leave_every_setting_as_it_was(databases: Databases) -> None:
    set_before, stops_before = await settings(), stops(databases)
    restore = await run_restore(restore_point=await databases.instant())
    undone = await run_flow(flow=undo_restore_database, restore=restore.run)
    assert (restore.end_state, undone.end_state) == (EndState.RESTORED, EndState.ROLLED_BACK), undone
    assert await settings() == set_before
    assert [count - earlier for count, earlier in zip(stops(databases), stops_before, strict=True)] == [0, 0, 2]


async def test_a_cancelled_run_says_which_apps_ask_their_users_to_come_back(
    databases: Databases, tmp_path: Path
) -> None:
    point = await databases.instant()

    def cancel(entry: Entry) -> None:
        if (entry.event, entry.step) == (Event.STEP_STARTED, "Compare both servers"):
            task.cancel()

    task = asyncio.create_task(run_restore(cancel, restore_point=point))
    with pytest.raises(asyncio.CancelledError):
        await task
    outcome = Store(tmp_path / "state").latest(1)[0].outcome()
    assert outcome is not None
    assert f"in maintenance mode: {APP}, {APP}/{SLOT}" in outcome.headline
    assert "stopped: fundrbolt-production-worker" in outcome.headline
