"""Every fault of an undone restore: both servers as they were before the cut-over, forwards only after it."""

import asyncio
from pathlib import Path

import pytest
from approving import WaitingRun
from dying import run_killed_at
from restoring import APPS, Databases, plan_of, quick_restore_file, run_restore
from support import World, run_flow

from flows.undo_restore_database import undo_restore_database
from rollback.journal import Entry, Event
from rollback.outcomes import EndState
from rollback.postgres import fence
from rollback.postgres.session import Session
from rollback.runs import Outcome, Store

RULES = ["AllowAllAzureServicesAndResourcesWithinAzureIps", "operators"]
POINTS = [
    (Event.SENDING, "Stop writers"),
    (Event.CONFIRMED, "Fence the restored server"),
    (Event.STEP_STARTED, "Export lost rows"),
    (Event.CONFIRMED, "Open the old server"),
    (Event.SENDING, "Cut over"),
    (Event.SENDING, "Refresh references"),
    (Event.SENDING, "Start on the old server"),
]


@pytest.fixture
def databases(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Databases:
    monkeypatch.setenv("ROLLBACK_CONFIG", str(quick_restore_file(tmp_path)))
    return Databases(world)


async def restored(databases: Databases) -> Outcome:
    outcome = await run_restore(restore_point=await databases.instant())
    assert outcome.end_state is EndState.RESTORED, outcome
    return outcome


async def undo(restore: Outcome, watch: object = None, **parameters: object) -> Outcome:
    return await run_flow(watch, flow=undo_restore_database, restore=restore.run, **parameters)


async def test_what_cannot_be_undone_is_refused_with_why_and_nothing_is_touched(
    databases: Databases, tmp_path: Path
) -> None:
    planned = await run_restore(restore_point=await databases.instant(), dry_run=True)
    refused = await undo(planned)
    assert refused.end_state is EndState.REFUSED
    assert "there is nothing to undo" in refused.headline
    not_a_restore = await undo(refused)
    assert not_a_restore.end_state is EndState.REFUSED
    assert "is undo-restore-database on 'production'" in not_a_restore.headline
    restore = await restored(databases)
    new = plan_of(tmp_path / "state", restore).new.name
    await databases.set_url(await databases.url())
    changed = await undo(restore)
    assert changed.end_state is EndState.REFUSED
    for words in ("has version", f"names '{new}'", "made version"):
        assert words in changed.headline
    assert databases.running() == dict.fromkeys(APPS, True)
    assert await databases.parameter("default_transaction_read_only", new) == "off"
    assert await databases.parameter("default_transaction_read_only") == "on"


async def test_a_vault_that_forbids_the_new_version_leaves_both_servers_as_they_were(
    databases: Databases, tmp_path: Path
) -> None:
    restore = await restored(databases)
    new = plan_of(tmp_path / "state", restore).new.name

    def forbid(entry: Entry) -> None:
        if (entry.event, entry.step) == (Event.STEP_STARTED, "Open the old server"):
            databases.control.break_("deny", action="Microsoft.KeyVault/vaults/secrets/setSecret/action")

    outcome = await undo(restore, forbid)
    assert outcome.end_state is EndState.TAKEN_BACK, outcome
    assert f"The apps use '{new}' as before, with writes allowed." in outcome.headline
    assert databases.running() == dict.fromkeys(APPS, True)
    assert (await databases.parameter("default_transaction_read_only", new), await databases.rules(new)) == (
        "off",
        RULES,
    )
    assert (await databases.parameter("default_transaction_read_only"), await databases.rules()) == (
        "on",
        ["operators"],
    )
    assert len(await databases.secrets()) == 2


async def test_apps_that_a_restore_left_stopped_are_started_on_the_old_server(
    databases: Databases, tmp_path: Path
) -> None:
    quick_restore_file(tmp_path, answer_timeout_seconds=5)
    point = await databases.instant()
    databases.control.break_("reference-stays-old")
    restore = await run_restore(restore_point=point)
    assert restore.end_state is EndState.PART_WAY, restore
    databases.control.repair()
    held = await undo(restore)
    assert held.end_state is EndState.REFUSED
    assert restore.run in held.headline
    Store(tmp_path / "state").leases.abandon("production", restore.run)
    outcome = await undo(restore)
    assert outcome.end_state is EndState.ROLLED_BACK, outcome
    assert databases.running() == dict.fromkeys(APPS, True)


async def test_more_written_than_approved_is_asked_again_and_a_lost_answer_makes_one_version(
    databases: Databases, tmp_path: Path, world: World
) -> None:
    restore = await restored(databases)
    quick_restore_file(tmp_path, approval='needs = "click"', tolerance_rows=0, tolerance_share=0)
    databases.control.break_("drop-after", method="PUT", path="secrets/database-url$", host="vault")
    run = WaitingRun(world, tmp_path / "state", flow=undo_restore_database, restore=restore.run)
    await run.waits()
    await databases.write("UPDATE donations SET donor = 'Renamed' WHERE id < 20")
    await run.offer_token(None)
    await run.until("Worse than approved: public.donations:")
    await run.waits()
    await run.offer_token(None)
    outcome = await run.task
    assert outcome.end_state is EndState.ROLLED_BACK, outcome
    assert len(outcome.approvals) == 2
    assert len(await databases.secrets()) == 3


async def test_a_role_that_a_cut_off_try_kept_from_signing_in_is_known_as_ours(
    databases: Databases, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    restore = await run_restore(environment="staging", restore_point=await databases.instant())
    assert restore.end_state is EndState.RESTORED, restore
    tries: list[str] = []

    async def bar_login(_: Session, role: str) -> fence.LoginBar:
        """As the server would where we may; the sandbox's administrator did not make the role."""
        tries.append(role)
        if len(tries) == 1:
            raise asyncio.CancelledError
        return fence.LoginBar(role=role, barred=False, reason=fence.COULD_NOT)

    monkeypatch.setattr(fence, "bar_login", bar_login)
    with pytest.raises(asyncio.CancelledError):
        await undo(restore, environment="staging")
    outcome = await undo(restore, environment="staging", resume=Store(tmp_path / "state").latest(1)[0].header.run)
    assert outcome.end_state is EndState.ROLLED_BACK, outcome
    assert len(tries) == 2
    assert "Role fundrbolt_app may not sign in." in outcome.done


async def test_a_run_killed_at_every_step_makes_one_version_and_one_file(databases: Databases, tmp_path: Path) -> None:
    restore = await restored(databases)
    run = ""
    for event, step in POINTS:
        await asyncio.to_thread(run_killed_at, event, step, undo_restore_database, restore=restore.run, resume=run)
        run = Store(tmp_path / "state").latest(1)[0].header.run
    outcome = await undo(restore, resume=run)
    assert outcome.end_state is EndState.ROLLED_BACK, outcome
    assert len(await databases.secrets()) == 3
    assert [each.name for each in Store(tmp_path / "state").get(run).folder.glob("lost-rows*")] == ["lost-rows.zip"]
    assert databases.running() == dict.fromkeys(APPS, True)
    assert (await databases.parameter("default_transaction_read_only"), await databases.rules()) == ("off", RULES)
