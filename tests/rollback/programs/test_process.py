import asyncio
import os
from asyncio.subprocess import Process
from pathlib import Path

import pytest
from processes import wait_until_gone

from rollback.programs.process import run_in_group


async def test_cancelled_while_it_starts_it_leaves_none_of_its_group(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipe, genuine, go_on = tmp_path / "pipe", asyncio.create_subprocess_exec, asyncio.Event()
    os.mkfifo(pipe)

    async def slow(*command: str, **settings: object) -> Process:
        process = await genuine(*command, **settings)
        await go_on.wait()
        return process

    monkeypatch.setattr(asyncio, "create_subprocess_exec", slow)
    command = ["/bin/sh", "-c", f"sleep 300 & echo $! > {pipe}; wait"]
    running = asyncio.create_task(
        run_in_group(command, folder=tmp_path, environment={"PATH": os.environ["PATH"]}, received=lambda _: None)
    )
    child = int(await asyncio.to_thread(pipe.read_text))
    running.cancel()
    asyncio.get_running_loop().call_soon(go_on.set)
    with pytest.raises(asyncio.CancelledError):
        await running
    await asyncio.to_thread(wait_until_gone, child)
