"""Rehearse a downgrade: the release that has to serve cannot use the schema, which is taken down while users go on.

The rows before and after are the truth that the plan's words are held against.
"""

import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import click

from deployments.drill.commands import ENVIRONMENT, Say, begin, carry_out, finish, read_rows
from deployments.drill.users import PUBLIC_URL, Interval, Users, all_good, fail_enough, failed, told
from deployments.local_platform import LocalPlatform
from rollback.errors import Permanent
from rollback.migrations.plans import DowngradePlan
from rollback.outcomes import EndState
from rollback.runs import RunFolder, Store

BAD, SAFE, WANTED = "v1.2.3", "v1.2.2", "v1.2.1"
"""The release whose schema has tips, the one that runs with and without them, and the one that runs without only."""
LOST_COLUMN = "tip_cents"
DOWN = ("--target", "previous")
Rows = dict[int, dict[str, Any]]


class NotAsRehearsed(Permanent):
    """A command did not end as it must; names it."""


@dataclass(frozen=True)
class Truth:
    """What the rows say, beside what the plan said."""

    planned: int | None
    """Values that the plan said will be lost; none where it did not know."""
    lost: int
    """Values that there were before."""
    left: int
    """Rows that have the column still."""
    kept: int
    """Rows that are as they were, in every other column."""
    changed: int
    """Rows that are not, or are missing."""
    missing: int
    """Donations that a user was told are recorded, and that are not there."""

    @property
    def is_good(self) -> bool:
        """Whether exactly that was lost that the plan said."""
        return self.lost == self.planned and not (self.left or self.changed or self.missing)


@dataclass
class Drill:
    """The drill's platform and users, and when each part of it began."""

    platform: LocalPlatform
    users: Users
    say: Say
    begun: dict[str, datetime] = field(default_factory=dict[str, datetime])

    def begin(self, part: str) -> datetime:
        """A part begins, and the one before ends."""
        self.begun[part] = datetime.now(UTC)
        return self.begun[part]

    def run(self, procedure: str, *options: str, ends: EndState) -> RunFolder:
        """Run a procedure that must end so; raises `NotAsRehearsed`."""
        status = carry_out(self.platform, self.say, procedure, *options)
        if status != ends.exit_status:
            raise NotAsRehearsed(f"{procedure} ended with status {status}, and not as '{ends.value}'.")
        click.echo("")
        (folder,) = Store(self.platform.folder / "rollback").latest(1)
        return folder

    def until_served_by(self, release: str, since: datetime) -> None:
        """Return when users get good answers only, and from this release."""
        self.users.wait(lambda seen: all_good(seen, release, since), f"users were not served by {release} only")

    def parts(self) -> dict[str, list[Interval]]:
        """What users got in each part."""
        starts = list(self.begun.values())
        ends = [*starts[1:], datetime.max.replace(tzinfo=UTC)]
        seen = self.users.intervals()
        return {
            part: [each for each in seen if start <= each.t < end]
            for part, start, end in zip(self.begun, starts, ends, strict=True)
        }


def rehearse(platform: LocalPlatform, pace: str, say: Say) -> int:
    """Be refused a release for its schema, take the schema down, bring the release back; the exit status."""
    drill = _start(platform, pace, say)
    clock = time.monotonic()
    _leave_the_bad_release(drill)
    before = read_rows(platform)
    downgrade = _downgrade(drill)
    _bring_back(drill)
    took = time.monotonic() - clock
    # Users go on: what they are told of after this need not be in the rows that are read now.
    accepted = {each.id for each in drill.users.accepted()}
    truth = _truth(downgrade.plan(DowngradePlan), before, read_rows(platform), accepted)
    return _conclude(drill, truth, took, downgrade)


def _start(platform: LocalPlatform, pace: str, say: Say) -> Drill:
    platform.start_server()
    say("Starting a local Azure, and Prefect beside it …")
    platform.start_sandbox("--pace", pace)
    users = Users(platform)
    users.wait(fail_enough, f"users saw no errors of {BAD}")
    say(f"Users of {PUBLIC_URL}: {told(users.intervals())}")
    platform.wait_for_server()
    say(f"Prefect's UI: {platform.ui_url}")
    platform.start_worker()
    return Drill(platform, users, say)


def _leave_the_bad_release(drill: Drill) -> None:
    """The release that is wanted is refused, and says what helps; one that runs on both schemas serves meanwhile."""
    reason = ("--reason", f"drill: {BAD} fails")
    drill.begin(f"{BAD} serves")
    drill.run("redeploy-backend", "--release", WANTED, *reason, ends=EndState.REFUSED)
    begun = drill.begin("rolling back")
    drill.run("roll-back-backend", "--release", SAFE, *reason, ends=EndState.ROLLED_BACK)
    drill.until_served_by(SAFE, begun)


def _downgrade(drill: Drill) -> RunFolder:
    """See what it costs, and do it in the slot that has the newer release since the swap."""
    drill.begin("going down")
    command = ("plan", "downgrade-database", "--environment", ENVIRONMENT, *DOWN)
    drill.say(f"rollback {' '.join(command)}\n")
    if status := finish(begin(drill.platform, *command)):
        raise NotAsRehearsed(f"The plan of downgrade-database ended with status {status}.")
    click.echo("")
    reason = ("--reason", f"drill: {WANTED} cannot use tips")
    return drill.run("downgrade-database", *DOWN, *reason, ends=EndState.DOWNGRADED)


def _bring_back(drill: Drill) -> None:
    """Now the release that is wanted can serve."""
    begun = drill.begin(f"{WANTED} comes")
    drill.run("redeploy-backend", "--release", WANTED, "--reason", "drill: it can now", ends=EndState.ROLLED_BACK)
    drill.until_served_by(WANTED, begun)


def _truth(plan: DowngradePlan | None, before: Rows, after: Rows, accepted: set[int]) -> Truth:
    counts = {each.lost.column: each.count for each in plan.losses} if plan else {}
    kept = sum(_others(row) == after.get(donation) for donation, row in before.items())
    return Truth(
        planned=counts.get(LOST_COLUMN),
        lost=sum(row[LOST_COLUMN] is not None for row in before.values()),
        left=sum(LOST_COLUMN in row for row in after.values()),
        kept=kept,
        changed=len(before) - kept,
        missing=len(accepted - after.keys()),
    )


def _others(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name != LOST_COLUMN}


def _conclude(drill: Drill, truth: Truth, took: float, downgrade: RunFolder) -> int:
    """Print what users got, hold the rows against the plan, and the one line at the end; the exit status."""
    parts = drill.parts()
    click.echo(f"What users of {PUBLIC_URL} got:")
    for name, seen in parts.items():
        click.echo(f"  {name:<15} {told(seen)}")
    bad = failed(each for name in list(parts)[2:] for each in parts[name])
    planned = "unknown" if truth.planned is None else truth.planned
    click.echo(f"Values of donations.{LOST_COLUMN}: {planned} to be lost by the plan, {truth.lost} lost.")
    click.echo(f"Donations of before: {truth.kept} as they were otherwise, {truth.changed} not.")
    click.echo(f"Donations that users were told of: {truth.missing} missing.")
    noticed = f"since {SAFE} serves {bad or 'no'} request{'s' if bad > 1 else ''} failed"
    lost = "nothing lost but what the plan said" if truth.is_good else "the rows are not as the plan said"
    good = truth.is_good and not bad
    if good:
        click.echo(f"✓ drill: {WANTED} serves, {took:.1f} s after it was first asked for; {lost}; {noticed}.")
    else:
        click.echo(f"✗ drill: {lost}; {noticed}; see {drill.platform.folder}.")
    click.echo(f"Report: {downgrade.report_file}")
    return 0 if good else 1
