"""Long-running operations on servers: how they begin, go on after a restart of the sandbox, and are asked after.

What an operation does is found by its kind; what it does it with lies in the operation itself, so that it survives
the sandbox's end.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import psycopg
from aiohttp import web

from sandbox.arm import HOST, ArmError, Call, Route
from sandbox.clock import now
from sandbox.errors import SandboxError
from sandbox.postgresql.model import FlexibleServer, OperationKind, ServerOperation, ServerState
from sandbox.resources import GROUP, SUBSCRIPTION
from sandbox.web.operations import retry_after
from sandbox.world import World

log = logging.getLogger(__name__)

PROVIDER = "/providers/Microsoft.DBforPostgreSQL"
TYPE = "Microsoft.DBforPostgreSQL/flexibleServers"
SERVERS = GROUP + PROVIDER + "/flexibleServers"
SERVER = SERVERS + "/{server}"
LOCATION = SUBSCRIPTION + PROVIDER + "/locations/{location}"
LOOK_SECONDS = 0.1
"""Between two looks at whether an operation that does not end was repaired."""

Work = Callable[[World, ServerOperation], Awaitable[None]]
Show = Callable[[World, ServerOperation], dict[str, Any] | None]

_work: dict[OperationKind, Work] = {}
_shown: dict[OperationKind, Show] = {}


def register(kind: OperationKind, work: Work, show: Show) -> None:
    """Say what operations of a kind do, and what their result shows; None: nothing is left to show."""
    _work[kind], _shown[kind] = work, show


def server_of(world: World, operation: ServerOperation) -> FlexibleServer:
    """The server that an operation is about."""
    server = world.state.find_database_server(operation.server)
    if server is None:
        raise SandboxError(f"The server {operation.server} is gone.")
    return server


def require_idle(world: World, server: FlexibleServer) -> None:
    """409 while another operation is in progress on the server."""
    if any(each.server == server.name and each.status == "InProgress" for each in world.state.database_operations):
        raise ArmError(
            409,
            "ServerIsBusy",
            f"Cannot complete operation while server '{server.name}' is busy processing another operation. "
            "Try again later.",
        )


def require_ready(world: World, server: FlexibleServer) -> None:
    """409 unless the server runs and nothing is in progress on it."""
    require_idle(world, server)
    if server.state != "Ready":
        message = f"Operation is not allowed while server '{server.name}' is in state '{server.state}'."
        raise ArmError(409, "ServerIsNotReady", message)


def begin(call: Call, server: FlexibleServer, operation: ServerOperation, state: ServerState) -> web.Response:
    """Let the operation begin and answer 202; meanwhile the server is in `state`."""
    server.state = state
    call.world.state.database_operations.append(operation)
    call.world.save()
    call.world.start(_perform(call.world, operation))
    return _accepted(call, operation, first=True)


def resume(world: World) -> None:
    """Go on with the operations that were in progress when the sandbox ended."""
    for operation in world.state.database_operations:
        if operation.status == "InProgress":
            world.start(_perform(world, operation))


async def _perform(world: World, operation: ServerOperation) -> None:
    try:
        while operation.never_ends:  # noqa: ASYNC110 - kept in the state, where no event can be
            await asyncio.sleep(LOOK_SECONDS)
        if operation.fails:
            raise ArmError(500, "InternalServerError", "An unexpected error occured while processing the request.")  # noqa: TRY301 -- ends as any other failure
        await _work[operation.kind](world, operation)
    except (ArmError, SandboxError, OSError, psycopg.Error) as error:
        log.warning("%s of %s failed: %s", operation.kind, operation.server, error)
        operation.status, operation.message = "Failed", str(error)
        operation.code = error.code if isinstance(error, ArmError) else "InternalServerError"
        _settle_after_failure(world, operation)
    else:
        operation.status = "Succeeded"
    operation.ended = now()
    world.save()


def _settle_after_failure(world: World, operation: ServerOperation) -> None:
    server = world.state.find_database_server(operation.server)
    if server is None:
        return
    if operation.kind == "restore":
        # As on Azure: what was begun stays behind, and serves nothing.
        server.state = "Inaccessible"
    else:
        server.state = "Stopped" if operation.kind == "start" else "Ready"


def _url(call: Call, operation: ServerOperation, kind: str) -> str:
    base = f"/subscriptions/{call.world.state.subscription_id}{PROVIDER}/locations/{operation.location}"
    return f"https://{HOST}{base}/{kind}/{operation.id}?api-version={call.request.query['api-version']}"


def _accepted(call: Call, operation: ServerOperation, *, first: bool) -> web.Response:
    headers = {
        "Azure-AsyncOperation": _url(call, operation, "azureAsyncOperation"),
        "Location": _url(call, operation, "operationResults"),
        **retry_after(call.world.pace.retry_after, first=first),
    }
    return web.Response(status=202, headers=headers)


def _find(call: Call) -> ServerOperation:
    wanted = call.names["operation"].lower()
    found = next((each for each in call.world.state.database_operations if each.id == wanted), None)
    if found is None:
        raise ArmError(404, "OperationNotFound", f"The operation '{call.names['operation']}' was not found.")
    return found


async def _status(call: Call) -> web.Response:
    operation = _find(call)
    told: dict[str, Any] = {
        "name": operation.id,
        "status": operation.status,
        "startTime": operation.created.isoformat(),
    }
    if operation.ended is not None:
        told["endTime"] = operation.ended.isoformat()
    if operation.status == "Failed":
        told["error"] = {"code": operation.code, "message": operation.message}
    waits = retry_after(call.world.pace.retry_after, first=False) if operation.status == "InProgress" else {}
    return web.json_response(told, headers=waits)


async def _result(call: Call) -> web.Response:
    operation = _find(call)
    if operation.status == "InProgress":
        return _accepted(call, operation, first=False)
    if operation.status == "Failed":
        raise ArmError(500, operation.code, operation.message)
    shown = _shown[operation.kind](call.world, operation)
    return web.json_response(shown) if shown is not None else web.Response(status=204)


ROUTES = [
    Route("GET", LOCATION + "/azureAsyncOperation/{operation}", "", _status),
    Route("GET", LOCATION + "/operationResults/{operation}", "", _result),
]
