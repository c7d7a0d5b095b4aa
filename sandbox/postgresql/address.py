"""Which loopback address a server has: one of its own, so that every server answers on Azure's port 5432."""

import hmac
import socket

from sandbox.errors import SandboxError

PORT = 5432
BACKLOG = 100
MOST_TRIES = 50
FIRST, BLOCKS = 64, 63
"""Servers are in 127.64.0.0 to 127.126.255.255; where clients come from lies above."""


def candidate(seed: str, name: str, number: int) -> str:
    """The address that a server has in the sandbox with this seed, at the try with this number."""
    digest = hmac.new(seed.encode(), f"{name}/{number}".encode(), "sha256").digest()
    return f"127.{FIRST + digest[0] % BLOCKS}.{digest[1]}.{1 + digest[2] % 254}"


def hold(address: str, port: int = PORT) -> socket.socket | None:
    """A listening socket on `address`; None if somebody else has it."""
    held = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    held.setblocking(False)
    try:
        held.bind((address, port))
        # Before it listens another socket with the same option could have the address, too.
        held.listen(BACKLOG)
    except OSError:
        held.close()
        return None
    return held


def pick(seed: str, name: str) -> tuple[str, socket.socket]:
    """A free address for a server and the socket that holds it."""
    for number in range(MOST_TRIES):
        address = candidate(seed, name, number)
        held = hold(address)
        if held is not None:
            return address, held
    raise SandboxError(f"Port {PORT} is taken on every loopback address that was tried: is a PostgreSQL listening?")
