"""The platform's own deploy script in a worktree of a small repository; a shell script stands for it."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncGenerator
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

import psutil
import pytest
from processes import wait_until_gone
from pydantic import SecretStr

from rollback.context import Run
from rollback.errors import DeploymentFailed
from rollback.frontends import script
from rollback.frontends.plans import FrontendTarget
from rollback.frontends.script import AtWork, end_left_behind, run_script
from rollback.frontends.settings import Frontend, FrontendWay, Script
from rollback.programs import output
from rollback.programs.repository import PREFIX
from rollback.redaction import BLACK
from rollback.releases import Manifest
from rollback.runs import RunHeader, Store
from rollback.settings import Repository, Settings

TOKEN = 'a1b2"c3/d4\\e5+f6%g7é'  # noqa: S105 - of no site; every letter that anybody escapes
AUTHOR = ("-c", "user.name=A Developer", "-c", "user.email=developer@example.org")


def git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(["git", *AUTHOR, *arguments], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout


class World:
    """A platform's repository that somebody works in, and a run."""

    def __init__(self, folder: Path) -> None:
        self.repository = folder / "platform"
        self.repository.mkdir()
        git(self.repository, "init", "--quiet", "--initial-branch=main")
        (self.repository / "release").write_text("v1.2.2")
        git(self.repository, "add", "release")
        git(self.repository, "commit", "--quiet", "--message", "v1.2.2")
        self.commit = git(self.repository, "rev-parse", "HEAD").strip()
        (self.repository / "release").write_text("being worked on")
        (self.repository / "staged").write_text("for the next commit")
        git(self.repository, "add", "staged")
        hook = self.repository / ".git" / "hooks" / "post-checkout"
        hook.write_text("#!/bin/sh\ntouch hook-ran\n")
        hook.chmod(0o755)
        store = Store(folder / "state")
        created = store.create(
            RunHeader(
                run="0a1b2c3d",
                procedure="redeploy-frontend",
                environment="production",
                started_at=datetime.now(UTC),
                reason="a test",
            )
        )
        settings = Settings(
            file=folder / "fundrbolt.toml", environments={}, repository=Repository(path=self.repository)
        )
        self.run = Run(settings, store, created, created.journal(), Manifest())
        self.target = FrontendTarget(
            name="web", resource_group="rg", app="fundrbolt-web", host="h", hosts=(), serving=None, serving_index=None,
            updated_at=None, version="v1.2.2", way=FrontendWay.SCRIPT, commit=self.commit, command="deploy.sh",
        )  # fmt: skip
        self.before = self.state()

    def state(self) -> tuple[object, ...]:
        """All that belongs to the user."""
        told = [git(self.repository, *each) for each in (("status", "--porcelain=v2", "--branch"), ("show-ref",))]
        files = {each.name: each.read_bytes() for each in self.repository.iterdir() if each.is_file()}
        return (*told, (self.repository / ".git" / "index").read_bytes(), files)

    async def deploy(self, *command: str, timeout_seconds: float = 60) -> None:
        how = Script(command=command, timeout_seconds=timeout_seconds)
        frontend = Frontend(resource_group="rg", app="fundrbolt-web", way=FrontendWay.SCRIPT, script=how)
        await run_script(self.run, frontend, self.target, SecretStr(TOKEN))

    async def sh(self, lines: str) -> None:
        await self.deploy("/bin/sh", "-c", lines)

    @property
    def notes(self) -> list[str]:
        return [each.text for each in self.run.journal.entries]

    @property
    def told(self) -> str:
        """Everything that the run wrote down."""
        return "".join(each.read_text() for each in self.run.folder.folder.iterdir())


@pytest.fixture
async def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncGenerator[World]:
    """Whatever becomes of the script, nothing is left of it, and what is the user's is as it was."""
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    made = World(tmp_path)
    yield made
    assert made.state() == made.before
    assert len(git(made.repository, "worktree", "list").splitlines()) == 1
    assert list(temporary.iterdir()) == []
    assert not list(made.run.folder.folder.glob("*.script.*"))


async def test_it_runs_in_the_releases_files_and_finds_token_and_app(world: World) -> None:
    await world.sh('cat release; echo; echo "to $SWA_CLI_APP_NAME"; test -n "$SWA_CLI_DEPLOYMENT_TOKEN" && echo given')
    assert world.notes == ["v1.2.2", "to fundrbolt-web", "given"]


async def test_our_credentials_are_not_passed_on_and_the_way_to_the_network_is(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AZURE_CLIENT_SECRET", "of-the-operator")
    for name in ("HTTPS_PROXY", "https_proxy", "http_proxy", "no_proxy"):
        monkeypatch.setenv(name, f"{name}.example.org")
    await world.sh("env")
    for name in ("HTTPS_PROXY", "https_proxy", "http_proxy", "no_proxy"):
        assert f"{name}={name}.example.org" in world.notes
    assert "of-the-operator" not in world.told


PRINTS = """
import json, os, sys, time
from urllib.parse import quote, quote_plus
token = os.environ["SWA_CLI_DEPLOYMENT_TOKEN"]
for each in (token, json.dumps({"key": token}), json.dumps(token, ensure_ascii=False), repr(token), ascii([token]),
             "https://x/?t=" + quote(token), "https://x/?t=" + quote(token, safe=""), "t=" + quote_plus(token)):
    print("plain", each)
sys.stdout.flush()
os.write(1, b"parts " + token.encode()[:5]); os.write(2, token.encode()[5:] + b"\\n")
os.write(1, b"open end " + token.encode())
sys.exit(3)
"""


async def test_the_token_is_black_in_every_form_in_notes_and_errors(world: World) -> None:
    with pytest.raises(DeploymentFailed) as raised:
        await world.deploy(sys.executable, "-c", PRINTS)
    text = f"{raised.value} {world.told}"
    for form in (TOKEN, json.dumps(TOKEN)[1:-1], quote(TOKEN, safe=""), TOKEN[:5], TOKEN[-5:], "c3/d4", "d4%5Ce5"):
        assert form not in text
    assert f"parts {BLACK}" in world.notes
    assert str(raised.value).count(BLACK) == 10


async def test_a_script_that_fails_is_told_with_its_last_lines_and_what_to_do(world: World) -> None:
    with pytest.raises(
        DeploymentFailed, match=r"'deploy\.sh' ended with status 7: line 6 \| .* \| line 25 Run it by h"
    ):
        await world.sh("for n in $(seq 25); do echo line $n; done; exit 7")
    with pytest.raises(DeploymentFailed, match="ended with status 1: it said nothing"):
        await world.sh("exit 1")
    with pytest.raises(DeploymentFailed, match="ended with status -9"):
        await world.sh("kill -9 $$")


async def test_a_script_that_cannot_be_started_is_told(world: World) -> None:
    with pytest.raises(DeploymentFailed, match=r"ended with status 127: .*no-such-script\.sh: not found"):
        await world.deploy("./no-such-script.sh")
    with pytest.raises(DeploymentFailed, match=r"ended with status 126: .*release: Permission denied"):
        await world.deploy("./release")


async def test_a_flood_of_lines_does_not_fill_the_journal(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(output, "TOLD_LINES", 50)
    await world.sh("seq 20000")
    assert len(world.notes) == 51
    assert "only the last" in world.notes[-1]


async def child_of(pipe: Path) -> int:
    return int(await asyncio.to_thread(pipe.read_text))


@pytest.fixture
def pipe(tmp_path: Path) -> Path:
    made = tmp_path / "pipe"
    os.mkfifo(made)
    return made


async def test_a_script_that_hangs_is_ended_with_its_children(
    world: World, pipe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    timers, genuine = dict[float, asyncio.Timeout](), asyncio.timeout

    def timing(seconds: float) -> asyncio.Timeout:
        timers[seconds] = genuine(seconds)
        return timers[seconds]

    monkeypatch.setattr(asyncio, "timeout", timing)
    running = asyncio.create_task(
        world.deploy("/bin/sh", "-c", f"sleep 300 & echo $! > {pipe}; wait", timeout_seconds=77)
    )
    child = await child_of(pipe)
    timers[77].reschedule(0)  # its time is over
    with pytest.raises(DeploymentFailed, match="did not end within 77 s"):
        await running
    await asyncio.to_thread(wait_until_gone, child)


async def test_a_run_that_is_cancelled_ends_the_script(world: World, pipe: Path) -> None:
    running = asyncio.create_task(world.sh(f"sleep 300 & echo $! > {pipe}; wait"))
    child = await child_of(pipe)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    await asyncio.to_thread(wait_until_gone, child)


async def test_while_it_runs_its_process_is_known_by_number_and_start(
    world: World, pipe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = asyncio.get_running_loop().create_future()
    monkeypatch.setattr(world.run, "note", said.set_result)
    running = asyncio.create_task(world.sh(f"echo $$; read nothing < {pipe}"))
    pid = int(await said)
    known = AtWork.model_validate_json((world.run.folder.folder / "web.script.json").read_text())
    assert known == AtWork(pid=pid, started=psutil.Process(pid).create_time())
    await asyncio.to_thread(pipe.write_text, "end\n")
    await running


def started(*command: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(command, start_new_session=True)


def left(world: World, pid: int, started: float) -> Path:
    file = world.run.folder.folder / "web.script.json"
    file.write_text(AtWork(pid=pid, started=started).model_dump_json())
    return file


async def test_a_script_that_a_killed_run_left_is_ended_with_its_children(world: World, pipe: Path) -> None:
    command = ["/bin/sh", "-c", f"sleep 300 & echo $! > {pipe}; wait"]
    with started(*command) as process:
        child = await child_of(pipe)
        file = left(world, process.pid, psutil.Process(process.pid).create_time())
        await asyncio.to_thread(end_left_behind, world.run, world.target)
        process.wait()
    await asyncio.to_thread(wait_until_gone, child)
    assert not file.exists()


async def test_another_process_with_the_same_number_is_left_alone(world: World) -> None:
    with started("/bin/sleep", "300") as process:
        try:
            file = left(world, process.pid, psutil.Process(process.pid).create_time() - 60)
            await asyncio.to_thread(end_left_behind, world.run, world.target)
            assert process.poll() is None
            assert not file.exists()
        finally:
            process.kill()


async def test_nothing_is_ended_where_nothing_was_left_or_it_is_gone(world: World) -> None:
    end_left_behind(world.run, world.target)
    with started("/bin/true") as process:
        pass
    left(world, process.pid, 1.0)
    end_left_behind(world.run, world.target)


async def test_a_kill_while_its_process_is_noted_leaves_no_half_note(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    file = world.run.folder.folder / "web.script.json"
    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", killed)
        with pytest.raises(KeyboardInterrupt):
            script._remember(file, os.getpid())
    assert not file.exists()
    file.with_suffix(".tmp").unlink()


def worktree_of(world: World, tmp_path: Path, pid: int) -> Path:
    tree = tmp_path / "temporary" / f"{PREFIX}{pid}-abc" / f"{PREFIX}{pid}-abc"
    git(world.repository, "worktree", "add", "--quiet", "--detach", str(tree), world.commit)
    return tree


async def test_a_worktree_that_a_killed_run_left_is_removed_and_a_living_ones_stays(
    world: World, tmp_path: Path
) -> None:
    with started("/bin/true") as ended:
        pass
    gone, living = worktree_of(world, tmp_path, ended.pid), worktree_of(world, tmp_path, os.getppid())
    await world.sh("true")
    assert not gone.parent.exists()
    assert (living / "release").read_text() == "v1.2.2"
    git(world.repository, "worktree", "remove", "--force", str(living))
    living.parent.rmdir()
