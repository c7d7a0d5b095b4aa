"""Every fault of a downgrade that is going on: the end that it must get, and that nothing happens twice."""

import asyncio
import logging
from collections.abc import Generator
from pathlib import Path

import psycopg
import pytest
from downgrading import (
    AUDIT,
    BELOW,
    HEAD,
    OWN,
    add_revision,
    begin_to_forget,
    downgrade,
    has_tips,
    latest,
    meanwhile,
    platform_file,
    ran,
    revision,
    told,
)
from restoring import Databases
from support import V3, Sandbox, World

from rollback.journal import Entry, Event
from rollback.outcomes import EndState
from rollback.runs import Outcome, Store

FIND_DONORS = "CREATE INDEX donations_donor ON donations (donor)"
FORGET_DONORS = """with op.get_context().autocommit_block():
    op.drop_index("donations_donor", postgresql_concurrently=True)
op.execute("DO $$ BEGIN IF EXISTS (SELECT FROM hurdle) THEN RAISE EXCEPTION 'stumbled'; END IF; END $$")"""

MOVE_ROWS = """with op.get_context().autocommit_block():
    op.execute("INSERT INTO moved SELECT sum(amount_cents) FROM donations")
op.execute("DO $$ BEGIN RAISE EXCEPTION 'stumbled'; END $$")"""


@pytest.fixture
def databases(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Databases:
    monkeypatch.setenv("ROLLBACK_CONFIG", str(platform_file(tmp_path)))
    return Databases(world)


@pytest.fixture
async def holder(databases: Databases) -> psycopg.Connection:
    """A session that has read donations, and forgot to end its transaction."""
    connection = begin_to_forget(await databases.url())
    connection.execute("SELECT count(*) FROM donations")
    return connection


@pytest.mark.parametrize("kills", [0, 1], ids=["alembic goes on", "alembic is killed"])
async def test_a_tunnel_that_is_cut_in_the_middle_is_no_reason_to_go_down_twice(
    databases: Databases, tmp_path: Path, holder: psycopg.Connection, kills: int
) -> None:
    """Alembic's session is waited for, whether alembic lives or not; then the revision decides."""
    platform_file(tmp_path, lock_timeout_seconds=60)
    holder.rollback()
    await databases.write(*AUDIT)
    holder.execute("SELECT count(*) FROM donations")
    databases.control.break_("ssh-cut", slot="production", after="Running downgrade", kills=kills)

    def release(entry: Entry) -> None:
        # Killed before its statement was sent, alembic leaves no session at work.
        if "still at work there" in entry.text or "was cut off" in entry.text:
            holder.close()

    try:
        outcome = await downgrade("previous", release)
    finally:
        holder.close()
    assert outcome.end_state is EndState.DOWNGRADED, outcome
    assert await ran(databases) == [HEAD]
    assert await revision(databases) == BELOW
    where = "the container of fundrbolt-production-api/production"
    doing = f"Taking the schema of 'fundrbolt' down to {BELOW}, in {where}."
    assert told(tmp_path, outcome, Event.SENDING) == [doing] * (1 + kills)


async def test_a_tunnel_that_is_always_cut_ends_in_a_named_state(
    databases: Databases, tmp_path: Path, holder: psycopg.Connection
) -> None:
    databases.control.break_("ssh-cut", slot="production", after="Running downgrade", kills=1, times=9)
    try:
        outcome = await downgrade()
    finally:
        holder.close()
    assert outcome.end_state is EndState.NOTHING_CHANGED, outcome
    assert "was cut off 3 times before it had done anything" in outcome.headline
    assert len(told(tmp_path, outcome, Event.SENDING)) == 3
    assert await revision(databases) == HEAD
    assert await has_tips(databases)


async def test_who_holds_a_lock_is_named_and_nothing_is_changed_where_it_is_not_released(
    databases: Databases, tmp_path: Path, holder: psycopg.Connection
) -> None:
    platform_file(tmp_path, lock_timeout_seconds=5, within_seconds=1)
    try:
        outcome = await downgrade()
    finally:
        holder.close()
    assert outcome.end_state is EndState.NOTHING_CHANGED, outcome
    assert f"did not get its locks within 1 s. The database is at revision {HEAD}" in outcome.headline
    named = [each for each in told(tmp_path, outcome, Event.NOTE) if "fundrbolt_app as 'nightly-report' (pid" in each]
    assert len(named) == 1
    assert named[0].startswith("Waits for ")
    assert "idle in transaction since" in named[0]
    assert await has_tips(databases)


async def test_a_lock_that_is_released_in_time_is_taken(databases: Databases, holder: psycopg.Connection) -> None:
    await databases.write(*AUDIT)
    try:
        outcome = await downgrade("previous", lambda entry: holder.close() if "is tried again" in entry.text else None)
    finally:
        holder.close()
    assert outcome.end_state is EndState.DOWNGRADED, outcome
    assert await ran(databases) == [HEAD]


async def test_the_database_that_the_slot_itself_names_is_left_alone(databases: Databases) -> None:
    staging = await databases.host("fundrbolt-staging-pg", "fundrbolt-staging-rg")
    before = await databases.ask(staging, "SELECT version_num FROM alembic_version")
    databases.control.break_("ssh-wrong-database", slot="production")
    outcome = await downgrade()
    assert outcome.end_state is EndState.DOWNGRADED, outcome
    assert await revision(databases) == BELOW
    assert await databases.ask(staging, "SELECT version_num FROM alembic_version") == before == [(HEAD,)]


@pytest.fixture
def image(running_sandbox: Sandbox) -> Generator[Path]:
    """The image that serves, in which a test may change a file."""
    file = running_sandbox.folder / "images" / V3 / "migrations" / "versions" / "add_tip.py"
    content = file.read_text()
    file.chmod(0o644)
    yield file
    file.write_text(content)
    file.chmod(0o444)


def change_downgrade(file: Path, *lines: str) -> None:
    text = file.read_text().replace(
        '    op.drop_column("donations", "tip_cents")', "".join(f"    {line}\n" for line in lines)
    )
    file.write_text(text)


async def test_megabytes_of_output_are_taken_and_the_run_ends_right(
    databases: Databases, tmp_path: Path, image: Path
) -> None:
    change_downgrade(
        image, 'op.drop_column("donations", "tip_cents")', 'print(("x" * 1023 + "\\n") * 5 * 1024, flush=True)'
    )
    outcome = await downgrade()
    assert outcome.end_state is EndState.DOWNGRADED, outcome
    folder = Store(tmp_path / "state").get(outcome.run).folder
    assert sum(each.stat().st_size for each in folder.iterdir()) < 2_000_000


async def test_a_password_in_a_traceback_is_nowhere(
    databases: Databases, tmp_path: Path, image: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    url = await databases.url()
    password = url.split(":")[2].split("@")[0]
    change_downgrade(
        image,
        'op.drop_column("donations", "tip_cents")',
        "import os",
        'raise RuntimeError("cannot use " + os.environ["DATABASE_URL"] + " and " + os.environ["DATABASE_URL"][18:])',
    )
    waived = await downgrade("previous", waive=(HEAD,))
    assert waived.end_state is EndState.NOTHING_CHANGED, waived
    assert "ended with status 1" in waived.headline
    assert "cannot use " in waived.headline
    assert "begin again" in waived.next_steps[0]
    files = [each.read_text() for each in Store(tmp_path / "state").get(waived.run).folder.iterdir()]
    for text in (waived.model_dump_json(), caplog.text, *files):
        assert password not in text
    assert any("cannot use " in each for each in files)
    assert await has_tips(databases)


async def test_what_failed_between_two_commits_says_so_and_is_not_run_again_until_it_is_put_right(
    databases: Databases, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    upgrade = ("CREATE TABLE hurdle ()", "INSERT INTO hurdle DEFAULT VALUES", FIND_DONORS)
    await add_revision(databases, tmp_path, monkeypatch, FORGET_DONORS, *upgrade)
    outcome = await downgrade()
    assert outcome.end_state is EndState.PART_WAY, outcome
    part = f"A part of the downgrade of {OWN} is done. The database still says {OWN}."
    assert part in outcome.headline
    assert "stumbled" in outcome.headline
    assert f"let alembic stamp {HEAD}" in outcome.next_steps[0]
    assert outcome.done == (part,)

    again = await downgrade("previous", resume=outcome.run)
    assert again.end_state is EndState.PART_WAY, again
    assert part in again.headline
    assert not any("Running downgrade" in each for each in told(tmp_path, again, Event.NOTE)[-1:])

    await databases.write(FIND_DONORS, "DELETE FROM hurdle")
    mended = await downgrade("previous", resume=outcome.run)
    assert mended.end_state is EndState.DOWNGRADED, mended
    assert await revision(databases) == HEAD


async def test_rows_that_may_have_been_moved_are_not_moved_twice(
    databases: Databases, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The schema does not tell what was committed in the middle: only a person can."""
    await add_revision(databases, tmp_path, monkeypatch, MOVE_ROWS, "CREATE TABLE moved (amount bigint)")
    outcome = await downgrade(waive=(OWN,))
    assert outcome.end_state is EndState.OUTCOME_UNKNOWN, outcome
    assert f"A part of the downgrade of {OWN} may be done: it moves rows" in outcome.headline
    assert "stumbled" in outcome.headline
    again = await downgrade(resume=outcome.run)
    assert again.end_state is EndState.OUTCOME_UNKNOWN, again
    assert await count_moved(databases) == 1
    for remedy in (outcome.next_steps[0], again.next_steps[0]):
        assert "resume this run" not in remedy.partition("; or ")[0]
        assert f"let alembic stamp {HEAD}, and resume this run" in remedy
    await databases.write(f"UPDATE alembic_version SET version_num = '{HEAD}'")  # noqa: S608 - ours
    mended = await downgrade(resume=outcome.run)
    assert mended.end_state is EndState.DOWNGRADED, mended
    assert await count_moved(databases) == 1


async def count_moved(databases: Databases) -> int:
    return (await databases.ask(await databases.host(), "SELECT count(*) FROM moved"))[0][0]


async def test_the_rest_done_by_hand_is_seen(
    databases: Databases, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    upgrade = ("CREATE TABLE hurdle ()", "INSERT INTO hurdle DEFAULT VALUES", FIND_DONORS)
    await add_revision(databases, tmp_path, monkeypatch, FORGET_DONORS, *upgrade)
    outcome = await downgrade(BELOW)
    assert outcome.end_state is EndState.PART_WAY, outcome
    await databases.write(f"UPDATE alembic_version SET version_num = '{HEAD}'")  # noqa: S608 - ours
    resumed = await downgrade(BELOW, resume=outcome.run)
    assert resumed.end_state is EndState.DOWNGRADED, resumed
    assert not await has_tips(databases)


async def test_a_failure_after_the_first_revision_names_the_one_that_the_database_is_at(
    databases: Databases, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await add_revision(databases, tmp_path, monkeypatch, 'op.drop_index("donations_donor")', FIND_DONORS)
    await databases.write("CREATE VIEW tips AS SELECT tip_cents FROM donations")
    outcome = await downgrade(BELOW)
    assert outcome.end_state is EndState.PART_WAY, outcome
    assert f"The database is at revision {HEAD}." in outcome.headline
    assert "cannot drop column tip_cents" in outcome.headline
    assert "resume this run" in outcome.next_steps[0]
    await databases.write("DROP VIEW tips")
    assert (await downgrade(BELOW, resume=outcome.run)).end_state is EndState.DOWNGRADED


async def test_a_session_of_ours_that_is_ended_is_opened_again(databases: Databases, tmp_path: Path) -> None:
    await databases.write(*AUDIT)
    host = await databases.host()
    end = (
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE application_name LIKE 'fundrbolt-rollback%' AND pid <> pg_backend_pid()"
    )

    def lose(entry: Entry) -> None:
        if "Running downgrade" in entry.text:
            meanwhile(databases.ask(host, end))

    outcome = await downgrade("previous", lose)
    assert outcome.end_state is EndState.DOWNGRADED, outcome
    assert any("Signing in again" in each for each in told(tmp_path, outcome, Event.NOTE))
    assert await ran(databases) == [HEAD]


async def test_a_cancelled_downgrade_says_where_the_database_is(
    databases: Databases, tmp_path: Path, holder: psycopg.Connection
) -> None:
    platform_file(tmp_path, lock_timeout_seconds=60)

    def cancel(entry: Entry) -> None:
        if entry.text.startswith("Waits for "):
            task.cancel()

    task = asyncio.create_task(downgrade("previous", cancel))
    try:
        with pytest.raises(asyncio.CancelledError):
            await task
    finally:
        holder.close()
    outcome = Store(tmp_path / "state").get(latest(tmp_path)).outcome()
    assert outcome is not None
    assert outcome.end_state is EndState.CANCELLED
    assert f"'fundrbolt' is at revision {HEAD}" in outcome.headline
    assert f"Sent and not seen to have happened yet: downgrade to {BELOW}" in outcome.headline
    resumed: Outcome = await downgrade("previous", resume=outcome.run)
    assert resumed.end_state is EndState.DOWNGRADED, resumed
