"""SSH through Kudu's tunnel into real processes, which see their release's image as /app."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress

import aiohttp
import asyncssh
import httpx
import psutil
import pytest
from azure_names import APP

from sandbox.control import Control
from sandbox.fundrbolt.releases import HEADS

PRODUCTION, STAGING = f"{APP}.scm.azurewebsites.net", f"{APP}-staging.scm.azurewebsites.net"
DATABASE_URL = "https://fundrbolt-production-kv.vault.azure.net/secrets/database-url?api-version=7.5"
TUNNEL = "/AppServiceTunnel/Tunnel.ashx"
SECONDS = 60
"""For anything that must come to an end on a busy machine."""

Open = Callable[..., Awaitable[asyncssh.SSHClientConnection]]


@pytest.fixture
async def authorization(arm) -> dict[str, str]:
    return {"Authorization": f"Bearer {arm.token}"}


async def carry(websocket: aiohttp.ClientWebSocketResponse, end: socket.socket) -> None:
    """What a tunnel's client does: bytes to and fro until either side ends."""
    reader, writer = await asyncio.open_connection(sock=end)

    async def upwards() -> None:
        with suppress(ConnectionError):
            while content := await reader.read(65536):
                await websocket.send_bytes(content)

    sending = asyncio.create_task(upwards())
    try:
        async for message in websocket:
            writer.write(message.data)
            with suppress(ConnectionError):
                await writer.drain()
    finally:
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
        await websocket.close()
        writer.close()


@pytest.fixture
async def connect(environment: dict[str, str], authorization: dict[str, str]) -> AsyncIterator[Open]:
    opened: list[asyncssh.SSHClientConnection] = []
    works: list[asyncio.Task[None]] = []
    async with aiohttp.ClientSession() as session:

        async def made(host: str = PRODUCTION, password: str = "Docker!") -> asyncssh.SSHClientConnection:  # noqa: S107 - Azure's own
            websocket = await session.ws_connect(
                f"wss://{host}{TUNNEL}",
                proxy=environment["HTTPS_PROXY"],
                ssl=ssl.create_default_context(cafile=environment["SSL_CERT_FILE"]),
                headers=authorization,
            )
            ours, theirs = socket.socketpair()
            works.append(asyncio.create_task(carry(websocket, theirs)))
            # The tunnel's TLS says who is at its other end; containers have a new key each time.
            options = {"username": "root", "password": password, "known_hosts": None, "client_keys": None}
            opened.append(await asyncssh.connect("container", sock=ours, config=None, encoding="utf-8", **options))
            return opened[-1]

        yield made
        for each in opened:
            each.abort()
        for work in works:
            work.cancel()
        await asyncio.gather(*works, return_exceptions=True)


@pytest.fixture
async def url(https: httpx.AsyncClient, control: Control) -> str:
    """What production's apps connect with."""
    bearer = {"Authorization": f"Bearer {control.token('rollback', 'https://vault.azure.net/.default')}"}
    return (await https.get(DATABASE_URL, headers=bearer)).json()["value"]


@pytest.fixture
def ended() -> Callable[[int], Awaitable[None]]:
    async def wait(pid: int) -> None:
        async with asyncio.timeout(SECONDS):
            while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:  # noqa: ASYNC110 - of another's child nobody tells
                await asyncio.sleep(0.02)

    return wait


async def status(https: httpx.AsyncClient, host: str, **headers: str) -> dict[str, object]:
    answer = await https.get(f"https://{host}{TUNNEL}?GetStatus&GetStatusAPIVer=2", headers=headers)
    assert answer.status_code == 200
    return answer.json()


async def test_a_command_runs_in_the_releases_image_with_its_output_and_its_exit_status(connect: Open):
    production, staging = await connect(PRODUCTION), await connect(STAGING)
    done = await production.run("ls /app && echo wrong >&2 && exit 3")
    assert (done.stdout, done.stderr, done.exit_status) == ("alembic.ini\nmigrations\n", "wrong\n", 3)
    versions = "ls /app/migrations/versions | grep -c add_tip"
    assert (await production.run(versions)).stdout == "1\n"
    assert (await staging.run(versions)).stdout == "0\n"
    assert (await production.run("cat && pwd", input="given")).stdout == "given/session\n"


async def test_a_session_has_none_of_the_app_settings(connect: Open):
    told = (await (await connect()).run("env")).stdout
    names = {line.partition("=")[0] for line in told.splitlines()}
    assert not names & {"DATABASE_URL", "FUNDRBOLT_ENVIRONMENT", "WEBSITES_PORT", "AZURE_CLIENT_SECRET"}
    assert {"PATH", "HOME", "PGSSLROOTCERT"} <= names


async def test_alembic_migrates_the_database_that_it_is_told(connect: Open, url: str):
    production, staging = await connect(PRODUCTION), await connect(STAGING)
    command = "read -r DATABASE_URL && export DATABASE_URL && cd /app && exec python -m alembic "
    done = await production.run(command + "current", input=url + "\n")
    assert (done.stdout, done.exit_status) == (f"{HEADS['v1.2.3']} (head)\n", 0), done.stderr
    # The older image does not have the file of the database's revision.
    refused = await staging.run(command + "current", input=url + "\n")
    assert f"Can't locate revision identified by '{HEADS['v1.2.3']}'" in refused.stderr + refused.stdout
    assert refused.exit_status != 0
    done = await production.run(command + f"downgrade {HEADS['v1.2.2']}", input=url + "\n")
    assert done.exit_status == 0, done.stderr
    assert "Running downgrade e2a8c40b7f15 -> d95a3b1e7f08, Add a tip." in done.stderr
    assert (await staging.run(command + "current", input=url + "\n")).stdout == f"{HEADS['v1.2.2']} (head)\n"
