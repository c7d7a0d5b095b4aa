"""One run, in a process forked for it."""

import asyncio
import logging
import os
import signal
from collections.abc import Callable, Coroutine, Mapping
from functools import wraps
from typing import Any

from prefect.client.schemas.objects import FlowRun, State
from prefect.engine import handle_engine_signals
from prefect.flow_engine import run_flow
from prefect.flows import Flow, load_flow_from_entrypoint
from prefect.states import Cancelled

from deployments.flow_at_work import FlowAtWork

OUR_LOGGERS = ("flows", "tasks", "rollback")
FlowFunction = Callable[..., Coroutine[Any, Any, Any]]


def run_in_fork(flow_run: FlowRun, entrypoint: str, environment: Mapping[str, str | None]) -> None:
    """Run the flow of `entrypoint` for a flow run, to a final state that Prefect knows.

    SIGTERM cancels the flow, which ends by itself. SIGINT is the worker's: Ctrl-C reaches the whole group.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Kept until the flow is there to be cancelled: Prefect's own handler would end the run as Crashed.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.environ.update({name: value for name, value in environment.items() if value is not None})
    for name in OUR_LOGGERS:
        logging.getLogger(name).setLevel(logging.INFO)
    with handle_engine_signals(flow_run.id):
        flow: Flow[..., Any] = load_flow_from_entrypoint(entrypoint, use_placeholder_flow=False)
        flow.fn = cancelled_by_sigterm(flow.fn)
        run = run_flow(flow, flow_run=flow_run)
        if not asyncio.iscoroutine(run):
            raise TypeError(f"{entrypoint} is not an async flow")
        asyncio.run(run)


def cancelled_by_sigterm(function: FlowFunction) -> FlowFunction:
    """Let SIGTERM cancel the flow's function, and make of its end a state that says what state things are in."""

    @wraps(function)
    async def ending(*args: Any, **kwargs: Any) -> Any:
        work = FlowAtWork(function(*args, **kwargs))
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, work.cancel)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
        try:
            result = await work.task
        except asyncio.CancelledError:
            if not work.was_cancelled:
                raise
            outcome = work.outcome()
            return Cancelled(message=outcome.headline if outcome else "Cancelled before anything was done.")
        if work.was_cancelled and isinstance(result, State):
            # Prefect takes only Cancelled for a run that was asked to cancel.
            return Cancelled(message=f"Cancelled too late: {result.name}. {result.message or ''}")
        return result

    return ending
