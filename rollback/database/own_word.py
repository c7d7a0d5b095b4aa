"""What the app itself says of its database, where the platform file tells where: evidence beside the sessions."""

import asyncio
import re

from rollback import probes
from rollback.context import Run
from rollback.errors import NotVerified
from rollback.probes import Prober

LOOK_SECONDS = 0.5
HOST = re.compile(r"[A-Za-z0-9.-]{1,253}")


async def hear(run: Run, public: str, host: str) -> list[str]:
    """Let the app say several times in a row that its database is on `host`; returns the evidence, in words.

    Without evidence where the platform file does not tell where to ask. Raises `NotVerified` where the app contradicts
    or says nothing.
    """
    says, settings = run.database.says_host, run.backend.probes
    if says is None:
        return []
    told, in_a_row = None, 0
    try:
        async with asyncio.timeout(settings.verify_within_seconds), probes.connect(settings) as client:
            prober = Prober(client, public, settings)
            while in_a_row < settings.in_a_row:
                told = await prober.ask_field(says.path, says.json_field)
                in_a_row = in_a_row + 1 if told and told.lower() == host.lower() else 0
                await asyncio.sleep(0 if in_a_row else LOOK_SECONDS)
    except TimeoutError as error:
        raise NotVerified(
            f"The app itself says in {says.path}, {says.json_field}, that its database is on {_words(told)}, not "
            f"'{host}'.",
            remedy="The servers' sessions say otherwise: look at the app's settings, and whether all of it was "
            "restarted. Then resume this run.",
        ) from error
    return [f"The app itself says in {says.path} that its database is on '{host}' ({in_a_row} times in a row)"]


def _words(told: str | None) -> str:
    """What a wrong field says may hold a password: only what looks like a host is told."""
    if not told:
        return "nothing that it would tell"
    return f"'{told}'" if HOST.fullmatch(told) else "something that is no host"
