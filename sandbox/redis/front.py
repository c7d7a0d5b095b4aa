"""What clients connect to: TLS, the books about who came with which key and what was deleted, and faults.

Everything else is Valkey's own answer.
"""

import asyncio
import logging
import ssl
from asyncio import StreamReader, StreamWriter
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, cast

import hiredis

from sandbox.certificates import server_context
from sandbox.errors import SandboxError
from sandbox.redis import obstacles
from sandbox.redis.model import Cache
from sandbox.world import World

log = logging.getLogger(__name__)

CHUNK_BYTES = 262_144
SILENT = (ConnectionError, asyncio.IncompleteReadError, ssl.SSLError, TimeoutError)
"""How a client's connection may end without anything being wrong here."""
NO_PROTOCOL = b"-ERR Protocol error: commands are arrays of bulk strings here\r\n"


@dataclass(eq=False)
class Connection:
    """A client and the node that it speaks to."""

    cache: Cache
    reader: StreamReader
    writer: StreamWriter
    passwords: set[str] = field(default_factory=set[str])
    """What it has signed in with."""

    def note(self, command: list[bytes]) -> str:
        """Look at a command that comes; its name."""
        name = command[0].upper().decode("latin-1")
        if name == "AUTH":
            self.passwords.add(command[-1].decode("latin-1"))
        elif name == "HELLO":
            words = [each.upper() for each in command]
            if b"AUTH" in words and len(command) > words.index(b"AUTH") + 2:
                self.passwords.add(command[words.index(b"AUTH") + 2].decode("latin-1"))
        return name


class Front:
    """Listens on every cache's address."""

    def __init__(self, world: World, hosts: list[str]) -> None:
        self._world = world
        self._hosts = hosts
        self._servers: list[asyncio.Server] = []
        self._connections: dict[asyncio.Task[Any], Connection] = {}

    async def start(self) -> None:
        """Answer on every address that is held."""
        self._world.caches.on_access = self._drop_strangers
        self._world.caches.drop = self.drop
        for cache in self._world.state.caches:
            context = server_context(self._world.folder, self._hosts, cache.address)
            for number in range(len(self._world.caches.sockets[cache.name])):
                await self._listen(cache.name, number, context)

    async def _listen(self, name: str, number: int, context: ssl.SSLContext) -> None:
        async def connected(reader: StreamReader, writer: StreamWriter) -> None:
            cache, task = self._world.state.find_cache(name), asyncio.current_task()
            if cache is None or task is None:
                writer.transport.abort()
                return
            connection = self._connections[task] = Connection(cache, reader, writer)
            try:
                await self._serve(connection, number)
            finally:
                del self._connections[task]

        held = self._world.caches.sockets[name][number]
        self._servers.append(await asyncio.start_server(connected, sock=held, ssl=context))

    def drop(self, name: str) -> None:
        """End every connection to a cache."""
        for each in self._connections.values():
            if each.cache.name == name:
                each.writer.transport.abort()

    def _drop_strangers(self, cache: Cache) -> None:
        """As Azure does: whoever signed in with a key that is no more loses the connection."""
        valid = self._world.caches.keys(cache)
        for each in self._connections.values():
            if each.cache.name == cache.name and each.passwords - {*valid}:
                each.writer.transport.abort()

    async def stop(self) -> None:
        """End every connection."""
        for server in self._servers:
            server.close()
        tasks = list(self._connections)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _serve(self, connection: Connection, number: int) -> None:
        client = connection.writer
        try:
            if obstacles.refuses(self._world, connection.cache):
                client.transport.abort()
                return
            node = (await self._world.caches.running(connection.cache))[number]
            reader, writer = await asyncio.open_connection(node.address, node.port)
        except (SandboxError, OSError) as error:
            log.warning("the Valkey of %s cannot be reached: %s", connection.cache.name, error)
            client.transport.abort()
            return
        both = [
            asyncio.create_task(self._ask(connection, writer)),
            asyncio.create_task(_answer(reader, client)),
        ]
        try:
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in both:
                task.cancel()
            await asyncio.gather(*both, return_exceptions=True)
            writer.close()
            client.close()

    async def _ask(self, connection: Connection, writer: StreamWriter) -> None:
        """Pass the client's commands on, as they came where no fault is in the way."""
        parser = hiredis.Reader()
        with suppress(*SILENT):
            while chunk := await connection.reader.read(CHUNK_BYTES):
                parser.feed(chunk)
                try:
                    commands = _commands(parser)
                except hiredis.ProtocolError:
                    connection.writer.write(NO_PROTOCOL)
                    return
                for command in commands:
                    name = connection.note(command)
                    self._world.caches.deletions.note(connection.cache.name, name, len(command) - 1)
                writer.write(chunk)
                await writer.drain()


def _commands(parser: hiredis.Reader) -> list[list[bytes]]:
    """Every command that is complete."""
    found: list[list[bytes]] = []
    while (command := parser.gets()) is not False:
        if not isinstance(command, list) or not command:
            raise hiredis.ProtocolError
        found.append(cast("list[bytes]", command))
    return found


async def _answer(reader: StreamReader, writer: StreamWriter) -> None:
    with suppress(*SILENT):
        while content := await reader.read(CHUNK_BYTES):
            writer.write(content)
            await writer.drain()
