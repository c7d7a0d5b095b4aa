"""Reading a folder's revisions in a process of its own."""

import asyncio
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from contextlib import suppress
from pathlib import Path

from pydantic import ValidationError

import rollback
from rollback.errors import RevisionsUnreadable
from rollback.migrations.models import Graph
from rollback.redaction import blacken

LARGEST_ANSWER = 16 * 1024 * 1024
LARGEST_ERROR = 64 * 1024
"""Bytes; more is not read, and the process is ended."""

_REMEDY = "Read the revisions with `alembic history` by hand, and name the target yourself."


async def read_graph(folder: Path, timeout_seconds: float = 60) -> Graph:
    """The revisions of the folder that holds `alembic.ini`, each with what its downgrade would do.

    Revision scripts run in a process that has neither our environment nor our credentials in it, and that is killed
    with all that it started: at the end, when its time is over, and when nobody waits any more. Raises
    `RevisionsUnreadable` where there is no graph at all.
    """
    if not await asyncio.to_thread((folder / "alembic.ini").is_file):
        raise RevisionsUnreadable(
            f"There is no alembic.ini in {folder}.", remedy="Name the folder that has it in the platform file."
        )
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-B", "-m", "rollback.migrations.reading", str(folder)),
        cwd=folder,
        env=_environment(),
        start_new_session=True,
        stdin=DEVNULL,
        stdout=PIPE,
        stderr=PIPE,
    )
    try:
        async with asyncio.timeout(timeout_seconds):
            answer, error = await _outputs(process)
            status = await process.wait()
    except TimeoutError as late:
        raise RevisionsUnreadable(
            f"Reading the revisions in {folder} took longer than {timeout_seconds:g} s.", remedy=_REMEDY
        ) from late
    finally:
        await _end(process)
    return _graph(folder, answer, error, status)


def _environment() -> dict[str, str]:
    """What the process sees: nothing that is ours but where our own code is; its home is no folder."""
    ours = str(Path(str(rollback.__file__)).parents[1])
    path = os.environ.get("PATH", os.defpath)
    return {"PATH": path, "LANG": "C.UTF-8", "HOME": os.devnull, "PYTHONPATH": ours}


async def _outputs(process: Process) -> tuple[bytes, bytes]:
    return await asyncio.gather(_read(process.stdout, LARGEST_ANSWER), _read(process.stderr, LARGEST_ERROR))


async def _read(stream: asyncio.StreamReader | None, most: int) -> bytes:
    """A stream to its end, of which its last part is kept."""
    kept = b""
    while stream is not None and (block := await stream.read(65536)):
        kept = (kept + block)[-most:]
    return kept


async def _end(process: Process) -> None:
    """End the process with all that it started."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    await process.wait()


def _graph(folder: Path, answer: bytes, error: bytes, status: int) -> Graph:
    try:
        return Graph.model_validate_json(answer)
    except ValidationError as invalid:
        lines = blacken(error.decode(errors="replace")).strip().splitlines()
        raise RevisionsUnreadable(
            f"The revisions in {folder} cannot be read: the reading process ended with status {status}"
            f" ({lines[-1][:300] if lines else 'and said nothing'}).",
            remedy=_REMEDY,
        ) from invalid
