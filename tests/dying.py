"""A flow in a process of its own that kills itself, as hard as it gets, at one point of its journal."""

import asyncio
import os
import signal
import sys
from importlib import import_module
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

from forked import fork, take_environment
from prefect import Flow

from flows.roll_back_backend import roll_back_backend
from rollback.journal import Entry, Event

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
    return fork(_run, dict(os.environ), point, where, parameters)


def _errors() -> Path:
    return Path(os.environ["ROLLBACK_STATE"]).with_name("errors.txt")


def _run(environment: dict[str, str], point: Point | None, where: tuple[str, str], parameters: dict[str, Any]) -> None:
    from support import run_flow

    take_environment(environment)
    with _errors().open("wb") as file:
        os.dup2(file.fileno(), sys.stdout.fileno())
        os.dup2(file.fileno(), sys.stderr.fileno())

    def die(entry: Entry) -> None:
        if (entry.event, entry.step) == point:
            os.kill(os.getpid(), signal.SIGKILL)

    flow = getattr(import_module(where[0]), where[1])
    asyncio.run(run_flow(die, flow=flow, **parameters))
