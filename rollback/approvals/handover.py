"""From `rollback approve` to the run that waits: a socket in the run's folder, for the run's own user only.

A token goes from one process's memory to the other's, and the verdict back, at once. Nothing of it is written anywhere,
and a run that does not wait any more cannot be mistaken for one that does: nobody listens.
"""

import asyncio
import os
import socket
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import asynccontextmanager, contextmanager, suppress
from datetime import datetime
from pathlib import Path

from pydantic import Field, SecretStr, ValidationError, field_serializer

from rollback.approvals.policy import Need
from rollback.errors import NotWaiting, RollbackError
from rollback.models import Model

SOCKET = "approve.sock"
MOST_BYTES = 256 * 1024
"""A token of a person with two hundred groups has about 10 KiB."""
LISTEN_SECONDS = 5.0
"""For a request to arrive whole."""
LAST_WORDS_SECONDS = 0.5
VERDICT_SECONDS = 15.0
"""For the run's answer: it may have to fetch the tenant's keys first, twice 5 s."""


class Offer(Model):
    """An approval, handed over."""

    plan_hash: str = Field(pattern=r"^[0-9a-f]{64}$")
    """Of the plan that the approver has seen, whole."""
    token: SecretStr | None = None
    note: str = ""

    @field_serializer("token", when_used="json")
    def _on_the_wire(self, token: SecretStr | None) -> str | None:
        return token.get_secret_value() if token else None


class Wanted(Model):
    """What a waiting run asks for."""

    plan_hash: str
    needs: Need
    scope: str
    """What to ask Entra ID for; empty where no token is needed."""
    words: str
    until: datetime


class Verdict(Model):
    """What the run makes of an approval."""

    accepted: bool
    text: str


class _Question(Model):
    offer: Offer | None = None
    """None: only asks what is wanted."""


@asynccontextmanager
async def listening(
    folder: Path, wanted: Callable[[], Wanted], take: Callable[[Offer], Awaitable[str]]
) -> AsyncGenerator[None]:
    """Inside the block, answer those who want to approve; `take` says what became of it, or raises why not."""

    answering: set[asyncio.Task[None]] = set()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if task := asyncio.current_task():
            answering.add(task)
            task.add_done_callback(answering.discard)
        try:
            async with asyncio.timeout(LISTEN_SECONDS):
                question = _Question.model_validate_json(await reader.readline())
            offer = question.offer
            told = wanted() if offer is None else await _judge(offer, take)
            writer.write(told.model_dump_json().encode() + b"\n")
            await writer.drain()
        except (ValidationError, ValueError, TimeoutError, ConnectionError):
            pass  # not an approver's command, or one that went away: it hears nothing, and the run goes on waiting
        finally:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()

    file = folder / SOCKET
    with _short_path(folder) as path:
        server = await asyncio.start_unix_server(answer, path, limit=MOST_BYTES)
        file.chmod(0o600)
        try:
            yield
        finally:
            server.close()
            file.unlink(missing_ok=True)
            await _let_end(answering)


async def _let_end(answering: set[asyncio.Task[None]]) -> None:
    """Whoever is being answered hears it, but the run does not wait for a verdict that it needs no more."""
    if answering:
        _, late = await asyncio.wait(answering, timeout=LAST_WORDS_SECONDS)
        for each in late:
            each.cancel()
        await asyncio.gather(*late, return_exceptions=True)


async def _judge(offer: Offer, take: Callable[[Offer], Awaitable[str]]) -> Verdict:
    try:
        return Verdict(accepted=True, text=await take(offer))
    except RollbackError as error:
        return Verdict(accepted=False, text=str(error))


def ask(folder: Path) -> Wanted:
    """What the run wants; raises `NotWaiting`."""
    return Wanted.model_validate_json(_converse(folder, _Question(), LISTEN_SECONDS))


def hand_over(folder: Path, offer: Offer) -> Verdict:
    """Give the run an approval and hear its verdict; raises `NotWaiting`."""
    return Verdict.model_validate_json(_converse(folder, _Question(offer=offer), VERDICT_SECONDS))


def _converse(folder: Path, question: _Question, seconds: float) -> bytes:
    with _short_path(folder) as path, socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(seconds)
        try:
            connection.connect(path)
            connection.sendall(question.model_dump_json().encode() + b"\n")
            with connection.makefile("rb") as answer:
                told = answer.readline()
        except TimeoutError as error:
            raise NotWaiting(
                f"Run {folder.name} did not answer within {seconds:g} s: what it made of it is not known.",
                remedy="Look at 'rollback status' before you approve again.",
            ) from error
        except OSError as error:
            raise _not_waiting(folder.name) from error
    if not told.endswith(b"\n"):
        raise _not_waiting(folder.name)
    return told


def _not_waiting(run: str) -> NotWaiting:
    return NotWaiting(f"Run {run} does not wait for an approval.", remedy="See 'rollback status'.")


@contextmanager
def _short_path(folder: Path) -> Generator[str]:
    """An address of the folder's socket: it may have 107 bytes, and a folder's path may be longer."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        by_descriptor = Path(f"/proc/self/fd/{descriptor}")
        yield str((by_descriptor if by_descriptor.exists() else folder) / SOCKET)
    finally:
        with suppress(OSError):
            os.close(descriptor)
