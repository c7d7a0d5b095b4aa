"""Other people's revision scripts run in a process that has nothing of ours, and that ends."""

import asyncio
import json
import os
from pathlib import Path

import pytest
from rollback_command import wait_until
from support import ROOT

from rollback.errors import RevisionsUnreadable
from rollback.migrations.graph import read_graph
from rollback.migrations.reading import read

CORPUS = ROOT / "tests" / "migrations_corpus"
ENDS = "revision = 'a1'\ndown_revision = None\ndef upgrade(): pass\ndef downgrade(): pass\n"


def folder(tmp_path: Path, script: str) -> Path:
    versions = tmp_path / "alembic" / "versions"
    versions.mkdir(parents=True)
    # A package that would be taken for alembic's own, if the folder came first where Python looks.
    (tmp_path / "alembic" / "__init__.py").touch()
    (tmp_path / "alembic.ini").write_text("[alembic]\nscript_location = alembic\n", encoding="utf-8")
    (versions / "one.py").write_text(script + ENDS, encoding="utf-8")
    return tmp_path


async def test_the_process_reads_what_is_read_here() -> None:
    assert await read_graph(CORPUS / "lossy_column") == read(CORPUS / "lossy_column")


async def test_scripts_see_no_credentials_and_cannot_disturb_the_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AZURE_CLIENT_SECRET", "only-ours")
    monkeypatch.setenv("DATABASE_URL", "postgresql://only-ours")
    seen = tmp_path / "seen.json"
    write = f"pathlib.Path({str(seen)!r}).write_text(json.dumps(dict(os.environ)))"
    graph = await read_graph(
        folder(tmp_path, f"import json, os, pathlib\n{write}\nprint('not JSON')\nos.system('echo x')\n")
    )
    assert graph.heads == ("a1",)
    environment = json.loads(seen.read_text(encoding="utf-8"))
    assert set(environment) <= {"PATH", "LANG", "HOME", "PYTHONPATH", "LC_CTYPE"}
    assert "only-ours" not in seen.read_text(encoding="utf-8")
    assert "__pycache__" not in [each for _, folders, _ in os.walk(tmp_path) for each in folders]


async def test_a_script_that_never_ends_is_ended_with_what_it_started(tmp_path: Path) -> None:
    started = tmp_path / "started"
    script = f"import subprocess, time\nsubprocess.Popen(['sleep', '600'])\nopen({str(started)!r}, 'w').close()\n"
    script += "while True:\n    time.sleep(60)\n"
    reading = asyncio.create_task(read_graph(folder(tmp_path, script)))
    await asyncio.to_thread(wait_until, lambda: started.exists() or reading.done())
    assert len(running_in(tmp_path)) == 2
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    await asyncio.to_thread(wait_until, lambda: not running_in(tmp_path))


async def test_reading_has_a_time_limit(tmp_path: Path) -> None:
    with pytest.raises(RevisionsUnreadable, match=r"took longer than 0\.1 s"):
        await read_graph(folder(tmp_path, "import time\ntime.sleep(600)\n"), timeout_seconds=0.1)
    await asyncio.to_thread(wait_until, lambda: not running_in(tmp_path))


async def test_a_process_that_dies_is_told_without_secrets(tmp_path: Path) -> None:
    script = "import os\nos.write(2, b'password=correct-horse died')\nos._exit(7)\n"
    with pytest.raises(RevisionsUnreadable, match="ended with status 7") as raised:
        await read_graph(folder(tmp_path, script))
    assert "correct-horse" not in str(raised.value)


async def test_a_flood_of_output_is_survived(tmp_path: Path) -> None:
    script = "import sys\nfor _ in range(2000):\n    sys.stdout.write('x' * 10000)\n"
    assert (await read_graph(folder(tmp_path, script))).heads == ("a1",)


async def test_a_folder_without_alembic_ini_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RevisionsUnreadable, match=r"no alembic\.ini"):
        await read_graph(tmp_path)


def running_in(place: Path) -> list[str]:
    """Processes whose working folder is the place."""
    found: list[str] = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if (process / "cwd").readlink() == place and "State:\tZ" not in (process / "status").read_text():
                found.append(process.name)
        except OSError:
            continue
    return found
