"""Rehearse going back to an earlier release of the frontends, whose page cannot show the donations.

Only they are bad: the backend is put back to its good release before anybody looks.
"""

from datetime import UTC, datetime
from pathlib import Path

import click

from deployments.drill.commands import Say, carry_out, tell
from deployments.drill.ending import Audience, conclude
from deployments.drill.visitors import (
    ENOUGH_BROKEN,
    PUBLIC_URL,
    Visit,
    Visitors,
    all_good,
    broken,
    main_problem,
    told,
)
from deployments.local_platform import LocalPlatform

BAD, GOOD = "v1.2.3", "v1.2.2"
PICTURES = ("before.png", "after.png")
VISITORS = Audience[Visit](
    heading=f"What visitors of {PUBLIC_URL} got:",
    told=told,
    good=f"visitors get {GOOD} again",
    not_begun="the redeployment did not begin",
)


def rehearse(platform: LocalPlatform, pace: str, say: Say) -> int:
    """Let visitors meet a page that does not work, and bring the earlier release back; the exit status."""
    platform.start_server()
    say("Starting a local Azure, and Prefect beside it …")
    platform.start_sandbox("--pace", pace)
    platform.ask_sandbox("break", "redeploy", f"release={GOOD}", "slot=production")
    say(f"The backend of production is {GOOD} again, put there by the sandbox: only its frontends are {BAD}.")
    visitors = Visitors(platform)
    visitors.wait(_meet_the_bad_page, f"visitors did not get {BAD}'s page")
    say(f"{PUBLIC_URL} shows no donations: {main_problem(visitors.visits()[-ENOUGH_BROKEN:])}.")
    missing = _take_picture(platform, PICTURES[0])
    platform.wait_for_server()
    say(f"Prefect's UI: {platform.ui_url}")
    platform.start_worker()
    begun = datetime.now(UTC)
    status = carry_out(platform, say, "redeploy-frontend", "--reason", f"drill: {BAD}'s page shows no donations")
    if status == 0:
        visitors.wait(lambda seen: all_good(seen, GOOD, begun), f"visitors did not get {GOOD} only")
        missing = _take_picture(platform, PICTURES[1]) or missing
    _tell_of_pictures(platform.folder, missing)
    return conclude(platform, VISITORS, visitors.visits(), GOOD, begun, status)


def _meet_the_bad_page(seen: list[Visit]) -> bool:
    """Whether the latest visitors got the page of the bad release, and it did not work for any of them."""
    latest = seen[-ENOUGH_BROKEN:]
    return broken(latest) == ENOUGH_BROKEN and {each.version for each in latest} == {BAD}


def _take_picture(platform: LocalPlatform, name: str) -> str:
    """Keep what a browser shows of the page now; why that was not possible, or nothing."""
    return tell(platform, "deployments.drill.camera", f"{PUBLIC_URL}/", str(platform.folder / name))


def _tell_of_pictures(folder: Path, missing: str) -> None:
    taken = [name for name in PICTURES if (folder / name).exists()]
    click.echo("")
    if taken:
        click.echo(f"In a browser: {' and '.join(str(folder / name) for name in taken)}")
    if missing:
        click.echo(f"Not looked at in a browser: {missing}.")
