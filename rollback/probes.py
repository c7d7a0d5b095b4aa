"""What users get, asked from outside: the app's health pages and real requests that only read.

Each request carries a query of its own, and an answer that comes from a cache does not count: it tells what was.
"""

import asyncio
import json
import ssl
import uuid
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from http.cookiejar import DefaultCookiePolicy
from typing import Any, cast
from urllib.parse import urlsplit

import httpx

from rollback import settings as platform

UNANSWERED = (httpx.HTTPError, httpx.InvalidURL)
"""An address that comes from outside may be none."""
CONCURRENT = 6
"""Requests in flight: a verification must not be a load test."""


@dataclass(frozen=True)
class Answer:
    """One answer, or its absence."""

    url: str
    status: int | None
    version: str | None = None
    """The release that the app says it is, where the platform file tells how to read it."""
    cached: bool = False
    problem: str = ""
    seconds: float = 0.0

    @property
    def good(self) -> bool:
        """Answered 200 by the app itself."""
        return self.status == 200 and not self.cached and not self.problem

    def __str__(self) -> str:
        page = urlsplit(self.url)._replace(scheme="", netloc="").geturl()
        if self.problem:
            return f"{page}: {self.problem}"
        return f"{page}: {self.status}{' from a cache' if self.cached else ''}"


@dataclass
class Tally:
    """Answers counted, with the first few that were wrong in words."""

    answers: list[Answer] = field(default_factory=list[Answer])

    @property
    def good(self) -> int:
        """How many were good."""
        return sum(each.good for each in self.answers)

    @property
    def bad(self) -> list[Answer]:
        """Those that were not."""
        return [each for each in self.answers if not each.good]

    @property
    def versions(self) -> set[str]:
        """The releases that good answers told."""
        return {each.version for each in self.answers if each.good and each.version}

    @property
    def median_ms(self) -> float:
        """Of the good answers."""
        times = sorted(each.seconds for each in self.answers if each.good)
        return times[len(times) // 2] * 1000 if times else 0.0

    def __str__(self) -> str:
        text = f"{self.good} of {len(self.answers)} good"
        return f"{text}; {'; '.join(dict.fromkeys(map(str, self.bad[:20])))}" if self.bad else text


class Prober:
    """Asks one host, as its users do."""

    def __init__(self, client: httpx.AsyncClient, base_url: str, probes: platform.Probes) -> None:
        self.base_url = base_url.rstrip("/")
        self._client = client
        self._probes = probes

    @property
    def host(self) -> str:
        """The host that is asked."""
        return urlsplit(self.base_url).hostname or self.base_url

    async def ask_health(self) -> Tally:
        """Every health page once, and the page that tells the release."""
        version = self._probes.version.path
        pages = [*self._probes.health, *([version] if version and version not in self._probes.health else [])]
        return Tally(await asyncio.gather(*(self.ask(page) for page in pages)))

    async def ask_requests(self, count: int) -> Tally:
        """`count` real requests, in turn over those of the platform file; none where it names none."""
        paths = self._probes.requests
        gate = asyncio.Semaphore(CONCURRENT)

        async def one(index: int) -> Answer:
            async with gate:
                return await self.ask(paths[index % len(paths)])

        return Tally(await asyncio.gather(*(one(index) for index in range(count if paths else 0))))

    async def ask(self, path: str) -> Answer:
        """One page, past every cache."""
        url = f"{self.base_url}{path}"
        clock = asyncio.get_running_loop().time
        started = clock()
        try:
            response = await self._get(path)
        except UNANSWERED as error:
            return Answer(url=url, status=None, problem=error_words(error))
        return Answer(
            url=url,
            status=response.status_code,
            version=self._version(path, response),
            cached=is_cached(response.headers),
            seconds=clock() - started,
        )

    async def ask_field(self, path: str, field_path: str) -> str | None:
        """What a page tells in one field of its JSON; none where it does not, or where a cache answers."""
        try:
            response = await self._get(path)
        except UNANSWERED:
            return None
        if response.status_code != 200 or is_cached(response.headers):
            return None
        return json_field(response.content, field_path)

    async def _get(self, path: str) -> httpx.Response:
        asked = httpx.URL(f"{self.base_url}{path}").copy_merge_params({"probe": uuid.uuid4().hex})
        return await self._client.get(asked, headers={"Cache-Control": "no-cache"})

    async def post(self, path: str, body: object) -> Answer:
        """Send JSON to one page, which writes something: once, and whatever becomes of the answer."""
        url = f"{self.base_url}{path}"
        try:
            response = await self._client.post(url, json=body)
        except UNANSWERED as error:
            return Answer(url=url, status=None, problem=error_words(error))
        problem = "" if response.is_success else f"{response.status_code}"
        return Answer(url=url, status=response.status_code, problem=problem)

    def _version(self, path: str, response: httpx.Response) -> str | None:
        how = self._probes.version
        if how.path == path and how.json_field and response.status_code == 200:
            return json_field(response.content, how.json_field)
        return response.headers.get(how.header) if how.header else None


@asynccontextmanager
async def connect(probes: platform.Probes) -> AsyncGenerator[httpx.AsyncClient]:
    """A client for probes: no redirects followed, no cookie kept (one pins a user to a slot), TLS verified."""
    timeout = httpx.Timeout(probes.timeout_seconds)
    limits = httpx.Limits(max_connections=CONCURRENT * 2)
    async with httpx.AsyncClient(
        timeout=timeout, limits=limits, follow_redirects=False, verify=ssl.create_default_context()
    ) as client:
        client.cookies.jar.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        yield client


def is_cached(headers: Mapping[str, str]) -> bool:
    """Whether a cache answered.

    Source: RFC 9111 (`Age`), Azure Front Door's `X-Cache` (TCP_HIT, TCP_REMOTE_HIT, PARTIAL_HIT), `CF-Cache-Status`.
    """
    told = " ".join(headers.get(name, "") for name in ("X-Cache", "CF-Cache-Status", "X-Cache-Status")).upper()
    age = headers.get("Age", "0")
    return "HIT" in told or "STALE" in told or (age.isdigit() and int(age) > 0)


def json_field(content: bytes, field_path: str) -> str | None:
    """The text in one field of a JSON document, by dotted path; none where there is no such."""
    try:
        value: Any = json.loads(content)
    except (ValueError, RecursionError):
        return None
    for name in field_path.split("."):
        if not isinstance(value, dict):
            return None
        value = cast("dict[str, Any]", value).get(name)
    return value if isinstance(value, str) else None


def error_words(error: httpx.HTTPError | httpx.InvalidURL) -> str:
    """Why there is no answer."""
    kinds = {
        httpx.TimeoutException: "no answer in time",
        httpx.ConnectError: "no connection",
        httpx.InvalidURL: "no address that can be asked",
    }
    return next((words for kind, words in kinds.items() if isinstance(error, kind)), type(error).__name__)
