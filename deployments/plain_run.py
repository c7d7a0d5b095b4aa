"""The plain way: the same flow in this process, with no Prefect server at all."""

import asyncio
import logging
import os

from deployments.defects import keep_details
from deployments.flow_at_work import FlowAtWork
from deployments.live_view import View
from deployments.procedures import Request, flow_of
from deployments.signals import ending_by_signals
from rollback.runs import Outcome

OFFLINE = {
    "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "false",
    "PREFECT_LOGGING_TO_API_ENABLED": "false",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
}
"""Prefect's own switches: no server is started for us, and nothing is sent to one."""


async def run_here(request: Request, view: View) -> Outcome:
    """Run the procedure's flow as a plain function, and return how it ended.

    Ctrl-C and SIGTERM cancel it, once: it ends by itself and says what state things are in. It goes on when its
    terminal is closed. A defect is shown with the place of its details; the outcome tells what it left.
    """
    os.environ.update(OFFLINE)
    os.environ.pop("PREFECT_API_URL", None)
    flow = flow_of(request.procedure)
    # What the loggers say is in the journal, which the view shows: once is enough. Prefect has set up its own by now.
    logging.basicConfig(handlers=[logging.NullHandler()], force=True)
    work = FlowAtWork(flow.fn(**request.parameters()), view)
    with ending_by_signals(lambda: _cancel(work, view)):
        await asyncio.wait({work.task})
    error = None if work.task.cancelled() else work.task.exception()
    if error is None and not work.task.cancelled():
        return _as_outcome(request, work.task.result())
    outcome = work.outcome()
    if outcome is None:
        return work.task.result()
    if error is not None:
        view.say(f"A defect of this program ({type(error).__name__}). {keep_details(error, error.__traceback__)}")
    return outcome


def _as_outcome(request: Request, result: object) -> Outcome:
    if not isinstance(result, Outcome):
        raise TypeError(f"{request.procedure} returned {type(result).__name__}, not its outcome")
    return result


def _cancel(work: FlowAtWork, view: View) -> None:
    if work.cancel():
        view.say("Cancelling: the run ends by itself and says what state things are in.")
    else:
        view.say("Already cancelled; it is ending. Killing it now would leave the environment unfinished.")
