"""Processes that people start in containers by SSH. Each has its own process group, and ends with the sandbox.

After a kill -9 of the sandbox that holds for the command itself only, not for what it has started.
"""

import asyncio
import os
import shutil
import signal
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from sandbox.ssh import enter

ENTER = Path(enter.__file__)
SHELL = shutil.which("bash") or "/bin/sh"
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
ENVIRONMENT = {
    "PATH": f"{Path(sys.executable).parent}:{SYSTEM_PATH}",
    "HOME": f"/{enter.HOME}",
    "USER": "root",
    "LOGNAME": "root",
    "SHELL": SHELL,
    "LANG": "C.UTF-8",
    "PYTHONUNBUFFERED": "1",
    "PYTHONDONTWRITEBYTECODE": "1",
}
"""What sshd and the images themselves say."""
HANG_UP_SECONDS = 5.0
"""How long a process may go on after its client has gone."""


@dataclass(frozen=True)
class Container:
    """Where a process is started."""

    site: str
    image: Path
    """What it sees as `/app`."""
    root: Path
    """An empty folder, see `enter`."""
    environment: Mapping[str, str]


class Shells:
    """All of them."""

    def __init__(self) -> None:
        self._running: dict[asyncio.subprocess.Process, str] = {}

    def processes(self) -> list[tuple[int, str]]:
        """Every process there is, what it has started included, and its app."""
        self._forget_the_ended()
        found: list[tuple[int, str]] = []
        for process, site in self._running.items():
            with suppress(psutil.NoSuchProcess):
                children = psutil.Process(process.pid).children(recursive=True)
                found += [(pid, site) for pid in (process.pid, *(child.pid for child in children))]
        return found

    def _forget_the_ended(self) -> None:
        self._running = {each: site for each, site in self._running.items() if each.returncode is None}

    async def start(
        self, container: Container, command: str | None, terminal: int | None = None
    ) -> asyncio.subprocess.Process:
        """Run `command`, or a login shell without one: on pipes, or else on the terminal with this descriptor."""
        pipe = asyncio.subprocess.PIPE if terminal is None else terminal
        words = (SHELL, "-l") if command is None else ("/bin/sh", "-c", command)
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", "-S", str(ENTER), str(container.root), str(container.image)),
            *("no" if terminal is None else "yes", *words),
            stdin=pipe,
            stdout=pipe,
            stderr=pipe,
            env={**ENVIRONMENT, **container.environment},
            start_new_session=True,
        )
        self._forget_the_ended()
        self._running[process] = container.site
        return process

    async def end(self, process: asyncio.subprocess.Process) -> None:
        """Hang up, as sshd does when its client has gone; kill what does not end by that. On return it is gone."""
        send(process, signal.SIGHUP)
        try:
            async with asyncio.timeout(HANG_UP_SECONDS):
                await process.wait()
        except TimeoutError:
            await self.kill(process)

    async def kill(self, process: asyncio.subprocess.Process) -> None:
        """End it at once, with everything that it has started."""
        send(process, signal.SIGKILL)
        await process.wait()

    async def end_all(self) -> None:
        """End every one of them."""
        await asyncio.gather(*(self.kill(process) for process in list(self._running)))


def send(process: asyncio.subprocess.Process, number: int) -> None:
    """Signal a process and everything that it has started."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, number)
