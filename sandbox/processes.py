"""What runs in the slots: one real web process for each, started again when it dies, ended with the sandbox."""

import asyncio
import ctypes
import logging
import os
import signal
import sys
from collections import defaultdict
from collections.abc import Callable, Coroutine, Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from sandbox.pace import Pace

log = logging.getLogger(__name__)

Place = tuple[str, str]
"""Site and slot."""

PR_SET_PDEATHSIG = 1
START_SECONDS = 230
"""Azure gives a container so long to answer its first request (WEBSITES_CONTAINER_START_TIME_LIMIT)."""
STOP_SECONDS = 5
MOST_RECYCLE_DOUBLINGS = 6


@dataclass(frozen=True)
class Launch:
    """What a slot's process is started with: two equal launches need no restart."""

    release: str | None
    """None: the image is not there, so nothing starts."""
    environment: tuple[tuple[str, str], ...]


def _end_with_parent() -> None:
    """Runs in the child before it executes: the kernel ends it with the sandbox, even after a kill -9."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class Worker:
    """One process of the app."""

    def __init__(self, launch: Launch, output: Path) -> None:
        self.launch = launch
        self.port: int | None = None
        self.settled = asyncio.Event()
        """Set once it listens, and once it is clear that it never will."""
        self.wrote = False
        """Whether it got a request that may have changed its data."""
        self.told_to_end = False
        self._output = output
        self._under_way = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int | None:
        """The process while it lives."""
        return self._process.pid if self._process is not None and self._process.returncode is None else None

    @contextmanager
    def answering(self) -> Generator[None]:
        """While the process answers one request it is not ended."""
        self._under_way += 1
        self._idle.clear()
        try:
            yield
        finally:
            self._under_way -= 1
            if not self._under_way:
                self._idle.set()

    async def start(self) -> None:
        """Start the process and wait until it listens; `port` stays None if it does not."""
        try:
            if self.launch.release is None:
                log.warning("image pull failed: there is no such image")
                return
            with self._output.open("ab") as output:
                self._process = await asyncio.create_subprocess_exec(
                    *(sys.executable, "-m", "sandbox.fundrbolt", "--release", self.launch.release, "--port", "0"),
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=asyncio.subprocess.PIPE,
                    stderr=output,
                    env=dict(self.launch.environment),
                    cwd=Path(__file__).parents[1],
                    preexec_fn=_end_with_parent,
                )
            self.port = await self._announced_port(self._process)
        finally:
            self.settled.set()

    async def _announced_port(self, process: asyncio.subprocess.Process) -> int | None:
        line = b""
        with suppress(TimeoutError):
            async with asyncio.timeout(START_SECONDS):
                line = await process.stdout.readline() if process.stdout is not None else b""
        words, _, number = line.decode("ascii", "replace").strip().rpartition(" ")
        return int(number) if words == "listening on" and number.isdecimal() else None

    async def ended(self) -> None:
        """Wait until the process is gone."""
        if self._process is not None:
            await self._process.wait()

    def kill(self) -> None:
        """What an out-of-memory killer does."""
        if self.pid is not None:
            os.kill(self.pid, signal.SIGKILL)

    async def stop(self, drain_seconds: float) -> None:
        """Let requests under way finish, for at most `drain_seconds`; then end the process."""
        self.told_to_end = True
        with suppress(TimeoutError):
            async with asyncio.timeout(drain_seconds):
                await self._idle.wait()
        if self.pid is None or self._process is None:
            return
        self._process.terminate()
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await self._process.wait()
        except TimeoutError:
            self.kill()
            await self._process.wait()


class Workers:
    """The processes of all slots. `launch_of` tells what a slot must run now, or None for a stopped one."""

    def __init__(
        self,
        launch_of: Callable[[Place], Launch | None],
        start_delay_seconds: Callable[[], float],
        pace: Pace,
        output: Path,
    ) -> None:
        self._launch_of = launch_of
        self._start_delay_seconds = start_delay_seconds
        self._pace = pace
        self._output = output
        self._at: dict[Place, Worker] = {}
        self._locks: defaultdict[Place, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._deaths: defaultdict[Place, int] = defaultdict(int)
        self._tasks: set[asyncio.Task[None]] = set()

    def at(self, place: Place) -> Worker | None:
        """The process that serves `place`."""
        return self._at.get(place)

    async def refresh(self, place: Place, *, restart: bool = False) -> None:
        """Make `place` run what it must. A new process takes over only when it listens; then the old one ends."""
        async with self._locks[place]:
            launch, old = self._launch_of(place), self._at.get(place)
            if launch is None:
                if self._at.pop(place, None) is not None and old is not None:
                    await old.stop(0)
                return
            if old is not None and old.pid is not None and old.launch == launch and not restart:
                return
            new = Worker(launch, self._output)
            if old is None or old.pid is None:
                self._at[place] = new
            try:
                await asyncio.sleep(self._start_delay_seconds())
                await new.start()
            except asyncio.CancelledError:
                new.kill()
                raise
            self._at[place] = new
            self._spawn(self._watch(new))
            if old is not None:
                self._spawn(old.stop(self._pace.drain))

    async def switch(self, one: Place, other: Place, change: Callable[[], None]) -> None:
        """Exchange the processes of two places, together with what `change` changes, in one step for requests."""
        async with self._locks[one], self._locks[other]:
            change()
            processes = {one: self._at.pop(other, None), other: self._at.pop(one, None)}
            self._at.update({place: worker for place, worker in processes.items() if worker is not None})

    async def empty(self, places: list[Place]) -> None:
        """End the processes of `places` at once."""
        workers = [worker for place in places if (worker := self._at.pop(place, None)) is not None]
        await asyncio.gather(*(worker.stop(0) for worker in workers))

    async def stop(self) -> None:
        """End every process and everything that waits for one."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.empty(list(self._at))

    async def _watch(self, worker: Worker) -> None:
        """The platform starts a container that died again, later each time."""
        await worker.ended()
        place = next((place for place, each in self._at.items() if each is worker), None)
        if worker.told_to_end or place is None:
            return
        log.warning("the process of %s/%s ended by itself; it is started again", *place)
        self._deaths[place] = 0 if worker.port is not None else self._deaths[place] + 1
        doublings = min(self._deaths[place], MOST_RECYCLE_DOUBLINGS)
        await asyncio.sleep(self._pace.recycle * 2**doublings)
        if self._at.get(place) is worker:
            await self.refresh(place)

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
