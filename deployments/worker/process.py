"""A run's process: forked, waited for, ended."""

import asyncio
import multiprocessing
import os
import signal
from collections.abc import Mapping
from contextlib import suppress

from prefect.client.schemas.objects import FlowRun

from deployments.worker.child import run_in_fork

REMIND_SECONDS = 1.0

_context = multiprocessing.get_context("forkserver")


class Child:
    """A run's process."""

    def __init__(self, flow_run: FlowRun, entrypoint: str, environment: Mapping[str, str | None]) -> None:
        self._process = _context.Process(
            target=run_in_fork, args=(flow_run, entrypoint, dict(environment)), name=f"run {flow_run.id}"
        )
        self._process.start()
        self._ended = asyncio.Event()
        self.news = asyncio.Event()
        """Set when the run may have been cancelled."""
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._process.sentinel, self._note_end)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid or 0

    @property
    def status(self) -> int:
        """Its exit status once it has ended; negative for a signal."""
        return self._process.exitcode or 0

    def _note_end(self) -> None:
        self._loop.remove_reader(self._process.sentinel)
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
        deadline = self._loop.time() + grace_seconds
        while not self._ended.is_set() and self._loop.time() < deadline:
            # Again and again: a process that was only just forked does not hear it yet.
            os.kill(self.pid, signal.SIGTERM)
            with suppress(TimeoutError):
                async with asyncio.timeout(REMIND_SECONDS):
                    await self._ended.wait()
        by_itself = self._ended.is_set()
        if not by_itself:
            self._process.kill()
            await self._ended.wait()
        return by_itself

    def close(self) -> None:
        """Forget a process that has ended."""
        self._process.join()
        self._process.close()
