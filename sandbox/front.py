"""The public caching front of production (`api.fundrbolt.com`): what users and outside checks go through.

It obeys Cache-Control, until its fault `stale` is on: from then on its answers prove nothing about the origin.

How caches of this kind mark their answers, for whoever has to tell a cached answer from a fresh one:

- Azure Front Door and Azure CDN from Microsoft: cached answers have `X-Cache` `TCP_HIT` (edge), `TCP_REMOTE_HIT`
  (regional cache) or `PARTIAL_HIT` (some of the bytes). From the origin come `TCP_MISS`, `PRIVATE_NOSTORE` (the origin
  forbids it) and `CONFIG_NOCACHE` (the route has no caching); `N/A` is a refusal of its own. So anything with `HIT` in
  it is cached. `X-Azure-Ref` is on every answer and says only that Front Door was passed. `Age` is not promised:
  without one an answer may still be cached.
- There the query string may be left out of the cache key: ignoring it was Front Door (classic)'s default and is a
  choice in Standard and Premium. A unique query is then no protection. An answer without Cache-Control is kept 1 to 3
  days, chosen at random. Requests for one URL that are under way together may share an answer even with `no-store`.
  Origin headers pass through: a cached answer carries the `X-Fundrbolt-Version` of the build that once gave it.
- Cloudflare: `CF-Cache-Status` `HIT`, `STALE`, `UPDATING`, `REVALIDATED` are cached; `MISS`, `EXPIRED`, `BYPASS`,
  `DYNAMIC` come from the origin. CloudFront: `X-Cache: Hit from cloudfront`. Fastly: `X-Cache: HIT, MISS`, a word for
  each layer. The standards: `Cache-Status: NAME; hit` (RFC 9211), and an `Age` above 0 (RFC 9111).

Source: learn.microsoft.com, "Caching with Azure Front Door", "Protocol support for HTTP headers in Azure Front Door",
"Debug HTTP headers for Azure CDN from Microsoft"; developers.cloudflare.com, "Cloudflare cache responses".
"""

import re
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

import aiohttp
from aiohttp import web
from multidict import CIMultiDict

Key = tuple[str, str, str]
"""Method, the page that asks (`Origin`), and the address."""

MOST_ENTRIES = 512
MOST_BYTES = 1 << 20
"""A longer body is passed on, and not kept."""

NOT_PASSED_ON = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
"""Headers between two neighbours (RFC 9110, section 7.6.1)."""

MAX_AGE = re.compile(r'(s-maxage|max-age)="?([0-9]{1,9})"?')


@dataclass(frozen=True)
class Answer:
    """What the origin answered."""

    status: int
    headers: Mapping[str, str]
    """May be a multidict: repeated headers are passed on."""
    body: bytes
    """As the headers describe it: where a client decompressed it, without Content-Encoding."""


@dataclass(frozen=True)
class Kept:
    """An answer, and when it came; seconds of the front's clock."""

    answer: Answer
    since: float


class PublicFront:
    """A shared cache before one origin. It keeps 200 answers to GET and HEAD, `MOST_ENTRIES` by URL and by path."""

    stale: bool
    """The fault: query string and Cache-Control (`no-store` too) are ignored, and what is there is answered for ever.

    Every 200 is remembered for this even while the fault is off, so that switching it on freezes what users saw last.
    """

    def __init__(
        self, fetch: Callable[[web.Request], Awaitable[Answer]], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.stale = False
        self._fetch = fetch
        self._clock = clock
        self._by_url: OrderedDict[Key, Kept] = OrderedDict()
        self._by_path: OrderedDict[Key, Kept] = OrderedDict()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer from the cache or from the origin, marked by `X-Cache` (HIT or MISS); a HIT has its `Age` in seconds.

        An origin that cannot be reached is a 502.
        """
        cacheable = request.method in ("GET", "HEAD")
        kept = self._find(request) if cacheable else None
        if kept is not None:
            return response(request, kept.answer, {"X-Cache": "HIT", "Age": str(int(self._clock() - kept.since))})
        try:
            answer = await self._fetch(request)
        except (aiohttp.ClientError, OSError):
            return web.json_response({"detail": "the origin does not answer"}, status=502, headers={"X-Cache": "MISS"})
        if cacheable and answer.status == 200 and len(answer.body) <= MOST_BYTES:
            self._keep(request, answer)
        return response(request, answer, {"X-Cache": "MISS"})

    def _find(self, request: web.Request) -> Kept | None:
        if self.stale:
            return self._by_path.get(path_key(request))
        kept = self._by_url.get(url_key(request))
        if kept is None or self._clock() - kept.since >= fresh_seconds(kept.answer):
            return None
        return kept

    def _keep(self, request: web.Request, answer: Answer) -> None:
        kept = Kept(answer, self._clock())
        put(self._by_path, path_key(request), kept)
        if fresh_seconds(answer) > 0:
            put(self._by_url, url_key(request), kept)


def url_key(request: web.Request) -> Key:
    """What a well-behaved cache looks an answer up by: the origins served here say `Vary: Origin`."""
    return request.method, request.headers.get("Origin", ""), request.rel_url.raw_path_qs


def path_key(request: web.Request) -> Key:
    """What the stale cache looks an answer up by."""
    return request.method, request.headers.get("Origin", ""), request.rel_url.raw_path


def put(shelf: OrderedDict[Key, Kept], key: Key, kept: Kept) -> None:
    """Keep an answer; the oldest one makes room."""
    shelf[key] = kept
    shelf.move_to_end(key)
    if len(shelf) > MOST_ENTRIES:
        shelf.popitem(last=False)


def fresh_seconds(answer: Answer) -> int:
    """How long a shared cache may use the answer; 0 without a word from the origin."""
    said = CIMultiDict(answer.headers).get("Cache-Control", "").lower()
    words = [word.strip() for word in said.split(",")]
    if any(word in ("no-store", "no-cache", "private") for word in words):
        return 0
    limits = {match[1]: int(match[2]) for word in words if (match := MAX_AGE.fullmatch(word))}
    return limits.get("s-maxage", limits.get("max-age", 0))


def response(request: web.Request, answer: Answer, marks: Mapping[str, str]) -> web.Response:
    """The answer as it goes out, with the front's own marks instead of the origin's."""
    headers = CIMultiDict(answer.headers)
    # A HEAD answer tells the length of the body that GET would bring; elsewhere the body itself decides.
    unwanted = NOT_PASSED_ON if request.method == "HEAD" else NOT_PASSED_ON | {"content-length"}
    for name in unwanted:
        headers.popall(name, None)
    headers.update(marks)
    return web.Response(status=answer.status, headers=headers, body=answer.body)
