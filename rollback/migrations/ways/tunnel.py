"""App Service's way into a container: a websocket that carries the bytes of one TCP connection to its SSH server.

Source: learn.microsoft.com, "Open an SSH session to a container in Azure App Service" (az webapp
create-remote-connection, whose requests these are).
"""

import asyncio
import json
import socket
import ssl
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any, cast

import aiohttp

from rollback.azure import SCOPE, AzureConnection, our_errors
from rollback.errors import AzureUnreachable, CredentialRejected, PermissionMissing, ResourceMissing
from rollback.migrations.ways.way import WayUnfit

PATH = "/AppServiceTunnel/Tunnel.ashx"
ANSWER_SECONDS = 20.0
"""For each request; the tunnel itself lives as long as it is used."""
START_SECONDS = 60.0
"""How long a container that is starting, or whose SSH server is, is waited for."""
LONGEST_PAUSE_SECONDS = 4.0
CLOSE_SECONDS = 2.0
PIECE_BYTES = 65536


def scm_host(host: str) -> str:
    """The host of Kudu, that belongs to a slot's host: `app-slot.azurewebsites.net` and names with a region alike."""
    name, _, domain = host.partition(".")
    return f"{name}.scm.{domain}"


@asynccontextmanager
async def tunnel(connection: AzureConnection, host: str, name: str) -> AsyncGenerator[socket.socket]:
    """A connected socket whose other end is the SSH server of the container behind `host` (Kudu's).

    When the tunnel is cut, the socket is at its end. Raises `WayUnfit` where no SSH server can be reached; `name` is
    the container for messages.
    """
    # Made here, for aiohttp reads the trusted authorities when it is imported. Our proxy settings hold.
    connector = aiohttp.TCPConnector(ssl=ssl.create_default_context())
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=ANSWER_SECONDS)
    async with aiohttp.ClientSession(connector=connector, trust_env=True, timeout=timeout) as session:
        headers = await _wait_until_started(session, connection, host, name)
        async with _socket(await _open(session, host, headers, name)) as inner:
            yield inner


async def _wait_until_started(
    session: aiohttp.ClientSession, connection: AzureConnection, host: str, name: str
) -> dict[str, str]:
    """Wait until the container's SSH server can be reached; the headers with which it was asked."""
    clock = asyncio.get_running_loop().time
    ends, pause = clock() + START_SECONDS, 0.25
    while True:
        headers, told = await _get_status(session, connection, host, name)
        state = str(told.get("state", "")).upper()
        if state == "STARTED" and told.get("canReachPort"):
            return headers
        if state not in {"STARTED", "STARTING"} or clock() >= ends:
            raise _not_started(name, state)
        await asyncio.sleep(pause)
        pause = min(pause * 2, LONGEST_PAUSE_SECONDS)


def _not_started(name: str, state: str) -> WayUnfit:
    if state == "STARTED":
        return WayUnfit(
            f"The {name} finds no SSH server: the container runs, but nothing answers at its port 2222.",
            remedy="Let the image start sshd on port 2222, as Azure's documentation says, or choose the other way.",
        )
    return WayUnfit(
        f"The {name} finds the container {state or 'in an unknown state'}.",
        remedy="Start the slot, and wait until it runs.",
    )


async def _get_status(
    session: aiohttp.ClientSession, connection: AzureConnection, host: str, name: str
) -> tuple[dict[str, str], Mapping[str, Any]]:
    """What Kudu tells of the container; once more with a new token where it does not accept the one that we had."""
    url = f"https://{host}{PATH}?GetStatus&GetStatusAPIVer=2"
    status, text = 0, ""
    headers: dict[str, str] = {}
    for renewed in (False, True):
        if renewed:
            connection.credential.renew()
        headers = await _authorization(connection)
        try:
            async with asyncio.timeout(ANSWER_SECONDS), session.get(url, headers=headers) as response:
                status, text = response.status, await response.text()
        except (aiohttp.ClientError, TimeoutError) as error:
            raise _no_answer(name, host) from error
        if status != 401:
            break
    _require_accepted(status, name, host)
    try:
        told: Any = json.loads(text)
    except ValueError:
        told = None
    if not isinstance(told, dict):
        raise _no_answer(name, host)
    return headers, cast("Mapping[str, Any]", told)


async def _authorization(connection: AzureConnection) -> dict[str, str]:
    with our_errors("Entra ID's token"):
        token = await connection.credential.get_token(SCOPE)
    return {"Authorization": f"Bearer {token.token}"}


def _require_accepted(status: int, name: str, host: str) -> None:
    """Raise our error for an answer that is none."""
    match status:
        case 200 | 101:
            return
        case 401:
            raise CredentialRejected(
                f"'{host}' does not accept the credential for the {name}.",
                remedy="Assign a role with Microsoft.Web/sites/publish/action, and check the credential's tenant.",
            )
        case 403:
            raise PermissionMissing(
                f"The credential may not use the {name}.",
                remedy="Assign a role with Microsoft.Web/sites/publish/action; look at the access restrictions of "
                f"'{host}' too.",
            )
        case 404:
            raise ResourceMissing(f"There is no '{host}'.", remedy="Check app and slot in the platform file.")
        case _:
            raise _no_answer(name, host)


def _no_answer(name: str, host: str) -> AzureUnreachable:
    return AzureUnreachable(
        f"No usable answer from '{host}' for the {name}.",
        remedy="Check the network, HTTPS_PROXY and https://azure.status.microsoft.",
    )


async def _open(
    session: aiohttp.ClientSession, host: str, headers: Mapping[str, str], name: str
) -> aiohttp.ClientWebSocketResponse:
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            # By the name of https, since of a proxy's variables everybody sets HTTPS_PROXY, and nobody WSS_PROXY.
            return await session.ws_connect(f"https://{host}{PATH}", headers=headers, max_msg_size=0)
    except aiohttp.WSServerHandshakeError as error:
        _require_accepted(error.status, name, host)
        raise _no_answer(name, host) from error
    except (aiohttp.ClientError, TimeoutError) as error:
        raise _no_answer(name, host) from error


@asynccontextmanager
async def _socket(websocket: aiohttp.ClientWebSocketResponse) -> AsyncGenerator[socket.socket]:
    """A socket that speaks through the websocket, with no more in between than what one side has not taken yet."""
    connection = websocket.get_extra_info("socket")
    inner, outer = socket.socketpair()
    inner.setblocking(False)
    outer.setblocking(False)
    pumps = [asyncio.create_task(pump(websocket, outer)) for pump in (_pump_out, _pump_in)]
    try:
        yield inner
    finally:
        for pump in pumps:
            pump.cancel()
        await asyncio.gather(*pumps, return_exceptions=True)
        inner.close()
        outer.close()
        with suppress(aiohttp.ClientError, ConnectionError, TimeoutError):
            async with asyncio.timeout(CLOSE_SECONDS):
                await websocket.close()
        await _hang_up(connection)


async def _hang_up(connection: Any) -> None:
    """End the TCP connection now: aiohttp leaves it to a polite end of TLS, which nobody waits for."""
    if connection is None:
        return
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
    with suppress(TimeoutError):
        async with asyncio.timeout(CLOSE_SECONDS):
            while True:
                if connection.fileno() == -1:
                    return
                await asyncio.sleep(0.005)


async def _pump_out(websocket: aiohttp.ClientWebSocketResponse, outer: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    with suppress(ConnectionError, aiohttp.ClientError):
        while piece := await loop.sock_recv(outer, PIECE_BYTES):
            await websocket.send_bytes(piece)


async def _pump_in(websocket: aiohttp.ClientWebSocketResponse, outer: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    with suppress(OSError):
        async for message in websocket:
            if message.type is aiohttp.WSMsgType.BINARY:
                await loop.sock_sendall(outer, message.data)
        # The tunnel is at its end: whoever reads from it must learn that.
        outer.shutdown(socket.SHUT_RDWR)
