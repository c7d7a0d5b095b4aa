"""Kudu's tunnel: a websocket that carries what a TCP connection to the sshd of the slot's container would carry.

Source: the requests of the Azure CLI's `az webapp create-remote-connection`; no documentation promises them.
"""

import asyncio
import socket
from asyncio import StreamReader, StreamWriter
from contextlib import suppress
from typing import TYPE_CHECKING

from aiohttp import WSMsgType, web

from sandbox.arm import missing
from sandbox.faults import number, text
from sandbox.processes import Worker
from sandbox.ssh.faults import NO_SSHD, cut_of, cuts, environment_of, is_on
from sandbox.ssh.shells import Container
from sandbox.state import Fault, Site, Slot
from sandbox.world import World

if TYPE_CHECKING:
    from sandbox.ssh.sshd import Fate, Sshd

PATH = "/appservicetunnel/tunnel.ashx"
PORT = 2222
CHUNK_BYTES = 32_768
AFFINITY = "ARRAffinity"
"""The cookie that names an instance."""


class Tunnel:
    """Answers on the path of that name."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._sshd: Sshd | None = None

    async def handle(self, request: web.Request, site: Site, slot: Slot) -> web.StreamResponse:
        """Tell whether there is a container that can be reached, or join the client with its sshd."""
        worker = self._container(request, site, slot)
        reachable = not is_on(self._world, NO_SSHD, site, slot)
        if "GetStatus" in request.query:
            if request.query.get("GetStatusAPIVer") != "2":
                raise missing(request, "only version 2 of the tunnel's status is known here")
            return web.json_response(_status(worker, reachable=reachable))
        if request.headers.get("Upgrade", "").lower() != "websocket":
            return web.Response(status=400, text="This is not a websocket request.")
        if worker is None or _state(worker) != "STARTED" or worker.launch.release is None or not reachable:
            return web.Response(status=503, text="The container cannot be reached.")
        container = Container(
            site=site.name,
            image=self._world.folder.images / worker.launch.release,
            root=self._world.folder.container_root,
            environment=self._environment(site, slot),
        )
        response = web.WebSocketResponse(compress=False)
        await response.prepare(request)
        connection = _Connection(request, response, self._world, cut_of(self._world, site, slot))
        await connection.serve(self._server(), container, worker)
        return response

    def _container(self, request: web.Request, site: Site, slot: Slot) -> Worker | None:
        there = self._world.workers.all_at((site.name, slot.name))
        wanted = request.cookies.get(AFFINITY)
        return next((each for each in there if each.instance == wanted), there[0] if there else None)

    def _environment(self, site: Site, slot: Slot) -> dict[str, str]:
        # The image trusts the authority that signs for database servers.
        return {"PGSSLROOTCERT": str(self._world.folder.ca_bundle), **environment_of(self._world, site, slot)}

    def _server(self) -> "Sshd":
        if self._sshd is None:
            # Here, not above: asyncssh takes its time, and most sandboxes are never asked for it.
            from sandbox.ssh.sshd import Sshd

            self._sshd = Sshd(self._world.shells)
        return self._sshd


def _state(worker: Worker | None) -> str:
    if worker is None:
        return "STOPPED"
    if not worker.settled.is_set():
        return "STARTING"
    return "STARTED" if worker.port is not None and worker.pid is not None else "STOPPED"


def _status(worker: Worker | None, *, reachable: bool) -> dict[str, object]:
    state = _state(worker)
    return {"port": PORT, "state": state, "canReachPort": reachable and state == "STARTED", "msg": ""}


class _Connection:
    """One client's tunnel, and the fault that may cut it. Sees what the remote process writes, see `Watcher`."""

    def __init__(self, request: web.Request, client: web.WebSocketResponse, world: World, fault: Fault | None) -> None:
        self._request = request
        self._client = client
        self._world = world
        self._fault = fault
        self._cut = asyncio.Event()
        self._bytes_through = 0
        self._written = b""

    @property
    def fate(self) -> "Fate":
        """See `Watcher`."""
        if self._fault is None or not self._cut.is_set():
            return "is hung up"
        return "is killed" if number(self._fault, "kills") else "goes on"

    async def serve(self, sshd: "Sshd", container: Container, worker: Worker) -> None:
        """Until either side ends, the container does, or the fault cuts it."""
        ours, theirs = socket.socketpair()
        reader, writer = await asyncio.open_connection(sock=ours)
        works = [
            asyncio.create_task(work)
            for work in (
                sshd.serve(theirs, container, self),
                self._upwards(writer),
                self._downwards(reader),
                self._cut_when_due(),
                worker.ended(),
            )
        ]
        try:
            await asyncio.wait(works, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for work in works:
                work.cancel()
            await asyncio.gather(*works, return_exceptions=True)
            writer.close()
        if self._cut.is_set():
            if self._request.transport is not None:
                self._request.transport.abort()
            return
        with suppress(ConnectionError):
            await self._client.close()

    async def _upwards(self, writer: StreamWriter) -> None:
        with suppress(ConnectionError):
            async for message in self._client:
                if message.type != WSMsgType.BINARY:
                    break
                writer.write(message.data)
                await writer.drain()

    async def _downwards(self, reader: StreamReader) -> None:
        with suppress(ConnectionError):
            while (content := await reader.read(CHUNK_BYTES)) and not self._cut.is_set():
                await self._client.send_bytes(content)
                self._bytes_through += len(content)
                if self._fault is not None and 0 < number(self._fault, "bytes") <= self._bytes_through:
                    self._meet(self._fault)

    async def _cut_when_due(self) -> None:
        fault = self._fault
        if fault is not None and (seconds := number(fault, "seconds")):
            await asyncio.sleep(seconds)
            self._meet(fault)
        elif fault is not None and not text(fault, "after") and not number(fault, "bytes"):
            self._meet(fault)
        await self._cut.wait()

    def _meet(self, fault: Fault) -> None:
        """What the fault waits for has happened here; a tunnel that it lets through, it does not look at again."""
        if cuts(self._world, fault):
            self._cut.set()
        self._fault = fault if self._cut.is_set() else None

    def wrote(self, content: bytes) -> None:
        """See `Watcher`."""
        fault = self._fault
        if fault is None or not (awaited := text(fault, "after").encode()):
            return
        self._written = (self._written + content)[-len(content) - len(awaited) :]
        if awaited in self._written:
            self._meet(fault)
