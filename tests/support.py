"""What tests share: the running sandbox, the flow run the plain way, and what users and Azure show afterwards."""

import asyncio
import os
import re
import shlex
import socket
import ssl
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from prefect import Flow

from flows.roll_back_backend import roll_back_backend
from rollback.journal import Entry
from rollback.runs import Outcome
from sandbox.control import Control
from tasks.runs import watching

ROOT = Path(__file__).parent.parent
PLATFORM_FILE = ROOT / "deployments" / "fundrbolt.toml"
V1, V2, V3 = "v1.2.1", "v1.2.2", "v1.2.3"
CLOSE_SECONDS = 5
ESTABLISHED = 1
"""Linux's number of that state of a connection."""


@dataclass(frozen=True)
class Sandbox:
    """A running sandbox, and the environment that points clients at it."""

    control: Control
    environment: dict[str, str]
    folder: Path

    def point_at(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Let every client of this process speak to it."""
        for name, value in self.environment.items():
            monkeypatch.setenv(name, value)
        # aiohttp reads the trusted authorities once, when it is first imported: here before they are known.
        monkeypatch.setattr("aiohttp.connector._SSL_CONTEXT_VERIFIED", ssl.create_default_context())


def sandbox_environment(folder: Path) -> dict[str, str]:
    """What `python -m sandbox env` prints, as a dictionary."""
    command = [sys.executable, "-m", "sandbox", "env", "--state", str(folder)]
    told = subprocess.run(command, check=True, cwd=ROOT, capture_output=True, text=True)
    return dict(shlex.split(line)[1].split("=", 1) for line in told.stdout.splitlines())


@dataclass(frozen=True)
class World:
    """What Azure shows after a run, told by the sandbox's own books."""

    control: Control

    def runs_in(self, slot: str) -> str | None:
        return self.control.status().sites["production"].slots[slot].release

    @property
    def serving(self) -> str | None:
        return self.runs_in("production")

    @property
    def swaps(self) -> list[str]:
        """Who swapped, in order."""
        return [swap.by for swap in self.control.swaps()]

    def changes_asked_for(self) -> list[str]:
        """Every request since the start of the sandbox's day that would change something, but for lists and swaps."""
        return [
            f"{entry.method} {entry.path}"
            for entry in self.control.audit()
            if entry.host == "management.azure.com"
            and entry.method in {"POST", "PUT", "PATCH", "DELETE"}
            and not entry.path.split("?")[0].endswith(("/list", "/listKeys"))
        ]


async def run_flow(
    watch: Callable[[Entry], None] | None = None, *, flow: Flow = roll_back_backend, **parameters: object
) -> Outcome:
    """The flow as the command line runs it without a Prefect server; `watch` is told the journal's entries."""
    token, before = watching.set((watch,) if watch else ()), connections()
    try:
        outcome = await flow.fn(**{"environment": "production", "reason": "a test", **parameters})
    finally:
        watching.reset(token)
        # Those of another run at the same time are not this one's to wait for.
        with suppress(TimeoutError):
            await until_closed(before)
    assert isinstance(outcome, Outcome)
    return outcome


def connections() -> set[int]:
    """Our ends of this process's connections to the sandbox's proxy.

    Each socket is asked: the kernel's own table also has thousands that are over, and is slow to read.
    """
    proxy = int(os.environ["HTTPS_PROXY"].rpartition(":")[2].strip("/"))
    found: set[int] = set()
    for each in Path("/proc/self/fd").iterdir():
        # What is closed while it is looked at is none any more.
        with suppress(OSError):
            if not str(each.readlink()).startswith("socket:"):
                continue
            with socket.socket(fileno=os.dup(int(each.name))) as asked:
                state = asked.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]
                if state == ESTABLISHED and asked.getpeername()[1] == proxy:
                    found.add(asked.getsockname()[1])
    return found


async def until_closed(before: set[int]) -> None:
    """Let connections end that are being closed: where a request is cancelled, nobody waits for the end of its TLS.

    A loop that is closed first leaves them to garbage collection, which tells of them in the middle of another test.
    """
    async with asyncio.timeout(CLOSE_SECONDS):
        while connections() - before:  # noqa: ASYNC110 - of the end of a connection nobody tells
            await asyncio.sleep(0.01)


def quick_platform_file(
    folder: Path, verify_within_seconds: float = 15, *, schemas_known: bool = True, **backend: object
) -> Path:
    """The platform's own file, with times that suit a sandbox which does not wait as Azure does.

    Without schemas its manifest knows digests only: no release is refused for the schema that it needs.
    """
    quick = {"settle_seconds": 1, "swap_timeout_seconds": 20, **backend}
    # A dotted name in a table of TOML is one of a table within it.
    lines = "\n".join(f"{name} = {value}" for name, value in quick.items())
    content = PLATFORM_FILE.read_text(encoding="utf-8")
    backends = r'^\[environments\.\w+\.backend\]\n(?:.+\n)*?app = ".*"\n'
    content = re.sub(backends, lambda found: f"{found[0]}{lines}\n", content, flags=re.MULTILINE)
    content = re.sub(r"^health = ", f"verify_within_seconds = {verify_within_seconds}\nhealth = ", content, flags=re.M)
    manifest = PLATFORM_FILE.parent / "releases.toml"
    if not schemas_known:
        digests = re.sub(r"^(?!image_digest|\[).*\n", "", manifest.read_text(encoding="utf-8"), flags=re.M)
        manifest = folder / "digests.toml"
        manifest.write_text(digests, encoding="utf-8")
    content = content.replace('manifest = "releases.toml"', f'manifest = "{manifest}"')
    file = folder / "fundrbolt.toml"
    file.write_text(content, encoding="utf-8")
    return file
