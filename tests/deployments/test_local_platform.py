"""`make drill` and `make up`, from nothing to nothing."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from rollback_command import wait_until
from support import ROOT

from deployments.local_platform import LocalPlatform, NotStarted


def clean_environment(*without: str) -> dict[str, str]:
    names = ("PREFECT_", "ROLLBACK_", "AZURE_", *without)
    return {name: value for name, value in os.environ.items() if not name.startswith(names)}


def processes_that_know(folder: Path) -> list[str]:
    """Command lines of the processes that were started for a folder: its path is in their environment."""
    found: list[str] = []
    for process in psutil.process_iter():
        try:
            if (
                str(folder) in " ".join([*process.cmdline(), *process.environ().values()])
                and process.pid != os.getpid()
            ):
                found.append(" ".join(process.cmdline()))
        except (psutil.AccessDenied, psutil.NoSuchProcess, psutil.ZombieProcess):
            continue
    return found


def test_the_drill_brings_users_back_to_the_good_release_and_leaves_nothing_running(tmp_path: Path) -> None:
    folder = tmp_path / "drills"
    command = [sys.executable, "-m", "deployments.drill", "--state", str(folder)]
    # Its databases are its own: nothing is there before.
    environment = clean_environment("SANDBOX_")
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    order = [
        "Users of https://api.fundrbolt.com: ",
        "Started in Prefect",
        "rolled back: production serves v1.2.2 again",
        "  before",
        "  after",
        "✓ drill",
    ]
    places = [done.stdout.index(each) for each in order]
    assert places == sorted(places)
    after = next(line for line in done.stdout.splitlines() if line.startswith("  after"))
    assert "none failed" in after
    assert "v1.2.3" not in after
    assert Path(done.stdout.splitlines()[-1].removeprefix("Report: ")).is_file()
    assert processes_that_know(folder) == []


def test_the_drill_of_a_guarded_deployment_swaps_back_what_turned_bad(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "deployments.drill", "--mode", "deployment", "--state", str(tmp_path)]
    done = subprocess.run(
        command, cwd=ROOT, env=clean_environment(), capture_output=True, text=True, timeout=280, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "taken back: " in done.stdout
    assert "users are served by v1.2.2 again" in done.stdout
    after = next(line for line in done.stdout.splitlines() if line.startswith("  after"))
    assert "none failed" in after
    assert processes_that_know(tmp_path) == []


def test_what_make_up_started_is_ended_with_it_and_a_second_one_says_that_it_runs(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "deployments.up", "--state", str(tmp_path)]
    with (tmp_path / "up.out").open("w") as out:
        up = subprocess.Popen(
            command, cwd=ROOT, env=clean_environment(), stdout=out, stderr=out, start_new_session=True
        )
    try:
        wait_until(lambda: "Ctrl-C ends it." in (tmp_path / "up.out").read_text() or up.poll() is not None)
        told = (tmp_path / "up.out").read_text()
        assert "rollback run roll-back-backend --environment production" in told, told
        second = subprocess.run(
            command, cwd=ROOT, env=clean_environment(), capture_output=True, text=True, timeout=20, check=True
        )
        assert second.stdout.startswith("It runs already.")
        assert next(line for line in told.splitlines() if line.startswith("Prefect's UI")) in second.stdout
    finally:
        up.send_signal(signal.SIGTERM)
        status = up.wait(60)
    assert status == 0
    # The worker's fork server notices its end by itself, once it has imported what it was told to.
    wait_until(lambda: processes_that_know(tmp_path) == [])


def test_what_a_killed_platform_left_behind_is_ended_by_the_next_one(tmp_path: Path) -> None:
    left = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"])
    try:
        (tmp_path / "processes").write_text(f"{left.pid} {psutil.Process(left.pid).create_time()}\n{os.getpid()} 1.0\n")
        with LocalPlatform(tmp_path):
            assert not psutil.pid_exists(left.pid)
    finally:
        left.kill()
        left.wait()


def test_a_part_that_ends_by_itself_is_named_with_its_log(tmp_path: Path) -> None:
    with LocalPlatform(tmp_path) as platform:
        platform.start("server", "-c", "raise SystemExit('no')").wait()
        with pytest.raises(NotStarted) as told:
            platform.check()
    assert "The server has ended" in str(told.value)
    assert str(platform.log("server")) in str(told.value)
    assert "no" in platform.log("server").read_text()
