"""Rehearse the backend's procedures: a rollback, and a guarded deployment that swaps back."""

import json
import shutil
import subprocess
import time
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import click

from deployments.drill.commands import begin, finish
from deployments.drill.users import LOOK_SECONDS, PUBLIC_URL, Interval, Users, all_good, fail_enough, told
from deployments.local_platform import ROOT, LocalPlatform
from rollback.outcomes import EndState
from rollback.runs import Store

BAD, GOOD, NEW = "v1.2.3", "v1.2.2", "v1.2.1"


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


def rehearse_rollback(platform: LocalPlatform, pace: str, say: Callable[[str], None]) -> int:
    """Production serves a bad release, and is rolled back; the exit status."""
    return _rehearse(platform, ROLLBACK, pace, say)


def rehearse_deployment(platform: LocalPlatform, pace: str, say: Callable[[str], None]) -> int:
    """A release turns production bad, and the guarded deployment swaps back; the exit status."""
    return _rehearse(platform, DEPLOYMENT, pace, say)


def _rehearse(platform: LocalPlatform, drill: Drill, pace: str, say: Callable[[str], None]) -> int:
    platform.start_server()
    say("Starting a local Azure, and Prefect beside it …")
    platform.start_sandbox("--pace", pace)
    if drill is DEPLOYMENT:
        platform.ask_sandbox("break", "redeploy", f"release={GOOD}", "slot=production")
        platform.environment["ROLLBACK_CONFIG"] = str(_forget_schemas(platform.folder))
    users = Users(platform)
    users.wait(fail_enough if drill is ROLLBACK else _are_served, "users did not get what the drill begins with")
    say(f"Users of {PUBLIC_URL}: {told(users.intervals())}")
    platform.wait_for_server()
    say(f"Prefect's UI: {platform.ui_url}")
    platform.start_worker()
    say(f'rollback run {" ".join(drill.command)} --reason "{drill.reason}"\n')
    begun = datetime.now(UTC)
    process = begin(platform, "run", *drill.command, "--reason", drill.reason)
    if drill is DEPLOYMENT:
        _turn_bad_with_users(platform, process)
    status = finish(process)
    if status == drill.ends.exit_status:
        status = 0
        users.wait(lambda seen: all_good(seen, GOOD, begun), f"users were not served by {GOOD} only")
    return _conclude(platform, users.intervals(), begun, status)


def _forget_schemas(folder: Path) -> Path:
    """A platform file whose manifest knows images only: the release that plays the new one is older than the schema."""
    own = ROOT / "deployments"
    releases = tomllib.loads((own / "releases.toml").read_text(encoding="utf-8"))["releases"]
    entries = [f'[releases."{name}"]\nimage_digest = "{each["image_digest"]}"\n' for name, each in releases.items()]
    (folder / "releases.toml").write_text("".join(entries), encoding="utf-8")
    return Path(shutil.copy(own / "fundrbolt.toml", folder))


def _are_served(seen: list[Interval]) -> bool:
    return all_good(seen, GOOD)


def _turn_bad_with_users(platform: LocalPlatform, process: subprocess.Popen[bytes]) -> None:
    """Let the new release fail as soon as production serves it."""
    while process.poll() is None:
        status = json.loads(platform.ask_sandbox("status", "--json"))
        if status["sites"]["production"]["slots"]["production"]["release"] == NEW:
            platform.ask_sandbox("break", "app-error", "share=0.4", "slot=production", "follows=build")
            return
        time.sleep(LOOK_SECONDS)


def _conclude(platform: LocalPlatform, intervals: list[Interval], begun: datetime, status: int) -> int:
    """Print what users got and the one line at the end; the exit status."""
    last_bad = max((each.t for each in intervals if not each.is_good(GOOD)), default=begun)
    phases = {
        "before": [each for each in intervals if each.t <= begun],
        "during": [each for each in intervals if begun < each.t <= last_bad],
        "after": [each for each in intervals if each.t > max(begun, last_bad)],
    }
    click.echo(f"\nWhat users of {PUBLIC_URL} got:")
    for name, phase in phases.items():
        if phase:
            click.echo(f"  {name:<7} {told(phase)}")
    run = Store(platform.folder / "rollback").latest(1)
    outcome = run[0].outcome() if run else None
    if status == 0:
        after = (last_bad - begun).total_seconds()
        click.echo(f"✓ drill: users are served by {GOOD} again, {max(after, 0):.1f} s after the command was given.")
    else:
        ended = outcome.end_state.value if outcome else "the rollback did not begin"
        click.echo(f"✗ drill: {ended}; see {platform.folder}.")
    if run:
        click.echo(f"Report: {run[0].report_file}")
    return status
