"""How fast keys are deleted, beside `redis-cli --scan | xargs DEL`, and what somebody else notices meanwhile.

    python benchmarks/cache_clearing.py [--keys 1000000] [--redis-cli redis-cli] [--rounds 3]

A Valkey of its own is started for each way and filled with keys, seven of ten of which are sessions. The sessions are
deleted, by the product's own pass and by the command line that people use (DEL of a hundred keys at a time), while
another process asks for a PING every millisecond. Neither goes through TLS: redis-cli is not asked to either.
"""

import asyncio
import os
import resource
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
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


async def ours(server: Valkey) -> None:
    """The product's pass."""
    address = Address(host="127.0.0.1", port=server.port, certified="127.0.0.1")
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


def by_command_line(program: str) -> Callable[[Valkey], Awaitable[None]]:
    """The line that people use."""

    async def run(server: Valkey) -> None:
        line = (
            f"{program} -p {server.port} --scan --pattern 'session:*' | xargs -n100 {program} -p {server.port} "
            "DEL > /dev/null"
        )
        made = await asyncio.create_subprocess_shell(line, env={**os.environ, "REDISCLI_AUTH": PRIMARY_KEY})
        await made.wait()

    return run


async def nothing(_: Valkey) -> None:
    """What the bystander waits for anyway, on this machine."""
    await asyncio.sleep(3)


async def measure(folder: Path, keys: int, way: Callable[[Valkey], Awaitable[None]]) -> tuple[float, str]:
    """Keys a second, and what the bystander had to wait, in words."""
    server = Valkey(folder)
    try:
        await server.start()
        async with server.client() as client:
            for first in range(0, keys, 10_000):
                await client.eval(FILL, 0, first)
        ping = (sys.executable, "-c", PING, str(server.port), PRIMARY_KEY)
        bystander = await asyncio.create_subprocess_exec(
            *ping, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
        )
        await asyncio.sleep(1)
        began = time.monotonic()
        await way(server)
        seconds = time.monotonic() - began
        told, _ = await bystander.communicate(b"\n")
        left = await server.command("DBSIZE")
    finally:
        server.kill()
    if way is not nothing and left != keys - keys * 7 // 10:
        raise click.ClickException(f"{left:,} keys are left.")
    _, pings, most, longest = told.decode().split()
    return keys * 0.7 / seconds, f"{int(pings):,} pings, p99.9 {float(most):.1f} ms, longest {float(longest):.1f} ms"


@click.command()
@click.option("--keys", default=1_000_000, show_default=True)
@click.option("--redis-cli", "program", default="redis-cli", show_default=True)
@click.option("--rounds", default=3, show_default=True)
def main(keys: int, program: str, rounds: int) -> None:
    """Measure both, in turn, and print keys a second."""
    servers._make_connection = _plain
    base = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with tempfile.TemporaryDirectory() as name:
        for number in range(rounds):
            small = asyncio.run(measure(Path(name) / f"small{number}", keys // 10, ours))
            after_small = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            mine, mine_waits = asyncio.run(measure(Path(name) / f"ours{number}", keys, ours))
            after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            theirs, their_waits = asyncio.run(measure(Path(name) / f"cli{number}", keys, by_command_line(program)))
            _, idle_waits = asyncio.run(measure(Path(name) / f"idle{number}", keys, nothing))
            click.echo(f"nothing                        {idle_waits}")
            click.echo(f"ours       {mine:10,.0f} keys/s   {mine_waits}")
            click.echo(f"redis-cli  {theirs:10,.0f} keys/s   {their_waits}")
            click.echo(f"           {mine / theirs:.1f} times as fast")
            click.echo(
                f"memory     {base / 1024:.0f} MB before, {after_small / 1024:.0f} MB after {keys // 10:,} keys "
                f"({small[0]:,.0f} keys/s), {after / 1024:.0f} MB after {keys:,}"
            )


if __name__ == "__main__":
    main()
