"""A flow in a process of its own that kills itself, as hard as it gets, at one point of its journal.

The process is forked from one that has imported what a flow imports: most of these tests' time would go into that.
"""

import asyncio
import multiprocessing
import os
import signal
import ssl
import sys
from functools import cache
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path
from typing import Any

from prefect import Flow

from flows.roll_back_backend import roll_back_backend
from rollback.journal import Entry, Event

IMPORTED = [
    "pytest",
    "flows.restore_database",
    "flows.undo_restore_database",
    "flows.roll_back_backend",
    "azure.identity.aio",
    "azure.keyvault.secrets.aio",
    "azure.mgmt.postgresqlflexibleservers.aio",
    "azure.mgmt.web.aio",
]
SECONDS = 120

Point = tuple[Event, str]


def run_killed_at(event: Event, step: str, flow: Flow[..., Any] = roll_back_backend, **parameters: object) -> None:
    """Run the flow until it kills itself there."""
    process = begin((event, step), flow, **parameters)
    process.join(SECONDS)
    assert process.exitcode == -signal.SIGKILL, f"{step}: {_errors().read_text(encoding='utf-8')}"


def begin(point: Point | None, flow: Flow[..., Any] = roll_back_backend, **parameters: object) -> ForkServerProcess:
    """Begin the flow in a process of its own."""
    where = (flow.fn.__module__, flow.fn.__name__)
    process = _context().Process(target=_run, args=(dict(os.environ), point, where, parameters), daemon=True)
    process.start()
    return process


@cache
def _context() -> ForkServerContext:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(IMPORTED)
    return context


def _errors() -> Path:
    return Path(os.environ["ROLLBACK_STATE"]).with_name("errors.txt")


def _run(environment: dict[str, str], point: Point | None, where: tuple[str, str], parameters: dict[str, Any]) -> None:
    import aiohttp.connector
    from support import run_flow

    os.environ.clear()
    os.environ.update(environment)
    vars(aiohttp.connector)["_SSL_CONTEXT_VERIFIED"] = ssl.create_default_context()
    with _errors().open("wb") as file:
        os.dup2(file.fileno(), sys.stdout.fileno())
        os.dup2(file.fileno(), sys.stderr.fileno())

    def die(entry: Entry) -> None:
        if (entry.event, entry.step) == point:
            os.kill(os.getpid(), signal.SIGKILL)

    flow = getattr(sys.modules[where[0]], where[1])
    asyncio.run(run_flow(die, flow=flow, **parameters))
