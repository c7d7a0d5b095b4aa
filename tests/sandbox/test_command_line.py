"""`python -m sandbox`: one sandbox from up to down, killed in between, and every mistake as one clear line."""

import os
import shlex
import signal
import ssl
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest
from azure_names import SITE

from sandbox.control import Control

ROOT = Path(__file__).parents[2]
WAIT_SECONDS = 20


def sandbox(state: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "sandbox", *words]
    environment = {**os.environ, "SANDBOX_STATE": str(state)}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture
def state(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "state"
    yield folder
    sandbox(folder, "down")


def wait_until_gone(pids: list[int]) -> None:
    end = time.monotonic() + WAIT_SECONDS
    while any(psutil.pid_exists(pid) for pid in pids):
        assert time.monotonic() < end, "a process was left behind"


def slot_pids(control: Control) -> list[int]:
    return [slot.pid for site in control.status().sites.values() for slot in site.slots.values() if slot.pid]


def test_state_survives_down_and_up_and_no_process_does(state):
    up = sandbox(state, "up", "--detach")
    assert (up.returncode, str(state) in up.stdout, up.stderr) == (0, True, "")
    control = Control(state)
    control.break_("redeploy", release="v1.2.1")
    control.break_("stop-slot", environment="dev", slot="production")
    before, pids = control.status(), slot_pids(control)
    exports = sandbox(state, "env").stdout
    assert sandbox(state, "down").returncode == 0
    wait_until_gone([before.pid, *pids])
    assert sandbox(state, "up", "--detach").returncode == 0
    after = control.status()
    assert after.sites["production"].slots["staging"].release == "v1.2.1"
    assert (after.sites["dev"].slots["production"].state, after.faults) == ("Stopped", before.faults)
    assert sandbox(state, "env").stdout == exports


def test_a_killed_sandbox_takes_its_processes_along_and_goes_on_with_the_swap_it_was_at(state):
    assert sandbox(state, "up", "--detach").returncode == 0
    control = Control(state)
    control.break_("rival-swap-running")
    control.break_("slow-start", seconds=1)
    control.break_("sticky-differs")
    exports = dict(shlex.split(line)[1].split("=", 1) for line in sandbox(state, "env").stdout.splitlines())
    token = control.token("rollback", "https://management.azure.com/.default")
    # One quick request: the rival's swap must be going on when the sandbox is killed.
    refused = httpx.post(
        f"https://management.azure.com{SITE}/slots/staging/slotsswap?api-version=2023-12-01",
        json={"targetSlot": "production", "preserveVnet": True},
        headers={"Authorization": f"Bearer {token}"},
        proxy=exports["HTTPS_PROXY"],
        verify=ssl.create_default_context(cafile=exports["SSL_CERT_FILE"]),
    )
    assert (refused.status_code, "another operation is in progress" in refused.text) == (409, True)
    status, pids = control.status(), slot_pids(control)
    assert (status.sites["production"].operation is not None, status.swaps) == (True, [])
    os.kill(status.pid, signal.SIGKILL)
    wait_until_gone([status.pid, *pids])
    assert sandbox(state, "up", "--detach").returncode == 0
    end = time.monotonic() + WAIT_SECONDS
    while control.status().sites["production"].operation is not None:
        assert time.monotonic() < end, "the swap was forgotten"
    assert [swap.by for swap in control.swaps()] == ["rival"]
    assert control.status().sites["production"].slots["production"].release == "v1.2.2"


def test_in_the_foreground_it_ends_on_the_first_interrupt(state):
    command = [sys.executable, "-m", "sandbox", "up", "--state", str(state)]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert any("ready" in line for line in process.stderr)
        pids = slot_pids(Control(state))
        process.send_signal(signal.SIGINT)
        assert process.wait(WAIT_SECONDS) == 0
    wait_until_gone(pids)


def test_what_is_printed_is_for_people_or_for_programs(state):
    sandbox(state, "up", "--detach", "--pace", "azure", "--scale", "0.5")
    sandbox(state, "break", "swap-throttled", "retry_after=5")
    told = sandbox(state, "status").stdout
    assert "pace azure x 0.5" in told
    assert "production  v1.2.3  Running" in told
    assert "broken: swap-throttled retry_after=5" in told
    assert '"faults":' in sandbox(state, "status", "--json").stdout
    assert stat.S_IMODE(state.stat().st_mode) == 0o700


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["down"], "No sandbox is running in"),
        (["status"], "No sandbox is running in"),
        (["env"], "No sandbox is running in"),
        (["reset"], "No sandbox is running in"),
        (["break"], "Which fault?"),
        (["break", "swap-fails", "times"], "'times' is not KEY=VALUE."),
    ],
)
def test_a_mistake_is_one_line_and_status_two(state, words, message):
    done = sandbox(state, *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"sandbox: {message}")
    assert done.stderr.count("\n") == 1


def test_a_second_one_in_the_same_folder_is_refused(state):
    sandbox(state, "up", "--detach")
    for words in (["up"], ["up", "--detach"]):
        done = sandbox(state, *words)
        assert (done.returncode, done.stderr.startswith("sandbox: A sandbox is already running in")) == (2, True)


def test_a_folder_with_other_files_is_left_alone(tmp_path):
    (tmp_path / "precious").touch()
    mode = tmp_path.stat().st_mode
    done = sandbox(tmp_path, "up", "--detach")
    assert (done.returncode, "holds other files" in done.stderr) == (2, True)
    assert (tmp_path.stat().st_mode, [file.name for file in tmp_path.iterdir()]) == (mode, ["precious"])


def test_every_fault_is_listed_without_a_running_sandbox(state):
    listed = sandbox(state, "break", "--list")
    assert listed.returncode == 0
    assert "swap-accepted-late seconds=3.0 times=1 skip=0\n" in listed.stdout
