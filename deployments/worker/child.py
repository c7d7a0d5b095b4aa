"""One run, in a process forked for it."""

import asyncio
import logging
import os
import signal
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any

from prefect.client.schemas.objects import FlowRun, State
from prefect.engine import handle_engine_signals
from prefect.exceptions import Abort
from prefect.flow_engine import run_flow
from prefect.flows import Flow, load_flow_from_entrypoint
from prefect.states import Cancelled, Failed

from deployments.flow_at_work import FlowAtWork
from deployments.worker.custody import Custody
from deployments.worker.verdicts import folder_of
from rollback.errors import Refused, RunAtWork
from rollback.runs import Store

log = logging.getLogger(__name__)

OUR_LOGGERS = ("flows", "tasks", "rollback")
BEGAN_ELSEWHERE = (
    "This run was begun on another machine, and what it did there is not known here: the state folder is not shared. "
    "This try touched nothing. Look at the app, then start a new run that names the release."
)
FlowFunction = Callable[..., Coroutine[Any, Any, Any]]


@dataclass(frozen=True)
class Order:
    """What a process is forked for."""

    entrypoint: str
    """`module:flow`."""
    environment: Mapping[str, str | None]
    state: Path
    """The state folder."""
    began_elsewhere: bool
    """Whether the run was begun before, but not on this machine."""


def run_in_fork(flow_run: FlowRun, order: Order) -> None:
    """Run the flow of a flow run, to a final state that Prefect knows.

    SIGTERM cancels the flow, which ends by itself. SIGINT is the worker's: Ctrl-C reaches the whole group.
    """
    Custody(order.state).tell_process(flow_run.id)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Kept until the flow is there to be cancelled: Prefect's own handler would end the run as Crashed.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.environ.update({name: value for name, value in order.environment.items() if value is not None})
    for name in OUR_LOGGERS:
        logging.getLogger(name).setLevel(logging.INFO)
    with handle_engine_signals(flow_run.id):
        flow: Flow[..., Any] = load_flow_from_entrypoint(order.entrypoint, use_placeholder_flow=False)
        flow.fn = refused_in_words(cancelled_by_sigterm(flow.fn), flow_run, order)
        run = run_flow(flow, flow_run=flow_run)
        if not asyncio.iscoroutine(run):
            raise TypeError(f"{order.entrypoint} is not an async flow")
        asyncio.run(run)


def refused_in_words(function: FlowFunction, flow_run: FlowRun, order: Order) -> FlowFunction:
    """Make of a refusal that comes before there is anything to record a state that says why.

    Where another process works on this very run, its state is left to that one.
    """

    @wraps(function)
    async def refusing(*args: Any, **kwargs: Any) -> Any:
        if order.began_elsewhere and folder_of(Store(order.state), flow_run) is None:
            return Failed(name="Refused", message=BEGAN_ELSEWHERE)
        try:
            return await function(*args, **kwargs)
        except RunAtWork as error:
            if not flow_run.parameters.get("resume"):
                log.warning("%s", error)
                raise Abort(str(error)) from error
            return Failed(name="Refused", message=str(error))
        except Refused as error:
            return Failed(name="Refused", message=str(error))

    return refusing


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
