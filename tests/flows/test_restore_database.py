"""A database restored to an instant: the data is back, everything follows, and only what the bill said is lost."""

import re
import zipfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from restoring import APPS, SOURCE, Databases, plan_of, quick_restore_file, run_restore
from support import World

from rollback.errors import SettingsInvalid
from rollback.outcomes import EndState
from rollback.runs import Outcome, Store
from rollback.settings import load_settings

DAMAGE = "UPDATE donations SET amount_cents = 0 WHERE id % 3 = 0"


@pytest.fixture
def databases(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Databases:
    monkeypatch.setenv("ROLLBACK_CONFIG", str(quick_restore_file(tmp_path)))
    return Databases(world)


async def assert_untouched(databases: Databases, outcome: Outcome, *words: str) -> None:
    told = f"{outcome.headline} {' '.join(outcome.next_steps)}"
    for word in words:
        assert word in told
    assert outcome.end_state is EndState.REFUSED
    assert list(await databases.servers()) == [SOURCE]
    assert databases.running() == dict.fromkeys(APPS, True)
    assert await databases.parameter("default_transaction_read_only") == "off"


@pytest.mark.parametrize("stop_writes", ["now", "at cut-over"])
async def test_damaged_rows_come_back_and_everything_follows(
    databases: Databases, tmp_path: Path, stop_writes: str
) -> None:
    source, before = await databases.host(), await databases.rows(await databases.host())
    point = await databases.instant()
    await databases.write(DAMAGE, "DELETE FROM donations WHERE id = 5")
    lost = "INSERT INTO donations (amount_cents, currency, donor) VALUES (4200, 'USD', 'A late donor')"
    await databases.write(lost)
    outcome = await run_restore(restore_point=point, stop_writes=stop_writes)
    assert outcome.end_state is EndState.RESTORED, outcome
    plan = plan_of(tmp_path / "state", outcome)
    restored = await databases.host(plan.new.name)
    rows = await databases.rows(restored)
    assert {id_: rows[id_] for id_ in before} == before
    bill = {each.table: each for each in plan.measured.tables}["public.donations"]
    assert (bill.updates, bill.deletes) == (sum(id_ % 3 == 0 for id_ in before), 1)
    assert bill.inserts >= 1
    assert databases.running() == dict.fromkeys(APPS, True)
    assert await databases.parameter("default_transaction_read_only") == "on"
    assert await databases.rules() == ["operators"]
    assert await databases.rules(plan.new.name) == ["AllowAllAzureServicesAndResourcesWithinAzureIps", "operators"]
    assert await databases.ask(source, "SELECT 1 FROM pg_stat_activity WHERE usename = 'fundrbolt_app'") == []


async def test_the_secret_gets_one_version_in_which_only_the_host_differs(databases: Databases, tmp_path: Path) -> None:
    outcome = await run_restore(restore_point=await databases.instant())
    plan = plan_of(tmp_path / "state", outcome)
    first, second = await databases.secrets()
    assert second.value == first.value.replace(await databases.host(), await databases.host(plan.new.name))
    for attribute in ("content_type", "tags", "expires_on", "not_before"):
        assert getattr(second.properties, attribute) == getattr(first.properties, attribute)


async def test_what_would_be_lost_is_in_a_file_for_its_owner_only(databases: Databases, tmp_path: Path) -> None:
    point = await databases.instant()
    await databases.write("INSERT INTO donations (amount_cents, currency, donor) VALUES (4200, 'USD', 'A late donor')")
    outcome = await run_restore(restore_point=point)
    file = Store(tmp_path / "state").get(outcome.run).folder / "lost-rows.zip"
    assert file.stat().st_mode & 0o777 == 0o600
    with zipfile.ZipFile(file) as packed:
        rows = [packed.read(name).decode() for name in packed.namelist() if name.endswith("-lost.copy")]
    assert any("A late donor" in each for each in rows)
    highest = max(await databases.rows(await databases.host()))
    new = await databases.host(plan_of(tmp_path / "state", outcome).new.name)
    await databases.write("INSERT INTO donations (amount_cents, currency, donor) VALUES (7, 'USD', 'The next donor')")
    later = await databases.ask(new, f"SELECT donor FROM donations WHERE id > {highest}")  # noqa: S608 - a number
    assert ("The next donor",) in later


async def test_a_restored_server_has_its_sources_settings_and_tells_whose_it_is(
    databases: Databases, tmp_path: Path
) -> None:
    outcome = await run_restore(restore_point=await databases.instant())
    new = plan_of(tmp_path / "state", outcome).new.name
    servers = await databases.servers()
    assert servers[new].tags == {**servers[SOURCE].tags, "rollback-run": outcome.run}
    for name in ("work_mem", "max_connections", "idle_in_transaction_session_timeout"):
        assert await databases.parameter(name, new) == await databases.parameter(name)


async def test_an_outcome_tells_what_was_measured_and_what_is_left_to_people(databases: Databases) -> None:
    outcome = await run_restore(restore_point=await databases.instant())
    assert {"Recovery time, actual", "Without writes", "Data loss, actual"} <= {name for name, _ in outcome.results}
    told = " ".join(outcome.evidence)
    for word in ("no session of the apps", "POST /api/v1/sessions"):
        assert word in told
    assert re.search(r"fundrbolt-production-worker: [12] sessions of 1 instances", told), (
        "others' sessions counted along"
    )
    assert re.search(r"-api together with fundrbolt-production-api/staging: [234] sessions", told)
    left = " ".join(outcome.next_steps)
    for word in ("template", "az postgres flexible-server delete", "To undo"):
        assert word in left


async def test_a_dry_run_shows_the_bill_and_touches_nothing(databases: Databases, tmp_path: Path) -> None:
    before = len(databases.world.changes_asked_for())
    outcome = await run_restore(restore_point=await databases.instant(), dry_run=True)
    assert outcome.end_state is EndState.PLANNED
    facts = dict(plan_of(tmp_path / "state", outcome).facts())
    assert "inserts" in facts["Lost"]
    assert all(f"Follows: {name}" in facts for name in APPS)
    assert list(await databases.servers()) == [SOURCE]
    asked = databases.world.changes_asked_for()[before:]
    assert [each for each in asked if "checkNameAvailability" not in each] == []


async def test_a_restore_point_without_a_time_zone_is_refused(databases: Databases) -> None:
    await assert_untouched(databases, await run_restore(restore_point="2026-03-01T10:02:13"), "no time zone", "Z or")


@pytest.mark.parametrize("away", [timedelta(days=-30), timedelta(hours=1)])
async def test_a_restore_point_outside_of_the_window_is_refused_with_the_window(
    databases: Databases, away: timedelta
) -> None:
    outcome = await run_restore(restore_point=datetime.now(UTC) + away)
    await assert_untouched(databases, outcome, "can be restored to", f"{datetime.now(UTC):%Y-%m-%d}")


async def test_a_disabled_secret_is_refused(databases: Databases) -> None:
    databases.control.break_("kv-secret-disabled", vault="fundrbolt-production-kv", name="database-url")
    await assert_untouched(databases, await run_restore(restore_point=datetime.now(UTC)), "is disabled", "Enable it")


async def test_a_secret_that_may_not_be_read_is_refused(databases: Databases) -> None:
    databases.control.break_("kv-forbidden", principal="rollback")
    await assert_untouched(databases, await run_restore(restore_point=datetime.now(UTC)), "may not read the secret")


async def test_a_wrong_password_in_the_secret_is_refused_and_not_told(databases: Databases) -> None:
    url = await databases.url()
    password = url.split(":")[2].split("@")[0]
    await databases.set_url(url.replace(password, "another-password"))
    outcome = await run_restore(restore_point=datetime.now(UTC) - timedelta(seconds=1))
    told = f"{outcome.headline} {outcome.next_steps}"
    assert outcome.end_state in {EndState.NOTHING_CHANGED, EndState.REFUSED}
    assert "does not accept role 'fundrbolt_app'" in told
    assert "another-password" not in told


async def test_an_environment_without_a_database_is_refused(databases: Databases) -> None:
    outcome = await run_restore(environment="dev", restore_point=datetime.now(UTC))
    assert outcome.end_state is EndState.REFUSED
    assert "'dev' has no database" in outcome.headline


async def test_a_private_server_keeps_its_network_and_is_fenced_without_a_firewall(
    databases: Databases, tmp_path: Path
) -> None:
    outcome = await run_restore(environment="staging", restore_point=datetime.now(UTC) - timedelta(seconds=1))
    assert outcome.end_state is EndState.RESTORED, outcome
    assert plan_of(tmp_path / "state", outcome).private
    assert "The app itself says" not in " ".join(outcome.evidence)


def test_a_platform_file_with_an_unknown_way_of_stopping_is_refused(databases: Databases, tmp_path: Path) -> None:
    quick_restore_file(tmp_path, tolerance_share=2)
    with pytest.raises(SettingsInvalid, match="tolerance_share"):
        load_settings()
