"""Database servers over the life of a sandbox: ended, killed, started again, and two of them side by side."""

import os
import shlex
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import psutil
import pytest
from database_servers import CLOCK, PRODUCTION, RESTORED, SERVERS, Database, wish
from support import ROOT

from sandbox.control import Control

WAIT_SECONDS = 20
CANARY = "canary-7d41a0"


class Life:
    """A sandbox of the test's own."""

    def __init__(self, folder: Path, template: Path) -> None:
        self.folder, self.template, self.control = folder, template, Control(folder)

    def command(self, *words: str) -> str:
        command = [sys.executable, "-m", "sandbox", *words, "--state", str(self.folder)]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout

    def up(self, *words: str) -> None:
        self.command("up", "--detach", "--postgresql-template", str(self.template), *words)

    def processes(self) -> list[psutil.Process]:
        """The sandbox and everything that it started."""
        own = psutil.Process(self.control.status().pid)
        return [own, *own.children(recursive=True)]

    @property
    def exports(self) -> dict[str, str]:
        return dict(shlex.split(line)[1].split("=", 1) for line in self.command("env").splitlines())

    @property
    def database(self) -> Database:
        return Database(self.control, self.exports["SSL_CERT_FILE"])

    def ask(self, method: str, name: str, body: dict[str, object] | None = None) -> httpx.Response:
        exports, token = self.exports, self.control.token("rollback", "https://management.azure.com/.default")
        return httpx.request(
            method,
            f"https://management.azure.com{SERVERS}/{name}?api-version=2023-12-01-preview",
            json=body,
            headers={"Authorization": f"Bearer {token}"},
            proxy=exports["HTTPS_PROXY"],
            verify=ssl.create_default_context(cafile=exports["SSL_CERT_FILE"]),
        )

    def host(self, name: str = PRODUCTION) -> str:
        return self.ask("GET", name).json()["properties"]["fullyQualifiedDomainName"]


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("postgresql") / "template"


@pytest.fixture
def begin(tmp_path: Path, template: Path) -> Iterator[Callable[[str], Life]]:
    begun: list[Life] = []

    def make(name: str) -> Life:
        begun.append(Life(tmp_path / name, template))
        return begun[-1]

    yield make
    for life in begun:
        life.command("down")


def name_of(process: psutil.Process) -> str | None:
    """Its name; none where it has ended meanwhile, as a worker of autovacuum does."""
    try:
        return process.name()
    except psutil.NoSuchProcess:
        return None


def wait_until_gone(processes: list[psutil.Process]) -> None:
    _, alive = psutil.wait_procs(processes, timeout=WAIT_SECONDS)
    assert alive == []


async def test_data_and_address_survive_down_and_up(begin):
    life = begin("one")
    life.up()
    host = life.host()
    await life.database.rows(host, "CREATE SCHEMA test", "CREATE TABLE test.kept AS SELECT 7 AS number", CLOCK)
    processes = life.processes()
    assert "postgres" in {name_of(each) for each in processes}
    life.command("down")
    wait_until_gone(processes)
    life.up()
    assert life.host() == host
    assert await life.database.rows(host, "SELECT number FROM test.kept") == [(7,)]


async def test_an_administrators_new_password_is_written_down_nowhere(begin, tmp_path):
    life = begin("one")
    life.up("--record", str(tmp_path / "one" / "record.jsonl"))
    asked = life.ask("PATCH", PRODUCTION, {"properties": {"administratorLoginPassword": CANARY}})
    assert asked.status_code == 202
    life.command("down")
    kept = [file for file in (tmp_path / "one").rglob("*") if file.is_file()]
    assert "record.jsonl" in [file.name for file in kept]
    assert [file for file in kept if CANARY.encode() in file.read_bytes()] == []
    life.up()


async def test_a_killed_sandbox_takes_its_servers_along_and_goes_on_with_the_restore_it_was_at(begin):
    life = begin("one")
    life.up("--scale", "20")
    host = life.host()
    await life.database.rows(host, "CREATE SCHEMA test", "CREATE TABLE test.kept AS SELECT 7 AS number", CLOCK)
    asked = life.ask("PUT", RESTORED, wish(datetime.now(UTC) - timedelta(hours=1)).as_dict())
    assert asked.status_code == 202
    processes = life.processes()
    os.kill(processes[0].pid, signal.SIGKILL)
    wait_until_gone(processes)
    life.up()
    assert await life.database.rows(host, "SELECT number FROM test.kept") == [(7,)]
    end = time.monotonic() + WAIT_SECONDS
    while life.ask("GET", RESTORED).json()["properties"]["state"] != "Ready":
        assert time.monotonic() < end, "the restore was forgotten"
    assert life.host(RESTORED) != host


async def test_sandboxes_that_share_a_template_share_neither_address_nor_password(begin):
    one, other = begin("one"), begin("other")
    for life in (one, other):
        life.up()
    assert one.host() != other.host()
    for life in (one, other):
        assert await life.database.rows(life.host(), "SELECT count(*) > 100 FROM donations") == [(True,)]
    with pytest.raises(Exception, match="certificate verify failed"):
        await one.database.rows(other.host(), "SELECT 1")
