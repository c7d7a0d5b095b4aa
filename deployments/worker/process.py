"""A run's process: forked or found, waited for, ended."""

import asyncio
import multiprocessing
import signal
from collections.abc import Callable
from contextlib import suppress

import psutil
from prefect.client.schemas.objects import FlowRun

from deployments.worker.child import Order, run_in_fork
from rollback.lease import Holder

REMIND_SECONDS = 1.0
LOOK_SECONDS = 0.5

_context = multiprocessing.get_context("forkserver")


class RunProcess:
    """A run's process."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.status: int | None = None
        """Its exit status once it has ended, negative for a signal; none where it cannot be known."""
        self.was_replaced = False
        """Whether the run was started anew in another process: then its end says nothing about the run."""
        self._ended = asyncio.Event()
        self.news = asyncio.Event()
        """Set when the run may have been cancelled."""

    def _note_end(self) -> None:
        self._ended.set()
        self.news.set()

    async def has_ended(self, within_seconds: float) -> bool:
        """Whether it ended in that time; earlier when there is news."""
        with suppress(TimeoutError):
            async with asyncio.timeout(within_seconds):
                await self.news.wait()
        self.news.clear()
        return self._ended.is_set()

    async def end(self, grace_seconds: float) -> bool:
        """Let it end by itself, kill it otherwise; whether it ended by itself."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + grace_seconds
        while not self._ended.is_set() and loop.time() < deadline:
            # Again and again: a process that was only just forked does not hear it yet.
            self._signal(signal.SIGTERM)
            with suppress(TimeoutError):
                async with asyncio.timeout(REMIND_SECONDS):
                    await self._ended.wait()
        by_itself = self._ended.is_set()
        if not by_itself:
            await self.kill()
        return by_itself

    async def kill(self) -> None:
        """Kill it; on return it is gone."""
        if not self._ended.is_set():
            self._signal(signal.SIGKILL)
            await self._ended.wait()

    def _signal(self, number: signal.Signals) -> None:
        with suppress(psutil.NoSuchProcess):
            psutil.Process(self.pid).send_signal(number)

    def close(self) -> None:
        """Forget a process that has ended."""


class Child(RunProcess):
    """A run's process that this worker has forked."""

    def __init__(self, flow_run: FlowRun, order: Order) -> None:
        self._process = _context.Process(target=run_in_fork, args=(flow_run, order), name=f"run {flow_run.id}")
        self._process.start()
        super().__init__(self._process.pid or 0)
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._process.sentinel, self._note_exit)

    def _note_exit(self) -> None:
        self._loop.remove_reader(self._process.sentinel)
        self._process.join()
        self.status = self._process.exitcode
        self._note_end()

    def close(self) -> None:
        """Forget a process that has ended."""
        self._process.close()


class Found(RunProcess):
    """A run's process that a worker before this one has forked: it goes on without it."""

    def __init__(self, holder: Holder | None) -> None:
        super().__init__(holder.pid if holder else 0)
        self._is_gone: Callable[[], bool] = holder.is_gone if holder else lambda: True
        self._watching = asyncio.create_task(self._watch())

    async def _watch(self) -> None:
        while not self._is_gone():  # noqa: ASYNC110 - no event tells of another's child
            await asyncio.sleep(LOOK_SECONDS)
        self._note_end()

    def close(self) -> None:
        """Stop watching."""
        self._watching.cancel()
