"""The platform's own deploy script, run in a clean worktree of the release with the deployment token.

The token is in the script's environment and nowhere else: it is blackened wherever the script prints it.
"""

import asyncio
import os
import signal
from contextlib import suppress
from pathlib import Path

import psutil
from pydantic import SecretStr

from rollback.context import Run
from rollback.errors import DeploymentFailed
from rollback.frontends.plans import FrontendTarget
from rollback.frontends.settings import Frontend
from rollback.models import Model
from rollback.programs.output import Output, written_forms
from rollback.programs.process import network_environment, run_in_group
from rollback.programs.repository import worktree

LAST_LINES = 20
END_SECONDS = 5.0


class AtWork(Model):
    """A script's process, as another run of ours can recognise it."""

    pid: int
    started: float
    """In seconds since 1970: a number is given again."""


async def run_script(run: Run, frontend: Frontend, target: FrontendTarget, token: SecretStr) -> None:
    """Run it to its end; its lines become notes of the run. Raises `DeploymentFailed` with its last lines."""
    script = frontend.script
    if script is None:
        raise AssertionError("a script is run that the platform file does not have")
    environment = network_environment() | {
        script.token_variable: token.get_secret_value(),
        script.app_variable: target.app,
    }
    output = Output(run.note, written_forms([token.get_secret_value()]))
    async with worktree(run.settings.repository.path or Path(), target.commit) as tree:
        try:
            async with asyncio.timeout(script.timeout_seconds):
                status = await run_in_group(
                    script.command,
                    folder=tree,
                    environment=environment,
                    received=output.feed,
                    began=lambda pid: _remember(_file(run, target), pid),
                )
        except TimeoutError as error:
            raise _failed(target, f"did not end within {script.timeout_seconds:g} s", output) from error
        finally:
            _file(run, target).unlink(missing_ok=True)
    output.end()
    if status != 0:
        raise _failed(target, f"ended with status {status}", output)


def _failed(target: FrontendTarget, how: str, output: Output) -> DeploymentFailed:
    said = " | ".join(line for line in output.tail[-LAST_LINES:] if line.strip())
    return DeploymentFailed(
        f"The script '{target.command}' {how}: {said or 'it said nothing'}",
        remedy="Run it by hand in a worktree of the tag, or use way 'artifact' in the platform file.",
    )


def _file(run: Run, target: FrontendTarget) -> Path:
    return run.folder.folder / f"{target.name}.script.json"


def _remember(file: Path, pid: int) -> None:
    temporary = file.with_suffix(".tmp")
    with suppress(psutil.NoSuchProcess):
        at_work = AtWork(pid=pid, started=psutil.Process(pid).create_time())
        temporary.write_text(at_work.model_dump_json(), encoding="utf-8")
        temporary.replace(file)  # whole or not at all: we may be killed at any moment


def end_left_behind(run: Run, target: FrontendTarget) -> None:
    """End the script's process group that a killed try of this run left here, so that it deploys nothing later on."""
    file = _file(run, target)
    if not file.exists():
        return
    left = AtWork.model_validate_json(file.read_text(encoding="utf-8"))
    with suppress(psutil.NoSuchProcess, ProcessLookupError):
        process = psutil.Process(left.pid)
        if process.create_time() == left.started:
            os.killpg(left.pid, signal.SIGKILL)
            psutil.wait_procs([process], timeout=END_SECONDS)
    file.unlink(missing_ok=True)
