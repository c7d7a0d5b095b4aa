"""Programs that a drill starts: the `rollback` command as an operator gives it, and what it looks with."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

from deployments.drill.users import LOOK_SECONDS
from deployments.local_platform import ROOT, LocalPlatform
from rollback.approvals.handover import ask
from rollback.approvals.policy import SHORT_HASH
from rollback.errors import NotWaiting
from rollback.runs import RunFolder, Store

ENVIRONMENT = "production"
APPROVERS = ("lead", "second")
RUNS = 20
"""More than any drill has."""
Say = Callable[[str], None]


def begin(
    platform: LocalPlatform, *arguments: str, environment: Mapping[str, str] | None = None, quiet: bool = False
) -> subprocess.Popen[bytes]:
    """Start `rollback` in this terminal, by default with the platform's own credential."""
    return subprocess.Popen(  # noqa: S603 - our own program, with arguments that we chose
        [sys.executable, "-m", "deployments.cli", *arguments],
        cwd=ROOT,
        env=environment or platform.environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL if quiet else None,
        start_new_session=True,
    )


def finish(process: subprocess.Popen[bytes]) -> int:
    """Its exit status; Ctrl-C is passed on, and it ends by itself."""
    while True:
        try:
            return process.wait()
        except KeyboardInterrupt:
            process.send_signal(signal.SIGINT)


def tell(platform: LocalPlatform, module: str, *arguments: str) -> str:
    """What a program of ours prints."""
    return platform.run("drill", "-m", module, *arguments)


def carry_out(platform: LocalPlatform, say: Say, procedure: str, *options: str) -> int:
    """Run a procedure as an operator would; whenever it waits for an approval, the approvers give theirs."""
    command = ("run", procedure, "--environment", ENVIRONMENT, *options)
    say(f"rollback {subprocess.list2cmdline(command)}\n")
    store = Store(platform.folder / "rollback")
    known = {each.header.run for each in store.latest(RUNS)}
    process = begin(platform, *command)
    while process.poll() is None:
        mine = [each for each in store.latest(1) if each.header.run not in known]
        if mine and (plan_hash := _wanted(mine[0])):
            for who in APPROVERS:
                # One may be enough.
                if _wanted(mine[0]):
                    _approve(platform, mine[0].header.run, plan_hash, who)
        time.sleep(LOOK_SECONDS)
    return finish(process)


def read_rows(platform: LocalPlatform) -> dict[int, dict[str, Any]]:
    """Every donation that the database in use holds: id to its row."""
    rows: list[dict[str, Any]] = json.loads(tell(platform, "deployments.drill.books", ENVIRONMENT))
    return {row["id"]: row for row in rows}


def _wanted(folder: RunFolder) -> str | None:
    """The hash of the plan that a run waits with; none where it does not wait."""
    try:
        return ask(folder.folder).plan_hash
    except NotWaiting:
        return None


def _approve(platform: LocalPlatform, run: str, plan_hash: str, who: str) -> None:
    arguments = ("approve", run, "--hash", plan_hash[:SHORT_HASH], "--yes", "--note", "drill")
    finish(begin(platform, *arguments, environment=platform.environment_of(who), quiet=True))
