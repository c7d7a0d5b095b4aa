"""Rehearse going back to an earlier release's infrastructure: a setting that its template brought is bad.

Only that is bad: the backend is put back to its good release before anybody looks, and donations fail all the same.
"""

from datetime import UTC, datetime

from deployments.drill.commands import Say, carry_out
from deployments.drill.ending import Audience, conclude
from deployments.drill.users import PUBLIC_URL, Interval, Users, all_good, fail_enough, told
from deployments.local_platform import LocalPlatform

BAD, GOOD = "v1.2.3", "v1.2.2"
USERS = Audience[Interval](
    heading=f"What users of {PUBLIC_URL} got:",
    told=told,
    good=f"users are served on {GOOD}'s infrastructure",
    not_begun="rolling the infrastructure back did not begin",
)


def rehearse(platform: LocalPlatform, pace: str, say: Say) -> int:
    """Let donations fail for a setting of the template, and deploy the earlier template again; the exit status."""
    platform.start_server()
    say("Starting a local Azure, and Prefect beside it …")
    platform.start_sandbox("--pace", pace)
    platform.ask_sandbox("break", "redeploy", f"release={GOOD}", "slot=production")
    platform.ask_sandbox("break", "payments-slow")
    say(f"Production is {GOOD} again, put there by the sandbox; its infrastructure is {BAD}'s, and payments are slow.")
    users = Users(platform)
    users.wait(fail_enough, "no donation failed")
    say(f"Users of {PUBLIC_URL}: {told(users.intervals())}")
    platform.wait_for_server()
    say(f"Prefect's UI: {platform.ui_url}")
    platform.start_worker()
    begun = datetime.now(UTC)
    reason = f"drill: donations fail since {BAD}'s template"
    status = carry_out(platform, say, "roll-back-infrastructure", "--release", GOOD, "--reason", reason)
    if status == 0:
        users.wait(lambda seen: all_good(seen, GOOD, begun), f"users were not served by {GOOD} only")
    return conclude(platform, USERS, users.intervals(), GOOD, begun, status)
