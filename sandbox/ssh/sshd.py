"""The sshd of a container: user root with Azure's well-known password, commands and login shells, nothing else."""

import asyncio
import fcntl
import logging
import os
import pty
import signal
import socket
import struct
import termios
from asyncio.subprocess import Process
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Literal, Protocol

import asyncssh
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from sandbox.ssh.shells import Container, Shells, send

USER = "root"
PASSWORD = "Docker!"  # noqa: S105 -- Azure's own, the same in every image: the tunnel is what lets nobody else in
CHUNK_BYTES = 65_536
LOST = (asyncssh.Error, OSError)
"""How a client may go while something is sent to it."""


Fate = Literal["is hung up", "goes on", "is killed"]


class Watcher(Protocol):
    """Who is told what a session's process does; a fault may cut the tunnel then."""

    def wrote(self, content: bytes) -> None:
        """It wrote this; nothing has been sent to the client yet."""
        ...

    @property
    def fate(self) -> Fate:
        """What becomes of a process whose client has gone."""
        ...


class _Login(asyncssh.SSHServer):
    def begin_auth(self, username: str) -> bool:
        """Nobody gets in without a password."""
        del username
        return True

    def password_auth_supported(self) -> bool:
        """It is the only way."""
        return True

    def validate_password(self, username: str, password: str) -> bool:
        """There is one user."""
        return (username, password) == (USER, PASSWORD)


class Sshd:
    """Serves connections, each to one container. Its host key is made anew at each start of the sandbox."""

    def __init__(self, shells: Shells) -> None:
        # Otherwise it tells every command.
        asyncssh.set_log_level(logging.WARNING)
        self._shells = shells
        key = Ed25519PrivateKey.generate()
        self._key = key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())

    async def serve(self, connection: socket.socket, container: Container, watcher: Watcher) -> None:
        """Serve one client, until it has gone or the task is cancelled."""

        async def run(process: asyncssh.SSHServerProcess[bytes]) -> None:
            await _Session(self._shells, container, watcher, process).run()

        try:
            served = await asyncssh.run_server(
                connection,
                server_factory=_Login,
                server_host_keys=[self._key],
                process_factory=run,
                encoding=None,
                line_editor=False,
                agent_forwarding=False,
            )
        except LOST:
            # It could not prove itself, or went before that.
            return
        try:
            await served.wait_closed()
        finally:
            served.abort()


class _Session:
    """One command, or one login shell."""

    def __init__(
        self, shells: Shells, container: Container, watcher: Watcher, client: asyncssh.SSHServerProcess[bytes]
    ) -> None:
        self._shells = shells
        self._container = container
        self._watcher = watcher
        self._client = client

    async def run(self) -> None:
        """Start it, join it with the client, and tell its end."""
        if self._client.subsystem is not None:
            self._client.exit(1)
        elif self._client.term_type is None:
            process = await self._shells.start(self._container, self._client.command)
            await self._follow(process, _Pipes(process))
        else:
            ours, theirs = pty.openpty()
            width, height, *_ = self._client.term_size
            fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))
            try:
                process = await self._shells.start(self._container, self._client.command, theirs)
            finally:
                os.close(theirs)
            await self._follow(process, await _Terminal.on(ours))

    async def _follow(self, process: Process, ends: "_Pipes | _Terminal") -> None:
        sending = asyncio.create_task(self._take_input(process, ends))
        watching = asyncio.create_task(self._end_with_client(process))
        out = self._client.stdout, self._client.stderr
        copying = [asyncio.create_task(self._give(process, *each)) for each in zip(ends.outputs, out, strict=False)]
        try:
            await process.wait()
            # What it left behind in the background would hold its outputs open.
            send(process, signal.SIGKILL)
            await asyncio.gather(*copying)
        finally:
            sending.cancel()
            watching.cancel()
            await asyncio.gather(sending, watching, return_exceptions=True)
            ends.close()
        self._tell_end(process.returncode or 0)

    def _tell_end(self, status: int) -> None:
        with suppress(*LOST):
            if status < 0:
                self._client.exit_with_signal(signal.Signals(-status).name.removeprefix("SIG"))
            else:
                self._client.exit(status)

    async def _end_with_client(self, process: Process) -> None:
        await self._client.channel.wait_closed()
        if self._watcher.fate == "is killed":
            await self._shells.kill(process)
        elif self._watcher.fate == "is hung up":
            await self._shells.end(process)

    async def _take_input(self, process: Process, ends: "_Pipes | _Terminal") -> None:
        """What the client sends: bytes, signals, the size of its window, and the end of it all."""
        try:
            while True:
                try:
                    content = await self._client.stdin.read(CHUNK_BYTES)
                except asyncssh.SignalReceived as received:
                    number = getattr(signal, f"SIG{received.signal}", None)
                    if number is not None:
                        send(process, number)
                    continue
                except (asyncssh.BreakReceived, asyncssh.TerminalSizeChanged):
                    continue
                if not content:
                    break
                await ends.write(content)
        except LOST:
            # The client has gone, or the process takes nothing any more.
            pass
        finally:
            ends.end_input()

    async def _give(
        self, process: Process, source: Callable[[], Awaitable[bytes]], target: asyncssh.SSHWriter[bytes]
    ) -> None:
        """Copy to the client, as fast as it reads; to nobody once it has gone."""
        gone = False
        while content := await source():
            self._watcher.wrote(content)
            if self._watcher.fate == "is killed":
                send(process, signal.SIGKILL)
            if not gone:
                try:
                    target.write(content)
                    await target.drain()
                except LOST:
                    gone = True


class _Pipes:
    """A process's three pipes."""

    def __init__(self, process: Process) -> None:
        self._process = process
        outputs = [each for each in (process.stdout, process.stderr) if each is not None]
        self.outputs = [_reading(each) for each in outputs]

    async def write(self, content: bytes) -> None:
        if self._process.stdin is not None:
            self._process.stdin.write(content)
            await self._process.stdin.drain()

    def end_input(self) -> None:
        if self._process.stdin is not None:
            self._process.stdin.close()

    def close(self) -> None:
        self.end_input()


class _Terminal:
    """Our end of a pseudo-terminal."""

    def __init__(self, descriptor: int, reader: asyncio.StreamReader, transport: asyncio.ReadTransport) -> None:
        self._descriptor = descriptor
        self._transport = transport
        self.outputs = [_reading(reader)]

    @classmethod
    async def on(cls, descriptor: int) -> "_Terminal":
        """Read from it."""
        reader = asyncio.StreamReader()
        file = os.fdopen(os.dup(descriptor), "rb", buffering=0)
        loop = asyncio.get_running_loop()
        transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), file)
        return cls(descriptor, reader, transport)

    async def write(self, content: bytes) -> None:
        while content:
            written = await asyncio.to_thread(os.write, self._descriptor, content)
            content = content[written:]

    def end_input(self) -> None:
        """A terminal's input does not end with the client's: it is hung up."""

    def close(self) -> None:
        self._transport.close()
        os.close(self._descriptor)


def _reading(reader: asyncio.StreamReader) -> Callable[[], Awaitable[bytes]]:
    async def read() -> bytes:
        try:
            return await reader.read(CHUNK_BYTES)
        except OSError:
            # How a terminal says that nobody is left at its other end.
            return b""

    return read
