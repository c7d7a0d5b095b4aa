"""How fast keys are deleted, beside `redis-cli --scan | xargs DEL`, and what somebody else notices meanwhile.

    python benchmarks/cache_clearing.py [--keys 1000000] [--redis-cli redis-cli] [--rounds 3] [--round-trip-ms 0]

A Valkey of its own is started for each way and filled with keys, seven of ten of which are sessions. The sessions are
deleted, by the product's own pass and by the command line that people use, with as many keys a DEL as fit into a line
and with a hundred, while another process asks for a PING every millisecond. None goes through TLS: redis-cli is not
asked to either. On one machine nobody waits for a network: `--round-trip-ms 1` lets all wait as within a region.
"""

import asyncio
import os
import resource
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import click
from redis.asyncio.connection import Connection

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from valkey_server import PRIMARY_KEY, Valkey

from rollback.cache import servers
from rollback.cache.patterns import Patterns
from rollback.cache.scanning import Choice, Position, Tally, unlink
from rollback.cache.servers import AccessKeys, Address
from rollback.cache.topology import Finder

FILL = """
local n = tonumber(ARGV[1])
for i = n, n + 9999 do
  local kind = i % 10 < 7 and 'session:' or 'report:'
  redis.call('SET', kind .. redis.sha1hex(i), 'x')
end
"""
PING = """
import socket, sys, time
port, password = int(sys.argv[1]), sys.argv[2]
line = socket.create_connection(("127.0.0.1", port))
line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
line.sendall(f"AUTH {password}\\r\\n".encode())
line.recv(100)
waits = []
print("ready", flush=True)
import select
while not select.select([sys.stdin], [], [], 0)[0]:
    began = time.perf_counter()
    line.sendall(b"PING\\r\\n")
    line.recv(100)
    waits.append(time.perf_counter() - began)
    time.sleep(max(0, 0.001 - waits[-1]))
waits.sort()
print(len(waits), waits[int(len(waits) * 0.999)] * 1000, waits[-1] * 1000)
"""
RELAY = """
import asyncio, sys

port, half = int(sys.argv[1]), float(sys.argv[2]) / 2000

async def carry(reader, writer):
    loop, due = asyncio.get_running_loop(), asyncio.Queue()
    async def hand_over():
        while (each := await due.get())[1]:
            await asyncio.sleep(max(0, each[0] - loop.time()))
            writer.write(each[1])
        writer.close()
    handing = asyncio.create_task(hand_over())
    while content := await reader.read(1 << 16):
        due.put_nowait((loop.time() + half, content))
    due.put_nowait((0, b""))
    await handing

async def meet(reader, writer):
    there, back = await asyncio.open_connection("127.0.0.1", port)
    await asyncio.gather(carry(reader, back), carry(there, writer))

async def main():
    server = await asyncio.start_server(meet, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)

asyncio.run(main())
"""
"""Passes everything on, each way after half of the time that a round trip shall take."""

Way = Callable[[int], Awaitable[None]]
"""Deletes the sessions of the server that is reached at this port."""


async def ours(port: int) -> None:
    """The product's pass."""
    address = Address(host="127.0.0.1", port=port, certified="127.0.0.1")
    keys = AccessKeys(_keys)
    finder = Finder(address, keys, 20)
    topology = await finder.find()
    choice = Choice(Patterns(["session:*", "cache:*", "ratelimit:*"]), Patterns(["celery", "queue:*", "jwt_*"]))
    tally = Tally()
    await unlink(topology.primaries[0], choice, Position(), tally, lambda: None)
    await finder.close()


async def _keys() -> tuple[Any, ...]:
    from pydantic import SecretStr

    return (SecretStr(PRIMARY_KEY),)


def _plain(address: Address, key: Any) -> Connection:
    password = key.get_secret_value()
    return Connection(host=address.host, port=address.port, password=password, protocol=2, socket_timeout=None)


def by_command_line(program: str, xargs: str) -> Way:
    """The line that people use."""

    async def run(port: int) -> None:
        redis = f"{program} -p {port}"
        line = f"{redis} --scan --pattern 'session:*' | {xargs} {redis} DEL > /dev/null"
        made = await asyncio.create_subprocess_shell(line, env={**os.environ, "REDISCLI_AUTH": PRIMARY_KEY})
        await made.wait()

    return run


async def nothing(_: int) -> None:
    """What the bystander waits for anyway, on this machine."""
    await asyncio.sleep(3)


@asynccontextmanager
async def python(code: str, *words: object) -> AsyncGenerator[tuple[asyncio.subprocess.Process, str]]:
    """A process that runs this code, and the first line that it says; it ends when it is sent a line."""
    words_said = [sys.executable, "-c", code, *map(str, words)]
    pipe = asyncio.subprocess.PIPE
    made = await asyncio.create_subprocess_exec(*words_said, stdin=pipe, stdout=pipe)
    try:
        said = await made.stdout.readline() if made.stdout else b""
        yield made, said.decode().strip()
    finally:
        if made.returncode is None:
            await made.communicate(b"\n")


async def measure(folder: Path, keys: int, way: Way, round_trip_ms: float) -> tuple[float, str]:
    """Keys a second, and what the bystander had to wait, in words."""
    server = Valkey(folder)
    try:
        await server.start()
        async with server.client() as client:
            for first in range(0, keys, 10_000):
                await client.eval(FILL, 0, first)
        async with (
            python(PING, server.port, PRIMARY_KEY) as (bystander, _),
            python(RELAY, server.port, round_trip_ms) as (_, relay),
        ):
            began = time.monotonic()
            await way(int(relay) if round_trip_ms else server.port)
            seconds = time.monotonic() - began
            told, _ = await bystander.communicate(b"\n")
        left = await server.command("DBSIZE")
    finally:
        server.kill()
    if way is not nothing and left != keys - keys * 7 // 10:
        raise click.ClickException(f"{left:,} keys are left.")
    pings, most, longest = told.decode().split()
    return keys * 0.7 / seconds, f"{int(pings):,} pings, p99.9 {float(most):.1f} ms, longest {float(longest):.1f} ms"


def memory() -> str:
    """The most that this process has used so far."""
    return f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB"


@click.command()
@click.option("--keys", default=1_000_000, show_default=True)
@click.option("--redis-cli", "program", default="redis-cli", show_default=True)
@click.option("--rounds", default=3, show_default=True)
@click.option("--round-trip-ms", default=0.0, show_default=True, help="What the network takes, for both.")
def main(keys: int, program: str, rounds: int, round_trip_ms: float) -> None:
    """Measure each way, in turn, and print keys a second."""
    servers._make_connection = _plain
    theirs = {line: by_command_line(program, line) for line in ("xargs", "xargs -n100")}
    with tempfile.TemporaryDirectory() as name:

        def measured(way: Way, count: int = keys) -> tuple[float, str]:
            return asyncio.run(measure(Path(tempfile.mkdtemp(dir=name)), count, way, round_trip_ms))

        for _ in range(rounds):
            base = memory()
            measured(ours, keys // 10)
            after_small = memory()
            mine, waits = measured(ours)
            after = memory()
            click.echo(f"{'nothing':20} {'':17}  {measured(nothing)[1]}")
            click.echo(f"{'ours':20} {mine:10,.0f} keys/s  {waits}")
            for line, way in theirs.items():
                speed, waits = measured(way)
                click.echo(
                    f"{'redis-cli, ' + line:20} {speed:10,.0f} keys/s  {waits}: ours is {mine / speed:.1f} x as fast"
                )
            click.echo(f"memory: {base} before, {after_small} after {keys // 10:,} keys, {after} after {keys:,}")


if __name__ == "__main__":
    main()
