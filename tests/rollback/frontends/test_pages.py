"""What an index.html refers to, and what counts as known of a site."""

from collections.abc import Callable

import httpx
import pytest

from rollback.frontends.pages import Browser, Look, hosts_of, references_of
from rollback.frontends.settings import Frontend, VersionPage

SITE = "https://fundrbolt.com"
Handle = Callable[[httpx.Request], httpx.Response]


@pytest.mark.parametrize(
    ("index", "paths"),
    [
        ('<script src="/assets/app.js"></script>', ["/assets/app.js"]),
        ('<script type=module crossorigin src=app.js?v=1#x></script>', ["/app.js?v=1#x"]),
        ('<SCRIPT SRC="./a.js"></SCRIPT><img src="b.svg"><source src="c.ogg">', ["/a.js", "/b.svg", "/c.ogg"]),
        ('<link rel="stylesheet" href="/a.css"><link rel="Shortcut ICON" href="/f.ico">', ["/a.css", "/f.ico"]),
        ('<link rel=preload href=/font.woff2><link rel=modulepreload href=/b.js>', ["/font.woff2", "/b.js"]),
        ('<link rel="manifest" href="/m.webmanifest">', ["/m.webmanifest"]),
        ('<link rel="canonical" href="/home"><link rel="dns-prefetch" href="//cdn.example.org"><a href="/b">', []),
        ('<script src="https://js.stripe.com/v3"></script><img src="//cdn.example.org/x.png">', []),
        (f'<script src="{SITE}/own.js"></script><img src="//fundrbolt.com/too.png">', ["/own.js", "/too.png"]),
        ('<img src="data:image/png;base64,AAAA"><img src="blob:x"><img src="">', []),
        ('<script>document.write(\'<script src="/written.js">\')</script><!-- <img src="/old.png"> -->', []),
        ('<img src="/a.png"><img src="/a.png">', ["/a.png"]),
        ('<base><base href="/app/"><base href="/b/"><img src="a.svg"><img src="/b.svg">', ["/app/a.svg", "/b.svg"]),
        ('<base href="https://cdn.example.org/"><script src="main.js"></script>', []),
        ('<img src="https://[broken/x.png"><img src="/a.png">', ["/a.png"]),
        ("", []),
    ],
)  # fmt: skip
def test_what_a_page_lets_a_browser_load_from_its_own_site(index: str, paths: list[str]) -> None:
    assert references_of(index, SITE) == tuple(f"{SITE}{path}" for path in paths)


async def look(handle: Handle) -> Look:
    async with httpx.AsyncClient(transport=httpx.MockTransport(handle)) as client:
        return await Browser(client).look(SITE, VersionPage())


def served(request: httpx.Request) -> httpx.Response:
    if request.url.path == "/version.json":
        return httpx.Response(200, json={"version": "v1.2.2"})
    return httpx.Response(200, html="<title>Fundrbolt</title>")


async def test_a_site_is_asked_past_every_cache_for_its_version_and_index() -> None:
    requests = list[httpx.Request]()

    def handle(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        return served(request)

    found = await look(handle)
    assert (found.known, found.version, str(found)) == (True, "v1.2.2", "fundrbolt.com serves v1.2.2")
    assert {each.url.path for each in requests} == {"/", "/version.json"}
    assert len({each.url.params["probe"] for each in requests}) == 2
    assert {each.headers["Cache-Control"] for each in requests} == {"no-cache"}


async def test_a_call_is_made_with_its_whole_query() -> None:
    asked = list[httpx.URL]()

    def handle(request: httpx.Request) -> httpx.Response:
        asked.append(request.url)
        return httpx.Response(200)

    async with httpx.AsyncClient(transport=httpx.MockTransport(handle)) as client:
        await Browser(client).get(f"{SITE}/api?tag=new&tag=a%26b&limit=5&all=")
    (url,) = asked
    assert url.params.get_list("tag") == ["new", "a&b"]
    assert {*url.params} == {"tag", "limit", "all", "probe"}


@pytest.mark.parametrize("path", ["/", "/version.json"])
@pytest.mark.parametrize(
    ("headers", "status", "told"),
    [
        ({"Age": "7"}, 200, "answered by a cache, so that what users get is not known"),
        ({"X-Cache": "TCP_HIT"}, 200, "answered by a cache"),
        ({}, 404, "404"),
        ({"Location": "/login"}, 302, "302"),
    ],
)
async def test_what_could_not_be_read_fresh_is_unknown(
    path: str, headers: dict[str, str], status: int, told: str
) -> None:
    def handle(request: httpx.Request) -> httpx.Response:
        good = served(request)
        if request.url.path != path:
            return good
        return httpx.Response(status, headers={**good.headers, **headers}, content=good.content)

    found = await look(handle)
    assert (found.known, found.version, found.index_digest) == (False, None, None)
    assert str(found).startswith(f"fundrbolt.com: {path}: {told}")


async def test_a_fallback_page_in_place_of_the_version_and_a_silent_site_are_unknown() -> None:
    found = await look(lambda _: httpx.Response(200, html="<title>Fundrbolt</title>"))
    assert str(found) == "fundrbolt.com: /version.json does not tell a version in 'version'"

    def refuse(_: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused")

    assert str(await look(refuse)) == "fundrbolt.com: /: no connection; /version.json: no connection"


def test_users_get_a_frontend_under_its_own_address_and_the_one_they_know() -> None:
    frontend = Frontend(resource_group="rg", app="app", artifact="web.zip")
    assert hosts_of(frontend, "own.net") == ("https://own.net",)
    known = frontend.model_copy(update={"public_url": SITE})
    assert hosts_of(known, "own.net") == ("https://own.net", SITE)
    assert hosts_of(known, "fundrbolt.com") == (SITE,)
