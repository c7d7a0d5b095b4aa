"""Verification against a real web server on loopback, whose answers each test chooses."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from itertools import count

import pytest
from aiohttp import web

from rollback import probes
from rollback.probes import Prober
from rollback.settings import Probes, VersionEvidence
from rollback.verification import Verified, verify_host

PROBES = Probes(
    health=("/health",),
    requests=("/donations?limit=5",),
    count=20,
    timeout_seconds=2,
    version=VersionEvidence(header="X-Version"),
)
Answer = Callable[[web.Request], web.Response]
Serve = Callable[[Answer], Awaitable[str]]


@pytest.fixture
async def serve() -> AsyncGenerator[Serve]:
    runners: list[web.AppRunner] = []

    async def start(answer: Answer) -> str:
        async def handle(request: web.Request) -> web.Response:
            return answer(request)

        app = web.Application()
        app.router.add_get("/{path:.*}", handle)
        runner = web.AppRunner(app)
        await runner.setup()
        runners.append(runner)
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        return f"http://127.0.0.1:{runner.addresses[0][1]}"

    yield start
    for runner in runners:
        await runner.cleanup()


async def verify(url: str, release: str | None = "v1") -> Verified:
    async with probes.connect(PROBES) as client:
        return await verify_host(Prober(client, url, PROBES), PROBES, release, within_seconds=2)


def good(_: web.Request) -> web.Response:
    return web.Response(text="fine", headers={"X-Version": "v1"})


async def test_a_request_is_made_with_its_whole_query(serve: Serve) -> None:
    asked = list[web.Request]()

    def answer(request: web.Request) -> web.Response:
        asked.append(request)
        return good(request)

    async with probes.connect(PROBES) as client:
        await Prober(client, await serve(answer), PROBES).ask("/donations?tag=new&tag=a%26b&limit=5&all=")
    (request,) = asked
    assert request.query.getall("tag") == ["new", "a&b"]
    assert {*request.query} == {"tag", "limit", "all", "probe"}


async def test_a_page_that_nobody_can_ask_for_is_a_problem_and_tells_nothing() -> None:
    async with probes.connect(PROBES) as client:
        prober = Prober(client, "https://fundrbolt.com", PROBES)
        asked, posted = await prober.ask("/a\x01"), await prober.post("/a\x01", {})
        assert await prober.ask_field("/a\x01", "version") is None
    assert {(each.good, each.problem) for each in (asked, posted)} == {(False, "no address that can be asked")}


async def test_an_app_that_answers_as_it_must_is_good(serve: Serve) -> None:
    found = await verify(await serve(good))
    assert found.good
    assert any("20 of 20 good" in line for line in found.evidence)


async def test_each_probe_asks_with_a_query_of_its_own_and_keeps_the_paths(serve: Serve) -> None:
    queries: list[str] = []

    def answer(request: web.Request) -> web.Response:
        if request.path == "/donations":
            assert request.query["limit"] == "5"
        queries.append(request.query["probe"])
        return good(request)

    assert (await verify(await serve(answer))).good
    assert len(set(queries)) == len(queries)


async def test_an_app_with_green_health_and_failing_requests_is_not_good(serve: Serve) -> None:
    numbers = count()

    def answer(request: web.Request) -> web.Response:
        failing = request.path == "/donations" and next(numbers) % 3 == 0
        return web.Response(status=500) if failing else good(request)

    found = await verify(await serve(answer))
    assert not found.good
    assert "500" in found.problems[0]


async def test_one_straggling_error_right_after_a_swap_is_asked_again(serve: Serve) -> None:
    numbers = count()

    def answer(request: web.Request) -> web.Response:
        failing = request.path == "/donations" and next(numbers) == 0
        return web.Response(status=500) if failing else good(request)

    found = await verify(await serve(answer))
    assert found.good
    assert any("asked again: 40 of 40" in line for line in found.evidence)


@pytest.mark.parametrize(
    "headers",
    [{"Age": "7"}, {"X-Cache": "TCP_HIT"}, {"X-Cache": "TCP_REMOTE_HIT"}, {"CF-Cache-Status": "STALE"}],
)
async def test_an_answer_from_a_cache_does_not_count(serve: Serve, headers: dict[str, str]) -> None:
    found = await verify(await serve(lambda _: web.Response(text="fine", headers={"X-Version": "v1", **headers})))
    assert not found.good
    assert "from a cache" in found.problems[0]


async def test_a_cache_that_passes_a_request_on_is_no_hindrance(serve: Serve) -> None:
    assert (
        await verify(
            await serve(lambda _: web.Response(headers={"X-Version": "v1", "X-Cache": "TCP_MISS", "Age": "0"}))
        )
    ).good


async def test_another_release_than_expected_is_not_good(serve: Serve) -> None:
    found = await verify(await serve(good), release="v2")
    assert found.problems == ("the app says it is v1, not v2",)


async def test_an_app_that_does_not_say_its_release_though_it_should_is_not_good(
    serve: Serve,
) -> None:
    found = await verify(await serve(lambda _: web.Response(text="fine")))
    assert "does not say which release" in found.problems[0]


async def test_an_app_that_redirects_to_a_login_is_not_good(serve: Serve) -> None:
    found = await verify(await serve(lambda _: web.Response(status=302, headers={"Location": "/login"})))
    assert "302" in found.problems[0]


async def test_a_host_that_does_not_answer_is_not_good() -> None:
    found = await verify("http://127.0.0.1:9")
    assert "no connection" in found.problems[0]
