"""What users get of a static site: its files behind the edge, with the headers of Azure Static Web Apps.

Paths: `/` is index.html, `/about` is `about`, `about.html` or `about/index.html`. `staticwebapp.config.json` is obeyed
in two things: `globalHeaders` (an empty value takes a header away) and `navigationFallback` (`rewrite`, and `exclude`
with `*` and `{a,b}`). Its other keys (routes, responseOverrides, mimeTypes, networking, auth, trailingSlash, platform,
forwardingGateway) are ignored.

The edge marks its answers by `X-Cache` and `Age` as `sandbox/front.py` tells; it forgets everything when the site is
deployed. With the fault `swa-stale-edge` it answers what the site served when that was set.

Source: learn.microsoft.com/azure/static-web-apps/configuration; the headers are those that such sites send.
"""

import re
from collections.abc import Mapping
from datetime import datetime
from email.utils import format_datetime, parsedate_to_datetime
from functools import lru_cache
from hashlib import sha256
from typing import Any, cast

from aiohttp import web

from sandbox.clock import now
from sandbox.front import Answer, PublicFront, response
from sandbox.state import Fault
from sandbox.static_sites.archives import CONFIGURATION, Content, kept
from sandbox.static_sites.faults import STALE_EDGE
from sandbox.static_sites.model import StaticSite
from sandbox.static_sites.start import folder_of
from sandbox.world import World

TYPES = {
    "css": "text/css",
    "gif": "image/gif",
    "htm": "text/html",
    "html": "text/html",
    "ico": "image/x-icon",
    "jpg": "image/jpeg",
    "js": "text/javascript",
    "json": "application/json",
    "map": "application/json",
    "mjs": "text/javascript",
    "png": "image/png",
    "svg": "image/svg+xml",
    "txt": "text/plain",
    "wasm": "application/wasm",
    "webmanifest": "application/manifest+json",
    "webp": "image/webp",
    "woff2": "font/woff2",
    "xml": "application/xml",
    "zip": "application/zip",
}
ALWAYS = {
    "Strict-Transport-Security": "max-age=10886400; includeSubDomains; preload",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-XSS-Protection": "1; mode=block",
    "X-DNS-Prefetch-Control": "off",
}
CACHED = "public, must-revalidate, max-age=30"
NOT_FOUND = (
    "<!doctype html><html lang=en><title>Azure Static Web Apps - 404: Not found</title>"
    "<h1>404: Not Found</h1><p>There is nothing at this address.</p></html>"
)
NOT_ALLOWED = "<!doctype html><html lang=en><title>405</title><h1>405: Method Not Allowed</h1></html>"


def _page(status: int, text: str, headers: Mapping[str, str] = ALWAYS) -> Answer:
    return Answer(status, {"Content-Type": "text/html", **headers}, text.encode())


def answer(content: Content, path: str, since: datetime, lost: list[str]) -> Answer:
    """What the site answers at `path` (decoded, with its slash); it has served this content since that instant."""
    headers = _headers(content)
    found = _find(content, path)
    if found is None or found in lost:
        return _page(404, NOT_FOUND, headers)
    body = content.read(found)
    kind = TYPES.get(found.rpartition(".")[2].lower(), "application/octet-stream")
    told = {
        "Content-Type": kind,
        "Cache-Control": CACHED,
        "ETag": f'"{int(sha256(body).hexdigest(), 16) % 10**8:08}"',
        "Last-Modified": format_datetime(since.replace(microsecond=0), usegmt=True),
    }
    return Answer(200, {**told, **headers}, body)


def _headers(content: Content) -> dict[str, str]:
    wanted = {str(name): str(value) for name, value in _part(content, "globalHeaders").items()}
    named = {name.lower() for name in wanted}
    kept_headers = {name: value for name, value in ALWAYS.items() if name.lower() not in named}
    return kept_headers | {name: value for name, value in wanted.items() if value}


def _part(content: Content, key: str) -> dict[str, Any]:
    return cast("dict[str, Any]", content.configuration.get(key, {}))


def _find(content: Content, path: str) -> str | None:
    wanted = path.strip("/")
    tried = [wanted, f"{wanted}.html", f"{wanted}/index.html"] if wanted else [content.default_file]
    found = next((each for each in tried if each in content and each != CONFIGURATION), None)
    if found is not None:
        return found
    fallback = _part(content, "navigationFallback")
    excluded = cast("list[object]", fallback.get("exclude") or [])
    rewrite = str(fallback.get("rewrite", "")).lstrip("/")
    if not rewrite or any(_pattern(str(each)).fullmatch(path) for each in excluded):
        return None
    return rewrite if rewrite in content else None


@lru_cache(maxsize=256)
def _pattern(text: str) -> re.Pattern[str]:
    """A path with `*` for anything and `{a,b}` for one of them, as a regular expression."""
    words = {"*": ".*", "{": "(?:", "}": ")", ",": "|"}
    try:
        return re.compile("".join(words.get(each, re.escape(each)) for each in text))
    except re.error:
        return re.compile(re.escape(text))


class Hosting:
    """Answers under the names of static sites."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._edges: dict[str, tuple[object, PublicFront]] = {}
        """By host name: what is deployed, and the cache that was begun with it."""

    async def handle(self, request: web.Request, host: str) -> web.StreamResponse:
        """One request under a site's name; Azure's page for a name that no site has."""
        site = self._world.state.find_static_host(host)
        if site is None:
            return response(request, _page(404, NOT_FOUND), {})
        if request.method not in ("GET", "HEAD"):
            return response(request, _page(405, NOT_ALLOWED, {**ALWAYS, "Allow": "GET, HEAD"}), {})
        stale = self._stale(request, site)
        found = stale if stale is not None else await self._edge(site, host).handle(request)
        return _conditional(request, found)

    def _edge(self, site: StaticSite, host: str) -> PublicFront:
        deployed = (self._world.resets, site.contents, site.served_since)
        known, edge = self._edges.get(host, (None, None))
        if edge is None or known != deployed:
            edge = PublicFront(lambda request: self._origin(request, site))
            self._edges[host] = deployed, edge
        return edge

    async def _origin(self, request: web.Request, site: StaticSite) -> Answer:
        content = kept(folder_of(self._world.folder.root), site.contents)
        return answer(content, request.path, site.served_since, site.lost_assets)

    def _stale(self, request: web.Request, site: StaticSite) -> web.Response | None:
        """What an edge that forgets nothing has for the request, because of a fault."""
        fault = next((each for each in self._world.state.faults if _freezes(each, site)), None)
        if fault is None:
            return None
        since = datetime.fromisoformat(str(fault.before["since"]))
        content = kept(folder_of(self._world.folder.root), str(fault.before["contents"]))
        found = answer(content, request.path, since, [])
        age = int((now() - since).total_seconds())
        # Even where the content of today is the same: this edge does not ask.
        return response(request, found, {"X-Cache": "HIT", "Age": str(age)}) if found.status == 200 else None


def _freezes(fault: Fault, site: StaticSite) -> bool:
    return fault.name == STALE_EDGE and str(fault.options["site"]).lower() == site.name.lower()


def _conditional(request: web.Request, found: web.StreamResponse) -> web.StreamResponse:
    """304 instead of what the client says it has (RFC 9110, section 13)."""
    if found.status != 200:
        return found
    known = request.headers.get("If-None-Match")
    if known is not None:
        tags = [each.strip().removeprefix("W/") for each in known.split(",")]
        same = "*" in tags or found.headers["ETag"] in tags
    else:
        same = _not_modified(request.headers.get("If-Modified-Since"), found.headers["Last-Modified"])
    if not same:
        return found
    kept_headers = {name: value for name, value in found.headers.items() if name.lower() != "content-type"}
    return web.Response(status=304, headers=kept_headers)


def _not_modified(asked: str | None, modified: str) -> bool:
    if asked is None:
        return False
    try:
        return parsedate_to_datetime(modified) <= parsedate_to_datetime(asked)
    except (TypeError, ValueError):
        return False
