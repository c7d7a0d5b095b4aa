"""An app is restarted once, and seen to have started anew.

App Service has no operation to follow and no time stamp of a restart: its container log tells when a container started.
"""

import asyncio
import re
from datetime import datetime

from rollback.context import Run
from rollback.convergence import Change, converge
from rollback.database.consumers import App
from rollback.journal import Event
from rollback.slots import PRODUCTION

RESTART = "restart"
"""The change's name in the journal."""
LOG_LINES = 200
LOOK_SECONDS = 0.5
STARTED = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z)\s+INFO\s+- .*initialized successfully")
"""The platform's own line. Source: learn.microsoft.com, "Troubleshoot container startup on App Service"."""


async def restart_app(run: Run) -> None:
    """Restart production once, whatever becomes of the answer; on return its new container has started.

    Where the log does not tell of it in time that is noted: what users get is verified anyway.
    """
    if RESTART in run.journal.confirmed_changes():
        return
    apps, backend = await run.apps(), run.backend
    app = App(resource_group=backend.resource_group, app=backend.app, slot=PRODUCTION, host="", state="", addresses=())
    answered = False

    async def send() -> None:
        nonlocal answered
        await apps.restart(app)
        answered = True

    async def is_done() -> bool:
        return answered or await _has_started(run)

    change = Change(
        name=RESTART,
        doing=f"Restarting {backend.app}.",
        done=f"{backend.app} is restarted.",
        is_done=is_done,
        send=send,
    )
    await converge(run, change, backend.start_within_seconds, backend.settle_seconds)
    try:
        async with asyncio.timeout(backend.start_within_seconds):
            while not await _has_started(run):  # noqa: ASYNC110 - nobody tells of a line in that log
                await asyncio.sleep(LOOK_SECONDS)
        run.note("The log tells that its container started.")
    except TimeoutError:
        run.note(f"Its log does not tell within {backend.start_within_seconds:g} s that its container started.")


async def _has_started(run: Run) -> bool:
    """Whether a container started since the restart was first sent."""
    entries = run.journal.entries
    sent = next((each.at for each in entries if (each.event, each.change) == (Event.SENDING, RESTART)), None)
    if sent is None:
        return False
    lines = await (await run.app_service()).get_log_tail(PRODUCTION, LOG_LINES)
    found = [STARTED.match(line) for line in lines]
    return any(each is not None and datetime.fromisoformat(each[1]) > sent for each in found)
