"""Takes runs from the work pool and sees each of them to its end, in a process forked for it."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from uuid import UUID

from prefect.client.schemas.objects import Flow, FlowRun, State, WorkPool
from prefect.client.schemas.responses import DeploymentResponse
from prefect.events.clients import get_events_subscriber
from prefect.events.filters import EventFilter, EventNameFilter
from prefect.states import Cancelled, Crashed
from prefect.workers.base import BaseJobConfiguration, BaseVariables, BaseWorker, BaseWorkerResult
from pydantic import PrivateAttr

from deployments.worker.process import Child

if TYPE_CHECKING:
    from anyio.abc import TaskStatus

log = logging.getLogger(__name__)

POLL_SECONDS = 5.0
"""The net under the events that announce a run or a cancellation."""
AGAIN_SECONDS = 2.0
"""Before events are listened to again."""
GRACE_SECONDS = 30.0
"""For a cancelled run to end by itself: it reads once more what state things are in."""
SCHEDULED, CANCELLING = "prefect.flow-run.Scheduled", "prefect.flow-run.Cancelling"


class ForkConfiguration(BaseJobConfiguration):
    """What a run is started with: its deployment's entry point, and environment variables."""

    _entrypoint: str = PrivateAttr(default="")

    @property
    def entrypoint(self) -> str:
        """`module:flow`."""
        return self._entrypoint

    def prepare_for_flow_run(
        self,
        flow_run: FlowRun,
        deployment: DeploymentResponse | None = None,
        flow: Flow | None = None,
        work_pool: WorkPool | None = None,
        worker_name: str | None = None,
        worker_id: UUID | None = None,
    ) -> None:
        """Keep the deployment's entry point besides."""
        super().prepare_for_flow_run(flow_run, deployment, flow, work_pool, worker_name, worker_id)
        self._entrypoint = (deployment.entrypoint if deployment else None) or ""


class ForkResult(BaseWorkerResult):
    """How a run's process ended."""


class ForkingWorker(BaseWorker[ForkConfiguration, BaseVariables, ForkResult]):
    """Forks each run from a process that has everything imported; woken by events, polling is the net."""

    type = "rollback"
    job_configuration = ForkConfiguration
    _display_name = "Rollback"
    _description = "Runs rollback procedures, each in a process forked from one that has everything imported."
    _logo_url = ""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._children: dict[UUID, Child] = {}
        self._ending_all = False
        self._wake = asyncio.Event()

    async def serve(self, stop: asyncio.Event, stop_all: asyncio.Event) -> None:
        """Take runs until `stop`, then wait for those that are running; `stop_all` cancels these."""
        async with self:
            loops = [
                asyncio.create_task(_again_and_again(self._poll, POLL_SECONDS, self._wake)),
                asyncio.create_task(_again_and_again(self.sync_with_backend, self.heartbeat_interval_seconds)),
                asyncio.create_task(_again_and_again(self._listen, AGAIN_SECONDS)),
            ]
            await stop.wait()
            await _cancel(loops)
            ending = asyncio.create_task(self._end_all(stop_all))
            log.info("No more runs are taken; %s still running.", len(self._children) or "none")
        await _cancel([ending])

    async def _poll(self) -> None:
        await self.get_and_submit_flow_runs()

    async def _listen(self) -> None:
        """Wake up for what is scheduled and for what is cancelled; ends when the server closes the connection."""
        names = EventNameFilter(name=[SCHEDULED, CANCELLING])
        async with get_events_subscriber(EventFilter(event=names)) as events:
            self._wake.set()
            async for event in events:
                if event.event == SCHEDULED:
                    self._wake.set()
                elif (child := self._children.get(_run_of(event.resource.id))) is not None:
                    child.news.set()

    async def _end_all(self, stop_all: asyncio.Event) -> None:
        await stop_all.wait()
        self._ending_all = True
        for child in self._children.values():
            child.news.set()

    async def run(
        self, flow_run: FlowRun, configuration: ForkConfiguration, task_status: "TaskStatus[int] | None" = None
    ) -> ForkResult:
        """Fork a process for the run and see it to its end, cancelled or not."""
        child = Child(flow_run, configuration.entrypoint, configuration.env)
        self._children[flow_run.id] = child
        try:
            if task_status is not None:
                task_status.started(child.pid)
            while not await child.has_ended(POLL_SECONDS):
                if self._ending_all or await self._is_cancelling(flow_run.id):
                    if not await child.end(GRACE_SECONDS):
                        await self._tell_killed(flow_run.id)
                    break
            await self._conclude(flow_run.id, child)
            return ForkResult(identifier=str(child.pid), status_code=child.status)
        finally:
            del self._children[flow_run.id]
            child.close()

    async def _state(self, run: UUID) -> State[Any] | None:
        """The run's state; none where the server does not tell."""
        reading = asyncio.create_task(self.client.read_flow_run(run))
        await asyncio.wait({reading})
        return None if reading.exception() else reading.result().state

    async def _is_cancelling(self, run: UUID) -> bool:
        state = await self._state(run)
        return state is not None and (state.is_cancelling() or state.is_cancelled())

    async def _tell_killed(self, run: UUID) -> None:
        text = f"It did not end within {GRACE_SECONDS:g} s of being cancelled, and was killed."
        await self.client.set_flow_run_state(run, Crashed(message=text), force=True)

    async def _conclude(self, run: UUID, child: Child) -> None:
        """A run that was cancelled before it began has nobody else to say that it is over."""
        state = await self._state(run)
        if child.status == 0 and state is not None and state.is_cancelling():
            await self.client.set_flow_run_state(run, Cancelled(message="Cancelled before it began."), force=True)


def _run_of(resource: str) -> UUID:
    return UUID(resource.rpartition(".")[2])


async def _again_and_again(
    action: Callable[[], Awaitable[Any]], seconds: float, wake: asyncio.Event | None = None
) -> None:
    """Do it for ever, at the latest after so many seconds, whatever becomes of it: a worker outlives its server."""
    wake = wake or asyncio.Event()
    while True:
        wake.clear()
        attempt = asyncio.ensure_future(action())
        try:
            await asyncio.wait({attempt})
        finally:
            attempt.cancel()
        if error := attempt.exception():
            log.warning("Prefect: %s: %s", type(error).__name__, error)
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await wake.wait()


async def _cancel(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
