"""A program of this machine, run in a process group of its own: whatever happens, nothing of the group stays."""

import asyncio
import os
import signal
from asyncio.subprocess import Process
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

INTERRUPTED_SECONDS = 5.0
"""What an interrupted program has to cancel its statement and close its session."""
LAST_WORDS_SECONDS = 2.0
"""How long output is awaited after the program's end, where somebody outside of its group holds the pipe open."""

_INHERITED = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "SSL_CERT_FILE")
_PROXIES = ("HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY")
_NETWORK = (*_PROXIES, *(each.lower() for each in _PROXIES), "NODE_EXTRA_CA_CERTS", "REQUESTS_CA_BUNDLE")
"""How the network is reached. A proxy's variables are written in capital and in small letters; programs differ."""

_GATE = ("/bin/sh", "-c", 'read -r go && exec "$@"', "sh")
"""Keeps the process, and begins the program in it once it is told so; where we end before, it ends without."""
_GO = b"go\n"


def clean_environment() -> dict[str, str]:
    """Of our environment what programs need, and none of its credentials."""
    return {name: os.environ[name] for name in _INHERITED if name in os.environ}


def network_environment() -> dict[str, str]:
    """The same for programs that reach beyond this machine: with the way to the network."""
    return clean_environment() | {name: os.environ[name] for name in _NETWORK if name in os.environ}


class _Reader(asyncio.Protocol):
    """Hands on what comes through a pipe, as it comes."""

    def __init__(self, received: Callable[[bytes], None]) -> None:
        self._received = received
        self.ended = asyncio.get_running_loop().create_future()

    def data_received(self, data: bytes) -> None:
        self._received(data)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.ended.done():
            self.ended.set_result(None)


async def run_in_group(
    command: Sequence[str | Path],
    *,
    folder: Path,
    environment: Mapping[str, str],
    received: Callable[[bytes], None],
    given: bytes = b"",
    began: Callable[[int], None] | None = None,
) -> int:
    """Run a program to its end; `given` is its standard input, `received` gets both of its outputs.

    `began` is told the number of the process and of its group, and the program does nothing before it has returned:
    killed meanwhile, we leave nothing behind that nobody knows of. A program that cannot be started is then told by a
    shell, with status 126 or 127.

    Its exit status, negative where a signal ended it. Cancelled, it interrupts the group, then kills it. Raises
    `FileNotFoundError` or `PermissionError` where the program or the folder cannot be used.
    """
    if began is not None:
        command, given = (*_GATE, *command), _GO + given
    reading, writing = os.pipe()
    loop = asyncio.get_running_loop()
    with os.fdopen(reading, "rb", buffering=0) as pipe:
        starting = asyncio.ensure_future(
            asyncio.create_subprocess_exec(
                *command,
                cwd=folder,
                env=dict(environment),
                stdin=asyncio.subprocess.PIPE,
                stdout=writing,
                stderr=writing,
                start_new_session=True,
            )
        )
        try:
            process = await _started(starting)
        finally:
            os.close(writing)
        transport = None
        try:
            if began is not None:
                began(process.pid)
            transport, reader = await loop.connect_read_pipe(lambda: _Reader(received), pipe)
            await process.communicate(given)
            status = await process.wait()
            # What it left in the background would hold the pipe open.
            _signal(process, signal.SIGKILL)
            await asyncio.wait([reader.ended], timeout=LAST_WORDS_SECONDS)
        finally:
            try:
                await _end(process)
            finally:
                if transport is not None:
                    transport.close()
    return status


async def _started(starting: "asyncio.Future[Process]") -> Process:
    """The process; cancelled while it starts, asyncio itself would end the first of its group only."""
    try:
        return await asyncio.shield(starting)
    except asyncio.CancelledError:
        with suppress(OSError):
            await _end(await starting)
        raise


async def _end(process: Process) -> None:
    """End the whole group, with a moment for what an interrupted program does last."""
    try:
        if process.returncode is None:
            _signal(process, signal.SIGINT)
            with suppress(TimeoutError):
                async with asyncio.timeout(INTERRUPTED_SECONDS):
                    await process.wait()
    finally:
        _signal(process, signal.SIGKILL)
    await process.wait()


def _signal(process: Process, number: signal.Signals) -> None:
    # The group's number is its first process's, and stays taken while any of the group lives.
    with suppress(ProcessLookupError):
        os.killpg(process.pid, number)
