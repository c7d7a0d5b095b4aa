"""Takes runs from the work pool and sees each of them to its end, in a process forked for it."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

import httpx
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
    WorkPoolFilter,
    WorkPoolFilterName,
)
from prefect.client.schemas.objects import Flow, FlowRun, State, StateType, WorkPool
from prefect.client.schemas.responses import DeploymentResponse
from prefect.events.clients import get_events_subscriber
from prefect.events.filters import EventFilter, EventNameFilter
from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError
from prefect.states import AwaitingRetry, Running
from prefect.workers.base import BaseJobConfiguration, BaseVariables, BaseWorker, BaseWorkerResult
from pydantic import PrivateAttr

from deployments.worker.child import Order
from deployments.worker.custody import Custody
from deployments.worker.process import Child, Found, RunProcess
from deployments.worker.verdicts import folder_of, name_of, verdict
from rollback.models import now
from rollback.runs import Store

if TYPE_CHECKING:
    from anyio.abc import TaskStatus

log = logging.getLogger(__name__)

POLL_SECONDS = 5.0
"""The net under the events that announce a run or a cancellation."""
AGAIN_SECONDS = 2.0
"""Before what has failed is tried again."""
GRACE_SECONDS = 30.0
"""For a cancelled run to end by itself: it reads once more what state things are in."""
ORPHANS_SECONDS = 5.0
PENDING_FOR = timedelta(seconds=30)
"""A worker begins a run within a second of taking it; so long after, it was killed in between."""
RETRIES = "PREFECT_CLIENT_MAX_RETRIES"
SCHEDULED, AWAITING_RETRY, CANCELLING = (
    f"prefect.flow-run.{name}" for name in ("Scheduled", "AwaitingRetry", "Cancelling")
)


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
    """Forks each run from a process that has everything imported; woken by events, polling is the net.

    A run whose process dies is scheduled again, until it was tried `most_tries` times; so are the runs of a worker
    that was killed.
    """

    type = "rollback"
    job_configuration = ForkConfiguration
    _display_name = "Rollback"
    _description = "Runs rollback procedures, each in a process forked from one that has everything imported."
    _logo_url = ""

    def __init__(self, state: Path, *, most_tries: int, **options: Any) -> None:
        super().__init__(**options)
        self._store = Store(state)
        self._state_folder = state
        self._custody = Custody(state)
        self._most_tries = most_tries
        self._processes: dict[UUID, RunProcess] = {}
        self._found: set[asyncio.Task[None]] = set()
        self._ending_all = False
        self._wake = asyncio.Event()

    async def serve(self, stop: asyncio.Event, stop_all: asyncio.Event) -> None:
        """Take runs until `stop`, then wait for those that are running; `stop_all` cancels these."""
        async with self:
            loops = [
                asyncio.create_task(_again_and_again(self._poll, POLL_SECONDS, self._wake)),
                asyncio.create_task(_again_and_again(self.sync_with_backend, self.heartbeat_interval_seconds)),
                asyncio.create_task(_again_and_again(self._listen, AGAIN_SECONDS)),
                asyncio.create_task(_again_and_again(self._look_for_orphans, ORPHANS_SECONDS)),
            ]
            await stop.wait()
            await _cancel(loops)
            ending = asyncio.create_task(self._end_all(stop_all))
            log.info("No more runs are taken; %s still running.", len(self._processes) or "none")
            await asyncio.gather(*self._found, return_exceptions=True)
        await _cancel([ending])

    async def _poll(self) -> None:
        await self.get_and_submit_flow_runs()

    async def _listen(self) -> None:
        """Wake up for what is scheduled and for what is cancelled; ends when the server closes the connection."""
        names = EventNameFilter(name=[SCHEDULED, AWAITING_RETRY, CANCELLING])
        async with get_events_subscriber(EventFilter(event=names)) as events:
            self._wake.set()
            async for event in events:
                if event.event != CANCELLING:
                    self._wake.set()
                elif (process := self._processes.get(_run_of(event.resource.id))) is not None:
                    process.news.set()

    async def _end_all(self, stop_all: asyncio.Event) -> None:
        await stop_all.wait()
        self._ending_all = True
        for process in self._processes.values():
            process.news.set()

    async def run(
        self, flow_run: FlowRun, configuration: ForkConfiguration, task_status: "TaskStatus[int] | None" = None
    ) -> ForkResult:
        """Fork a process for the run and see it to its end, cancelled or not."""
        before = self._processes.get(flow_run.id)
        if before is not None and self._is_at_work(flow_run):
            await self._tell(flow_run.id, Running(message=f"It is at work in process {before.pid}; not started twice."))
            process = before
        else:
            if before is not None:
                before.was_replaced = True
                await before.kill()
            process = self._fork(flow_run, configuration)
        if task_status is not None:
            task_status.started(process.pid)
        if process is not before:
            await self._see_to_its_end(flow_run.id, process)
        # How it ended is told already: Prefect's own worker would only know the exit status.
        return ForkResult(identifier=str(process.pid), status_code=0)

    def _fork(self, flow_run: FlowRun, configuration: ForkConfiguration) -> Child:
        starts = self._custody.begin(flow_run.id).starts
        order = Order(
            entrypoint=configuration.entrypoint,
            # A run is more patient with the server than its worker.
            environment={name: value for name, value in configuration.env.items() if name != RETRIES},
            state=self._state_folder,
            began_elsewhere=flow_run.run_count >= starts,
        )
        return Child(flow_run, order)

    def _is_at_work(self, flow_run: FlowRun) -> bool:
        """Whether the process that this worker has for the run keeps its lease: one that hangs does not."""
        environment = str(flow_run.parameters.get("environment"))
        lease = self._store.leases.read(environment)
        return lease is not None and lease.run == name_of(flow_run) and not lease.is_over()

    async def _see_to_its_end(self, run: UUID, process: RunProcess) -> None:
        self._processes[run] = process
        try:
            while not await process.has_ended(POLL_SECONDS):
                if self._ending_all or await self._is_cancelling(run):
                    await process.end(GRACE_SECONDS)
                    break
        finally:
            if self._processes.get(run) is process:
                del self._processes[run]
        process.close()
        await self._conclude(run, process)

    async def _look_for_orphans(self) -> None:
        """Take over the runs of a worker that was killed, and what one had taken but not begun."""
        for started in self._custody.take_orphans():
            log.info("Taking over run %s of a worker that is gone.", started.flow_run)
            seeing = asyncio.create_task(self._see_to_its_end(started.flow_run, Found(started.process)))
            self._found.add(seeing)
            seeing.add_done_callback(self._found.discard)
        for run in await self._pending():
            if run.id not in self._processes and self._custody.read(run.id) is None:
                await self._tell(run.id, AwaitingRetry(message="A worker took it and did not begin it."))

    async def _pending(self) -> list[FlowRun]:
        """Runs of our pool that were taken by a worker long ago, and have not begun."""
        found = await self.client.read_flow_runs(
            work_pool_filter=WorkPoolFilter(name=WorkPoolFilterName(any_=[self._work_pool_name])),
            flow_run_filter=FlowRunFilter(
                state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.PENDING]))
            ),
        )
        oldest = now() - PENDING_FOR
        return [run for run in found if run.state is not None and run.state.timestamp < oldest]

    async def _is_cancelling(self, run: UUID) -> bool:
        """Whether the server says so; where it does not answer, nobody can have cancelled it lately."""
        reading = asyncio.create_task(self.client.read_flow_run(run))
        await asyncio.wait({reading})
        state = None if reading.exception() else reading.result().state
        return state is not None and (state.is_cancelling() or state.is_cancelled())

    async def _conclude(self, run: UUID, process: RunProcess) -> None:
        """Tell Prefect what becomes of a run whose process has ended, as soon as it can be told.

        A worker that is ending tries once: the next one finds the run in custody.
        """
        while not process.was_replaced and self._custody.is_ours(run):
            try:
                await self._judge(run, process)
            except ObjectNotFound:
                self._custody.end(run)
            except (httpx.HTTPError, PrefectHTTPStatusError) as error:
                log.warning("How run %s ended could not be told yet: %s", run, type(error).__name__)
                if not self._ending_all:
                    await asyncio.sleep(AGAIN_SECONDS)
                    continue
            return

    async def _judge(self, run: UUID, process: RunProcess) -> None:
        flow_run = await self.client.read_flow_run(run)
        started, folder = self._custody.read(run), folder_of(self._store, flow_run)
        state = verdict(
            flow_run,
            folder.outcome() if folder else None,
            status=process.status,
            starts=started.starts if started else 0,
            most_tries=self._most_tries,
        )
        if state is not None:
            await self._tell(run, state)
        now_is = state or flow_run.state
        if now_is is None or now_is.is_final():
            self._custody.end(run)
        else:
            self._wake.set()

    async def _tell(self, run: UUID, state: State[Any]) -> None:
        await self.client.set_flow_run_state(run, state, force=True)


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
            async with asyncio.timeout(min(seconds, AGAIN_SECONDS) if error else seconds):
                await wake.wait()


async def _cancel(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
