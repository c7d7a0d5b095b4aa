"""A database restore that kills its own process, as hard as it gets, at one point of its journal: POINT EVENT STEP."""

import asyncio
import os
import signal
import sys

from restoring import run_restore

from rollback.journal import Entry


def die(entry: Entry) -> None:
    if [entry.event, entry.step] == sys.argv[2:4]:
        os.kill(os.getpid(), signal.SIGKILL)


asyncio.run(run_restore(die, restore_point=sys.argv[1]))
