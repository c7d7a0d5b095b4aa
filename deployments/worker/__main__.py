"""`python -m deployments.worker [--tries N]`: take runs until SIGTERM or Ctrl-C, then wait for those running."""

import asyncio
import logging
import multiprocessing
import os
import signal
from multiprocessing import forkserver
from pathlib import Path

import click

from rollback.settings import load_settings

DEFAULTS = {
    "PREFECT_LOGGING_EXTRA_LOGGERS": "flows,tasks,rollback,deployments",
    # What the automations notice a lost machine by; the shortest that Prefect takes.
    "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30",
    "DO_NOT_TRACK": "1",
}

RETRIES = "PREFECT_CLIENT_MAX_RETRIES"
RUN_RETRIES, WORKER_RETRIES = "8", "2"
"""Each waits twice as long as the one before. A run whose final state cannot be told for a minute is called Failed,
though it succeeded; a worker asks again by itself every few seconds, and minutes of patience only make it late."""

PRELOADED = (
    "deployments.worker.preload",
    "deployments.worker.child",
    "flows.roll_back_backend",
    "azure.identity.aio",
    "azure.mgmt.authorization.v2022_04_01.aio",
    "azure.mgmt.core.policies",
    "azure.mgmt.web.aio",
    "jinja2",
)
"""Prefect, the flows, and what they import only when they need it: together a second or more for each run."""


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--tries",
    type=click.IntRange(min=1),
    default=3,
    show_default=True,
    help="How often a run is started before it stays Crashed: one whose process dies goes on in a new one. "
    "1: never by itself.",
)
def main(tries: int) -> None:
    """Run procedures. A second SIGTERM or Ctrl-C cancels the runs, each of which then ends by itself."""
    for name, value in DEFAULTS.items():
        os.environ.setdefault(name, value)
    settings = load_settings()
    # Before Prefect is imported here: the process that is forked from imports it at the same time.
    multiprocessing.get_context("forkserver").set_forkserver_preload(list(PRELOADED))
    os.environ[RETRIES] = RUN_RETRIES
    forkserver.ensure_running()
    os.environ[RETRIES] = WORKER_RETRIES
    asyncio.run(_serve(settings.prefect.work_pool, settings.state.directory, tries))


async def _serve(pool: str, state: Path, tries: int) -> None:
    from deployments.worker.forking import ForkingWorker

    # As in the process that is forked from: what this library logs at its debug level has Prefect's login in it.
    logging.getLogger("websockets").setLevel(logging.INFO)
    stop, stop_all = asyncio.Event(), asyncio.Event()

    def end() -> None:
        (stop_all if stop.is_set() else stop).set()

    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, end)
    await ForkingWorker(state, most_tries=tries, work_pool_name=pool).serve(stop, stop_all)


if __name__ == "__main__":
    main()
