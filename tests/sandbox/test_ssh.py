"""SSH through Kudu's tunnel into real processes, which see their release's image as /app."""

import asyncio
import socket
import ssl
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import aiohttp
import asyncssh
import httpx
import psutil
import pytest
from azure_names import APP, SITE
from processes import is_alive

from sandbox.control import Control
from sandbox.fundrbolt.releases import HEADS
from sandbox.outbound import outbound_address

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
            await websocket.close()

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
    sockets: list[socket.socket] = []

    def kept(address: aiohttp.AddrInfoType) -> socket.socket:
        sockets.append(socket.socket(*address[:3]))
        return sockets[-1]

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(socket_factory=kept)) as session:

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
    await hung_up(sockets)


async def hung_up(sockets: list[socket.socket]) -> None:
    """aiohttp leaves a websocket's connection to a polite end of TLS, for which it does not wait."""
    for each in sockets:
        with suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)
    async with asyncio.timeout(SECONDS):
        while any(each.fileno() != -1 for each in sockets):  # noqa: ASYNC110 - of a closed transport nobody tells
            await asyncio.sleep(0.005)


@pytest.fixture
async def url(https: httpx.AsyncClient, control: Control) -> str:
    """What production's apps connect with."""
    bearer = {"Authorization": f"Bearer {control.token('rollback', 'https://vault.azure.net/.default')}"}
    return (await https.get(DATABASE_URL, headers=bearer)).json()["value"]


@pytest.fixture
def ended() -> Callable[[int], Awaitable[None]]:
    async def wait(pid: int) -> None:
        async with asyncio.timeout(SECONDS):
            while is_alive(pid):  # noqa: ASYNC110 - of another's child nobody tells
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


async def test_the_tunnels_state_follows_the_container(https, authorization, control: Control, connect: Open):
    started = {"port": 2222, "state": "STARTED", "canReachPort": True, "msg": ""}
    assert await status(https, STAGING, **authorization) == started
    control.break_("stop-slot")
    told = await status(https, STAGING, **authorization)
    assert (told["state"], told["canReachPort"]) == ("STOPPED", False)
    with pytest.raises(aiohttp.WSServerHandshakeError, match="503"):
        await connect(STAGING)
    control.repair("stop-slot")
    assert await status(https, STAGING, **authorization) == started
    control.break_("ssh-off")
    assert await status(https, STAGING, **authorization) == {**started, "canReachPort": False}
    with pytest.raises(aiohttp.WSServerHandshakeError, match="503"):
        await connect(STAGING)
    assert await status(https, PRODUCTION, **authorization) == started


async def test_only_who_may_publish_gets_in(https, arm, control: Control, connect: Open):
    listed = await arm.ask("POST", f"{SITE}/config/publishingcredentials/list")
    who = listed.json()["properties"]
    basic = httpx.BasicAuth(who["publishingUserName"], who["publishingPassword"])
    for path in (f"{TUNNEL}?GetStatus&GetStatusAPIVer=2", "/api/settings"):
        assert (await https.get(f"https://{PRODUCTION}{path}", auth=basic)).status_code == 200
        reader = {"Authorization": f"Bearer {control.token('lead', 'https://management.azure.com/.default')}"}
        for headers in ({}, reader):
            assert (await https.get(f"https://{PRODUCTION}{path}", headers=headers)).status_code == 401
    with pytest.raises(asyncssh.PermissionDenied):
        await connect(password="docker")  # noqa: S106 - a wrong one


async def test_what_the_tunnel_does_not_know_is_said(https, authorization):
    answer = await https.get(f"https://{PRODUCTION}{TUNNEL}?GetStatus", headers=authorization)
    assert (answer.status_code, "version 2" in answer.text) == (501, True)
    assert (await https.get(f"https://{PRODUCTION}{TUNNEL}", headers=authorization)).status_code == 400


async def test_signals_reach_the_process_and_its_end_by_one_is_told(connect: Open):
    process = await (await connect()).create_process(
        "trap 'echo told; exit 5' INT; echo ready; while :; do read x; done"
    )
    assert await process.stdout.readline() == "ready\n"
    process.send_signal("INT")
    done = await process.wait(timeout=SECONDS)
    assert (done.stdout, done.exit_status) == ("told\n", 5)
    killed = await (await connect()).run("kill -9 $$")
    assert killed.exit_signal is not None
    assert killed.exit_signal[0] == "KILL"


async def test_a_process_is_hung_up_with_all_that_it_started_when_its_client_goes(connect: Open, ended):
    client = await connect()
    process = await client.create_process("sleep 1000 & echo $! $$; wait")
    pids = [int(each) for each in (await process.stdout.readline()).split()]
    assert all(psutil.pid_exists(pid) for pid in pids)
    client.abort()
    for pid in pids:
        await ended(pid)


async def test_a_process_ends_with_its_container(connect: Open, ended, control: Control):
    process = await (await connect(STAGING)).create_process("echo $$; exec sleep 1000")
    pid = int(await process.stdout.readline())
    control.break_("stop-slot")
    await ended(pid)
    async with asyncio.timeout(SECONDS):
        await process.wait_closed()


async def test_more_is_written_than_any_buffer_holds(connect: Open):
    process = await (await connect()).create_process("yes | head -c 20000000; yes | head -c 3000000 >&2", encoding=None)
    done = await process.wait(timeout=SECONDS)
    assert isinstance(done.stdout, bytes)
    assert isinstance(done.stderr, bytes)
    assert (len(done.stdout), len(done.stderr), done.exit_status) == (20_000_000, 3_000_000, 0)


async def test_a_login_shell_has_a_terminal_and_finds_the_images_programs(connect: Open):
    process = await (await connect()).create_process(term_type="xterm", term_size=(100, 30))
    process.stdin.write("stty size; command -v python; exit 4\n")
    done = await process.wait(timeout=SECONDS)
    assert isinstance(done.stdout, str)
    assert "30 100" in done.stdout
    assert f"{Path(sys.executable).parent}/python" in done.stdout
    assert done.exit_status == 4


async def test_a_cut_tunnel_leaves_the_process_alone_or_kills_it(connect: Open, control: Control, ended, tmp_path):
    for kills, left in ((0, "done\n"), (1, "")):
        control.break_("ssh-cut", slot="production", after="now", kills=kills)
        file = tmp_path / str(kills)
        command = f"echo $$; read x; echo right now; read x; yes | head -c 999999; echo done >{file}"
        client = await connect()
        process = await client.create_process(command)
        file.touch()
        pid = int(await process.stdout.readline())
        process.stdin.write("\n")
        done = await process.wait(timeout=SECONDS)
        assert (done.exit_status, done.stdout) == (None, "")
        await ended(pid)
        assert file.read_text() == left
        # The next one is whole again.
        assert (await (await connect()).run("echo whole")).stdout == "whole\n"


@pytest.mark.parametrize("options", [{"bytes": 4000}, {"seconds": 1.0}])
async def test_a_tunnel_is_cut_by_what_came_through_or_by_time(connect: Open, control: Control, options):
    control.break_("ssh-cut", slot="production", **options)
    ended_by_itself = False
    async with asyncio.timeout(SECONDS):
        # On a busy machine the connection is not even made when the time is over.
        with suppress(asyncssh.Error, OSError):
            ended_by_itself = (await (await connect()).run("yes")).exit_status is not None
    assert not ended_by_itself


async def test_a_session_may_have_no_alembic_or_name_the_wrong_database(connect: Open, control: Control, url: str):
    control.break_("ssh-no-alembic")
    done = await (await connect(STAGING)).run("cd /app && python -m alembic current")
    assert (done.exit_status, done.stdout) == (1, "")
    assert isinstance(done.stderr, str)
    assert done.stderr.endswith("python: No module named alembic\n")
    assert (await (await connect(PRODUCTION)).run("python -m alembic --version")).exit_status == 0
    control.break_("ssh-wrong-database", slot="production")
    told = (await (await connect(PRODUCTION)).run("printenv DATABASE_URL")).stdout
    assert isinstance(told, str)
    assert told.startswith("postgresql://")
    assert told.strip() != url


async def test_a_database_sees_its_connections_come_from_the_app(connect: Open, url: str):
    ask = "import os, psycopg; print(*psycopg.connect(os.environ['U']).execute('SELECT inet_client_addr()').fetchone())"
    # Not the shell itself connects, but what it has started.
    command = f'read -r U && export U && python -c "{ask}"; true'
    done = await (await connect()).run(command, input=url + "\n")
    assert (done.stdout, done.stderr) == (outbound_address(APP) + "\n", "")
