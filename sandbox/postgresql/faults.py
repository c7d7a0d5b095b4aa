"""What can go wrong with database servers."""

from sandbox.errors import SandboxError
from sandbox.faults import TIMES, Kind, Option, text
from sandbox.postgresql import children, configurations, restores
from sandbox.postgresql.model import FlexibleServer, ServerOperation
from sandbox.postgresql.start import PRODUCTION_SERVER
from sandbox.state import Fault
from sandbox.world import World

SERVER = {"server": Option("the server's name", PRODUCTION_SERVER)}
BUSY = "pg-server-busy"


def _server(world: World, fault: Fault) -> FlexibleServer:
    server = world.state.find_database_server(text(fault, "server"))
    if server is None:
        known = ", ".join(each.name for each in world.state.database_servers)
        raise SandboxError(f"There is no server {text(fault, 'server')!r}; there are {known}.")
    return server


async def _occupy(world: World, fault: Fault) -> None:
    server = _server(world, fault)
    blocking = ServerOperation(
        kind="blocking", server=server.name, group=server.group, location=server.location, never_ends=True
    )
    fault.before = {"operation": blocking.id}
    world.state.database_operations.append(blocking)


async def _free(world: World, fault: Fault) -> None:
    for each in world.state.database_operations:
        if each.id == fault.before["operation"]:
            each.status = "Succeeded"


async def _let_restores_go_on(world: World) -> None:
    for each in world.state.database_operations:
        each.never_ends = each.never_ends and each.kind != "restore"


async def _hide(world: World, fault: Fault) -> None:
    _server(world, fault).unreachable = True


async def _reveal(world: World, fault: Fault) -> None:
    server = world.state.find_database_server(text(fault, "server"))
    if server is not None:
        server.unreachable = False


async def _reveal_restored(world: World) -> None:
    for server in world.state.database_servers:
        server.unreachable = server.unreachable and server.origin is None


KINDS = [
    Kind(restores.FAILS, "The next restore of a database server is accepted, and fails.", TIMES),
    Kind(
        restores.NEVER_ENDS,
        "The next restore of a database server goes on until `repair`.",
        TIMES,
        clean=_let_restores_go_on,
    ),
    Kind(
        restores.UNREACHABLE,
        "The next restored database server is Ready, and answers no connection until repaired.",
        TIMES,
        clean=_reveal_restored,
    ),
    Kind(
        restores.NAME_TAKEN,
        "Somebody else has taken the name of the next new database server since it was checked.",
        TIMES,
    ),
    Kind(BUSY, "Another operation is in progress on a database server.", SERVER, _occupy, _free),
    Kind("pg-unreachable", "A database server answers no connection.", SERVER, _hide, _reveal),
    Kind(children.RULE_FAILS, "A change of a firewall rule is accepted, and fails.", TIMES),
    Kind(configurations.FAILS, "A change of a server parameter is accepted, and fails.", TIMES),
    Kind(
        children.BACKUPS_THROTTLED,
        "The list of backups is refused with 429.",
        {"retry_after": Option("seconds that the client is asked to wait", 1.0), **TIMES},
    ),
]
