"""What the app says of its database, asked of a real web server on loopback."""

from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any, cast

import pytest
from aiohttp import web

from rollback.context import Run
from rollback.database import own_word
from rollback.database.settings import Database, HostEvidence
from rollback.errors import NotVerified
from rollback.settings import Backend, Probes

HOST = "fundrbolt-production-pg-r2603011002.postgres.database.azure.com"
SAYS = HostEvidence(path="/health/detailed", json_field="checks.database_host")


def run_that_hears(says: HostEvidence | None) -> Run:
    probes = Probes(in_a_row=2, verify_within_seconds=1)
    settings = SimpleNamespace(
        database=Database(vault="a-vault", secret="database-url", says_host=says),  # noqa: S106 - its name
        backend=Backend(resource_group="a-group", app="an-app", probes=probes),
    )
    return cast("Run", settings)


@pytest.fixture
async def app() -> AsyncIterator[Any]:
    """An app that tells what is in `told`, from a cache where `cached`."""
    state = SimpleNamespace(told=None, cached=False, url="")

    async def answer(_request: web.Request) -> web.Response:
        headers = {"Age": "7"} if state.cached else {}
        return web.json_response({"checks": {"database_host": state.told}}, headers=headers)

    served = web.Application()
    served.router.add_get("/health/detailed", answer)
    runner = web.AppRunner(served)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    state.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield state
    await runner.cleanup()


async def test_the_hosts_name_in_any_letters_is_evidence(app: Any) -> None:
    app.told = HOST.upper()
    (told,) = await own_word.hear(run_that_hears(SAYS), app.url, HOST)
    assert HOST in told
    assert "2 times in a row" in told


async def test_an_app_that_is_not_asked_tells_nothing(app: Any) -> None:
    app.told = "another-server"
    assert await own_word.hear(run_that_hears(None), app.url, HOST) == []


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ("another-server", "is on 'another-server', not"),
        (None, "nothing that it would tell"),
        (5432, "nothing that it would tell"),
        ("postgresql://app:pass@host/db", "something that is no host"),
    ],
)
async def test_a_contradiction_or_silence_is_not_verified_and_only_a_hosts_name_is_told(
    app: Any, told: object, words: str
) -> None:
    app.told = told
    with pytest.raises(NotVerified, match=words) as raised:
        await own_word.hear(run_that_hears(SAYS), app.url, HOST)
    assert "pass" not in str(raised.value)


async def test_what_a_cache_says_does_not_count(app: Any) -> None:
    app.told, app.cached = HOST, True
    with pytest.raises(NotVerified, match="nothing that it would tell"):
        await own_word.hear(run_that_hears(SAYS), app.url, HOST)
