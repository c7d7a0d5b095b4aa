"""From the approver's command to the run that waits: heard while it waits, never after, and nothing is left behind."""

import asyncio
import os
import socket
import stat
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from rollback.approvals.handover import MOST_BYTES, SOCKET, Offer, Verdict, Wanted, ask, hand_over, listening
from rollback.approvals.policy import Need
from rollback.errors import ApprovalRefused, NotWaiting
from rollback.models import now

HASH = "a" * 64
WANTED = Wanted(plan_hash=HASH, needs=Need.SIGNED, scope="api://it/.default", words="signed", until=now())


async def take(offer: Offer) -> str:
    if offer.token is None:
        raise ApprovalRefused("No token.", remedy="Bring one.")
    return f"{offer.token.get_secret_value()} came"


@asynccontextmanager
async def run_that_waits(folder: Path) -> AsyncGenerator[None]:
    async with listening(folder, lambda: WANTED, take):
        yield


def offer(token: str | None) -> Offer:
    return Offer.model_validate({"plan_hash": HASH, "token": token})


async def test_a_waiting_run_says_what_it_wants_and_what_it_makes_of_an_offer(tmp_path: Path) -> None:
    async with run_that_waits(tmp_path):
        assert await asyncio.to_thread(ask, tmp_path) == WANTED
        accepted = await asyncio.to_thread(hand_over, tmp_path, offer("a token"))
        refused = await asyncio.to_thread(hand_over, tmp_path, offer(None))
    assert accepted == Verdict(accepted=True, text="a token came")
    assert refused == Verdict(accepted=False, text="No token. Bring one.")


async def test_only_the_runs_own_user_gets_through(tmp_path: Path) -> None:
    async with run_that_waits(tmp_path):
        assert stat.S_IMODE((tmp_path / SOCKET).stat().st_mode) == 0o600


async def test_a_run_that_does_not_wait_any_more_is_not_reached(tmp_path: Path) -> None:
    async with run_that_waits(tmp_path):
        pass
    with pytest.raises(NotWaiting, match="does not wait for an approval"):
        await asyncio.to_thread(hand_over, tmp_path, offer("a token"))
    assert not (tmp_path / SOCKET).exists()


async def test_a_run_that_was_killed_is_not_reached_and_can_wait_again(tmp_path: Path) -> None:
    left = socket.socket(socket.AF_UNIX)
    left.bind(str(tmp_path / SOCKET))
    left.close()
    with pytest.raises(NotWaiting):
        ask(tmp_path)
    async with run_that_waits(tmp_path):
        assert await asyncio.to_thread(ask, tmp_path) == WANTED


async def test_a_long_path_is_no_obstacle(tmp_path: Path) -> None:
    folder = tmp_path / ("x" * 120)
    folder.mkdir()
    async with run_that_waits(folder):
        assert await asyncio.to_thread(ask, folder) == WANTED


@pytest.mark.parametrize("sent", [b"", b"hello\n", b"{", b'{"offer": {"plan_hash": "x"}}\n', b"x" * (MOST_BYTES + 2)])
async def test_nonsense_is_not_answered_and_does_not_end_the_wait(tmp_path: Path, sent: bytes) -> None:
    async with run_that_waits(tmp_path):
        reader, writer = await asyncio.open_unix_connection(str(_short(tmp_path)))
        try:
            writer.write(sent)
            writer.write_eof()
            assert await reader.read() == b""
        except ConnectionError:
            pass
        finally:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()
        assert await asyncio.to_thread(ask, tmp_path) == WANTED


async def test_the_run_does_not_wait_for_a_verdict_that_it_needs_no_more(tmp_path: Path) -> None:
    begun = asyncio.Event()

    async def never(_: Offer) -> str:
        begun.set()
        await asyncio.Event().wait()
        return "never"

    async with listening(tmp_path, lambda: WANTED, never):
        handing = asyncio.create_task(asyncio.to_thread(hand_over, tmp_path, offer("a token")))
        await begun.wait()
    with pytest.raises(NotWaiting):
        await handing


def test_an_offer_does_not_show_its_token() -> None:
    assert "a token" not in f"{offer('a token')} {offer('a token')!r} {offer('a token').model_dump()}"


def _short(folder: Path) -> Path:
    return Path(os.path.relpath(folder / SOCKET))
