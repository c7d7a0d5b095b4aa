"""The sandbox for every test that speaks to Azure: one per test process, back at its starting state for each test."""

import gc
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Generator
from pathlib import Path

import openapi
import pytest
from support import ROOT, Sandbox, World, quick_platform_file, sandbox_environment

from sandbox.control import Control

os.environ["PREFECT_SERVER_ALLOW_EPHEMERAL_MODE"] = "false"
# Where a shell began this in the background, Ctrl-C is ignored, and so would everything that tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)


LONGEST_FILES = (
    "restore_database",
    "downgrade_database",
    "tests/drills/",
    "test_worker",
    "in_prefect",
    "test_local_platform",
    "test_deploy",
)
"""The files that take minutes: begun first, so that none of them is left alone at the end."""


MEMORY = Path("/dev/shm")  # noqa: S108 - Linux's own; what is made in it has a random name and is ours alone
ROOM_BYTES = 6 * 1024**3


# What is imported stays: it need not be looked through for garbage again and again.
gc.disable()


def pytest_collection_finish() -> None:
    gc.collect()
    gc.freeze()
    gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: not any(each in item.nodeid for each in LONGEST_FILES))


@pytest.fixture(scope="session")
def sandbox_folder(tmp_path_factory: pytest.TempPathFactory) -> Generator[Path]:
    """In memory where there is room: databases are copied there for every test, and removed again."""
    if not MEMORY.is_dir() or shutil.disk_usage(MEMORY).free < ROOM_BYTES:
        yield tmp_path_factory.mktemp("sandbox")
        return
    folder = Path(tempfile.mkdtemp(prefix="rollback-sandbox-", dir=MEMORY))
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


@pytest.fixture(scope="session", autouse=True)
def _databases_are_made_once(tmp_path_factory: pytest.TempPathFactory) -> None:
    """For all of pytest-xdist's processes, and for every sandbox that a test starts."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    os.environ["SANDBOX_POSTGRESQL_TEMPLATE"] = str(shared / "postgresql-template")


@pytest.fixture(scope="session")
def record(tmp_path_factory: pytest.TempPathFactory) -> Generator[Path | None]:
    """What the sandbox is asked and answers: at the end it is held against Microsoft's OpenAPI files, if at hand."""
    if not openapi.SPECS.is_dir():
        yield None
        return
    file = tmp_path_factory.mktemp("record") / "record.jsonl"
    file.touch()
    yield file
    with file.open(encoding="utf-8") as lines:
        found = openapi.violations(lines)
    file.unlink()
    assert not found, "\n".join(["not as Microsoft describes it:", *found])


@pytest.fixture(scope="session")
def running_sandbox(sandbox_folder: Path, record: Path | None) -> Generator[Sandbox]:
    command = [sys.executable, "-m", "sandbox"]
    state, recording = ["--state", str(sandbox_folder)], ["--record", str(record)] if record else []
    subprocess.run([*command, "up", *state, "--detach", *recording], check=True, cwd=ROOT, capture_output=True)
    try:
        yield Sandbox(Control(sandbox_folder), sandbox_environment(sandbox_folder), sandbox_folder)
    finally:
        subprocess.run([*command, "down", *state], check=True, cwd=ROOT, capture_output=True)


@pytest.fixture
def world(running_sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """Azure at its starting state: production serves v1.2.3, slot staging holds v1.2.2."""
    running_sandbox.control.reset()
    running_sandbox.point_at(monkeypatch)
    monkeypatch.setenv("ROLLBACK_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("ROLLBACK_CONFIG", str(quick_platform_file(tmp_path)))
    return World(running_sandbox.control)
