"""Which loopback address a server has: one of its own, so that every server answers on Azure's ports."""

import hmac
import socket

from sandbox.errors import SandboxError

BACKLOG = 100
MOST_TRIES = 50
FIRST, BLOCKS = 64, 63
"""Servers are in 127.64.0.0 to 127.126.255.255; where clients come from lies above."""


def candidate(seed: str, name: str, number: int) -> str:
    """The address that a server has in the sandbox with this seed, at the try with this number."""
    digest = hmac.new(seed.encode(), f"{name}/{number}".encode(), "sha256").digest()
    return f"127.{FIRST + digest[0] % BLOCKS}.{digest[1]}.{1 + digest[2] % 254}"


def hold(address: str, *ports: int) -> list[socket.socket]:
    """Listening sockets on `address`, one for each port; none at all if somebody else has one of them."""
    held: list[socket.socket] = []
    for port in ports:
        each = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        held.append(each)
        each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        each.setblocking(False)
        try:
            each.bind((address, port))
            # Before it listens another socket with the same option could have the address, too.
            each.listen(BACKLOG)
        except OSError:
            for one in held:
                one.close()
            return []
    return held


def pick(seed: str, name: str, *ports: int) -> tuple[str, list[socket.socket]]:
    """A free address for a server and the sockets that hold its ports."""
    for number in range(MOST_TRIES):
        address = candidate(seed, name, number)
        held = hold(address, *ports)
        if held:
            return address, held
    which = ", ".join(str(port) for port in ports)
    raise SandboxError(f"Port {which} is taken on every loopback address that was tried: does another program listen?")
