"""`make drill`: rehearse on the sandbox while users go on using it, and show what they got meanwhile.

`rollback`: production serves a bad release and is rolled back. `deployment`: a release that passes its probes on the
slot turns production bad, and the guarded deployment swaps back. The exit status is 0 where that is what happened, else
that of the command, or 1 where users were not shown to get the good release again.
"""

import json
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
from pydantic import BaseModel

from deployments.local_platform import ROOT, LocalPlatform
from rollback.errors import Permanent, RollbackError
from rollback.outcomes import EndState
from rollback.runs import Store

PUBLIC_URL = "https://api.fundrbolt.com"
BAD, GOOD, NEW = "v1.2.3", "v1.2.2", "v1.2.1"
INTERVAL_SECONDS = 0.5
ENOUGH_ERRORS = 5
"""Seen by users, before anybody would call for a rollback."""
GOOD_INTERVALS = 4
"""In a row with answers from the good release only, and none of them an error: users are served by it."""
WITHIN_SECONDS = 60.0
LOOK_SECONDS = 0.1


@dataclass(frozen=True)
class Drill:
    """What is rehearsed: the command that an operator or CI gives, and the end state that it must come to."""

    command: tuple[str, ...]
    reason: str
    ends: EndState


ROLLBACK = Drill(("roll-back-backend", "--environment", "production"), f"drill: {BAD} fails", EndState.ROLLED_BACK)
DEPLOYMENT = Drill(
    ("deploy-backend", "--environment", "production", "--release", NEW, "--watch-minutes", "1"),
    f"drill: {NEW} fails as soon as it has users",
    EndState.TAKEN_BACK,
)
MODES = {"rollback": ROLLBACK, "deployment": DEPLOYMENT}


class Interval(BaseModel):
    """What users got in half a second."""

    t: datetime
    requests: int
    ok: int
    by_version: dict[str, int]

    @property
    def is_good(self) -> bool:
        """Whether all answers were good, and from the good release."""
        return self.requests == self.ok and set(self.by_version) == {GOOD}


class UsersNotServed(Permanent):
    """Users did not get what they should in time."""


class Users:
    """The traffic generator, and what it has counted so far."""

    def __init__(self, platform: LocalPlatform) -> None:
        self._file = platform.folder / "traffic.jsonl"
        self._file.touch()
        options = ["--url", PUBLIC_URL, "--interval", str(INTERVAL_SECONDS), "--out", str(self._file)]
        platform.start("traffic", "-m", "sandbox.traffic", *options)

    def intervals(self) -> list[Interval]:
        """Every interval so far."""
        lines = self._file.read_text(encoding="utf-8").splitlines(keepends=True)
        documents: list[dict[str, Any]] = [json.loads(line) for line in lines if line.endswith("\n")]
        return [Interval.model_validate(each) for each in documents if "t" in each]

    def wait(self, condition: Callable[[list[Interval]], bool], what: str) -> None:
        """Return when the intervals so far fulfil the condition; raises `UsersNotServed` when time is over."""
        deadline = time.monotonic() + WITHIN_SECONDS
        while not condition(self.intervals()):
            if time.monotonic() > deadline:
                raise UsersNotServed(f"Within {WITHIN_SECONDS:g} s {what}: {told(self.intervals()[-GOOD_INTERVALS:])}.")
            time.sleep(LOOK_SECONDS)


def told(intervals: Iterable[Interval]) -> str:
    """What users got, in words."""
    requests = failed = 0
    versions: Counter[str] = Counter()
    for each in intervals:
        requests += each.requests
        failed += each.requests - each.ok
        versions.update(each.by_version)
    share = f"{failed} failed ({failed / requests:.0%})" if failed else "none failed"
    served = ", ".join(f"{number} by {version}" for version, number in sorted(versions.items()))
    return f"{requests} requests, {share}; answered {served or 'by nobody'}"


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--state",
    default=ROOT / ".state" / "drills",
    show_default=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder in which each drill makes its own.",
)
@click.option(
    "--mode", type=click.Choice(list(MODES)), default="rollback", show_default=True, help="What is rehearsed."
)
@click.option(
    "--pace", type=click.Choice(["fast", "azure"]), default="fast", show_default=True, help="As slow as Azure?"
)
def main(state: Path, mode: str, pace: str) -> None:
    """Rehearse a rollback, or a guarded deployment, on the sandbox, while users go on using it."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    folder = state / f"{datetime.now(UTC):%Y%m%d-%H%M%S-%f}"
    try:
        status = _drill(folder, MODES[mode], pace)
    except RollbackError as error:
        click.echo(f"✗ drill: {error} Everything is kept in {folder}.", err=True)
        sys.exit(1)
    except KeyboardInterrupt:
        click.echo(f"⏹ drill: cancelled. Everything is kept in {folder}.", err=True)
        sys.exit(130)
    sys.exit(status)


def _drill(folder: Path, drill: Drill, pace: str) -> int:
    started = time.monotonic()

    def say(text: str) -> None:
        click.echo(f"{time.monotonic() - started:5.1f} s  {text}")

    with LocalPlatform(folder) as platform:
        platform.start_server()
        say("Starting a local Azure, and Prefect beside it …")
        platform.start_sandbox("--pace", pace)
        if drill is DEPLOYMENT:
            platform.ask_sandbox("break", "redeploy", f"release={GOOD}", "slot=production")
        users = Users(platform)
        users.wait(_enough_errors if drill is ROLLBACK else _all_good, "users did not get what the drill begins with")
        say(f"Users of {PUBLIC_URL}: {told(users.intervals())}")
        platform.wait_for_server()
        say(f"Prefect's UI: {platform.ui_url}")
        platform.start_worker()
        say(f'rollback run {" ".join(drill.command)} --reason "{drill.reason}"\n')
        begun = datetime.now(UTC)
        status = _run(platform, drill)
        if status == drill.ends.exit_status:
            status = 0
            users.wait(lambda seen: _are_served(seen, begun), f"users were not served by {GOOD} only")
        intervals = users.intervals()
    return _conclude(folder, intervals, begun, status)


def _enough_errors(seen: list[Interval]) -> bool:
    return sum(each.requests - each.ok for each in seen) >= ENOUGH_ERRORS


def _all_good(seen: list[Interval]) -> bool:
    return len(seen) >= GOOD_INTERVALS and all(each.is_good for each in seen[-GOOD_INTERVALS:])


def _run(platform: LocalPlatform, drill: Drill) -> int:
    """Run the command as an operator would, in this terminal; Ctrl-C is passed on, and it ends by itself."""
    command = ["run", *drill.command, "--reason", drill.reason]
    process = subprocess.Popen(  # noqa: S603 - our own program, with arguments that we chose
        [sys.executable, "-m", "deployments.cli", *command],
        cwd=ROOT,
        env=platform.environment,
        stdin=subprocess.DEVNULL,
        start_new_session=True,
    )
    if drill is DEPLOYMENT:
        _turn_bad_with_users(platform, process)
    while True:
        try:
            return process.wait()
        except KeyboardInterrupt:
            process.send_signal(signal.SIGINT)


def _turn_bad_with_users(platform: LocalPlatform, process: subprocess.Popen[bytes]) -> None:
    """Let the new release fail as soon as production serves it."""
    while process.poll() is None:
        status = json.loads(platform.ask_sandbox("status", "--json"))
        if status["sites"]["production"]["slots"]["production"]["release"] == NEW:
            platform.ask_sandbox("break", "app-error", "share=0.4", "slot=production", "follows=build")
            return
        time.sleep(LOOK_SECONDS)


def _are_served(seen: list[Interval], begun: datetime) -> bool:
    latest = [each for each in seen if each.t > begun][-GOOD_INTERVALS:]
    return len(latest) == GOOD_INTERVALS and all(each.is_good for each in latest)


def _conclude(folder: Path, intervals: list[Interval], begun: datetime, status: int) -> int:
    """Print what users got and the one line at the end; the exit status."""
    last_bad = max((each.t for each in intervals if not each.is_good), default=begun)
    phases = {
        "before": [each for each in intervals if each.t <= begun],
        "during": [each for each in intervals if begun < each.t <= last_bad],
        "after": [each for each in intervals if each.t > max(begun, last_bad)],
    }
    click.echo(f"\nWhat users of {PUBLIC_URL} got:")
    for name, phase in phases.items():
        if phase:
            click.echo(f"  {name:<7} {told(phase)}")
    run = Store(folder / "rollback").latest(1)
    outcome = run[0].outcome() if run else None
    if status == 0:
        after = (last_bad - begun).total_seconds()
        click.echo(f"✓ drill: users are served by {GOOD} again, {max(after, 0):.1f} s after the command was given.")
        for each in ("sandbox", "prefect"):
            shutil.rmtree(folder / each)
    else:
        click.echo(f"✗ drill: {outcome.end_state.value if outcome else 'the rollback did not begin'}; see {folder}.")
    if run:
        click.echo(f"Report: {run[0].report_file}")
    return status


if __name__ == "__main__":
    main()
