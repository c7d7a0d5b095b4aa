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

from deployments.drill.commands import begin, finish
from deployments.drill.ending import Audience, conclude
from deployments.drill.users import LOOK_SECONDS, PUBLIC_URL, Interval, Users, all_good, fail_enough, told
from deployments.local_platform import ROOT, LocalPlatform
from rollback.outcomes import EndState

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
USERS = Audience[Interval](
    heading=f"What users of {PUBLIC_URL} got:",
    told=told,
    good=f"users are served by {GOOD} again",
    not_begun="the rollback did not begin",
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
    return conclude(platform, USERS, users.intervals(), GOOD, begun, status)


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
