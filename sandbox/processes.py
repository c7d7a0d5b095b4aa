"""What runs in the slots: one real web process for each, started again when it dies, ended with the sandbox.

As on App Service a new container starts beside the old one, which goes on answering until the new one does. Where the
new one fails:

- Another image whose container ends, or never answers within the start limit: the old container stays.
- The same image with other settings, or a restart: the new one takes over all the same, and the site answers 503.
- An image that cannot be pulled, and no local copy: the site is stopped, and answers 503 until a try succeeds.

An app has one process on each of its instances, the machines of its plan; its slots share them.

Source: github.com/Azure/app-service-linux-docs, "Things you should know: Web Apps on Linux", for the overlap. What
becomes of the old container when the new one fails is nowhere promised; logs of failed pulls end with "Stopping site
… because it failed during startup".
"""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable, Coroutine, Generator, Iterable
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Literal, Protocol

from sandbox.container_logs import ContainerLogs, Place
from sandbox.forks import Fork
from sandbox.fundrbolt.__main__ import main
from sandbox.pace import Pace

log = logging.getLogger(__name__)

START_SECONDS = 230
"""Azure gives a container so long to answer its first request, if the app setting `START_LIMIT` does not say more."""
START_LIMIT = "WEBSITES_CONTAINER_START_TIME_LIMIT"
MOST_START_SECONDS = 1800
STOP_SECONDS = 5
SITE_NAME = "WEBSITE_SITE_NAME"
MOST_RECYCLE_DOUBLINGS = 6


@dataclass(frozen=True)
class Launch:
    """What a slot's process is started with: two equal launches need no restart."""

    release: str | None
    """None: the image is not there, so nothing starts."""
    environment: tuple[tuple[str, str], ...]
    image: str = ""
    """`linuxFxVersion`."""

    @property
    def start_seconds(self) -> float:
        """How long the first answer may take."""
        asked = dict(self.environment).get(START_LIMIT, "")
        return min(int(asked), MOST_START_SECONDS) if asked.isdecimal() else START_SECONDS


Spot = tuple[Place, str]
"""A place, and the id of one of its instances."""
Pulled = Literal["here", "broken", "missing"]
"""What came of a pull: `broken` is an image whose container ends at once."""


class Puller(Protocol):
    """Gets images from the registry."""

    def __call__(self, place: Place, launch: Launch) -> Pulled:
        """Get it; says in the slot's log what was done."""
        ...


class Hosting(Protocol):
    """What the platform says about a place."""

    def launch_of(self, place: Place) -> Launch | None:
        """What it must run now, or None for a stopped one."""
        ...

    def instances_of(self, place: Place) -> list[str]:
        """The ids of the instances that it must run on."""
        ...

    def never_restarts(self, place: Place, instance: str) -> bool:
        """Whether the process there lives on, whatever is asked, because of a fault."""
        ...


class Worker:
    """One process of the app, on one instance."""

    def __init__(self, launch: Launch, tell: Callable[[str], None], instance: str = "") -> None:
        self.launch = launch
        self.instance = instance
        self.port: int | None = None
        self.settled = asyncio.Event()
        """Set once it listens, and once it is clear that it never will."""
        self.wrote = False
        """Whether it got a request that may have changed its data."""
        self.told_to_end = False
        self._tell = tell
        self._pump: asyncio.Task[None] | None = None
        self._under_way = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._process: Fork | None = None

    @property
    def site(self) -> str:
        """Of which app it is."""
        return dict(self.launch.environment).get(SITE_NAME, "")

    @property
    def database_url(self) -> str:
        """What it was given as its database: a secret."""
        return dict(self.launch.environment).get("DATABASE_URL", "")

    @property
    def pid(self) -> int | None:
        """The process while it lives."""
        return self._process.pid if self._process is not None else None

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

    async def start(self, *, broken: bool = False) -> None:
        """Start the process and wait until it listens; `port` stays None if it does not, as a `broken` one."""
        try:
            if self.launch.release is None:
                return
            port = "-1" if broken else "0"
            environment = {**dict(self.launch.environment), "WEBSITE_INSTANCE_ID": self.instance}
            self._process = Fork(main, ["--release", self.launch.release, "--port", port], environment)
            self._pump = asyncio.create_task(self._tell_lines(await self._process.errors()))
            self.port = await self._announced_port(await self._process.output())
        finally:
            self.settled.set()

    async def _tell_lines(self, errors: asyncio.StreamReader) -> None:
        while line := await errors.readline():
            self._tell(line.decode("utf-8", "replace").rstrip())

    async def _announced_port(self, output: asyncio.StreamReader) -> int | None:
        line = b""
        with suppress(TimeoutError):
            async with asyncio.timeout(self.launch.start_seconds):
                line = await output.readline()
        words, _, number = line.decode("ascii", "replace").strip().rpartition(" ")
        return int(number) if words == "listening on" and number.isdecimal() else None

    async def ended(self) -> None:
        """Wait until the process is gone."""
        if self._process is not None:
            await self._process.wait()
        if self._pump is not None:
            # Several may wait, and one that gives up must not end it for the others.
            await asyncio.shield(self._pump)

    def kill(self) -> None:
        """What an out-of-memory killer does."""
        if self._process is not None:
            self._process.kill()

    async def stop(self, drain_seconds: float) -> None:
        """Let requests under way finish, for at most `drain_seconds`; then end the process."""
        self.told_to_end = True
        with suppress(TimeoutError):
            async with asyncio.timeout(drain_seconds):
                await self._idle.wait()
        if self._process is not None and self._process.pid is not None:
            self._process.terminate()
            try:
                async with asyncio.timeout(STOP_SECONDS):
                    await self._process.wait()
            except TimeoutError:
                self.kill()
        await self.ended()


class Workers:
    """The processes of all slots."""

    def __init__(
        self,
        hosting: Hosting,
        start_delay_seconds: Callable[[], float],
        pull: Puller,
        pace: Pace,
        logs: ContainerLogs,
    ) -> None:
        self._hosting = hosting
        self._start_delay_seconds = start_delay_seconds
        self._pace = pace
        self._pull = pull
        self._logs = logs
        self._at: dict[Spot, Worker] = {}
        self._alive: list[Worker] = []
        """Those that serve, those that start, and those that are being ended."""
        self._locks: defaultdict[Place, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._deaths: defaultdict[Spot, int] = defaultdict(int)
        self._turns: defaultdict[Place, int] = defaultdict(int)
        self._tasks: set[asyncio.Task[None]] = set()

    def processes(self) -> list[tuple[int, str]]:
        """Every process there is, and its app."""
        return [(worker.pid, worker.site) for worker in self._alive if worker.pid is not None]

    def all_at(self, place: Place) -> list[Worker]:
        """The processes that serve `place`, one for each instance."""
        return [worker for (each, _), worker in self._at.items() if each == place]

    def at(self, place: Place) -> Worker | None:
        """The process that serves `place`, on the first instance."""
        return next(iter(self.all_at(place)), None)

    def next_at(self, place: Place) -> Worker | None:
        """The process for the next request: those that listen take turns."""
        workers = self.all_at(place)
        able = [worker for worker in workers if worker.port is not None and worker.pid is not None] or workers
        self._turns[place] += 1
        return able[self._turns[place] % len(able)] if able else None

    async def refresh(self, place: Place, *, restart: bool = False) -> None:
        """Make `place` run what it must. A new process takes over only when it listens; then the old one ends."""
        async with self._locks[place]:
            launch, wanted = self._hosting.launch_of(place), self._hosting.instances_of(place)
            instances = dict.fromkeys([*wanted, *(worker.instance for worker in self.all_at(place))])
            renewals = (
                self._renew((place, each), launch if each in wanted else None, restart=restart) for each in instances
            )
            await asyncio.gather(*renewals)

    async def _renew(self, spot: Spot, launch: Launch | None, *, restart: bool) -> None:
        place, instance = spot
        old = self._at.get(spot)
        if old is not None and old.pid is not None and self._hosting.never_restarts(place, instance):
            return
        if launch is None:
            if self._at.pop(spot, None) is not None and old is not None:
                await old.stop(0)
            return
        if old is not None and old.pid is not None and old.launch == launch and not restart:
            return
        new = self._new_worker(launch, spot)
        if old is None or old.pid is None:
            self._at[spot] = new
        pulled = await self._start(place, new)
        failed = pulled != "missing" and new.port is None
        if failed and old is not None and old.pid is not None and old.launch.image != launch.image:
            self._logs.platform(place, "ERROR", f"The new container of {place[0]} did not start; the old one stays.")
            self._spawn(new.stop(0))
            return
        self._at[spot] = new
        self._spawn(self._watch(new))
        if old is not None:
            self._spawn(old.stop(self._pace.drain))

    def _new_worker(self, launch: Launch, spot: Spot) -> Worker:
        def tell(line: str) -> None:
            # A swap may have moved the process since it was started.
            now_at = next((each for each, worker in self._at.items() if worker is made), spot)
            self._logs.app(now_at[0], line)

        made = Worker(launch, tell, spot[1])
        self._alive = [each for each in self._alive if each.pid is not None or not each.settled.is_set()] + [made]
        return made

    async def _start(self, place: Place, new: Worker) -> Pulled:
        """Pull and start. `port` stays None if nothing listens."""
        try:
            await asyncio.sleep(self._start_delay_seconds())
            pulled = self._pull(place, new.launch)
            if pulled == "missing":
                new.settled.set()
                return pulled
            self._logs.platform(place, "INFO", f"Starting container for site {place[0]}")
            await new.start(broken=pulled == "broken")
        except asyncio.CancelledError:
            new.kill()
            raise
        if new.port is not None:
            told = f"Container for site {place[0]} initialized successfully and is ready to serve requests."
            self._logs.platform(place, "INFO", told)
        else:
            told = f"Container for site {place[0]} did not start within the expected time limit, or ended before."
            self._logs.platform(place, "ERROR", told)
        return pulled

    async def switch(self, one: Place, other: Place, change: Callable[[], None]) -> None:
        """Exchange the processes of two places, together with what `change` changes, in one step for requests."""
        async with self._locks[one], self._locks[other]:
            change()
            there = {one: other, other: one}
            self._at = {(there.get(place, place), each): worker for (place, each), worker in self._at.items()}

    async def exchange_if_wanted(self, one: Place, other: Place) -> None:
        """Exchange two places' processes where each is what the other place must run, and not what its own must.

        After a swap that `reset` takes back nothing needs to be started then.
        """
        ours, theirs = self._hosting.launch_of(one), self._hosting.launch_of(other)
        here, there = self.all_at(one), self.all_at(other)
        if (
            ours != theirs
            and {worker.launch for worker in here} == {theirs}
            and {worker.launch for worker in there} == {ours}
        ):
            await self.switch(one, other, lambda: None)

    async def empty(self, places: Iterable[Place]) -> None:
        """End the processes of `places` at once."""
        left = set(places)
        spots = [spot for spot in self._at if spot[0] in left]
        await asyncio.gather(*(worker.stop(0) for worker in [self._at.pop(spot) for spot in spots]))

    async def stop(self) -> None:
        """End every process and everything that waits for one."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.empty({place for place, _ in self._at})

    async def _watch(self, worker: Worker) -> None:
        """The platform starts a container that died again, later each time."""
        await worker.ended()
        spot = next((spot for spot, each in self._at.items() if each is worker), None)
        if worker.told_to_end or spot is None:
            return
        log.warning("the process of %s/%s ended by itself; it is started again", *spot[0])
        self._deaths[spot] = 0 if worker.port is not None else self._deaths[spot] + 1
        doublings = min(self._deaths[spot], MOST_RECYCLE_DOUBLINGS)
        await asyncio.sleep(self._pace.recycle * 2**doublings)
        if self._at.get(spot) is worker:
            await self.refresh(spot[0])

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
