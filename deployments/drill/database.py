"""Rehearse a restore: a bad release damages rows, and the database goes back to the instant before.

The users' own notes of what they were told is recorded are the truth that the result is held against.
"""

import json
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

import click

from deployments.drill.commands import begin, finish, tell
from deployments.drill.users import LOOK_SECONDS, PUBLIC_URL, WITHIN_SECONDS, Accepted, Users, all_good, told
from deployments.local_platform import LocalPlatform
from rollback.approvals.handover import ask
from rollback.approvals.policy import SHORT_HASH
from rollback.database.plans import RestorePlan
from rollback.errors import NotWaiting, Permanent
from rollback.runs import RunFolder, Store

ENVIRONMENT = "production"
BAD, GOOD = "v1.2.3", "v1.2.2"
APPROVERS = ("lead", "second")
ENOUGH_DAMAGE = 5
"""Donations of which only a zero is left, before anybody would call for a restore."""
Say = Callable[[str], None]


class NotDamaged(Permanent):
    """The bad release did not damage anything in time."""


def rehearse(platform: LocalPlatform, pace: str, say: Say) -> int:
    """Let a release damage rows, roll it back, restore the database; the exit status."""
    platform.start_server()
    say("Starting a local Azure, and Prefect beside it …")
    platform.start_sandbox("--pace", pace)
    platform.ask_sandbox("break", "redeploy", f"release={GOOD}", "slot=production")
    users = Users(platform)
    users.wait(lambda seen: all_good(seen, GOOD), f"users were not served by {GOOD}")
    platform.wait_for_server()
    say(f"Prefect's UI: {platform.ui_url}")
    platform.start_worker()
    point = datetime.now(UTC)
    _damage(platform, say)
    status = _run(platform, say, "roll-back-backend", "--release", GOOD, "--reason", f"drill: {BAD} damages donations")
    if status != 0:
        return status
    begun = datetime.now(UTC)
    reason = f"drill: donations as they were before {BAD}"
    status = _run(platform, say, "restore-database", "--restore-point", point.isoformat(), "--reason", reason)
    if status == 0:
        users.wait(lambda seen: all_good(seen, GOOD, begun), f"users were not served by {GOOD} only")
    return _conclude(platform, users, point, status)


def _damage(platform: LocalPlatform, say: Say) -> None:
    """Let the bad release reach production, until donations are damaged."""
    platform.ask_sandbox("break", "redeploy", f"release={BAD}", "slot=production")
    deadline = time.monotonic() + WITHIN_SECONDS
    while (damaged := _damaged(_books(platform))) < ENOUGH_DAMAGE:
        if time.monotonic() > deadline:
            raise NotDamaged(f"Within {WITHIN_SECONDS:g} s {BAD} damaged {damaged} donations only.")
    say(f"{BAD} reached production: {damaged} donations have lost their amounts.")


def _damaged(books: dict[int, int]) -> int:
    return sum(cents == 0 for cents in books.values())


def _books(platform: LocalPlatform) -> dict[int, int]:
    """Every donation that the database in use holds, in cents."""
    return {
        int(key): cents for key, cents in json.loads(tell(platform, "deployments.drill.books", ENVIRONMENT)).items()
    }


def _run(platform: LocalPlatform, say: Say, procedure: str, *options: str) -> int:
    """Run a procedure as an operator would; whenever it waits for an approval, both approvers give theirs."""
    command = ("run", procedure, "--environment", ENVIRONMENT, *options)
    say(f"rollback {subprocess.list2cmdline(command)}\n")
    store = Store(platform.folder / "rollback")
    known = {each.header.run for each in store.latest(2)}
    process = begin(platform, *command)
    while process.poll() is None:
        mine = [each for each in store.latest(1) if each.header.run not in known]
        if mine and (plan_hash := _wanted(mine[0])):
            for who in APPROVERS:
                _approve(platform, mine[0].header.run, plan_hash, who)
        time.sleep(LOOK_SECONDS)
    return finish(process)


def _wanted(folder: RunFolder) -> str | None:
    """The hash of the plan that a run waits with; none where it does not wait."""
    try:
        return ask(folder.folder).plan_hash
    except NotWaiting:
        return None


def _approve(platform: LocalPlatform, run: str, plan_hash: str, who: str) -> None:
    arguments = ("approve", run, "--hash", plan_hash[:SHORT_HASH], "--yes", "--note", "drill")
    finish(begin(platform, *arguments, environment=platform.environment_of(who), quiet=True))


@dataclass(frozen=True)
class Truth:
    """What the users' notes say of the restored database."""

    kept: int
    """Donations of before the restore point that are there as they were."""
    wrong: int
    """Donations of before it that are missing, or have another amount."""
    lost: int
    """Donations of after it that are gone."""
    damaged: int
    """Donations that still have no amount."""


def _truth(accepted: list[Accepted], books: dict[int, int], point: datetime) -> Truth:
    before = [each for each in accepted if each.created_at <= point]
    wrong = sum(books.get(each.id) != each.amount_cents for each in before)
    lost = sum(each.id not in books for each in accepted if each.created_at > point)
    return Truth(kept=len(before) - wrong, wrong=wrong, lost=lost, damaged=_damaged(books))


def _conclude(platform: LocalPlatform, users: Users, point: datetime, status: int) -> int:
    """Hold the result against the users' notes, and print the one line at the end; the exit status."""
    (folder,) = Store(platform.folder / "rollback").latest(1)
    outcome, plan = folder.outcome(), folder.plan(RestorePlan)
    if status != 0 or plan is None or plan.measured is None:
        click.echo(f"✗ drill: {outcome.end_state.value if outcome else 'it did not begin'}; see {platform.folder}.")
        return status or 1
    truth = _truth(users.accepted(), _books(platform), point)
    billed = sum(each.inserts or 0 for each in plan.measured.tables if each.table.endswith("donations"))
    click.echo(f"\nUsers of {PUBLIC_URL}: {told(users.intervals())}")
    click.echo(f"Donations of before {point:%H:%M:%S}: {truth.kept} as they were, {truth.wrong} not.")
    click.echo(f"Donations since: {truth.lost} lost, {billed} on the bill and in the file with the lost rows.")
    good = truth.wrong == 0 and truth.damaged == 0 and truth.lost <= billed
    words = "the database is as it was, nothing lost but what the bill said" if good else "the users' notes differ"
    click.echo(f"{'✓' if good else '✗'} drill: {words}.\nReport: {folder.report_file}")
    return 0 if good else 1
