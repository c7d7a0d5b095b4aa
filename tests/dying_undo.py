"""An undo of a restore that kills its own process at a point of its journal: RESTORE RUN (or empty) EVENT STEP."""

import asyncio
import os
import signal
import sys

from support import run_flow

from flows.undo_restore_database import undo_restore_database
from rollback.journal import Entry


def die(entry: Entry) -> None:
    if [entry.event, entry.step] == sys.argv[3:5]:
        os.kill(os.getpid(), signal.SIGKILL)


asyncio.run(run_flow(die, flow=undo_restore_database, restore=sys.argv[1], resume=sys.argv[2]))
