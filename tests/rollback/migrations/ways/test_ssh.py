"""Alembic in a container, through a tunnel that can be cut; the sandbox's own way in is tested with the drills."""

import asyncio
import signal
import sys
from collections.abc import AsyncGenerator, Callable
from pathlib import Path

import psutil
import pytest
from ssh_container import Container, connection

from rollback.azure import AzureConnection
from rollback.errors import AzureUnreachable, CredentialRejected
from rollback.migrations.ways.ssh import SshWay
from rollback.migrations.ways.tunnel import scm_host
from rollback.migrations.ways.way import Ended, WayUnfit
from rollback.postgres.url import DatabaseUrl
from rollback.programs.output import KEPT_LINES
from rollback.redaction import BLACK

PASSWORD = "hunter2-hunter2"  # noqa: S105 - of no server
URL = DatabaseUrl.parse(f"postgresql://fundrbolt_app:{PASSWORD}@db.example.org/fundrbolt")
REVISION = "d95a3b1e7f08"


@pytest.fixture
async def container(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncGenerator[Container]:
    container = Container()
    async with container.running(tmp_path):
        monkeypatch.setenv("SSL_CERT_FILE", str(container.certificate))
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        yield container


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """What the image has in the folder of alembic.ini."""
    folder = tmp_path / "the app"
    versions = folder / "migrations" / "versions"
    versions.mkdir(parents=True)
    (folder / "alembic.ini").write_text("[alembic]\nscript_location = %(here)s/migrations\n")
    (versions / "first.py").write_text(f'"""A first one."""\nrevision = "{REVISION}"\ndown_revision = None\n')
    return folder


def way(
    container: Container, folder: Path, *command: str, revision: str = REVISION, by: AzureConnection | None = None
) -> SshWay:
    return SshWay(
        connection=by or connection(),
        app="fundrbolt-production-api",
        slot="staging",
        host=container.host,
        folder=str(folder),
        command=command or (sys.executable, "-m", "alembic"),
        url_variable="DATABASE_URL",
        revision=revision,
    )


def sh(container: Container, folder: Path, script: str) -> SshWay:
    """A way whose alembic is a shell script."""
    return way(container, folder, "/bin/sh", "-c", script, "alembic")


async def run(
    at: SshWay, *arguments: str, on_line: Callable[[str], None] = lambda _: None, **environment: str
) -> tuple[Ended, list[str]]:
    lines: list[str] = []

    def told(line: str) -> None:
        lines.append(line)
        on_line(line)

    return await at.run(arguments, URL, environment, told), lines


async def test_the_url_comes_by_standard_input_and_is_blackened_in_what_comes_back(
    container: Container, folder: Path
) -> None:
    shown = (
        'echo "args: $(tr "\\0" " " < /proc/$$/cmdline)"; env | sort; pwd; read -r more || echo "nothing more";'
        f" echo 'Traceback: {PASSWORD}' >&2; exit 41"
    )
    options = "-c lock_timeout=5000ms -c application_name=a"
    ended, lines = await run(sh(container, folder, shown), "downgrade", REVISION, PGOPTIONS=options)
    assert ended.status == 41
    assert f"alembic downgrade {REVISION}" in lines[0]
    assert f"DATABASE_URL={BLACK}" in lines
    assert f"PGOPTIONS={options}" in lines
    assert str(folder) in lines
    assert "nothing more" in lines
    assert f"Traceback: {BLACK}" in lines
    assert PASSWORD not in "".join(lines)
    # The script of this test holds the password where a traceback would show it; what we send does not.
    assert all("db.example.org" not in command for command in container.commands)


async def test_a_kill_is_unknown_and_an_exit_code_is_told(container: Container, folder: Path) -> None:
    assert (await run(sh(container, folder, "echo begun; exit 0")))[0] == Ended(status=0, tail=("begun",))
    assert (await run(sh(container, folder, "echo begun; kill -9 $$")))[0] == Ended(status=None, tail=("begun",))


async def test_a_cut_tunnel_is_unknown(container: Container, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rollback.migrations.ways.remote.KEEPALIVE_SECONDS", 3600)
    ended, lines = await run(sh(container, folder, "echo begun; exec sleep 300"), on_line=lambda _: container.cut())
    assert ended == Ended(status=None, tail=("begun",))
    assert lines == ["begun"]


async def test_megabytes_of_output_are_read_to_the_end(container: Container, folder: Path) -> None:
    line = "x" * 99
    writes = f"{sys.executable} -c \"import sys; [sys.stdout.write('{line}\\n' * 10_000) for _ in range(8)]\""
    ended, lines = await run(sh(container, folder, f"{writes}; echo last; exit 7"))
    assert ended.status == 7
    assert ended.tail == (*[line] * (KEPT_LINES - 1), "last")
    assert len(lines) < 2000


async def test_cancelled_it_asks_for_an_interrupt_and_leaves(container: Container, folder: Path) -> None:
    begun = asyncio.Event()
    task = asyncio.create_task(run(sh(container, folder, "echo begun; exec sleep 300"), on_line=lambda _: begun.set()))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with asyncio.timeout(30):
        assert await container.children[0].wait() == -signal.SIGINT


async def test_an_image_with_the_revisions_file_is_fit(container: Container, folder: Path) -> None:
    assert way(container, folder).name == "container of fundrbolt-production-api/staging"
    await way(container, folder).check()


async def test_what_the_image_lacks_is_named(container: Container, folder: Path, tmp_path: Path) -> None:
    with pytest.raises(WayUnfit, match="staging has no file of revision e2a8c40b7f15"):
        await way(container, folder, revision="e2a8c40b7f15").check()
    with pytest.raises(WayUnfit, match="has no folder '/nowhere'"):
        await way(container, Path("/nowhere")).check()
    with pytest.raises(WayUnfit, match=r"no alembic\.ini in"):
        await way(container, tmp_path).check()
    with pytest.raises(WayUnfit, match="whole path"):
        await way(container, folder, "no-such-python", "-m", "alembic").check()
    with pytest.raises(WayUnfit, match="has no alembic for"):
        await way(container, folder, sys.executable, "-S", "-m", "alembic").check()


async def test_a_container_that_starts_is_waited_for_and_one_that_does_not_is_named(
    container: Container, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: dict[str, object] = {"state": "STARTED", "canReachPort": True}
    container.states = [{"state": "STARTING", "canReachPort": False}, {**started, "canReachPort": False}, started]
    await way(container, folder).check()
    container.states = [{"state": "STOPPED", "canReachPort": False}]
    with pytest.raises(WayUnfit, match="finds the container STOPPED"):
        await way(container, folder).check()
    monkeypatch.setattr("rollback.migrations.ways.tunnel.START_SECONDS", 0)
    container.states = [{"state": "STARTED", "canReachPort": False}]
    with pytest.raises(WayUnfit, match="nothing answers at its port 2222"):
        await way(container, folder).check()


async def test_a_token_that_is_not_accepted_is_renewed_once(container: Container, folder: Path) -> None:
    await way(container, folder, by=connection("revoked", "good")).check()
    with pytest.raises(CredentialRejected, match="publish/action"):
        await way(container, folder, by=connection("revoked")).check()


async def test_an_sshd_with_another_password_is_named(container: Container, folder: Path) -> None:
    container.password = "another"  # noqa: S105 - of a server that lives for one test
    with pytest.raises(WayUnfit, match="does not let root in"):
        await way(container, folder).check()


async def test_kudu_must_prove_who_it_is(container: Container, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")
    with pytest.raises(AzureUnreachable, match="No usable answer"):
        await way(container, folder).check()


def test_kudus_host_follows_the_slots() -> None:
    assert scm_host("api-staging.azurewebsites.net") == "api-staging.scm.azurewebsites.net"
    assert scm_host("api-f3d.westeurope-01.azurewebsites.net") == "api-f3d.scm.westeurope-01.azurewebsites.net"


@pytest.mark.parametrize("cut", [False, True])
async def test_no_connection_outlives_its_run(container: Container, folder: Path, *, cut: bool) -> None:
    await run(sh(container, folder, "echo begun; sleep 0.1"), on_line=lambda _: container.cut() if cut else None)
    _, port = container.host.split(":")
    assert [each for each in psutil.Process().net_connections() if each.raddr and each.raddr.port == int(port)] == []
