"""A release comes back only to a database that it can use: what the plans of the backend say and refuse."""

import os
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest
from restoring import Databases
from support import V1, V2, V3, World, run_flow

from flows.deploy_backend import deploy_backend
from flows.redeploy_backend import redeploy_backend
from rollback.backend_plans import RedeployPlan, SwapPlan
from rollback.compatibility import Fit
from rollback.journal import Entry, Event
from rollback.outcomes import EndState
from rollback.runs import Outcome, Store

BEFORE_TIPS, TIPS, FIRST = "d95a3b1e7f08", "e2a8c40b7f15", "3f1c9a7d2b40"


@pytest.fixture(autouse=True)
def patient(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """However busy the machine is."""
    monkeypatch.setattr("rollback.migrations.current.PATIENCE_SECONDS", 60.0)


@pytest.fixture
async def move_database(world: World) -> Callable[[str], None]:
    """Lets the database say that it is at another revision."""
    url = await Databases(world).url()

    def move(revision: str) -> None:
        with psycopg.connect(url, sslrootcert=os.environ["SSL_CERT_FILE"], autocommit=True) as connection:
            connection.execute("UPDATE alembic_version SET version_num = %s", (revision,))

    return move


def swap_plan(tmp_path: Path, outcome: Outcome) -> SwapPlan:
    plan = Store(tmp_path / "state").get(outcome.run).plan(SwapPlan)
    assert plan is not None
    return plan


async def test_the_standard_rollback_needs_no_migration_and_its_plan_says_why(
    world: World, tmp_path: Path, move_database: Callable[[str], None]
) -> None:
    move_database(TIPS)
    outcome = await run_flow(dry_run=True)
    plan = swap_plan(tmp_path, outcome)
    assert plan.schema_fit is not None
    assert plan.schema_fit.fit is Fit.FITS
    told = dict(plan.facts())["Schema"]
    assert told == f"the database is at {TIPS}; v1.2.2 runs on {BEFORE_TIPS} to {TIPS}"
    assert not any("Schema" in each for each in plan.warnings)
    move_database(BEFORE_TIPS)
    moved = swap_plan(tmp_path, await run_flow(dry_run=True))
    assert moved.hash != plan.hash


@pytest.mark.parametrize("flow", [redeploy_backend, deploy_backend])
async def test_a_release_that_cannot_use_the_schema_is_refused_with_what_would_help(
    world: World, move_database: Callable[[str], None], flow: object
) -> None:
    move_database(TIPS)
    outcome = await run_flow(flow=flow, release=V1)
    assert outcome.end_state is EndState.REFUSED
    assert f"The database is at {TIPS}; v1.2.1 runs on b7d04e9f6c21 to {BEFORE_TIPS}." in outcome.headline
    told = " ".join(outcome.next_steps)
    assert f"Run 'rollback run downgrade-database -e production --target {BEFORE_TIPS}' first: v1.2.3" in told
    assert "Without a migration: v1.2.2." in told
    assert world.swaps == []
    assert (world.serving, world.runs_in("staging")) == (V3, V2)


async def test_a_rollback_to_a_database_that_is_too_old_is_refused(
    world: World, move_database: Callable[[str], None]
) -> None:
    move_database(FIRST)
    outcome = await run_flow()
    assert outcome.end_state is EndState.REFUSED
    assert f"Migrate the database up to {BEFORE_TIPS} first" in " ".join(outcome.next_steps)
    assert world.swaps == []


@pytest.fixture
def nobody_signs_in(world: World) -> None:
    """The platform file names an administrator that the database does not know."""
    file = Path(os.environ["ROLLBACK_CONFIG"])
    content = file.read_text(encoding="utf-8")
    file.write_text(content.replace('administrator = "fundrbolt-rollback"', 'administrator = "nobody"'), "utf-8")


@pytest.mark.usefixtures("nobody_signs_in")
async def test_a_database_that_cannot_be_read_is_told_and_does_not_stop_a_rollback(tmp_path: Path) -> None:
    outcome = await run_flow()
    assert outcome.end_state is EndState.ROLLED_BACK
    plan = swap_plan(tmp_path, outcome)
    assert plan.warnings[0].startswith("Schema: unknown: where the database is could not be read")
    assert "nobody" in plan.warnings[0]
    assert dict(plan.facts())["Schema"] == "unknown"


async def test_an_environment_without_a_database_is_told_so(world: World, tmp_path: Path) -> None:
    outcome = await run_flow(flow=redeploy_backend, release=V2, environment="dev", dry_run=True)
    plan = Store(tmp_path / "state").get(outcome.run).plan(RedeployPlan)
    assert plan is not None
    assert "the platform file names no database for 'dev'" in plan.warnings[0]


async def test_a_schema_that_moved_since_the_plan_stops_the_swap(
    world: World, move_database: Callable[[str], None]
) -> None:
    move_database(TIPS)

    def move(entry: Entry) -> None:
        if (entry.event, entry.step) == (Event.STEP_STARTED, "Swap slots"):
            move_database(FIRST)

    outcome = await run_flow(move)
    assert outcome.end_state is EndState.REFUSED
    assert f"The schema is not as planned ({TIPS}): The database is at {FIRST}" in outcome.headline
    assert world.swaps == []


async def test_a_schema_that_moved_since_the_plan_stops_the_image_on_its_way(
    world: World, move_database: Callable[[str], None]
) -> None:
    move_database(BEFORE_TIPS)

    def move(entry: Entry) -> None:
        if (entry.event, entry.step) == (Event.STEP_STARTED, "Put the image in place"):
            move_database(TIPS)

    outcome = await run_flow(move, flow=redeploy_backend, release=V1)
    assert outcome.end_state is EndState.REFUSED
    assert world.runs_in("staging") == V2
