"""Processes that are forked from one that has imported the sample app already: a start takes milliseconds.

The standard library's fork server is that one. It ends with the sandbox, and what it forked ends with it.
"""

import asyncio
import ctypes
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path

PR_SET_PDEATHSIG = 1
ENVIRONMENT_START = 47
"""Where the memory that holds the environment begins: its place in `/proc/PID/stat` behind the program's name."""
ROOM, ROOM_BYTES = "SANDBOX_ROOM", 65536
"""A variable of the fork server's own, whose memory has room for what its children show."""
IMPORTED = ["sandbox.fork_server"]


def end_with_parent() -> None:
    """Called in the child: the kernel ends it with its parent, even after a kill -9."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


Program = Callable[[Sequence[str]], int]
"""Runs with these arguments, and returns its exit status. Found by its name in the new process."""


class Fork:
    """One process, running since it was made, with this environment and nothing else of its parent's."""

    def __init__(self, program: Program, arguments: Sequence[str], environment: Mapping[str, str]) -> None:
        self._output, output = _context().Pipe(duplex=False)
        self._errors, errors = _context().Pipe(duplex=False)
        given = (program, list(arguments), dict(environment), output, errors)
        self._process: ForkServerProcess = _context().Process(target=_run, args=given, daemon=True)
        self._process.start()
        output.close()
        errors.close()

    @property
    def pid(self) -> int | None:
        """The process while it lives."""
        return self._process.pid if self._process.is_alive() else None

    async def output(self) -> asyncio.StreamReader:
        """What it writes to stdout. Asked for once."""
        return await _reader(self._output)

    async def errors(self) -> asyncio.StreamReader:
        """What it writes to stderr. Asked for once."""
        return await _reader(self._errors)

    async def wait(self) -> None:
        """Wait until it is gone."""
        if not self._process.is_alive():
            return
        loop, gone = asyncio.get_running_loop(), asyncio.Event()
        # A descriptor of our own: several may wait, and a loop tells of each descriptor only one of them.
        sentinel = os.dup(self._process.sentinel)
        loop.add_reader(sentinel, gone.set)
        try:
            await gone.wait()
        finally:
            loop.remove_reader(sentinel)
            os.close(sentinel)
        self._process.join()

    def terminate(self) -> None:
        """Ask it to end."""
        self._send(signal.SIGTERM)

    def kill(self) -> None:
        """What an out-of-memory killer does."""
        self._send(signal.SIGKILL)

    def _send(self, number: signal.Signals) -> None:
        if self.pid is not None:
            os.kill(self.pid, number)


@cache
def _context() -> ForkServerContext:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(IMPORTED)
    os.environ[ROOM] = " " * ROOM_BYTES
    try:
        forkserver.ensure_running()
    finally:
        del os.environ[ROOM]
    return context


async def _reader(connection: Connection) -> asyncio.StreamReader:
    """The lines that come through a pipe, whose end of ours is closed with its last one."""
    reader = asyncio.StreamReader()
    pipe = os.fdopen(os.dup(connection.fileno()), "rb", buffering=0)
    connection.close()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), pipe)
    return reader


def _run(
    program: Program, arguments: list[str], environment: dict[str, str], output: Connection, errors: Connection
) -> None:
    """Runs in the child."""
    end_with_parent()
    for connection, number in ((output, 1), (errors, 2)):
        os.dup2(connection.fileno(), number)
        connection.close()
    os.environ.clear()
    os.environ.update(environment)
    _show(environment)
    sys.exit(program(arguments))


def _show(environment: dict[str, str]) -> None:
    """Let the kernel tell of this environment (`/proc/PID/environ`, `ps e`) instead of the fork server's."""
    stat = Path("/proc/self/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    start, end = int(stat[ENVIRONMENT_START]), int(stat[ENVIRONMENT_START + 1])
    told = b"".join(f"{name}={value}\0".encode() for name, value in environment.items())
    ctypes.memset(start, 0, end - start)
    ctypes.memmove(start, told, min(len(told), end - start - 1))
