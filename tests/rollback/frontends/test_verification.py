"""A frontend and the backend that it calls, verified at a web server on loopback whose answers each test chooses."""

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from itertools import count, cycle

import pytest
from aiohttp import web
from aiohttp.web import Request, Response

from rollback.errors import BrowserUnusable
from rollback.frontends import chromium, verification
from rollback.frontends.archive import Contents
from rollback.frontends.chromium import Seen
from rollback.frontends.goals import FrontendGoal
from rollback.frontends.pages import open_browser
from rollback.frontends.settings import Frontend
from rollback.frontends.verification import verify_frontend
from rollback.verification import Verified

PAGE = '<script src="/app.js"></script><link rel="stylesheet" href="/app.css">'
Answer = Callable[[Request], Response | Awaitable[Response]]


class Site:
    """What users are given; each answer can be replaced."""

    def __init__(self) -> None:
        self.url = ""
        self.asked: list[str] = []
        self.answers: dict[str, Answer] = {
            "/": lambda _: Response(text=PAGE, content_type="text/html"),
            "/version.json": lambda _: Response(text=json.dumps({"version": "v1.2.2"})),
            "/app.js": lambda _: Response(text="run()", content_type="text/javascript"),
            "/app.css": lambda _: Response(text="p {}", content_type="text/css"),
            "/api": lambda request: self.call(allowed=request.headers["Origin"]),
        }

    async def handle(self, request: Request) -> Response:
        self.asked.append(request.path)
        answer = self.answers[request.path](request)
        return await answer if isinstance(answer, Awaitable) else answer

    @staticmethod
    def call(status: int = 200, allowed: str = "") -> Response:
        return Response(status=status, headers={"Access-Control-Allow-Origin": allowed} if allowed else {})

    async def verify(self, shows: str = "", contents: Contents | None = None, within_seconds: float = 20) -> Verified:
        calls = ("https://checked.example.org",)
        frontend = Frontend(
            resource_group="rg", app="app", artifact="web.zip", calls=calls, shows=shows, verify_within_seconds=20
        ).model_copy(update={"calls": (f"{self.url}/api?limit=5",), "verify_within_seconds": within_seconds})
        target = FrontendGoal(
            name="web", resource_group="rg", app="app", host="h", hosts=(self.url,), serving=None, serving_index=None,
            updated_at=None, version="v1.2.2", contents=contents,
        )  # fmt: skip
        async with open_browser() as browser:
            (found,) = await verify_frontend(browser, frontend, target)
        return found


@pytest.fixture
async def site(monkeypatch: pytest.MonkeyPatch) -> AsyncGenerator[Site]:
    monkeypatch.setattr(verification, "PAUSE_SECONDS", 0.0)
    made, app = Site(), web.Application()
    app.router.add_get("/{path:.*}", made.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)  # one answer never ends
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield made
    await runner.cleanup()


async def test_a_frontend_that_is_whole_is_good(site: Site) -> None:
    found = await site.verify()
    assert found.evidence == (
        "serves v1.2.2, 3 times in a row past every cache (of 3)",
        "all 2 files that its page refers to load",
        "its calls to the backend work, 5 times each",
    )
    assert (found.problems, site.asked.count("/api"), site.asked.count("/app.js")) == ((), 5, 1)


async def test_a_page_of_html_in_place_of_a_missing_script_is_told(site: Site) -> None:
    site.answers["/app.js"] = site.answers["/"]
    assert (await site.verify()).problems == ("its page refers to /app.js, and gets a page of HTML instead",)


async def test_a_file_that_is_missing_is_told(site: Site) -> None:
    site.answers["/app.css"] = lambda _: Response(status=404)
    found = await site.verify()
    assert (found.problems, found.evidence[1:]) == (("its page refers to /app.css: 404",), ())


async def test_a_file_whose_address_nobody_can_ask_for_is_told_in_letters_that_can_be_shown(site: Site) -> None:
    page = f'{PAGE}<img src="/a\x1b.png">'
    site.answers["/"] = lambda _: Response(text=page, content_type="text/html")
    assert (await site.verify()).problems == ("its page refers to /a%1B.png: no address that can be asked",)


@pytest.mark.parametrize("allowed", ["", "https://elsewhere.example.org", "null"])
async def test_a_call_whose_answer_a_browser_would_refuse_is_told(site: Site, allowed: str) -> None:
    site.answers["/api"] = lambda _: site.call(allowed=allowed)
    (problem,) = (await site.verify()).problems
    host = site.url.removeprefix("http://")
    assert problem == (
        f"its call to {host}/api: a browser refuses the answer, which is not for {site.url} (CORS) (5 of 5)"
    )


async def test_a_call_that_is_for_everybody_is_good(site: Site) -> None:
    site.answers["/api"] = lambda _: site.call(allowed="*")
    assert (await site.verify()).good


async def test_calls_that_fail_now_and_then_are_told_with_how_often(site: Site) -> None:
    numbers = count()
    site.answers["/api"] = lambda _: site.call(500 if next(numbers) in {1, 3} else 200, "*")
    (problem,) = (await site.verify()).problems
    assert problem.endswith("/api: 500 (2 of 5)")


async def test_a_version_that_changes_from_one_instance_to_the_next_is_not_taken_for_served(site: Site) -> None:
    versions = cycle(["v1.2.2", "v1.2.2", "v1.2.3"])
    site.answers["/version.json"] = lambda _: Response(text=json.dumps({"version": next(versions)}))
    found = await site.verify(within_seconds=0.3)
    assert found.evidence == ()
    assert found.problems[0].startswith("not v1.2.2 within 0.3 s: 127.0.0.1 serves v1.2.")


async def test_a_site_that_serves_it_and_answers_too_slowly_for_a_closer_look_is_told_as_that(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    timers, genuine = dict[float, asyncio.Timeout](), asyncio.timeout

    def timing(seconds: float) -> asyncio.Timeout:
        timers[seconds] = genuine(seconds)
        return timers[seconds]

    async def hang(_: Request) -> Response:
        timers[77].reschedule(0)  # its time is over
        return await asyncio.get_running_loop().create_future()

    monkeypatch.setattr(verification.asyncio, "timeout", timing)
    site.answers["/app.js"] = hang
    found = await site.verify(within_seconds=77)
    assert found.evidence == ()
    assert found.problems == (
        "serves v1.2.2, but its files, its calls and the page in a browser could not all be looked at within 77 s",
    )


async def test_a_version_that_comes_late_is_waited_for(site: Site) -> None:
    numbers = count()
    site.answers["/version.json"] = lambda _: Response(text=json.dumps({"version": f"v1.2.{3 - (next(numbers) > 2)}"}))
    assert (await site.verify()).evidence[0].endswith("past every cache (of 6)")


async def test_another_build_of_the_same_version_is_not_taken_for_the_archives(site: Site) -> None:
    contents = Contents(digest="", index_digest="sha256:another", version="v1.2.2", files=2, unpacked_bytes=9)
    assert "not v1.2.2 within 0.2 s" in (await site.verify(contents=contents, within_seconds=0.2)).problems[0]


async def test_a_site_that_only_its_cache_answers_for_is_not_known(site: Site) -> None:
    site.answers["/"] = lambda _: Response(text=PAGE, headers={"Age": "9"})
    (problem,) = (await site.verify(within_seconds=0.2)).problems
    assert "answered by a cache, so that what users get is not known" in problem


def shown(monkeypatch: pytest.MonkeyPatch, seen: Seen | BrowserUnusable) -> None:
    async def look(_: str) -> Seen:
        await asyncio.sleep(0)
        if isinstance(seen, BrowserUnusable):
            raise seen
        return seen

    monkeypatch.setattr(chromium, "look", look)


async def test_what_a_browser_shows_and_complains_of_is_told(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    shown(monkeypatch, Seen(text="All donations", errors=()))
    assert (await site.verify("donations")).evidence[-1] == "in a browser it shows 'donations', without an error"
    shown(monkeypatch, Seen(text="Sorry", errors=("call failed",)))
    problems = ("in a browser it does not show 'donations'", "in a browser: call failed")
    assert (await site.verify("donations")).problems == problems
    shown(monkeypatch, Seen(text="All donations", errors=("call failed",)))
    assert (await site.verify("donations")).problems == problems[1:]


async def test_without_a_browser_the_look_is_told_to_be_missing(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    shown(monkeypatch, BrowserUnusable("there is none on this machine"))
    found = await site.verify("donations")
    assert (found.good, found.evidence[-1]) == (True, "not looked at in a browser: there is none on this machine")
