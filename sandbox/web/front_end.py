"""What users get under *.azurewebsites.net: App Service's front ends in front of each slot's process."""

import asyncio
import random
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final

import aiohttp
from aiohttp import web
from multidict import CIMultiDict
from yarl import URL

from sandbox.front import Answer
from sandbox.insights.book import platform, telemetry
from sandbox.processes import START_SECONDS, Worker
from sandbox.state import Site, Slot
from sandbox.web import payments
from sandbox.world import World

ROUTING: Final = "x-ms-routing-name"
HOP_BY_HOP = {"connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"}
REQUEST_SECONDS = 230
"""Azure's load balancer gives up on a request after so long."""
SAFE_METHODS = ("GET", "HEAD", "OPTIONS")

Forwarded = aiohttp.ClientResponse | web.Response
Opened = tuple[Forwarded, str | None]
Page = tuple[int, str]
STOPPED: Page = (403, "Error 403 - This web app is stopped.")
APPLICATION_ERROR: Page = (503, "Application Error")
NOT_FOUND: Page = (404, "404 Web Site not found.")
APP_FAILED: Page = (500, "Internal Server Error")
GATEWAY_ERROR: Page = (502, "502 - Web server received an invalid response while acting as a gateway.")


def page(answer: Page) -> web.Response:
    """One of the platform's own pages."""
    status, text = answer
    return web.Response(status=status, text=f"<html><body><h1>{text}</h1></body></html>", content_type="text/html")


class FrontEnd:
    """Sends each request to the process of the slot that it is for."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._client: aiohttp.ClientSession | None = None

    async def start(self) -> None:
        """Open the connections' pool."""
        self._client = aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=REQUEST_SECONDS),
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            # A reused connection may be closed by a process that ends: with one for each request none is lost.
            connector=aiohttp.TCPConnector(limit=0, force_close=True),
        )

    async def stop(self) -> None:
        """Close the pool."""
        if self._client is not None:
            await self._client.close()

    async def handle(self, request: web.Request, host: str) -> web.StreamResponse:
        """Answer a request to `host`, streaming."""
        async with self._open(request, host) as (answer, cookie):
            if isinstance(answer, web.Response):
                return answer
            response = web.StreamResponse(
                status=answer.status, reason=answer.reason, headers=_passed_on(answer.headers)
            )
            if cookie is not None:
                response.headers.add("Set-Cookie", cookie)
            await response.prepare(request)
            async for chunk in answer.content.iter_any():
                await response.write(chunk)
            await response.write_eof()
            return response

    async def fetch(self, request: web.Request, host: str) -> Answer:
        """What `host` answers to a request that came under another name, whole; users there have no routing cookie."""
        async with self._open(request, host) as (answer, _):
            if isinstance(answer, web.Response):
                return Answer(answer.status, answer.headers, answer.body if isinstance(answer.body, bytes) else b"")
            return Answer(answer.status, _passed_on(answer.headers), await answer.read())

    @asynccontextmanager
    async def _open(self, request: web.Request, host: str) -> AsyncGenerator[Opened]:
        """The slot's own answer, not yet read, or the platform's; and the routing cookie to set."""
        found = self._world.state.find_host(host)
        if found is None:
            yield page(NOT_FOUND), None
            return
        site, asked = found
        slot, chosen = _route(request, site, asked)
        cookie = f"{ROUTING}={chosen}; path=/; secure; HttpOnly; SameSite=None" if chosen else None
        begun = time.monotonic()
        async with self._answered(request, site, asked, slot) as answer:
            yield answer, cookie
        self._count(site, slot, answer, time.monotonic() - begun)

    def _count(self, site: Site, slot: Slot, answer: Forwarded, seconds: float) -> None:
        book = self._world.book
        book.count(platform(site.name, slot.name), answer.status, seconds)
        # An app tells of what it answered itself; the faults `app-error` and `payments-slow` play the app.
        if isinstance(answer, aiohttp.ClientResponse) or answer.status == APP_FAILED[0]:
            book.count(telemetry(site.name, slot.name), answer.status, seconds)

    @asynccontextmanager
    async def _answered(self, request: web.Request, site: Site, asked: Slot, slot: Slot) -> AsyncGenerator[Forwarded]:
        refusal = await self._refusal(slot)
        if refusal is None and payments.gives_up(self._world, request, slot):
            refusal = APP_FAILED
        worker = await self._worker(site, slot) if refusal is None else None
        if worker is None or worker.port is None or worker.pid is None:
            yield page(refusal or (APPLICATION_ERROR if slot.state == "Running" else STOPPED))
            return
        worker.wrote = worker.wrote or request.method not in SAFE_METHODS
        with worker.answering():
            async with self._forward(request, asked.host, worker.port) as answer:
                yield answer

    async def _refusal(self, slot: Slot) -> Page | None:
        """The platform's own answer, or a fault's."""
        if slot.state == "Stopped":
            return STOPPED
        if slot.cold_answers:
            slot.cold_answers -= 1
            self._world.save()
            await asyncio.sleep(slot.cold_seconds)
            return APPLICATION_ERROR
        share = max(slot.error_share, slot.content.error_share)
        return APP_FAILED if random.random() < share else None

    async def _worker(self, site: Site, slot: Slot) -> Worker | None:
        """The slot's process; a booting one is waited for, as Azure does."""
        worker = self._world.workers.next_at((site.name, slot.name))
        if worker is not None and not worker.settled.is_set():
            async with asyncio.timeout(START_SECONDS):
                await worker.settled.wait()
        return worker

    @asynccontextmanager
    async def _forward(self, request: web.Request, host: str, port: int) -> AsyncGenerator[Forwarded]:
        if self._client is None:
            raise RuntimeError("The front end has not been started.")
        headers = _passed_on(request.headers)
        headers["Host"] = host
        headers["X-Forwarded-Proto"] = "https"
        headers.add("X-Forwarded-For", request.remote or "127.0.0.1")
        async with AsyncExitStack() as stack:
            try:
                answer: Forwarded = await stack.enter_async_context(
                    self._client.request(
                        request.method,
                        URL(f"http://127.0.0.1:{port}{request.raw_path}", encoded=True),
                        headers=headers,
                        data=request.content if request.body_exists else None,
                        allow_redirects=False,
                    )
                )
            except (aiohttp.ClientError, TimeoutError):
                answer = page(GATEWAY_ERROR)
            yield answer


def _passed_on(headers: Mapping[str, str]) -> CIMultiDict[str]:
    """Headers without those that are between two neighbours."""
    return CIMultiDict((name, value) for name, value in headers.items() if name.lower() not in HOP_BY_HOP)


def _route(request: web.Request, site: Site, asked: Slot) -> tuple[Slot, str | None]:
    """The slot that answers, and the routing name to remember in a cookie, if it was chosen just now."""
    by_query = request.query.get(ROUTING)
    wanted = by_query or request.cookies.get(ROUTING)
    if wanted == "self":
        return asked, "self" if by_query else None
    if wanted in site.slots and wanted != asked.name:
        return site.slots[wanted], wanted if by_query else None
    ticket = random.uniform(0, 100)
    for rule in asked.ramp_up_rules:
        ticket -= rule.reroutePercentage
        other = next((slot for slot in site.slots.values() if slot.host == rule.actionHostName.lower()), None)
        if ticket < 0 and other is not None:
            return other, rule.name or other.name
    return asked, "self" if asked.ramp_up_rules else None
