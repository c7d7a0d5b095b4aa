"""A run of the flow that kills its own process, as hard as it gets, at one point of its journal: EVENT STEP."""

import asyncio
import os
import signal
import sys

from support import run_flow

from rollback.journal import Entry


def die(entry: Entry) -> None:
    if [entry.event, entry.step] == sys.argv[1:]:
        os.kill(os.getpid(), signal.SIGKILL)


asyncio.run(run_flow(die))
