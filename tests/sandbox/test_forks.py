"""Processes that are forked from one that has imported the sample app."""

import json
import os
import sys
from collections.abc import Sequence

import psutil
import pytest

from sandbox.forks import ROOM_BYTES, Fork

ENVIRONMENT = {"PATH": "/usr/bin:/bin", "GREETING": "Grüße"}


def tell(arguments: Sequence[str]) -> int:
    """The program of these tests: says what it got, and ends when it is told to."""
    sys.stdout.write(json.dumps({"arguments": arguments, "environment": dict(os.environ)}) + "\n")
    sys.stderr.write("said aside\n")
    sys.stdout.flush()
    return sys.stdin.read() != ""


def wait(_: Sequence[str]) -> int:
    sys.stdout.write(" ".join(psutil.Process().environ()) + "\n")
    sys.stdout.flush()
    while True:
        psutil.Process().suspend()


async def test_a_fork_gets_what_it_is_given_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OURS", "a secret")
    fork = Fork(tell, ["--release", "v1"], ENVIRONMENT)
    got = json.loads(await (await fork.output()).readline())
    assert got == {"arguments": ["--release", "v1"], "environment": ENVIRONMENT}
    assert await (await fork.errors()).readline() == b"said aside\n"
    await fork.wait()
    assert fork.pid is None


@pytest.mark.parametrize("size", [10, ROOM_BYTES * 2])
async def test_the_kernel_tells_of_the_environment_that_was_given(size: int) -> None:
    fork = Fork(wait, [], {**ENVIRONMENT, "LONG": "x" * size})
    shown = (await (await fork.output()).readline()).decode().split()
    fork.kill()
    await fork.wait()
    assert (shown[:2], fork.pid) == (list(ENVIRONMENT), None)
    assert set(shown) <= {*ENVIRONMENT, "LONG"}
