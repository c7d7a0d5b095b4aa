"""What clients connect to: TLS, the firewall, and Entra sign-in; everything else is PostgreSQL's own answer.

A role of PostgreSQL proves itself to PostgreSQL (SCRAM goes through). An Entra administrator sends an access token as
a password; the front verifies it and signs in as that role with a password that nobody else has.
"""

import asyncio
import ipaddress
import logging
import ssl
from asyncio import StreamReader, StreamWriter
from contextlib import suppress

from sandbox import directory
from sandbox.certificates import server_context
from sandbox.entra import Entra, TokenRefusedError
from sandbox.errors import SandboxError
from sandbox.postgresql import protocol
from sandbox.postgresql.cluster import UPSTREAM_PORT
from sandbox.postgresql.model import Administrator, FlexibleServer
from sandbox.postgresql.sources import WITHIN_AZURE, Source, source_of
from sandbox.world import World

log = logging.getLogger(__name__)

CHUNK_BYTES = 65_536
SILENT = (ConnectionError, asyncio.IncompleteReadError, ssl.SSLError, protocol.ProtocolError, TimeoutError)
"""How a client's connection may end without anything being wrong here."""
LISTENING = ("Ready", "Updating")
INVALID_AUTHORIZATION, WRONG_PASSWORD, NOT_NOW = "28000", "28P01", "57P03"


class RefusedError(Exception):
    """The client is told why, and the connection ends."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class Front:
    """Listens on every server's address."""

    def __init__(self, world: World, entra: Entra, hosts: list[str]) -> None:
        self._world = world
        self._hosts = hosts
        self._entra = entra
        self._contexts: dict[str, ssl.SSLContext] = {}
        self._servers: dict[str, asyncio.Server] = {}
        self._connections: set[asyncio.Task[None]] = set()
        self._opening: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Answer on every address that is held, and on those that will be."""
        clusters = self._world.clusters
        clusters.on_hold, clusters.on_let_go = self._open_soon, self._close
        for name in clusters.sockets:
            await self._open(name)

    def _open_soon(self, name: str) -> None:
        task = asyncio.create_task(self._open(name))
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)

    async def _open(self, name: str) -> None:
        async def connected(reader: StreamReader, writer: StreamWriter) -> None:
            task = asyncio.current_task()
            if task is not None:
                self._connections.add(task)
                task.add_done_callback(self._connections.discard)
            await self._serve(name, reader, writer)

        self._servers[name] = await asyncio.start_server(connected, sock=self._world.clusters.sockets[name])

    def _close(self, name: str) -> None:
        if (server := self._servers.pop(name, None)) is not None:
            server.close()

    async def stop(self) -> None:
        """End every connection."""
        for name in list(self._servers):
            self._close(name)
        tasks = [*self._connections, *self._opening]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _serve(self, name: str, reader: StreamReader, writer: StreamWriter) -> None:
        server = self._world.state.find_database_server(name)
        try:
            if server is None or server.state not in LISTENING:
                writer.transport.abort()
            elif server.unreachable:
                # As behind a network that drops packets: until the client gives up.
                while await reader.read(CHUNK_BYTES):
                    pass
            else:
                await self._connect(server, reader, writer)
        except RefusedError as error:
            with suppress(*SILENT):
                writer.write(protocol.fatal(error.code, str(error)))
                await writer.drain()
        except SILENT:
            pass
        finally:
            writer.close()

    async def _connect(self, server: FlexibleServer, reader: StreamReader, writer: StreamWriter) -> None:
        source = await source_of(
            writer.get_extra_info("peername"), writer.get_extra_info("sockname"), self._world.app_processes()
        )
        encrypted, startup = False, await protocol.read_startup(reader)
        while startup.code in (protocol.SSL_REQUEST, protocol.GSS_REQUEST):
            takes = startup.code == protocol.SSL_REQUEST and not encrypted
            writer.write(b"S" if takes else b"N")
            await writer.drain()
            if takes:
                await writer.start_tls(self._context(server))
                encrypted = True
            startup = await protocol.read_startup(reader)
        if startup.code == protocol.CANCEL_REQUEST:
            await self._cancel(server, startup, source)
            return
        if startup.code >> 16 != protocol.VERSION_3:
            raise protocol.ProtocolError
        _check_access(server, startup, source, encrypted=encrypted)
        administrator = next((each for each in server.administrators if each.name == startup.user), None)
        if administrator is not None:
            await self._verify(administrator, reader, writer)
        await self._forward(server, startup, source, administrator, (reader, writer))

    def _context(self, server: FlexibleServer) -> ssl.SSLContext:
        if server.address not in self._contexts:
            self._contexts[server.address] = server_context(self._world.folder, self._hosts, server.address)
        return self._contexts[server.address]

    async def _verify(self, administrator: Administrator, reader: StreamReader, writer: StreamWriter) -> None:
        """Ask for a token and let nobody in but the administrator, or a member of the group that is one."""
        writer.write(protocol.CLEARTEXT_PASSWORD)
        await writer.drain()
        kind, content = await protocol.read_message(reader)
        refused = RefusedError(WRONG_PASSWORD, f'password authentication failed for user "{administrator.name}"')
        if kind != b"p":
            raise refused
        token = content.rstrip(b"\0").decode("utf-8", "replace")
        try:
            principal = self._entra.verify(f"Bearer {token}", directory.DATABASE)
        except TokenRefusedError as error:
            raise refused from error
        if administrator.object_id not in (principal.object_id, *principal.groups):
            raise refused

    async def _upstream(self, server: FlexibleServer, source: Source) -> tuple[StreamReader, StreamWriter]:
        try:
            await self._world.clusters.running(server)
            return await asyncio.open_connection(server.address, UPSTREAM_PORT, local_addr=(source.loopback, 0))
        except (SandboxError, OSError) as error:
            log.warning("the PostgreSQL of %s cannot be reached: %s", server.name, error)
            raise RefusedError(NOT_NOW, "the database system is starting up") from error

    async def _cancel(self, server: FlexibleServer, startup: protocol.Startup, source: Source) -> None:
        reader, writer = await self._upstream(server, source)
        writer.write(startup.raw)
        await writer.drain()
        await reader.read()
        writer.close()

    async def _forward(
        self,
        server: FlexibleServer,
        startup: protocol.Startup,
        source: Source,
        administrator: Administrator | None,
        client: tuple[StreamReader, StreamWriter],
    ) -> None:
        reader, writer = await self._upstream(server, source)
        try:
            writer.write(startup.raw)
            if administrator is not None:
                # PostgreSQL asks for it only after it has read the startup packet; nothing else is sent before.
                await reader.readexactly(len(protocol.CLEARTEXT_PASSWORD))
                writer.write(protocol.password_message(self._world.clusters.password(administrator.name)))
            both = [
                asyncio.create_task(_pump(client[0], writer)),
                asyncio.create_task(_pump(reader, client[1])),
            ]
            try:
                await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in both:
                    task.cancel()
                await asyncio.gather(*both, return_exceptions=True)
        finally:
            writer.close()


async def _pump(reader: StreamReader, writer: StreamWriter) -> None:
    with suppress(*SILENT):
        while content := await reader.read(CHUNK_BYTES):
            writer.write(content)
            await writer.drain()


def _check_access(server: FlexibleServer, startup: protocol.Startup, source: Source, *, encrypted: bool) -> None:
    """`RefusedError` as Azure words it, unless a firewall rule lets the client in, encrypted."""
    if encrypted and (server.network.private or _is_let_in(server, source)):
        return
    how = "SSL encryption" if encrypted else "no encryption"
    who = f'host "{source.address}", user "{startup.user}", database "{startup.database}", {how}'
    raise RefusedError(INVALID_AUTHORIZATION, f"no pg_hba.conf entry for {who}")


def _is_let_in(server: FlexibleServer, source: Source) -> bool:
    address = ipaddress.ip_address(source.address)
    for rule in server.firewall_rules:
        if rule.start == rule.end == WITHIN_AZURE:
            if source.within_azure:
                return True
        elif int(ipaddress.ip_address(rule.start)) <= int(address) <= int(ipaddress.ip_address(rule.end)):
            return True
    return False
