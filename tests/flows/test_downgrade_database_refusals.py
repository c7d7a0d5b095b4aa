"""What is not taken down: refused with the reason and what would help, and nothing is touched."""

import shutil
from pathlib import Path

import pytest
from downgrading import (
    CORPUS,
    HEAD,
    LOWER,
    at,
    downgrade,
    meanwhile,
    plan_of,
    platform_file,
    revision,
    told,
    use_repository,
)
from restoring import Databases
from support import Sandbox, World

from rollback.journal import Event
from rollback.outcomes import EndState
from rollback.runs import Outcome


@pytest.fixture(scope="module")
def looked_at(running_sandbox: Sandbox) -> Databases:
    """Shared by what only plans: nobody changes anything but the revision that the database says."""
    running_sandbox.control.reset()
    return Databases(World(running_sandbox.control))


@pytest.fixture
def databases(
    looked_at: Databases, running_sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Databases:
    running_sandbox.control.repair()
    running_sandbox.point_at(monkeypatch)
    monkeypatch.setenv("ROLLBACK_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("ROLLBACK_CONFIG", str(platform_file(tmp_path)))
    return looked_at


async def say(databases: Databases, revision: str) -> None:
    """Let the database say that it is there."""
    await databases.write(f"UPDATE alembic_version SET version_num = '{revision}'")  # noqa: S608 - ours


def assert_refused(databases: Databases, folder: Path, outcome: Outcome, *words: str) -> None:
    assert outcome.end_state is EndState.REFUSED, outcome
    for word in words:
        assert word in f"{outcome.headline} {' '.join(outcome.next_steps)}"
    assert told(folder, outcome, Event.SENDING) == []


@pytest.mark.parametrize(
    ("target", "words"),
    [
        pytest.param("f00df00df00d", "f00df00df00d", id="a revision that nobody knows"),
        pytest.param("-9", f"There are only 5 revisions from {HEAD} down", id="more than there are"),
        pytest.param("", "No revision is named", id="none at all"),
        pytest.param(LOWER, "v1.2.3 serves, and runs on", id="one that what serves cannot use"),
    ],
)
async def test_a_target_that_will_not_do_is_refused(
    databases: Databases, tmp_path: Path, target: str, words: str
) -> None:
    await say(databases, HEAD)
    assert_refused(databases, tmp_path, await downgrade(target, dry_run=True), words)


@pytest.mark.parametrize(
    ("folder", "now", "target", "words", "waived"),
    [
        pytest.param("raising", "drop_currency", "start", "is raising: ", "drop_currency", id="it raises"),
        pytest.param("empty", "add_tip", "start", "is empty: ", "add_tip", id="it is empty"),
        pytest.param(
            "branching", "add_tip", "start", "there are several heads: ", "several-heads", id="there are several heads"
        ),
        pytest.param("branching", "add_tip", "find_donors", "is not below add_tip", "", id="the target is not below"),
        pytest.param("merged", "merge", "start", "where branches meet", "", id="it leads through a merge"),
        pytest.param("broken_chain", "add_tip", "start", "find_donors", "", id="the chain is broken"),
    ],
)
async def test_a_way_down_that_will_not_do_is_refused_unless_it_is_waived_by_name(
    databases: Databases,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    folder: str,
    now: str,
    target: str,
    words: str,
    waived: str,
) -> None:
    for each in ("environment", "start", folder):
        shutil.copytree(CORPUS / each, tmp_path / "platform" / each, ignore=shutil.ignore_patterns("__pycache__"))
    use_repository(tmp_path, monkeypatch, {}, tuple(dict.fromkeys(("start", target, now))), path=folder)
    await say(databases, now)
    assert_refused(databases, tmp_path, await downgrade(target, dry_run=True), words, waived)
    if waived:
        outcome = await downgrade(target, dry_run=True, waive=(waived,))
        assert outcome.end_state is EndState.PLANNED, outcome
        plan = plan_of(tmp_path, outcome)
        assert (plan.named, plan.target) == ((waived,), target)
        assert any(each.startswith(f"Waived as '{waived}': ") and words.strip() in each for each in plan.warnings)


@pytest.mark.parametrize(
    ("fault", "changes", "words"),
    [
        pytest.param("ssh-no-alembic", {}, "has no alembic for 'python -m alembic'", id="no alembic in the image"),
        pytest.param("ssh-off", {}, "finds no SSH server", id="no sshd in the image"),
        pytest.param("", {"folder": "/nowhere"}, "has no folder '/nowhere'", id="the folder is missing"),
        pytest.param(
            "", {"folder": "/app/migrations"}, "has no alembic.ini in '/app/migrations'", id="alembic.ini is missing"
        ),
        pytest.param("", {"way": "worktree", "path": "nowhere"}, "has no folder 'nowhere'", id="not in the repository"),
    ],
)
async def test_a_place_without_what_alembic_needs_is_refused_by_what_is_missing(
    databases: Databases,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    fault: str,
    changes: dict[str, object],
    words: str,
) -> None:
    if fault == "ssh-off":
        monkeypatch.setattr("rollback.migrations.ways.tunnel.START_SECONDS", 3.0)
    await say(databases, HEAD)
    if fault:
        databases.control.break_(fault, slot="production")
    platform_file(tmp_path, **changes)
    outcome = await downgrade("previous", dry_run=True)
    assert_refused(databases, tmp_path, outcome, words)
    if "way" not in changes:
        told = f"{outcome.headline} {outcome.next_steps[0]}"
        assert f"fundrbolt-production-api/staging has no file of revision {HEAD}" in told or "folder" in changes
        assert "No slot can take the database down" in told
        assert "redeploy-backend" in told


async def test_a_database_without_a_revision_is_refused(databases: Databases, tmp_path: Path) -> None:
    await databases.write("DELETE FROM alembic_version")
    try:
        assert_refused(databases, tmp_path, await downgrade("previous", dry_run=True), "no revision of alembic's")
    finally:
        await databases.write("INSERT INTO alembic_version VALUES ('e2a8c40b7f15')")


async def test_a_role_that_is_not_shown_the_sessions_of_others_is_refused(
    databases: Databases, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rollback.migrations.sessions._SEES_ALL", "SELECT false")
    assert_refused(
        databases,
        tmp_path,
        await downgrade("previous", dry_run=True),
        "is not shown the sessions of others",
        "pg_monitor",
    )


async def test_a_secret_with_a_new_version_since_the_plan_is_refused(databases: Databases, tmp_path: Path) -> None:
    await say(databases, HEAD)
    url = await databases.url()

    def exchange() -> None:
        meanwhile(databases.set_url(url))

    outcome = await downgrade("previous", at(Event.STEP_STARTED, "Check the plan", exchange))
    assert_refused(databases, tmp_path, outcome, "Secret 'database-url' has a new version since the plan was made")


@pytest.mark.parametrize("there", ["other.postgres.database.azure.com", ""], ids=["elsewhere", "a new version"])
async def test_a_secret_that_is_another_at_the_last_moment_is_refused(
    databases: Databases, tmp_path: Path, there: str
) -> None:
    await say(databases, HEAD)
    url, host = await databases.url(), await databases.host()
    elsewhere = url.replace(host, there or host)

    def exchange() -> None:
        meanwhile(databases.set_url(elsewhere))

    outcome = await downgrade("previous", at(Event.STEP_STARTED, "Downgrade", exchange))
    await databases.set_url(url)
    assert_refused(
        databases, tmp_path, outcome, "Secret 'database-url' is at version", f"leads to 'fundrbolt' on '{there or host}"
    )
    assert "fundrbolt:" not in outcome.headline
    assert await revision(databases) == HEAD


async def test_another_cluster_behind_the_same_name_is_refused(
    databases: Databases, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await say(databases, HEAD)

    async def other(_session: object) -> str:
        return "7000000000000000000"

    def exchange() -> None:
        monkeypatch.setattr("rollback.database.signing_in.read_system", other)

    outcome = await downgrade("previous", at(Event.STEP_STARTED, "Downgrade", exchange))
    assert_refused(databases, tmp_path, outcome, "leads to another database cluster", "7000000000000000000")
    assert await revision(databases) == HEAD


async def test_a_schema_changed_by_hand_since_the_plan_is_refused(databases: Databases, tmp_path: Path) -> None:
    await say(databases, HEAD)

    def change() -> None:
        meanwhile(databases.write("CREATE INDEX by_hand ON donations (donor)"))

    outcome = await downgrade("previous", at(Event.STEP_STARTED, "Check the plan", change))
    await databases.write("DROP INDEX by_hand")
    assert_refused(databases, tmp_path, outcome, "was changed since the plan was made, and its revision was not")
