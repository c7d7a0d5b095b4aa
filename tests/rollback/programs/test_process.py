import asyncio
import os
import signal
import subprocess
import sys
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


KILLED = """
import asyncio, os, signal, sys
from pathlib import Path
from rollback.programs.process import run_in_group

def began(pid):
    print(pid, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)

program = ["/bin/sh", "-c", "touch ran"]
asyncio.run(run_in_group(program, folder=Path.cwd(), environment=os.environ, received=lambda _: None, began=began))
"""


def test_a_program_does_nothing_where_we_are_killed_before_its_process_is_noted(tmp_path: Path) -> None:
    environment = dict(os.environ) | {"PYTHONPATH": os.pathsep.join(sys.path)}
    ended = subprocess.run(
        [sys.executable, "-c", KILLED], cwd=tmp_path, env=environment, stdout=subprocess.PIPE, check=False
    )
    assert ended.returncode == -signal.SIGKILL
    wait_until_gone(int(ended.stdout))
    assert not (tmp_path / "ran").exists()


async def test_a_program_whose_process_is_noted_is_that_process_and_gets_its_input_whole(tmp_path: Path) -> None:
    noted, said = list[int](), bytearray()
    status = await run_in_group(
        ["/bin/sh", "-c", 'echo "$$ $1"; exec cat', "a program", "an argument of  'two' words"],
        folder=tmp_path,
        environment={"PATH": os.environ["PATH"]},
        received=said.extend,
        given=b"one\ntwo",
        began=noted.append,
    )
    assert (status, said.decode()) == (0, f"{noted[0]} an argument of  'two' words\none\ntwo")
