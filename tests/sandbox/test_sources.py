"""Which app a connection to a database server comes from."""

import os
import socket
from contextlib import ExitStack

from sandbox.postgresql.sources import PEOPLE, source_of

APP = "fundrbolt-production-api"


def listening(stack: ExitStack) -> socket.socket:
    made = stack.enter_context(socket.socket())
    made.bind(("127.0.0.1", 0))
    made.listen()
    return made


def connected(to: socket.socket, port: int = 0) -> socket.socket:
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    made.bind(("127.0.0.1", port))
    made.connect(to.getsockname())
    return made


async def test_an_app_is_known_though_its_port_was_used_for_other_connections_before() -> None:
    with ExitStack() as stack:
        server, others = listening(stack), [listening(stack) for _ in range(8)]
        first = connected(others[0])
        port = first.getsockname()[1]
        first.close()
        for other in others[1:]:
            connected(other, port).close()
        made = stack.enter_context(connected(server, port))
        found = await source_of(made.getsockname(), server.getsockname(), [(os.getpid(), APP)])
        assert found.within_azure
        assert await source_of(made.getsockname(), server.getsockname(), []) == PEOPLE
