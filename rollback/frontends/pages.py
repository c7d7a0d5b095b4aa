"""What a frontend gives its users: pages asked for past every cache, and what its index.html refers to."""

import asyncio
import hashlib
import uuid
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from html.parser import HTMLParser
from string import punctuation
from urllib.parse import quote, urljoin, urlsplit

import httpx

from rollback import probes
from rollback.frontends.settings import Frontend, VersionPage
from rollback.probes import UNANSWERED, error_words, is_cached, json_field
from rollback.settings import Probes

CONCURRENT = 6
"""Requests in flight to one host."""
_REFERENCES = {"script": "src", "link": "href", "img": "src", "source": "src"}
_LOADED_LINKS = frozenset({"stylesheet", "icon", "modulepreload", "preload", "manifest"})


@dataclass(frozen=True)
class Page:
    """One answer, or its absence."""

    url: str
    status: int | None = None
    cached: bool = False
    content_type: str = ""
    allowed_origin: str = ""
    body: bytes = b""
    problem: str = ""

    @property
    def digest(self) -> str:
        """`sha256:` and 64 hex digits, over the body."""
        return f"sha256:{hashlib.sha256(self.body).hexdigest()}"

    @property
    def wrong(self) -> str:
        """Why users do not get what they should, or nothing."""
        place = urlsplit(self.url)._replace(scheme="", netloc="", query="").geturl() or "/"
        if self.problem:
            return f"{place}: {self.problem}"
        if self.status != 200:
            return f"{place}: {self.status}"
        return f"{place}: answered by a cache, so that what users get is not known" if self.cached else ""


@dataclass(frozen=True)
class Look:
    """A frontend's version page and index.html at one moment; both none where they could not be had fresh."""

    host: str
    version: str | None = None
    index_digest: str | None = None
    problems: tuple[str, ...] = ()
    index: str = field(default="", repr=False)

    @property
    def known(self) -> bool:
        """Whether what users get could be read past all caches."""
        return not self.problems

    def __str__(self) -> str:
        return f"{self.host}: {'; '.join(self.problems)}" if self.problems else f"{self.host} serves {self.version}"


class Browser:
    """Asks for pages as a browser does, but never for cached ones."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client
        self._gate = asyncio.Semaphore(CONCURRENT)

    async def get(self, url: str, *, origin: str = "") -> Page:
        """One page; `origin` is the site on which a call is made."""
        headers = {"Cache-Control": "no-cache", **({"Origin": origin} if origin else {})}
        try:
            asked = httpx.URL(url).copy_merge_params({"probe": uuid.uuid4().hex})
            async with self._gate:
                response = await self._client.get(asked, headers=headers)
        except UNANSWERED as error:
            return Page(quote(url, safe=punctuation), problem=error_words(error))
        return Page(
            url,
            status=response.status_code,
            cached=is_cached(response.headers),
            content_type=response.headers.get("Content-Type", "").partition(";")[0].strip(),
            allowed_origin=response.headers.get("Access-Control-Allow-Origin", ""),
            body=response.content,
        )

    async def look(self, base_url: str, version: VersionPage) -> Look:
        """What a site serves now."""
        host = urlsplit(base_url).hostname or base_url
        index, page = await asyncio.gather(self.get(f"{base_url}/"), self.get(f"{base_url}{version.path}"))
        if wrong := tuple(each.wrong for each in (index, page) if each.wrong):
            return Look(host, problems=wrong)
        told = json_field(page.body, version.json_field)
        if told is None:
            return Look(host, problems=(f"{version.path} does not tell a version in '{version.json_field}'",))
        return Look(host, told, index.digest, index=index.body.decode(errors="replace"))


@asynccontextmanager
async def open_browser() -> AsyncGenerator[Browser]:
    """A client for pages: no redirects followed, no cookies kept, TLS verified."""
    async with probes.connect(Probes()) as client:
        yield Browser(client)


def hosts_of(frontend: Frontend, own_host: str) -> tuple[str, ...]:
    """Addresses under which users get a frontend: its own, and the one that they know."""
    return tuple(dict.fromkeys((f"https://{own_host}", *([frontend.public_url] if frontend.public_url else []))))


def references_of(index: str, base_url: str) -> tuple[str, ...]:
    """What an index.html lets a browser load from its own site: addresses, in order, each once."""
    parser = _References()
    parser.feed(index)
    own = urlsplit(base_url).netloc
    base = _joined(f"{base_url}/", parser.base)
    found = (_joined(base, each) for each in parser.found)
    return tuple(dict.fromkeys(each for each in found if each and urlsplit(each).netloc == own))


def _joined(base: str, address: str) -> str:
    """The whole address; empty where it is none, which a browser does not load either."""
    try:
        return urljoin(base, address)
    except ValueError:
        return ""


class _References(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.base = ""
        """What the page's other addresses are relative to, where it says so."""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "base":
            self.base = self.base or given.get("href") or ""
        if tag == "link" and not _LOADED_LINKS & {*(given.get("rel") or "").lower().split()}:
            return
        if address := given.get(_REFERENCES.get(tag, "")):
            self.found.append(address)
