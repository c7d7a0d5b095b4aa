"""Every fault of a restore: back as it was before the cut-over, forwards only after it, and each change made once."""

import asyncio
import errno
from pathlib import Path

import pytest
from approving import WaitingRun
from restoring import APPS, SOURCE, Databases, quick_restore_file, run_restore
from support import World

from flows.restore_database import restore_database
from rollback.journal import Entry, Event
from rollback.outcomes import EndState
from rollback.postgres import export
from rollback.runs import Outcome, Store

HIGHEST = "SELECT coalesce(max(id), 0) FROM donations"


@pytest.fixture
def databases(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Databases:
    monkeypatch.setenv("ROLLBACK_CONFIG", str(quick_restore_file(tmp_path)))
    return Databases(world)


async def assert_as_before(databases: Databases, outcome: Outcome, *words: str) -> None:
    assert outcome.end_state is EndState.TAKEN_BACK, outcome
    for word in (*words, "as before, with writes allowed"):
        assert word in outcome.headline
    assert databases.running() == dict.fromkeys(APPS, True)
    assert await databases.parameter("default_transaction_read_only") == "off"
    assert await databases.rules() == ["AllowAllAzureServicesAndResourcesWithinAzureIps", "operators"]
    assert len(await databases.secrets()) == 1
    await databases.write("INSERT INTO donations (amount_cents, currency, donor) VALUES (1, 'USD', 'After the undo')")


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        pytest.param("pg-restore-fails", "Azure could not restore", id="the restore fails"),
        pytest.param("pg-restore-never-ends", "not ready after", id="the restore never ends"),
        pytest.param("pg-restored-unreachable", "could not be used within", id="ready, and unreachable"),
        pytest.param("pg-name-taken", "is taken by another server", id="the name is taken meanwhile"),
    ],
)
async def test_a_restore_that_goes_wrong_leaves_everything_as_before(
    databases: Databases, tmp_path: Path, fault: str, words: str
) -> None:
    quick_restore_file(tmp_path, restore_timeout_seconds=4, answer_timeout_seconds=5)
    point = await databases.instant()
    databases.control.break_(fault)
    await assert_as_before(databases, await run_restore(restore_point=point), words)


@pytest.mark.parametrize("fault", ["drop-before", "drop-after"])
@pytest.mark.parametrize(
    ("method", "path", "host"),
    [
        pytest.param("PUT", "flexibleServers/[^/]+$", "", id="restore"),
        pytest.param("PUT", "secrets/database-url$", "vault", id="secret"),
        pytest.param("POST", "fundrbolt-production-api/stop$", "", id="stop"),
        pytest.param("PATCH", "configurations/default_transaction_read_only$", "", id="read-only"),
        pytest.param("DELETE", "firewallRules/AllowAll", "", id="firewall"),
    ],
)
async def test_a_lost_answer_ends_in_one_server_and_one_secret_version(
    databases: Databases, fault: str, method: str, path: str, host: str
) -> None:
    point = await databases.instant()
    databases.control.break_(fault, method=method, path=path, **({"host": host} if host else {}))
    outcome = await run_restore(restore_point=point)
    assert outcome.end_state is EndState.RESTORED, outcome
    assert len(await databases.servers()) == 2
    assert len(await databases.secrets()) == 2


async def test_a_throttled_vault_is_waited_for(databases: Databases) -> None:
    point = await databases.instant()
    databases.control.break_("kv-throttle", times=2)
    assert (await run_restore(restore_point=point)).end_state is EndState.RESTORED
    assert len(await databases.secrets()) == 2


async def test_a_vault_that_forbids_the_new_version_leaves_everything_as_before(databases: Databases) -> None:
    point = await databases.instant()

    def forbid(entry: Entry) -> None:
        if (entry.event, entry.step) == (Event.STEP_STARTED, "Export lost rows"):
            databases.control.break_("deny", action="Microsoft.KeyVault/vaults/secrets/setSecret/action")

    await assert_as_before(databases, await run_restore(forbid, restore_point=point), "may not use secret")


async def test_no_app_is_started_whose_reference_stays_on_the_old_version(databases: Databases, tmp_path: Path) -> None:
    quick_restore_file(tmp_path, answer_timeout_seconds=5)
    point = await databases.instant()
    databases.control.break_("reference-stays-old")
    outcome = await run_restore(restore_point=point)
    assert outcome.end_state is EndState.PART_WAY, outcome
    assert "does not get the secret's new version" in outcome.headline
    assert not any(databases.running().values())
    databases.control.repair()
    again = await run_restore(resume=outcome.run)
    assert again.end_state is EndState.RESTORED, again
    assert databases.running() == dict.fromkeys(APPS, True)
    assert len(await databases.secrets()) == 2


async def test_a_full_disk_while_rows_are_exported_leaves_everything_as_before(
    databases: Databases, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> Path:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(export, "_pack", full)
    outcome = await run_restore(restore_point=await databases.instant())
    await assert_as_before(databases, outcome, "the disk is full", str(tmp_path))
    assert not list(Store(tmp_path / "state").get(outcome.run).folder.glob("lost-rows*"))


@pytest.mark.parametrize(
    ("fault", "end_state", "words"),
    [
        ("writer-hammers", EndState.RESTORED, "verified from outside"),
        ("instance-never-restarts", EndState.RESTORED_NOT_VERIFIED, "through the app failed"),
    ],
)
async def test_no_commit_reaches_the_old_server_after_the_fence_whoever_writes(
    databases: Databases, fault: str, end_state: EndState, words: str
) -> None:
    point, source = await databases.instant(), await databases.host()
    databases.control.break_(fault)
    looking: list[asyncio.Task[list[tuple[int, ...]]]] = []

    def watch(entry: Entry) -> None:
        if (entry.event, entry.step) == (Event.STEP_FINISHED, "Fence the old server"):
            looking.append(asyncio.create_task(databases.ask(source, HIGHEST)))

    outcome = await run_restore(watch, restore_point=point, stop_writes="at cut-over")
    assert outcome.end_state is end_state, outcome
    assert words in outcome.headline
    assert await databases.ask(source, HIGHEST) == await looking[0]


async def test_a_bill_that_is_worse_than_approved_is_asked_again(
    databases: Databases, tmp_path: Path, world: World
) -> None:
    quick_restore_file(tmp_path, approval='needs = "click"', tolerance_rows=0, tolerance_share=0)
    point = await databases.instant()
    await databases.write("UPDATE donations SET amount_cents = 0 WHERE id = 2")
    run = WaitingRun(world, tmp_path / "state", flow=restore_database, restore_point=point.isoformat())
    await run.waits()
    await run.offer_token(None)
    await run.until("Worse than approved: public.donations: 1 updates")
    await run.waits()
    await run.offer_token(None)
    outcome = await run.task
    assert outcome.end_state is EndState.RESTORED
    assert len(outcome.approvals) == 2


async def test_a_server_that_is_busy_is_waited_for(databases: Databases) -> None:
    point = await databases.instant()
    databases.control.break_("pg-server-busy")

    def free(entry: Entry) -> None:
        if "Trying again" in entry.text:
            databases.control.repair()

    assert (await run_restore(free, restore_point=point)).end_state is EndState.RESTORED


async def test_a_secret_that_others_changed_since_the_plan_makes_it_stale(databases: Databases) -> None:
    point = await databases.instant()
    url = await databases.url()
    changing: list[asyncio.Task[None]] = []

    def change(entry: Entry) -> None:
        if entry.event is Event.STEP_STARTED and entry.step == "Export lost rows":
            changing.append(asyncio.create_task(databases.set_url(url)))

    outcome = await run_restore(change, restore_point=point)
    await asyncio.gather(*changing)
    assert outcome.end_state is EndState.TAKEN_BACK
    assert "neither the plan's nor ours" in outcome.headline
    assert (await databases.url()) == url
    assert SOURCE in await databases.servers()
