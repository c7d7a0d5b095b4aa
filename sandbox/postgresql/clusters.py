"""The data of all servers: made on demand, kept with the state, started when somebody needs it."""

import asyncio
import hmac
import socket
from collections import defaultdict
from collections.abc import Callable, Iterable
from datetime import datetime
from pathlib import Path

import psycopg
from psycopg import sql
from pydantic import BaseModel

from sandbox import loopback
from sandbox.errors import SandboxError
from sandbox.postgresql.cluster import PORT, SUPERUSER, Cluster, Statement, remove_tree
from sandbox.postgresql.model import FlexibleServer
from sandbox.postgresql.seed import SEED
from sandbox.postgresql.template import (
    ADMIN,
    ADMIN_GROUP,
    APP,
    ENTRA_GROUP,
    Setting,
    Template,
    administrator,
    grant_administration,
)

BEGIN = "begin.json"
TRANSACTIONS = "SELECT pg_snapshot_xmax(pg_current_snapshot())::text"


def password_of(seed: str, role: str) -> str:
    """The password of a role, the same on every server of the sandbox with this seed."""
    return hmac.new(seed.encode(), f"postgresql/{role}".encode(), "sha256").hexdigest()


class Begin(BaseModel):
    """When a server's data was made complete, and with what."""

    at: datetime
    transactions: str
    """The first transaction number that was free then."""
    parameters: dict[str, str]


class Clusters:
    """One cluster for each server, and the sockets that hold the servers' addresses."""

    def __init__(self, folder: Path, seed: str, template: Path | None) -> None:
        self._folder = folder
        self._seed = seed
        self._template = Template(template or folder / "template", SEED)
        self._clusters: dict[str, Cluster] = {}
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self.sockets: dict[str, socket.socket] = {}
        """By server: where its clients connect to."""
        self.on_hold: Callable[[str], None] = lambda _: None
        """Called with the name of a server that got an address."""
        self.on_let_go: Callable[[str], None] = lambda _: None
        """Called before a server's address is given back."""

    def password(self, role: str) -> str:
        """The password of a role. Only the front knows an Entra role's."""
        return password_of(self._seed, role)

    def address_of(self, name: str) -> str:
        """The address of a server that has none yet, or that is held already."""
        if name not in self.sockets:
            _, (self.sockets[name],) = loopback.pick(self._seed, name, PORT)
            self.on_hold(name)
        return str(self.sockets[name].getsockname()[0])

    def hold(self, servers: Iterable[FlexibleServer]) -> None:
        """Hold the addresses that these servers had before."""
        for server in servers:
            if server.name in self.sockets:
                continue
            held = loopback.hold(server.address, PORT)
            if not held:
                raise SandboxError(f"Another program has {server.address}:{PORT}, where {server.name} was.")
            (self.sockets[server.name],) = held
            self.on_hold(server.name)

    def cluster(self, server: FlexibleServer) -> Cluster:
        """The server's cluster, running or not, on disk or not yet."""
        if server.name not in self._clusters:
            place = self._folder / server.name
            self._clusters[server.name] = Cluster(place, server.address, self.password(SUPERUSER))
        return self._clusters[server.name]

    async def settings(self) -> list[Setting]:
        """Every parameter that a server has."""
        return await self._template.settings()

    async def running(self, server: FlexibleServer) -> Cluster:
        """The server's cluster, made if it is not on disk yet, and started if it does not run."""
        async with self._locks[server.name]:
            # Not before: whoever had the lock may have dropped the cluster, and a new one stands for the server now.
            made = self.cluster(server)
            if made.pid is None:
                if server.origin is None and not (made.folder / BEGIN).exists():
                    await self._begin(server, made)
                else:
                    write_parameters(made, server.parameters)
                    await made.start()
            return made

    async def _begin(self, server: FlexibleServer, made: Cluster) -> None:
        await remove_tree(made.folder)
        await self._template.copy_to(made)
        write_parameters(made, server.parameters)
        await made.start()
        statements: list[Statement] = [_change_password(role, self.password(role)) for role in (ADMIN, APP)]
        for each in server.administrators:
            statements += administrator_statements(each.name, self.password(each.name), exists=False)
        await made.run(*statements, _change_password(SUPERUSER, self.password(SUPERUSER)))
        made.password = self.password(SUPERUSER)
        await self.note_begin(server)

    async def note_begin(self, server: FlexibleServer) -> None:
        """The data is complete now: it outlives the sandbox, and `reset` compares with it."""
        made = self.cluster(server)
        ((at, transactions),) = await made.run(f"SELECT clock_timestamp(), ({TRANSACTIONS})".encode())
        begin = Begin.model_validate({"at": at, "transactions": transactions, "parameters": server.parameters})
        (made.folder / BEGIN).write_text(begin.model_dump_json())

    def begun(self, server: FlexibleServer) -> datetime:
        """Since when the server's log can be replayed; before that its data never changed."""
        return self._read_begin(self.cluster(server)).at

    def _read_begin(self, made: Cluster) -> Begin:
        return Begin.model_validate_json((made.folder / BEGIN).read_text())

    async def drop(self, name: str) -> None:
        """End a server's process at once and remove its data. Its address stays held."""
        async with self._locks[name]:
            made = self._clusters.pop(name, None)
            if made is not None:
                await made.stop(at_once=True)
                # Without its server a backup ends by itself; until then it writes into the folder.
                async with made.backing_up:
                    await remove_tree(self._folder / name)
            await remove_tree(self._folder / name)

    async def reset(self, servers: Iterable[FlexibleServer]) -> set[str]:
        """Only these servers are left, with the data of the beginning; returns whose data had to go for that."""
        wanted = {server.name: server for server in servers}
        on_disk = {place.parent.name for place in self._folder.glob("*/data")}
        changed = {
            name
            for name in on_disk | set(self._clusters)
            if name not in wanted or not await self._is_untouched(wanted[name])
        }
        await asyncio.gather(*(self.drop(name) for name in changed))
        for name in set(self.sockets) - set(wanted):
            self.let_go(name)
        return changed

    def let_go(self, name: str) -> None:
        """Give a server's address back."""
        held = self.sockets.pop(name, None)
        if held is not None:
            self.on_let_go(name)
            held.close()

    async def _is_untouched(self, server: FlexibleServer) -> bool:
        # Data that is being made is waited for: that is quicker than making it again.
        async with self._locks[server.name]:
            made = self._clusters.get(server.name)
            if made is None or made.pid is None or not (made.folder / BEGIN).exists():
                return False
            begin = self._read_begin(made)
            try:
                rows = await made.run(TRANSACTIONS.encode())
            except psycopg.OperationalError:
                return False
        overrides = (made.data / "postgresql.auto.conf").read_text()
        same = overrides == parameters_text(server.parameters) and begin.parameters == server.parameters
        return same and rows[0][0] == begin.transactions

    async def stop(self) -> None:
        """End every process; the data stays."""
        await asyncio.gather(*(made.stop() for made in self._clusters.values()))
        for name in list(self.sockets):
            self.let_go(name)


def parameters_text(parameters: dict[str, str]) -> str:
    """Parameters as PostgreSQL reads them."""
    quoted = {name: value.replace("'", "''") for name, value in sorted(parameters.items())}
    return "".join(f"{name} = '{value}'\n" for name, value in quoted.items())


def write_parameters(made: Cluster, parameters: dict[str, str]) -> None:
    """Let the cluster have these parameters, and no other overrides, from its next start or reload on."""
    (made.data / "postgresql.auto.conf").write_text(parameters_text(parameters))


def _change_password(role: str, password: str) -> Statement:
    return sql.SQL("ALTER ROLE {} PASSWORD {}").format(sql.Identifier(role), sql.Literal(password))


def administrator_statements(role: str, password: str, *, exists: bool) -> list[Statement]:
    """Make a role an Entra administrator's."""
    name = sql.Identifier(role)
    entra = sql.SQL("GRANT {} TO {}").format(sql.Identifier(ENTRA_GROUP), name)
    if not exists:
        return [*administrator(role, password), entra]
    return [sql.SQL("ALTER ROLE {} LOGIN CREATEROLE CREATEDB").format(name), grant_administration(role), entra]


def dismissal(role: str) -> Statement:
    """Take an administrator's rights from a role; the role stays."""
    return sql.SQL("REVOKE {} FROM {}").format(sql.Identifier(ADMIN_GROUP), sql.Identifier(role))
