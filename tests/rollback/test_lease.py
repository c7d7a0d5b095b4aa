import asyncio
import json
import signal
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import psutil
import pytest
from rollback_command import wait_until

from rollback import lease as leases_module
from rollback.errors import EnvironmentLocked, LeaseLost, RunAtWork, RunUnknown
from rollback.lease import FileLeases, HeldLease, Holder, Lease
from rollback.models import now


@pytest.fixture
def leases(tmp_path: Path) -> FileLeases:
    return FileLeases(tmp_path)


def let_expire(folder: Path, lease: Lease) -> None:
    file = folder / f"{lease.environment}.lease.json"
    content = json.loads(file.read_text(encoding="utf-8"))
    content["expires_at"] = (now() - timedelta(seconds=1)).isoformat()
    file.write_text(json.dumps(content), encoding="utf-8")


def test_an_environment_is_held_by_one_run(leases: FileLeases) -> None:
    leases.acquire("production", "one", "roll-back-backend")
    with pytest.raises(EnvironmentLocked, match="is held by run one"):
        leases.acquire("production", "two", "roll-back-backend")
    leases.acquire("staging", "two", "roll-back-backend")


def test_an_expired_lease_that_changed_nothing_frees_the_environment(leases: FileLeases, tmp_path: Path) -> None:
    let_expire(tmp_path, leases.acquire("production", "one", "roll-back-backend"))
    assert leases.acquire("production", "two", "roll-back-backend").run == "two"


def test_an_expired_lease_that_changed_something_leaves_the_environment_unfinished(
    leases: FileLeases, tmp_path: Path
) -> None:
    HeldLease(leases, leases.acquire("production", "one", "roll-back-backend")).check()
    lease = leases.read("production")
    assert lease is not None
    let_expire(tmp_path, lease)
    with pytest.raises(EnvironmentLocked, match="unfinished: one"):
        leases.acquire("production", "two", "roll-back-backend")
    resumed = leases.acquire("production", "one", "roll-back-backend")
    assert resumed.changed


def test_a_lease_that_another_run_took_over_is_noticed_before_the_next_change(
    leases: FileLeases, tmp_path: Path
) -> None:
    first = leases.acquire("production", "one", "roll-back-backend")
    let_expire(tmp_path, first)
    leases.acquire("production", "two", "roll-back-backend")
    with pytest.raises(LeaseLost, match="run two took it"):
        HeldLease(leases, first).check()


def test_a_released_environment_is_free(leases: FileLeases) -> None:
    held = HeldLease(leases, leases.acquire("production", "one", "roll-back-backend"))
    held.release()
    assert leases.read("production") is None


def test_an_environment_left_unfinished_is_freed_by_name_only(leases: FileLeases) -> None:
    held = HeldLease(leases, leases.acquire("production", "one", "roll-back-backend"))
    held.release(unfinished=True)
    with pytest.raises(RunUnknown, match="not held by a run two"):
        leases.abandon("production", "two")
    leases.abandon("production", "one")
    assert leases.read("production") is None


def test_a_lease_of_a_process_that_is_gone_is_over_at_once(leases: FileLeases, tmp_path: Path) -> None:
    lease = leases.acquire("production", "one", "roll-back-backend")
    assert not lease.is_over()
    file = tmp_path / "production.lease.json"
    content = json.loads(file.read_text(encoding="utf-8"))
    content["holder"]["started_at"] -= 1000
    file.write_text(json.dumps(content), encoding="utf-8")
    held = leases.read("production")
    assert held is not None
    assert held.is_over()


def test_a_damaged_lease_is_not_taken_for_a_free_environment(leases: FileLeases, tmp_path: Path) -> None:
    (tmp_path / "production.lease.json").write_text("{", encoding="utf-8")
    with pytest.raises(EnvironmentLocked, match="cannot be read"):
        leases.acquire("production", "one", "roll-back-backend")


def change(folder: Path, edit: Callable[[dict[str, object]], None]) -> None:
    file = folder / "production.lease.json"
    content = json.loads(file.read_text(encoding="utf-8"))
    edit(content)
    file.write_text(json.dumps(content), encoding="utf-8")


def test_a_process_that_has_ended_is_gone_even_where_nobody_took_notice_of_its_end() -> None:
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        seen = psutil.Process(process.pid)
        holder = Holder(host=leases_module.this_process().host, pid=process.pid, started_at=seen.create_time())
        wait_until(lambda: seen.status() == psutil.STATUS_SLEEPING)
        assert holder.is_at_work()
        process.send_signal(signal.SIGSTOP)
        wait_until(lambda: seen.status() == psutil.STATUS_STOPPED)
        assert not holder.is_at_work()
        assert not holder.is_gone()
        process.kill()
        wait_until(lambda: seen.status() == psutil.STATUS_ZOMBIE)
        assert holder.is_gone()
    finally:
        process.kill()
        process.wait()


async def test_a_run_that_a_process_works_on_is_left_to_it_at_once(leases: FileLeases) -> None:
    leases.acquire("production", "one", "roll-back-backend")
    with pytest.raises(RunAtWork, match="Run one is at work"):
        await leases_module.until_left(leases, "production", "one")
    await leases_module.until_left(leases, "production", "two")
    await leases_module.until_left(leases, "staging", "one")


async def test_a_run_of_a_machine_that_cannot_be_seen_is_left_to_it_while_it_renews_its_lease(
    leases: FileLeases, tmp_path: Path
) -> None:
    leases.acquire("production", "one", "roll-back-backend")
    change(tmp_path, lambda lease: lease.update(holder={"host": "elsewhere", "pid": 1, "started_at": 1.0}))
    waiting = asyncio.create_task(leases_module.until_left(leases, "production", "one"))
    await asyncio.sleep(0)
    assert not waiting.done()
    change(tmp_path, lambda lease: lease.update(expires_at=(now() + timedelta(seconds=99)).isoformat()))
    with pytest.raises(RunAtWork, match="on elsewhere"):
        await waiting


async def test_a_run_of_a_machine_that_cannot_be_seen_is_gone_on_with_once_its_lease_is_over(
    leases: FileLeases, tmp_path: Path
) -> None:
    leases.acquire("production", "one", "roll-back-backend")

    def about_to_expire(lease: dict[str, object]) -> None:
        lease["holder"] = {"host": "elsewhere", "pid": 1, "started_at": 1.0}
        lease["expires_at"] = (now() + timedelta(seconds=1)).isoformat()

    change(tmp_path, about_to_expire)
    await leases_module.until_left(leases, "production", "one")
    assert leases.acquire("production", "one", "roll-back-backend").run == "one"
