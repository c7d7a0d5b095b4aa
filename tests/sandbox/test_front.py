"""The public front as users reach it: over HTTP, before an origin whose answers the test decides."""

from collections.abc import AsyncIterator

import aiohttp
import httpx
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from multidict import CIMultiDict

from sandbox import front
from sandbox.front import Answer, PublicFront


class Origin:
    """Answers with what the test sets, and counts."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.version = "v1.2.3"
        self.status = 200
        self.cache_control = "public, max-age=5"
        self.headers: list[tuple[str, str]] = []
        self.unreachable: Exception | None = None

    async def fetch(self, request: web.Request) -> Answer:
        self.asked.append(f"{request.method} {request.path_qs}")
        if self.unreachable:
            raise self.unreachable
        headers = CIMultiDict([("X-Fundrbolt-Version", self.version), ("Cache-Control", self.cache_control)])
        headers.extend(self.headers)
        body = b"" if request.method == "HEAD" else self.version.encode()
        return Answer(self.status, headers, body)


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def origin() -> Origin:
    return Origin()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def cache(origin: Origin, clock: Clock) -> PublicFront:
    return PublicFront(origin.fetch, clock)


@pytest.fixture
async def client(cache: PublicFront) -> AsyncIterator[httpx.AsyncClient]:
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", cache.handle)
    async with (
        TestServer(application) as server,
        httpx.AsyncClient(base_url=str(server.make_url("/")), trust_env=False) as client,
    ):
        yield client


async def test_an_answer_is_kept_for_its_max_age_and_says_how_old_it_is(
    client: httpx.AsyncClient, origin: Origin, clock: Clock
) -> None:
    first = await client.get("/list")
    origin.version = "v1.2.2"
    clock.now += 4.9
    second = await client.get("/list")
    clock.now += 0.1
    third = await client.get("/list")
    assert [answer.headers["X-Cache"] for answer in (first, second, third)] == ["MISS", "HIT", "MISS"]
    assert [answer.text for answer in (first, second, third)] == ["v1.2.3", "v1.2.3", "v1.2.2"]
    assert second.headers["X-Fundrbolt-Version"] == "v1.2.3"
    assert second.headers["Age"] == "4"
    assert "Age" not in first.headers


async def test_every_query_is_an_answer_of_its_own(client: httpx.AsyncClient, origin: Origin) -> None:
    for path in ("/list?limit=1", "/list?limit=2", "/list", "/list?limit=1"):
        await client.get(path)
    assert origin.asked == ["GET /list?limit=1", "GET /list?limit=2", "GET /list"]


@pytest.mark.parametrize(
    "cache_control",
    [
        "no-store",
        "public, max-age=5, no-store",
        "No-Cache, max-age=5",
        "private, max-age=5",
        "max-age=0",
        "max-age=-1",
        "max-age=5, s-maxage=0",
        "public",
        "",
    ],
)
async def test_what_must_not_be_kept_is_asked_for_again(
    client: httpx.AsyncClient, origin: Origin, cache_control: str
) -> None:
    origin.cache_control = cache_control
    assert [(await client.get("/health")).headers["X-Cache"] for _ in range(2)] == ["MISS", "MISS"]
    assert len(origin.asked) == 2


async def test_errors_and_writes_are_never_kept(client: httpx.AsyncClient, origin: Origin, cache: PublicFront) -> None:
    cache.stale = True
    for _ in range(2):
        assert (await client.post("/list")).headers["X-Cache"] == "MISS"
    origin.status = 500
    for _ in range(2):
        answer = await client.get("/list")
        assert (answer.status_code, answer.headers["X-Cache"]) == (500, "MISS")
    assert len(origin.asked) == 4


async def test_stale_freezes_what_users_saw_last_whatever_the_query_and_the_origin_say(
    client: httpx.AsyncClient, origin: Origin, cache: PublicFront, clock: Clock
) -> None:
    origin.cache_control = "no-store"
    await client.get("/health/detailed?probe=1")
    cache.stale, origin.version = True, "v1.2.2"
    clock.now += 100_000
    answer = await client.get("/health/detailed?probe=2")
    assert (answer.text, answer.headers["X-Fundrbolt-Version"]) == ("v1.2.3", "v1.2.3")
    assert (answer.headers["X-Cache"], answer.headers["Age"]) == ("HIT", "100000")
    assert len(origin.asked) == 1


async def test_stale_keeps_what_it_first_gets_where_it_has_nothing(
    client: httpx.AsyncClient, origin: Origin, cache: PublicFront
) -> None:
    origin.cache_control, cache.stale = "no-store", True
    assert (await client.get("/health")).headers["X-Cache"] == "MISS"
    origin.version = "v1.2.2"
    assert (await client.get("/health?again")).text == "v1.2.3"


async def test_after_stale_the_origin_is_asked_again(
    client: httpx.AsyncClient, origin: Origin, cache: PublicFront
) -> None:
    origin.cache_control, cache.stale = "no-store", True
    await client.get("/health")
    cache.stale, origin.version = False, "v1.2.2"
    assert (await client.get("/health")).text == "v1.2.2"


async def test_a_head_is_answered_with_the_length_of_the_body_and_kept_apart_from_get(
    client: httpx.AsyncClient, origin: Origin
) -> None:
    origin.headers = [("Content-Length", "6")]  # of v1.2.3
    heads = [await client.head("/list") for _ in range(2)]
    assert [head.headers["X-Cache"] for head in heads] == ["MISS", "HIT"]
    assert [(head.headers["Content-Length"], head.content) for head in heads] == [("6", b"")] * 2
    assert (await client.get("/list")).text == "v1.2.3"
    assert origin.asked == ["HEAD /list", "GET /list"]


async def test_headers_between_neighbours_stay_there_and_repeated_ones_pass(
    client: httpx.AsyncClient, origin: Origin
) -> None:
    origin.headers = [("Connection", "close"), ("Transfer-Encoding", "chunked"), ("Content-Length", "999")]
    origin.headers += [
        ("Keep-Alive", "timeout=5"),
        ("X-Cache", "TCP_HIT"),
        ("Set-Cookie", "a=1"),
        ("Set-Cookie", "b=2"),
    ]
    answer = await client.get("/list")
    assert answer.text == "v1.2.3"
    assert "Transfer-Encoding" not in answer.headers
    assert "Keep-Alive" not in answer.headers
    assert answer.headers.get_list("X-Cache") == ["MISS"]
    assert answer.headers.get_list("Set-Cookie") == ["a=1", "b=2"]


@pytest.mark.parametrize("error", [aiohttp.ClientConnectionError(), ConnectionResetError(), TimeoutError()])
async def test_an_origin_that_does_not_answer_is_a_502(
    client: httpx.AsyncClient, origin: Origin, error: Exception
) -> None:
    origin.unreachable = error
    answer = await client.get("/health")
    assert (answer.status_code, answer.headers["X-Cache"]) == (502, "MISS")
    assert answer.json() == {"detail": "the origin does not answer"}


async def test_the_oldest_answer_makes_room_for_a_new_one(
    client: httpx.AsyncClient, origin: Origin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(front, "MOST_ENTRIES", 2)
    for path in ("/1", "/2", "/3", "/2", "/3", "/1"):
        await client.get(path)
    assert origin.asked == ["GET /1", "GET /2", "GET /3", "GET /1"]


async def test_a_long_answer_is_passed_on_and_not_kept(
    client: httpx.AsyncClient, origin: Origin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(front, "MOST_BYTES", 5)
    assert [(await client.get("/list")).headers["X-Cache"] for _ in range(2)] == ["MISS", "MISS"]
