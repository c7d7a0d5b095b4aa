"""Lose a machine in the middle of a rollback: how long until another worker has ended the run.

Not a test of the suite: `make lost-machine` waits for real heartbeats to stop, about two minutes. The worker, the
process that it forks from and the run are stopped, as a machine that hangs; later they wake up and must disturb
nothing.
"""

import random
import signal
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import UUID

import click
import psutil
from support import quick_platform_file
from torture import BY_WORKER, Broken, Round, Torture, begin, check, wait

from deployments.local_platform import LocalPlatform
from rollback.journal import Event

SEND_OFF_SECONDS = 240.0


def main() -> None:
    """Lose it, and print when the run was lost, taken again and ended; exit status 1 where it did not end right."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        environment = {"ROLLBACK_CONFIG": str(quick_platform_file(folder))}
        with LocalPlatform(folder, environment=environment) as platform:
            torture = begin(platform, random.Random(0))  # noqa: S311 - chance, not a key
            try:
                lose(torture)
            except Broken as error:
                click.echo(f"BROKEN: {error}")
                sys.exit(1)


def lose(torture: Torture) -> None:
    """One loss; raises `Broken`."""
    torture.clean()
    torture.control.break_("swap-accepted-late", seconds=3)
    run = torture.start_run()
    wait(lambda: any(entry["event"] == Event.SENDING for entry in torture.journal(run)), "nothing was sent")
    lost = time.monotonic()
    stopped = stop_machine(torture, run)
    torture.platform.start("worker-2", "-m", "deployments.worker")
    try:
        for state in ("Lost", "AwaitingRetry", "Running", "Rolled back"):
            wait(lambda state=state: state in after_loss(torture, run), f"it was not {state}", SEND_OFF_SECONDS)
            click.echo(f"{time.monotonic() - lost:6.1f} s  {state}")
        made = Round(1, "machine", BY_WORKER)
    finally:
        for process in stopped:
            process.resume()
    wait(lambda: not stopped[-1].is_running(), "the run that woke up did not end")
    click.echo(f"{time.monotonic() - lost:6.1f} s  the lost run woke up and ended: {told_late(torture)}")
    check(torture, made, run, run)
    click.echo("Right: one swap, rolled back, and the environment is free.")


def stop_machine(torture: Torture, run: str) -> list[psutil.Process]:
    """Stop the worker, what it forks from, and the run; the run is the last."""
    worker = psutil.Process(torture.processes["worker"].pid)
    started = torture.custody.read(UUID(run))
    if started is None or started.process is None:
        raise Broken("the run has no process")
    its_own = psutil.Process(started.process.pid)
    found = [worker, *(each for each in worker.children(recursive=True) if each.pid != its_own.pid), its_own]
    for process in found:
        process.send_signal(signal.SIGSTOP)
    return found


def after_loss(torture: Torture, run: str) -> list[str]:
    """The names of the run's states since it was lost."""
    states = [state["name"] for state in torture.ask("GET", f"/flow_run_states/?flow_run_id={run}")]
    return states[states.index("Lost") :] if "Lost" in states else []


def told_late(torture: Torture) -> str:
    """What the run that woke up said last."""
    lines = torture.platform.log("worker").read_text(encoding="utf-8").splitlines()
    return next((line.rpartition(" - ")[2] for line in reversed(lines) if "left alone" in line), "nothing")


if __name__ == "__main__":
    main()
