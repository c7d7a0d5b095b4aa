"""Alembic in a folder of this machine; a shell script stands for it where only its process matters."""

import asyncio
import os
import resource
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from processes import wait_until_gone

from rollback.errors import SettingsInvalid
from rollback.migrations.ways.way import Ended, WayUnfit
from rollback.migrations.ways.worktree import WorktreeWay
from rollback.postgres.url import DatabaseUrl
from rollback.programs.output import KEPT_LINES
from rollback.redaction import BLACK

PASSWORD = "hunter2-hunter2"  # noqa: S105 - of no server
URL = DatabaseUrl.parse(f"postgresql://fundrbolt_app:{PASSWORD}@db.example.org/fundrbolt")
REVISION = "d95a3b1e7f08"
ALEMBIC = (sys.executable, "-m", "alembic")


def way(folder: Path, *command: str, revision: str = REVISION, path: str = "backend") -> WorktreeWay:
    return WorktreeWay(
        worktree=folder,
        release="v1.2.3",
        path=path,
        command=command or ALEMBIC,
        url_variable="DATABASE_URL",
        revision=revision,
    )


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A release's worktree with one revision; env.py says what it was given and stops."""
    backend = tmp_path / "backend"
    versions = backend / "migrations" / "versions"
    versions.mkdir(parents=True)
    (backend / "alembic.ini").write_text("[alembic]\nscript_location = %(here)s/migrations\n")
    (backend / "migrations" / "env.py").write_text(
        "import os\nfrom sqlalchemy import make_url\n"
        'url = make_url(os.environ["DATABASE_URL"])\n'
        'print("to", url.host, "with", os.environ["PGOPTIONS"])\n'
        'raise RuntimeError("no connection with " + url.password + " of " + os.environ["DATABASE_URL"])\n'
    )
    (versions / "first.py").write_text(
        f'"""A first one."""\nrevision = "{REVISION}"\ndown_revision = None\n'
        "def upgrade(): pass\ndef downgrade(): pass\n"
    )
    return tmp_path


def sh(folder: Path, script: str) -> WorktreeWay:
    """A way whose alembic is a shell script."""
    (folder / "backend").mkdir(exist_ok=True)
    return way(folder, "/bin/sh", "-c", script, "alembic")


async def run(at: WorktreeWay, *arguments: str, **environment: str) -> tuple[Ended, list[str]]:
    lines: list[str] = []
    ended = await at.run(arguments, URL, environment, lines.append)
    assert tuple(lines[-KEPT_LINES:]) == ended.tail or len(lines) > KEPT_LINES
    return ended, lines


async def test_a_password_in_a_traceback_is_blackened(tree: Path) -> None:
    ended, lines = await run(way(tree), "downgrade", "base", PGOPTIONS="-c lock_timeout=5000ms -c application_name=x y")
    assert ended.status == 1
    assert lines[0] == "to db.example.org with -c lock_timeout=5000ms -c application_name=x y"
    assert ended.tail[-1] == f"RuntimeError: no connection with {BLACK} of {BLACK}"
    assert PASSWORD not in "\n".join(lines)


async def test_the_url_is_on_no_command_line_and_our_environment_stays_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AZURE_CLIENT_SECRET", "of-the-operator")
    monkeypatch.setenv("DATABASE_URL", "postgresql://from:the@wrong/place")
    monkeypatch.setenv("PGHOSTADDR", "192.0.2.1")
    shown = 'echo "args: $(tr "\\0" " " < /proc/$$/cmdline)"; env | sort; read -r more || echo "nothing more"; exit 3'
    ended, lines = await run(sh(tmp_path, shown), "downgrade", REVISION)
    assert ended.status == 3
    assert f"alembic downgrade {REVISION}" in lines[0]
    assert f"DATABASE_URL={BLACK}" in lines
    assert lines[-1] == "nothing more"
    text = "\n".join(lines)
    assert "of-the-operator" not in text
    assert "wrong" not in text
    assert "PGHOSTADDR" not in text
    assert os.environ["DATABASE_URL"] == "postgresql://from:the@wrong/place"


async def test_exit_codes_come_through_and_a_kill_is_unknown(tmp_path: Path) -> None:
    assert (await run(sh(tmp_path, "exit 0")))[0].status == 0
    assert (await run(sh(tmp_path, "echo begun; exit 41")))[0] == Ended(status=41, tail=("begun",))
    assert (await run(sh(tmp_path, "echo begun; kill -9 $$")))[0] == Ended(status=None, tail=("begun",))


async def test_a_variable_that_is_none_is_refused(tmp_path: Path) -> None:
    bad = WorktreeWay(tmp_path, "v1.2.3", "", ("true",), "X; rm -rf", REVISION)
    with pytest.raises(SettingsInvalid, match="no name of an environment variable"):
        await bad.run((), URL, {}, lambda _: None)


async def test_a_hundred_megabytes_of_output_do_not_fill_the_memory(tmp_path: Path) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    line = "x" * 99
    writes = f"{sys.executable} -c \"import sys; [sys.stdout.write('{line}\\n' * 10_000) for _ in range(100)]\""
    ended, lines = await run(sh(tmp_path, f"{writes}; echo last; exit 7"))
    grown_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert ended.status == 7
    assert ended.tail == (*[line] * (KEPT_LINES - 1), "last")
    assert len(lines) < 2000
    assert grown_kib < 32_000


async def test_cancelled_it_interrupts_and_leaves_none_of_its_group(tmp_path: Path) -> None:
    script = (
        "import signal, subprocess, time\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "child = subprocess.Popen(['sleep', '300'])\n"
        "try:\n    print(child.pid, flush=True)\n    while True: time.sleep(0.05)\n"
        "finally:\n    open('interrupted', 'w').close()\n"
    )
    (tmp_path / "backend").mkdir()
    lines: list[str] = []
    told = asyncio.Event()

    def on_line(line: str) -> None:
        lines.append(line)
        told.set()

    task = asyncio.create_task(way(tmp_path, sys.executable, "-c", script).run((), URL, {}, on_line))
    await told.wait()
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    assert task.cancelled()
    assert (tmp_path / "backend" / "interrupted").exists()
    await asyncio.to_thread(wait_until_gone, int(lines[0]))


async def test_what_a_child_holds_open_does_not_hold_us(tmp_path: Path) -> None:
    ended, lines = await run(sh(tmp_path, "sleep 300 & echo $!; exit 5"))
    assert ended.status == 5
    await asyncio.to_thread(wait_until_gone, int(lines[0]))


async def test_alembic_with_the_revisions_file_is_fit(tree: Path) -> None:
    assert way(tree).name == "worktree of v1.2.3"
    await way(tree).check()
    await way(tree, "python", "-m", "alembic").check()


async def test_what_is_missing_is_named(tree: Path) -> None:
    with pytest.raises(WayUnfit, match=r"worktree of v1\.2\.3 has no file of revision e2a8c40b7f15"):
        await way(tree, revision="e2a8c40b7f15").check()
    with pytest.raises(WayUnfit, match="has no folder 'elsewhere'"):
        await way(tree, path="elsewhere").check()
    with pytest.raises(WayUnfit, match=r"no alembic\.ini in ''"):
        await way(tree, path="").check()
    with pytest.raises(WayUnfit, match="leads out of the worktree"):
        await way(tree, path="../elsewhere").check()
    with pytest.raises(WayUnfit, match=r"cannot run 'no-such-python -m alembic'.*whole path"):
        await way(tree, "no-such-python", "-m", "alembic").check()
    with pytest.raises(WayUnfit, match="has no alembic for"):
        await way(tree, sys.executable, "-S", "-m", "alembic").check()
    (tree / "backend" / "migrations" / "versions" / "second.py").write_text("import no_such_package\n")
    with pytest.raises(WayUnfit, match="cannot run alembic: it ended with status 1, saying: ModuleNotFoundError"):
        await way(tree).check()
