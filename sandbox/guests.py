"""Processes that a fault adds to the world: on an app's side of the network, but none of its builds."""

import asyncio
import sys
from collections.abc import Mapping
from pathlib import Path

from sandbox.forks import end_with_parent
from sandbox.processes import SITE_NAME, STOP_SECONDS


class Guests:
    """They end with the sandbox."""

    def __init__(self) -> None:
        self._processes: dict[str, asyncio.subprocess.Process] = {}
        self._sites: dict[str, str] = {}

    def processes(self) -> list[tuple[int, str]]:
        """Every process there is, and its app."""
        return [(process.pid, self._sites[name]) for name, process in self._processes.items()]

    async def start(self, name: str, module: str, environment: Mapping[str, str]) -> None:
        """Run `module`, known as `name`; one of that name is ended before."""
        await self.end(name)
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", module),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
            env=dict(environment),
            cwd=Path(__file__).parents[1],
            preexec_fn=end_with_parent,
        )
        self._processes[name], self._sites[name] = process, environment[SITE_NAME]

    async def end(self, name: str) -> None:
        """End the process called `name`, if there is one."""
        process = self._processes.pop(name, None)
        if process is None or process.returncode is not None:
            return
        process.terminate()
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()

    async def end_all(self) -> None:
        """End every one of them."""
        await asyncio.gather(*(self.end(name) for name in list(self._processes)))
