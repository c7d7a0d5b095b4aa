"""A restore undone after its cut-over: the old server serves again, and what was written meanwhile is in a file."""

import json
import zipfile
from pathlib import Path

import pytest
from restoring import APPS, SOURCE, Databases, plan_of, quick_restore_file, run_restore
from support import World, run_flow

from flows.undo_restore_database import undo_restore_database
from rollback.database.undo_plans import UndoRestorePlan
from rollback.outcomes import EndState
from rollback.runs import Outcome, Store

DAMAGE = "UPDATE donations SET amount_cents = 0 WHERE id % 3 = 0"
RULES = ["AllowAllAzureServicesAndResourcesWithinAzureIps", "operators"]
GIVE = "INSERT INTO donations (amount_cents, currency, donor) VALUES ({}, 'USD', '{}')"


@pytest.fixture
def databases(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Databases:
    monkeypatch.setenv("ROLLBACK_CONFIG", str(quick_restore_file(tmp_path)))
    return Databases(world)


async def restored(databases: Databases) -> Outcome:
    """Damaged rows, restored to the instant before."""
    point = await databases.instant()
    await databases.write(DAMAGE, GIVE.format(4200, "Before the cut-over"))
    outcome = await run_restore(restore_point=point)
    assert outcome.end_state is EndState.RESTORED, outcome
    return outcome


async def undo(outcome: Outcome, **parameters: object) -> Outcome:
    return await run_flow(flow=undo_restore_database, restore=outcome.run, **parameters)


def undo_plan(state: Path, outcome: Outcome) -> UndoRestorePlan:
    plan = Store(state).get(outcome.run).plan(UndoRestorePlan)
    assert plan is not None
    return plan


async def test_everything_is_back_on_the_old_server_and_what_was_written_meanwhile_is_listed(
    databases: Databases, tmp_path: Path
) -> None:
    restore = await restored(databases)
    new = plan_of(tmp_path / "state", restore).new.name
    before = await databases.rows(await databases.host())
    await databases.write(GIVE.format(7, "Meanwhile"), "UPDATE donations SET donor = 'Renamed' WHERE id = 3")
    await databases.write("DELETE FROM donations WHERE id = 4")
    outcome = await undo(restore)
    assert outcome.end_state is EndState.ROLLED_BACK, outcome
    rows = await databases.rows(await databases.host())
    assert {id_: rows[id_] for id_ in before} == before
    assert databases.running() == dict.fromkeys(APPS, True)
    assert (await databases.parameter("default_transaction_read_only"), await databases.rules()) == ("off", RULES)
    assert await databases.parameter("default_transaction_read_only", new) == "on"
    assert await databases.rules(new) == ["operators"]
    first, second, third = await databases.secrets()
    assert third.value == first.value != second.value
    bill = {each.table: each for each in undo_plan(tmp_path / "state", outcome).measured.tables}["public.donations"]
    assert bill.written >= 2
    assert bill.deletes == 1
    folder = Store(tmp_path / "state").get(outcome.run).folder
    listed = json.loads((folder / "written-since-cut-over.json").read_text())
    keys = {table["table"]: table["keys"] for table in listed["tables"]}["public.donations"]
    assert ["3"] in keys
    with zipfile.ZipFile(folder / "lost-rows.zip") as packed:
        lost = "".join(packed.read(name).decode() for name in packed.namelist() if name.endswith("-lost.copy"))
    assert "Meanwhile" in lost


async def test_a_dry_run_shows_what_was_written_since_and_touches_nothing(databases: Databases, tmp_path: Path) -> None:
    restore = await restored(databases)
    await databases.write(GIVE.format(7, "Meanwhile"))
    asked = len(databases.world.changes_asked_for())
    outcome = await undo(restore, dry_run=True)
    assert outcome.end_state is EndState.PLANNED, outcome
    facts = dict(undo_plan(tmp_path / "state", outcome).facts())
    assert "inserts or updates" in facts["Lost of public.donations"]
    assert facts["Goes back to"].startswith(SOURCE)
    assert "default_transaction_read_only off" in facts["Put back there"]
    assert len(databases.world.changes_asked_for()) == asked


async def test_servers_with_private_access_are_gone_back_to_as_well(databases: Databases, tmp_path: Path) -> None:
    restore = await run_restore(environment="staging", restore_point=await databases.instant())
    assert restore.end_state is EndState.RESTORED, restore
    outcome = await undo(restore, environment="staging")
    assert outcome.end_state is EndState.ROLLED_BACK, outcome
    plan = undo_plan(tmp_path / "state", outcome)
    assert plan.private
    assert plan.old_fence.read_only is not None
    assert plan.old_fence.rules == ()
