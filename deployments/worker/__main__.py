"""`python -m deployments.worker`: take runs until SIGTERM or Ctrl-C, then wait for those that are running."""

import asyncio
import multiprocessing
import os
import signal
from multiprocessing import forkserver

from rollback.settings import load_settings

DEFAULTS = {
    "PREFECT_LOGGING_EXTRA_LOGGERS": "flows,tasks,rollback,deployments",
    # When the final state cannot be told for a minute, a run that succeeded is called Failed.
    "PREFECT_CLIENT_MAX_RETRIES": "8",
    "DO_NOT_TRACK": "1",
}

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


def main() -> None:
    """Run the worker. A second SIGTERM or Ctrl-C cancels the runs, each of which then ends by itself."""
    for name, value in DEFAULTS.items():
        os.environ.setdefault(name, value)
    pool = load_settings().prefect.work_pool
    # Before Prefect is imported here: the process that is forked from imports it at the same time.
    multiprocessing.get_context("forkserver").set_forkserver_preload(list(PRELOADED))
    forkserver.ensure_running()
    asyncio.run(_serve(pool))


async def _serve(pool: str) -> None:
    from deployments.worker.forking import ForkingWorker

    stop, stop_all = asyncio.Event(), asyncio.Event()

    def end() -> None:
        (stop_all if stop.is_set() else stop).set()

    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, end)
    await ForkingWorker(work_pool_name=pool).serve(stop, stop_all)


if __name__ == "__main__":
    main()
