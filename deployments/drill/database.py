"""Rehearse a restore: a bad release damages rows, and the database goes back to the instant before.

The users' own notes of what they were told is recorded are the truth that the result is held against.
"""

import time
from dataclasses import dataclass
from datetime import UTC, datetime

import click

from deployments.drill.commands import Say, carry_out, read_rows
from deployments.drill.users import PUBLIC_URL, WITHIN_SECONDS, Accepted, Users, all_good, told
from deployments.local_platform import LocalPlatform
from rollback.database.plans import RestorePlan
from rollback.errors import Permanent
from rollback.runs import Store

BAD, GOOD = "v1.2.3", "v1.2.2"
ENOUGH_DAMAGE = 5
"""Donations of which only a zero is left, before anybody would call for a restore."""


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
    status = carry_out(
        platform, say, "roll-back-backend", "--release", GOOD, "--reason", f"drill: {BAD} damages donations"
    )
    if status != 0:
        return status
    begun = datetime.now(UTC)
    reason = f"drill: donations as they were before {BAD}"
    status = carry_out(platform, say, "restore-database", "--restore-point", point.isoformat(), "--reason", reason)
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
    return {donation: row["amount_cents"] for donation, row in read_rows(platform).items()}


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
