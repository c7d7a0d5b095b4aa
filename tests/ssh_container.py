"""A container's SSH server behind App Service's tunnel, small enough to be cut where a test wants it."""

import asyncio
import os
import ssl
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from signal import Signals
from types import SimpleNamespace
from typing import Any, cast

import asyncssh
from aiohttp import WSMsgType, web
from tls_front import make_certificate

from rollback.azure import AzureConnection

PIPE = asyncio.subprocess.PIPE


class AnyCredential:
    """Gives tokens in turn, as they are renewed; only "good" is accepted."""

    def __init__(self, *tokens: str) -> None:
        self.tokens = [*tokens]

    async def get_token(self, *_: str) -> object:
        return SimpleNamespace(token=self.tokens[0])

    def renew(self) -> None:
        if len(self.tokens) > 1:
            del self.tokens[0]


def connection(*tokens: str) -> AzureConnection:
    return cast("AzureConnection", SimpleNamespace(credential=AnyCredential(*tokens or ("good",))))


@dataclass
class Container:
    """What Kudu says of it, how it lets in, and what was asked of it."""

    host: str = ""
    certificate: Path = Path()
    states: list[dict[str, object]] = field(default_factory=lambda: [{"state": "STARTED", "canReachPort": True}])
    """Answers to GetStatus, in turn; the last one stays."""
    password: str = "Docker!"  # noqa: S105 - Azure's own
    commands: list[str] = field(default_factory=list[str])
    children: list[asyncio.subprocess.Process] = field(default_factory=list[asyncio.subprocess.Process])
    runs: list[asyncio.Task[None]] = field(default_factory=list[asyncio.Task[None]])
    _tunnels: list[asyncio.Transport] = field(default_factory=list[asyncio.Transport])
    _sshd: asyncssh.SSHAcceptor | None = None

    def cut(self) -> None:
        """End every tunnel without a word."""
        for tunnel in self._tunnels:
            tunnel.abort()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        if request.headers.get("Authorization") != "Bearer good":
            return web.Response(status=401)
        if "GetStatus" in request.query:
            return web.json_response(self.states.pop(0) if len(self.states) > 1 else self.states[0])
        return await self._carry(request)

    async def _carry(self, request: web.Request) -> web.StreamResponse:
        assert self._sshd is not None
        reader, writer = await asyncio.open_connection("127.0.0.1", self._sshd.get_port())
        websocket = web.WebSocketResponse(max_msg_size=0)
        await websocket.prepare(request)
        self._tunnels.append(cast("asyncio.Transport", request.transport))

        async def carry_back() -> None:
            with suppress(ConnectionError):
                while piece := await reader.read(65536):
                    await websocket.send_bytes(piece)
            await websocket.close()

        back = asyncio.create_task(carry_back())
        try:
            with suppress(ConnectionError):
                async for message in websocket:
                    if message.type is WSMsgType.BINARY:
                        writer.write(message.data)
                        await writer.drain()
        finally:
            writer.transport.abort()
            await asyncio.wait([back])
        return websocket

    @asynccontextmanager
    async def running(self, folder: Path) -> AsyncGenerator[None]:
        """Behind TLS on a loopback port, with a certificate that is its own authority."""
        self.certificate = make_certificate(folder, "kudu")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate, self.certificate.with_suffix(".key"))
        app = web.Application()
        app.router.add_get("/AppServiceTunnel/Tunnel.ashx", self._answer)
        runner = web.AppRunner(app, shutdown_timeout=1)
        self._sshd = await asyncssh.listen(
            "127.0.0.1",
            0,
            server_factory=lambda: _Server(self),
            server_host_keys=[asyncssh.generate_private_key("ssh-ed25519")],
            encoding=None,
        )
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
        await site.start()
        self.host = f"127.0.0.1:{runner.addresses[0][1]}"
        try:
            yield
        finally:
            await runner.cleanup()
            self._sshd.close()
            await self._sshd.wait_closed()
            for child in self.children:
                with suppress(ProcessLookupError):
                    os.killpg(child.pid, Signals.SIGKILL)
            await asyncio.gather(*self.runs)


class _Server(asyncssh.SSHServer):
    """Lets root in with the container's password."""

    def __init__(self, container: Container) -> None:
        self._container = container

    def begin_auth(self, username: str) -> bool:
        return True

    def password_auth_supported(self) -> bool:
        return True

    def validate_password(self, username: str, password: str) -> bool:
        return (username, password) == ("root", self._container.password)

    def session_requested(self) -> "_Command":
        return _Command(self._container)


class _Command(asyncssh.SSHServerSession[bytes]):
    """A command in a process group of its own, that outlives its channel."""

    def __init__(self, container: Container) -> None:
        self._container = container
        self._command = ""
        self._given = b""
        self._given_all = asyncio.Event()
        self._writable = asyncio.Event()
        self._child: asyncio.subprocess.Process | None = None
        self._channel: Any = None
        self._writable.set()

    def connection_made(self, chan: Any) -> None:
        self._channel = chan

    def exec_requested(self, command: str) -> bool:
        self._command = command
        self._container.commands.append(command)
        return True

    def session_started(self) -> None:
        self._container.runs.append(asyncio.create_task(self._run()))

    def data_received(self, data: bytes, datatype: object) -> None:
        self._given += data

    def eof_received(self) -> bool:
        self._given_all.set()
        return True

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def signal_received(self, signal: str) -> None:
        self._kill(Signals[f"SIG{signal}"])

    def connection_lost(self, exc: Exception | None) -> None:
        # Without a terminal nobody is hung up: the command goes on.
        self._given_all.set()
        self._writable.set()

    def _kill(self, number: Signals) -> None:
        if self._child is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._child.pid, number)

    async def _run(self) -> None:
        await self._given_all.wait()
        self._child = child = await asyncio.create_subprocess_shell(
            self._command, stdin=PIPE, stdout=PIPE, stderr=asyncio.subprocess.STDOUT, start_new_session=True
        )
        self._container.children.append(child)
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdin.write(self._given)
        child.stdin.close()
        while piece := await child.stdout.read(65536):
            await self._writable.wait()
            if not self._channel.is_closing():
                self._channel.write(piece)
        status = await child.wait()
        if self._channel.is_closing():
            return
        if status < 0:
            self._channel.exit_with_signal("KILL")
        else:
            self._channel.exit(status)
