"""The only way in: a CONNECT proxy on loopback that knows Azure's host names and lets nothing else through."""

import asyncio
import contextlib
import logging
from collections.abc import Callable

log = logging.getLogger(__name__)

MOST_HEADER_BYTES = 16384
CHUNK_BYTES = 65536
HEADER_SECONDS = 10


class ConnectProxy:
    """Sends `CONNECT host:443` to the TLS server if `allows(host)`; answers 403 otherwise."""

    def __init__(self, allows: Callable[[str], bool], tls_port: int) -> None:
        self._allows = allows
        self._tls_port = tls_port
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()

    async def start(self, preferred_port: int) -> int:
        """Listen on loopback, on `preferred_port` if it is free; returns the port."""
        try:
            self._server = await asyncio.start_server(
                self._accept, "127.0.0.1", preferred_port, limit=MOST_HEADER_BYTES
            )
        except OSError:
            self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, limit=MOST_HEADER_BYTES)
        return int(self._server.sockets[0].getsockname()[1])

    async def stop(self) -> None:
        """Stop listening and end every tunnel."""
        if self._server is not None:
            self._server.close()
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._connections.add(task)
            task.add_done_callback(self._connections.discard)
        # Clients come and go as they like; a tunnel that broke is not news. On stop the tunnel is cancelled.
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, TimeoutError, asyncio.CancelledError):
            await self._serve(reader, writer)
        writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(HEADER_SECONDS):
                head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.LimitOverrunError:
            await _answer(writer, "431 Request Header Fields Too Large")
            return
        method, _, rest = head.split(b"\r\n", 1)[0].decode("latin-1").partition(" ")
        host, _, port = rest.partition(" ")[0].rpartition(":")
        if method != "CONNECT":
            await _answer(writer, "405 Method Not Allowed")
            return
        if port != "443" or not self._allows(host.lower()):
            log.warning("refused CONNECT %s:%s: not a host of this sandbox", host, port)
            await _answer(writer, "403 Forbidden")
            return
        inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", self._tls_port)
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        try:
            await _join((reader, writer), (inner_reader, inner_writer))
        finally:
            inner_writer.close()


async def _answer(writer: asyncio.StreamWriter, status: str) -> None:
    writer.write(f"HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
    await writer.drain()


Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def _join(client: Stream, server: Stream) -> None:
    """Copy both ways until either side ends: what TLS has closed on one side is of no use on the other."""
    ways = [asyncio.create_task(_copy(client[0], server[1])), asyncio.create_task(_copy(server[0], client[1]))]
    try:
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for way in ways:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while chunk := await reader.read(CHUNK_BYTES):
        writer.write(chunk)
        await writer.drain()
