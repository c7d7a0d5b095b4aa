"""Rehearse clearing the cache: the bad release is gone, and what it has left in the cache breaks the good one.

Sessions and queues are in the same cache. Users stay signed in, and no message is lost.
"""

from datetime import UTC, datetime

from deployments.drill.commands import Say, carry_out
from deployments.drill.ending import Audience, conclude
from deployments.drill.users import PUBLIC_URL, Interval, Users, all_good, fail_enough, told
from deployments.local_platform import LocalPlatform

BAD, GOOD = "v1.2.3", "v1.2.2"
PATTERN = "cache:donations:*"
USERS = Audience[Interval](
    heading=f"What users of {PUBLIC_URL} got:",
    told=told,
    good=f"users are served by {GOOD}, without what {BAD} had left in the cache",
    not_begun="clearing the cache did not begin",
)


def rehearse(platform: LocalPlatform, pace: str, say: Say) -> int:
    """Let users meet pages that the good release cannot read, and take those out of the cache; the exit status."""
    platform.start_server()
    say("Starting a local Azure, and Prefect beside it …")
    platform.start_sandbox("--pace", pace)
    platform.ask_sandbox("break", "redeploy", f"release={GOOD}", "slot=production")
    platform.ask_sandbox("break", "cache-poisoned", "form=fails")
    say(f"Production is {GOOD} again, put there by the sandbox; its cache holds pages as {BAD} wrote them.")
    users = Users(platform)
    users.wait(fail_enough, f"users saw no errors of what {BAD} had left")
    say(f"Users of {PUBLIC_URL}: {told(users.intervals())}")
    platform.wait_for_server()
    say(f"Prefect's UI: {platform.ui_url}")
    platform.start_worker()
    begun = datetime.now(UTC)
    reason = f"drill: {GOOD} cannot read {BAD}'s pages"
    status = carry_out(platform, say, "clear-cache", "--pattern", PATTERN, "--reason", reason)
    if status == 0:
        users.wait(lambda seen: all_good(seen, GOOD, begun), f"users were not served by {GOOD} only")
    return conclude(platform, USERS, users.intervals(), GOOD, begun, status)
