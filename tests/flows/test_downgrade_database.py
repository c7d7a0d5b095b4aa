"""The schema taken down: what the plan says, what the database says afterwards, and that nothing happens twice."""

from pathlib import Path

import pytest
from downgrading import (
    AUDIT,
    BELOW,
    HEAD,
    LOWER,
    add_revision,
    at,
    downgrade,
    has_tips,
    meanwhile,
    plan_of,
    platform_file,
    ran,
    revision,
    told,
)
from restoring import Databases
from support import V3, World, run_flow

from rollback.journal import Event
from rollback.outcomes import EndState

PRODUCTION, STAGING = "fundrbolt-production-api/production", "fundrbolt-production-api/staging"


@pytest.fixture
def databases(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Databases:
    monkeypatch.setenv("ROLLBACK_CONFIG", str(platform_file(tmp_path)))
    return Databases(world)


async def test_the_schema_is_taken_down_once_however_often_it_is_asked_for(
    databases: Databases, tmp_path: Path
) -> None:
    await databases.write(*AUDIT)
    outcome = await downgrade("previous")
    assert outcome.end_state is EndState.DOWNGRADED, outcome
    plan = plan_of(tmp_path, outcome)
    assert (plan.current, plan.target, plan.way) == (HEAD, BELOW, f"container of {PRODUCTION}")
    assert [each.words for each in plan.losses] == ["133 values of donations.tip_cents will be lost"]
    assert "gone, as planned: public.donations.tip_cents" in outcome.evidence
    assert any("api.fundrbolt.com" in each for each in outcome.evidence)
    again = await downgrade(plan.target)
    assert again.end_state is EndState.ALREADY_THERE, again
    assert again.evidence[0] == f"'fundrbolt' is at revision {BELOW}"
    assert told(tmp_path, again, Event.SENDING) == []
    resumed = await downgrade("previous", resume=outcome.run)
    assert resumed.end_state is EndState.DOWNGRADED, resumed
    assert await revision(databases) == BELOW
    assert await ran(databases) == [HEAD]


async def test_after_a_rollback_alembic_runs_in_the_slot_that_was_left_and_each_revision_by_itself(
    databases: Databases, tmp_path: Path
) -> None:
    assert (await run_flow()).end_state is EndState.ROLLED_BACK
    await databases.write(*AUDIT)
    outcome = await downgrade(LOWER, waive=("serving",))
    assert outcome.end_state is EndState.DOWNGRADED, outcome
    plan = plan_of(tmp_path, outcome)
    assert plan.way == f"container of {STAGING}"
    assert any(each.startswith("Waived as 'serving': v1.2.2 serves") for each in plan.warnings)
    assert await ran(databases) == [HEAD, BELOW]
    assert told(tmp_path, outcome, Event.SENDING) == [
        f"Taking the schema of 'fundrbolt' down to {each}, in the {plan.way}." for each in (BELOW, LOWER)
    ]


async def test_a_clean_worktree_of_the_release_does_as_well(databases: Databases, tmp_path: Path) -> None:
    platform_file(tmp_path, way="worktree")
    outcome = await downgrade("-1")
    assert outcome.end_state is EndState.DOWNGRADED, outcome
    assert plan_of(tmp_path, outcome).way == f"worktree of {V3}"
    assert not await has_tips(databases)


async def test_a_url_that_names_its_sessions_itself_hides_none_of_them(databases: Databases, tmp_path: Path) -> None:
    """Its own options stay, and our name and limit hold all the same."""
    url = await databases.url()
    options = "application_name=fundrbolt&options=-c%20work_mem%3D5MB"
    await databases.set_url(f"{url}{'&' if '?' in url else '?'}{options}")
    await databases.write(
        "CREATE TABLE seen (settings text[])",
        "CREATE FUNCTION see() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO seen VALUES (ARRAY["
        "current_setting('application_name'), current_setting('work_mem'), current_setting('lock_timeout')]);"
        " RETURN NULL; END $$",
        "CREATE TRIGGER see AFTER UPDATE ON alembic_version FOR EACH ROW EXECUTE FUNCTION see()",
    )
    outcome = await downgrade()
    assert outcome.end_state is EndState.DOWNGRADED, outcome
    seen = await databases.ask(await databases.host(), "SELECT settings FROM seen")
    assert seen == [([f"rollback-migration {outcome.run}", "5MB", "500ms"],)]


async def test_an_app_that_breaks_on_the_lower_schema_is_told(
    databases: Databases, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await add_revision(databases, tmp_path, monkeypatch, 'op.rename_table("donations", "gifts")')
    outcome = await downgrade()
    assert outcome.end_state is EndState.DOWNGRADED_NOT_VERIFIED, outcome
    assert "/health/detailed" in outcome.headline
    assert "roll the backend back, or go up again" in outcome.next_steps[0]
    assert await revision(databases) == HEAD


async def test_a_database_moved_by_others_in_the_middle_is_reported_and_not_fought(databases: Databases) -> None:
    def move() -> None:
        meanwhile(databases.write("UPDATE alembic_version SET version_num = 'f00df00df00d'"))

    outcome = await downgrade(LOWER, at(Event.CONFIRMED, "Downgrade", move), waive=("serving",))
    assert outcome.end_state is EndState.PART_WAY, outcome
    assert f"at revision f00df00df00d, and the plan goes from {HEAD} to {LOWER}" in outcome.headline
    assert outcome.done == (f"The schema of 'fundrbolt' is at revision {BELOW}.",)
