"""The lock of an environment: one rollback at a time.

A lease is renewed while its run lives, checked again before every change, and outlives the next request. An expired
lease frees the environment only if its run changed nothing; otherwise the environment is unfinished until that run is
resumed or abandoned by name. `Leases` is what a remote store will have to offer; `FileLeases` holds between processes
of one machine.
"""

import asyncio
import fcntl
import os
import socket
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager, suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Protocol

import psutil
from pydantic import ValidationError

from rollback.errors import EnvironmentLocked, LeaseLost, RunAtWork, RunUnknown
from rollback.models import Model, now

TIME_TO_LIVE = timedelta(seconds=90)
"""Longer than any request that changes something may take (connect and read timeouts, a token before it: 60 s)."""
RENEW_EVERY = timedelta(seconds=20)
LOOK_SECONDS = 0.5


class Holder(Model):
    """A process: its id can be used again, its start time cannot."""

    host: str
    pid: int
    started_at: float

    def is_gone(self) -> bool:
        """Whether it surely does not live any more; only this machine's processes can be seen."""
        return self.host == socket.gethostname() and self._status() in {None, psutil.STATUS_ZOMBIE}

    def is_at_work(self) -> bool:
        """Whether it surely lives and goes on; one that is stopped does not."""
        return self.host == socket.gethostname() and self._status() not in {
            None,
            psutil.STATUS_ZOMBIE,
            psutil.STATUS_STOPPED,
        }

    def _status(self) -> str | None:
        """The process's status on this machine; none where there is no such process."""
        try:
            process = psutil.Process(self.pid)
            return process.status() if process.create_time() == self.started_at else None
        except psutil.NoSuchProcess:
            return None


class Lease(Model):
    """Who holds an environment, until when."""

    environment: str
    run: str
    procedure: str
    holder: Holder
    acquired_at: datetime
    expires_at: datetime
    changed: bool = False
    """Whether the run has sent anything that changes the environment."""

    def is_over(self) -> bool:
        """Whether nobody can be acting under it any more."""
        return self.expires_at <= now() or self.holder.is_gone()


class Leases(Protocol):
    """Where leases are kept. Each call is atomic among all that may hold them."""

    def read(self, environment: str) -> Lease | None:
        """The lease of an environment, over or not; none if it is free."""
        ...

    def acquire(self, environment: str, run: str, procedure: str) -> Lease:
        """Take the environment for a run, or take it again for the same run; raises `EnvironmentLocked`."""
        ...

    def renew(self, lease: Lease, *, changed: bool = False) -> Lease:
        """Extend the lease; `changed` marks, for good, that something is sent. Raises `LeaseLost`."""
        ...

    def release(self, lease: Lease, *, unfinished: bool = False) -> None:
        """Free the environment if the lease is still ours; `unfinished` leaves it to a resume or an abandon by name."""
        ...

    def abandon(self, environment: str, run: str) -> None:
        """Free the environment of an unfinished run by its name; raises `RunUnknown` or `EnvironmentLocked`."""
        ...


class FileLeases:
    """Leases as files of one folder, under the kernel's lock: for processes of one machine."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def read(self, environment: str) -> Lease | None:
        """The lease of an environment, over or not; none if it is free."""
        file = self._file(environment)
        try:
            return Lease.model_validate_json(file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except ValidationError as error:
            raise EnvironmentLocked(
                f"The lease of '{environment}' in {file} cannot be read.",
                remedy="Find out who works on the environment; then remove the file.",
            ) from error

    def acquire(self, environment: str, run: str, procedure: str) -> Lease:
        """Take the environment for a run, or take it again for the same run; raises `EnvironmentLocked`."""
        with self._locked(environment):
            held = self.read(environment)
            if held is not None:
                _refuse_unless_free(held, run)
            changed = held is not None and held.run == run and held.changed
            lease = Lease(
                environment=environment,
                run=run,
                procedure=procedure,
                holder=this_process(),
                acquired_at=now(),
                expires_at=now() + TIME_TO_LIVE,
                changed=changed,
            )
            self._write(lease)
        return lease

    def renew(self, lease: Lease, *, changed: bool = False) -> Lease:
        """Extend the lease; `changed` marks, for good, that something is sent. Raises `LeaseLost`."""
        with self._locked(lease.environment):
            held = self.read(lease.environment)
            if held is None or held.run != lease.run or held.holder != lease.holder:
                by = f"run {held.run} took it" if held else "it was released or abandoned"
                raise LeaseLost(
                    f"The lease of '{lease.environment}' is no longer held by run {lease.run}: {by}.",
                    remedy="Nothing more is changed. See 'rollback status'.",
                )
            renewed = held.model_copy(update={"expires_at": now() + TIME_TO_LIVE, "changed": held.changed or changed})
            self._write(renewed)
        return renewed

    def release(self, lease: Lease, *, unfinished: bool = False) -> None:
        """Free the environment if the lease is still ours; `unfinished` leaves it to a resume or an abandon by name."""
        with self._locked(lease.environment):
            held = self.read(lease.environment)
            if held is None or held.run != lease.run or held.holder != lease.holder:
                return
            if unfinished:
                self._write(held.model_copy(update={"expires_at": now(), "changed": True}))
            else:
                self._file(lease.environment).unlink()

    def abandon(self, environment: str, run: str) -> None:
        """Free the environment of an unfinished run by its name; raises `RunUnknown` or `EnvironmentLocked`."""
        with self._locked(environment):
            held = self.read(environment)
            if held is None or held.run != run:
                raise RunUnknown(
                    f"'{environment}' is not held by a run {run}.", remedy="See 'rollback status' for what holds it."
                )
            if not held.is_over():
                raise EnvironmentLocked(
                    f"Run {run} is still at work on '{environment}'.", remedy="Cancel it first, or wait for it to end."
                )
            self._file(environment).unlink()

    def _file(self, environment: str) -> Path:
        return self._folder / f"{environment}.lease.json"

    def _write(self, lease: Lease) -> None:
        temporary = self._file(lease.environment).with_suffix(".tmp")
        with temporary.open("w", encoding="utf-8") as file:
            file.write(lease.model_dump_json())
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(self._file(lease.environment))

    @contextmanager
    def _locked(self, environment: str) -> Generator[None]:
        with (self._folder / f"{environment}.lock").open("w", encoding="utf-8") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


def this_process() -> Holder:
    """This process, as a holder."""
    process = psutil.Process()
    return Holder(host=socket.gethostname(), pid=process.pid, started_at=process.create_time())


async def until_left(leases: Leases, environment: str, run: str) -> None:
    """Return when no process works on the run any more; raises `RunAtWork` as soon as one is seen to.

    A process that cannot be seen, on another machine or stopped, is given the time of its lease to renew it.
    """
    first = leases.read(environment)
    while (held := leases.read(environment)) is not None and held.run == run and not held.is_over():
        if held.holder.is_at_work() or (first is not None and held.expires_at != first.expires_at):
            raise _at_work(held)
        await asyncio.sleep(LOOK_SECONDS)


def _at_work(held: Lease) -> RunAtWork:
    return RunAtWork(
        f"Run {held.run} is at work: process {held.holder.pid} on {held.holder.host} holds '{held.environment}'. "
        "It is left alone.",
        remedy="Wait for it to end, or watch it with 'rollback status'.",
    )


def _refuse_unless_free(held: Lease, run: str) -> None:
    if held.run == run and not held.is_over():
        raise _at_work(held)
    if not held.is_over():
        raise EnvironmentLocked(
            f"'{held.environment}' is held by run {held.run} ({held.procedure}) "
            f"since {held.acquired_at:%Y-%m-%d %H:%M:%S} UTC.",
            remedy="Wait for it to end, or watch it with 'rollback status'.",
        )
    if held.changed and held.run != run:
        raise EnvironmentLocked(
            f"'{held.environment}' is unfinished: {held.run} ({held.procedure}) ended in the middle of changing it.",
            remedy=f"Finish it with '--resume {held.run}', or give it up with '--abandon {held.run}'.",
        )


class HeldLease:
    """A lease that this process keeps renewed; `check` before every change."""

    def __init__(self, leases: Leases, lease: Lease) -> None:
        self._leases = leases
        self._lease = lease

    def check(self) -> None:
        """Make sure, now, that the environment is ours for longer than the next request may take.

        Marks that something is about to be changed. Raises `LeaseLost`.
        """
        self._lease = self._leases.renew(self._lease, changed=True)

    def keep(self) -> None:
        """Renew, without marking a change."""
        self._lease = self._leases.renew(self._lease)

    def release(self, *, unfinished: bool = False) -> None:
        """Free the environment, or leave it to a resume or an abandon by name."""
        self._leases.release(self._lease, unfinished=unfinished)


@asynccontextmanager
async def held(leases: Leases, environment: str, run: str, procedure: str) -> AsyncGenerator[HeldLease]:
    """Hold the environment for a run and renew the lease until the block is left; who leaves says how."""
    lease = HeldLease(leases, leases.acquire(environment, run, procedure))

    async def renew() -> None:
        while True:
            await asyncio.sleep(RENEW_EVERY.total_seconds())
            lease.keep()

    renewing = asyncio.create_task(renew())
    try:
        yield lease
    finally:
        renewing.cancel()
        with suppress(asyncio.CancelledError, LeaseLost):
            await renewing
