"""A command in a container, by SSH through a tunnel. Import it where it is used: asyncssh takes half a second."""

import asyncio
import socket
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any, cast

import asyncssh

from rollback.errors import AzureUnreachable
from rollback.migrations.ways.way import WayUnfit
from rollback.programs.process import INTERRUPTED_SECONDS

USER = "root"
PASSWORD = "Docker!"  # noqa: S105 - no secret: Azure's documented constant, the same in every container
SIGN_IN_SECONDS = 30
KEEPALIVE_SECONDS = 15
"""App Service ends a websocket on which nothing passed for some minutes, and a migration may be silent for longer."""
KEEPALIVES_LOST = 4
CLOSE_SECONDS = 5.0


class _Session(asyncssh.SSHClientSession[bytes]):
    """Hands on what a command writes to either of its outputs."""

    def __init__(self, received: Callable[[bytes], None]) -> None:
        self._received = received

    def data_received(self, data: bytes, datatype: asyncssh.DataType) -> None:
        self._received(data)


async def run_remotely(
    tunnel: socket.socket, command: str, given: bytes, received: Callable[[bytes], None], name: str
) -> int | None:
    """Run a command in the shell of the container; its exit status, none where a signal or the cut tunnel ended it.

    Errors are raised only before the command got its standard input: one that waits for it has done nothing by then.
    Cancelled, it asks the container to interrupt the command, and gives it a moment to end.
    """
    async with _signed_in(tunnel, name) as connection:
        # The package's annotation leaves out whether a session is one of bytes or of text.
        untyped = cast("Any", connection)
        try:
            channel, _ = await untyped.create_session(lambda: _Session(received), command=command, encoding=None)
        except (asyncssh.Error, OSError) as error:
            raise WayUnfit(
                f"The {name} starts no command.", remedy="Look whether root has a shell in the image."
            ) from error
        # A command that ended at once takes no input any more.
        with suppress(BrokenPipeError):
            channel.write(given)
            channel.write_eof()
        try:
            await channel.wait_closed()
        except asyncio.CancelledError:
            with suppress(OSError, TimeoutError):
                channel.send_signal("INT")
                async with asyncio.timeout(INTERRUPTED_SECONDS):
                    await channel.wait_closed()
            raise
        status: int | None = channel.get_exit_status() if channel.get_exit_signal() is None else None
        return status


@asynccontextmanager
async def _signed_in(tunnel: socket.socket, name: str) -> AsyncGenerator[asyncssh.SSHClientConnection]:
    """An SSH connection over the tunnel, closed at the end of the block."""
    try:
        # The host's key is made with the container and published nowhere, so that nothing could verify it. Who we
        # speak to is proven before: the tunnel's TLS ends at Azure's own front, which leads to this slot only.
        # No file of the user's is read, neither configuration nor keys, and no agent is asked.
        connection = await asyncssh.connect(
            # A name for its log; it is not looked up.
            host="container",
            sock=tunnel,
            config=None,
            known_hosts=None,
            username=USER,
            password=PASSWORD,
            client_keys=None,
            agent_path=None,
            preferred_auth=("password", "keyboard-interactive"),
            login_timeout=SIGN_IN_SECONDS,
            keepalive_interval=KEEPALIVE_SECONDS,
            keepalive_count_max=KEEPALIVES_LOST,
        )
    except asyncssh.PermissionDenied as error:
        raise WayUnfit(
            f"The {name} finds an SSH server that does not let root in with Azure's password.",
            remedy="Let the image set it, as Azure's documentation says: echo 'root:Docker!' | chpasswd",
        ) from error
    except (asyncssh.Error, OSError) as error:
        raise AzureUnreachable(
            f"The {name} ended before the SSH server had answered.",
            remedy="Try again; look whether the container runs.",
        ) from error
    try:
        yield connection
    finally:
        connection.close()
        with suppress(TimeoutError, OSError, asyncssh.Error):
            async with asyncio.timeout(CLOSE_SECONDS):
                await connection.wait_closed()
