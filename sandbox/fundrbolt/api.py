"""The API's endpoints. Errors are JSON: `{"detail": …}`."""

import asyncio
import contextlib
import json
import random
import re
import time
from datetime import UTC, datetime
from functools import cached_property
from typing import TypeGuard, cast

from aiohttp import web
from aiohttp.abc import AbstractAccessLogger
from aiohttp.typedefs import Handler

from sandbox.fundrbolt.cors import headers_for
from sandbox.fundrbolt.pages import CacheUnavailableError, Pages, UnreadablePageError
from sandbox.fundrbolt.releases import BEHAVIOURS
from sandbox.fundrbolt.settings import Settings
from sandbox.fundrbolt.store import DatabaseUnavailableError, NewDonation, Store, database_host, iso, store_for

MOST_CENTS = 100_000_000
MOST_LISTED = 100
LISTING = "/api/v1/donations"
ALIVE = "/health"
RETRY_AFTER_SECONDS = 120
AT_WORK = "We are doing maintenance and will be back shortly. Please try again in a few minutes."


class InvalidInputError(ValueError):
    """What a client sent cannot be used: answered 422."""

    def __init__(self, problems: dict[str, str], where: str = "body") -> None:
        super().__init__("; ".join(f"{field} {problem}" for field, problem in problems.items()))
        self.detail = [{"loc": [where, field] if field else [where], "msg": msg} for field, msg in problems.items()]


class Api:
    """One running build of the sample API."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._chance = random.Random(settings.failure_seed)
        self._damage = random.Random(settings.damage_seed)
        self._background: asyncio.Task[None] | None = None
        self._started_at = iso(datetime.now(UTC))
        self._warm_at = time.monotonic() + settings.warm_up_seconds

    @cached_property
    def _store(self) -> Store:
        # Not in the constructor: a database's driver takes longer to import than all the rest.
        return store_for(self._settings.database, self._settings.client)

    @cached_property
    def _pages(self) -> Pages | None:
        if self._settings.cache is None:
            return None
        return Pages(self._settings.cache, in_dollars=BEHAVIOURS[self._settings.release].caches_dollars)

    def application(self) -> web.Application:
        """The routes, with everything that holds for each of them."""
        application = web.Application(middlewares=[json_errors, self._behave])
        application.on_response_prepare.append(self._mark)
        application.on_cleanup.append(self._close)
        application.add_routes(
            [
                web.get("/", self.root),
                web.get(ALIVE, self.health),
                web.get("/health/detailed", self.detailed_health),
                web.get(LISTING, self.list_donations),
                web.post(LISTING, self.create_donation),
                web.post("/api/v1/sessions", self.create_session),
                web.get("/api/v1/me", self.who_am_i),
                web.post("/api/v1/logout", self.log_out),
                web.get("/api/v1/sessions/{id}", self.get_session),
            ]
        )
        return application

    async def begin(self) -> None:
        """Connect to the database, and do what this build does without being asked. Ended with the application.

        In maintenance mode neither.
        """
        if self._settings.maintenance:
            return
        await self._store.open()
        if self._settings.background_seconds:
            self._background = asyncio.create_task(self._work())

    async def root(self, _request: web.Request) -> web.Response:
        """Who is there: Azure warms a slot up by asking for this."""
        return web.json_response({"service": "fundrbolt-api", "version": self._settings.release})

    async def health(self, _request: web.Request) -> web.Response:
        """Alive. Says nothing about what users get."""
        return web.json_response({"status": "healthy"})

    async def detailed_health(self, _request: web.Request) -> web.Response:
        """Which build this is, since when, which host its database is on, and whether it reaches it (503 if not)."""
        try:
            await self._store.check()
        except DatabaseUnavailableError:
            status, word, database = 503, "unhealthy", "unavailable"
        else:
            status, word, database = 200, "healthy", "ok"
        host, cache = database_host(self._settings.database), await self._pages.word() if self._pages else None
        report = {
            "status": word,
            "version": self._settings.release,
            "started_at": self._started_at,
            "checks": {
                "database": database,
                **({"database_host": host} if host else {}),
                **({"redis": cache} if cache else {}),
            },
        }
        return web.json_response(report, status=status)

    async def list_donations(self, request: web.Request) -> web.Response:
        """The newest donations, `?limit=` of them (20)."""
        limit = request.query.get("limit", "20")
        if not re.fullmatch(r"[0-9]{1,3}", limit) or not 1 <= int(limit) <= MOST_LISTED:
            raise InvalidInputError({"limit": f"must be a whole number from 1 to {MOST_LISTED}"}, where="query")
        donations = await self._pages.latest(int(limit)) if self._pages else None
        if donations is None:
            donations = await self._store.donations(int(limit))
            if self._pages:
                await self._pages.keep(int(limit), donations)
        return web.json_response({"donations": donations})

    async def create_donation(self, request: web.Request) -> web.Response:
        """Record a donation."""
        donation = valid_donation(await request.read())
        damage = self._damage.random() if self._damage.random() < self._settings.damage_share else None
        return web.json_response(await self._store.add_donation(donation, damage=damage), status=201)

    async def create_session(self, _request: web.Request) -> web.Response:
        """Open a session; its token is in the answer where there is a cache to know it by."""
        session = await self._store.add_session()
        if self._pages:
            session["token"] = await self._pages.sign_in(str(session["id"]))
        return web.json_response(session, status=201)

    async def who_am_i(self, request: web.Request) -> web.Response:
        """The session that the request's token is for; 401 once it has ended, or its token is revoked."""
        if self._pages is None:
            return problem(503, "there is no cache")
        session = await self._pages.session(request.headers.get("Authorization", ""))
        return problem(401, "sign in first") if session is None else web.json_response({"session": session})

    async def log_out(self, request: web.Request) -> web.Response:
        """Revoke the request's token."""
        if self._pages is None:
            return problem(503, "there is no cache")
        await self._pages.revoke(request.headers.get("Authorization", ""))
        return web.Response(status=204)

    async def get_session(self, request: web.Request) -> web.Response:
        """A session that is still open."""
        session = await self._store.session(request.match_info["id"])
        if session is None:
            return problem(404, "there is no such session, or it has expired")
        return web.json_response(session)

    @web.middleware
    async def _behave(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if time.monotonic() < self._warm_at:
            return problem(503, "warming up")
        if self._settings.maintenance and request.path != ALIVE:
            answer = problem(503, AT_WORK)
            answer.headers["Retry-After"] = str(RETRY_AFTER_SECONDS)
            return answer
        # Before the handler, so that a request that failed had no effect; /health stays green whatever the release.
        if request.path.startswith("/api/") and self._chance.random() < self._settings.failure_share:
            return problem(500, "Internal Server Error")
        return await handler(request)

    async def _mark(self, request: web.Request, response: web.StreamResponse) -> None:
        response.headers["X-Fundrbolt-Version"] = self._settings.release
        response.headers.update(headers_for(request.headers.get("Origin")))
        listed = request.method in ("GET", "HEAD") and request.path == LISTING and response.status == 200
        response.headers["Cache-Control"] = "public, max-age=5" if listed else "no-store"

    async def _close(self, _application: web.Application) -> None:
        if self._background is not None:
            self._background.cancel()
            await asyncio.gather(self._background, return_exceptions=True)
        if self._pages is not None:
            await self._pages.close()
        if not self._settings.maintenance:
            await self._store.close()

    async def _work(self) -> None:
        """A background worker's writes, again and again; one that is refused is tried again the next time."""
        while True:
            await asyncio.sleep(self._settings.background_seconds)
            with contextlib.suppress(DatabaseUnavailableError):
                await self._store.beat(f"worker {self._settings.client}")


class OneLineLog(AbstractAccessLogger):
    """One line a request: route, status, milliseconds. No query, no body, no session id: the route stands for it."""

    def log(self, request: web.BaseRequest, response: web.StreamResponse, time: float) -> None:
        """Write the line."""
        path = request.rel_url.raw_path
        if isinstance(request, web.Request) and request.match_info.route.resource:
            path = request.match_info.route.resource.canonical
        self.logger.info("%s %s %d %.1f ms", request.method, path, response.status, time * 1000)


@web.middleware
async def json_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Every refusal as JSON."""
    try:
        return await handler(request)
    except InvalidInputError as error:
        return web.json_response({"detail": error.detail}, status=422)
    except DatabaseUnavailableError:
        return problem(503, "the database is unavailable")
    except CacheUnavailableError:
        return problem(503, "the cache is unavailable")
    except UnreadablePageError:
        return problem(500, "Internal Server Error")
    except web.HTTPError as error:
        answer = problem(error.status, error.reason)
        if "Allow" in error.headers:
            answer.headers["Allow"] = error.headers["Allow"]
        return answer


def problem(status: int, detail: str) -> web.Response:
    """An error, as every client of this API reads it."""
    return web.json_response({"detail": detail}, status=status)


def valid_donation(body: bytes) -> NewDonation:
    """The donation that `body` asks for; every problem is named at once."""
    try:
        asked: object = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise InvalidInputError({"": "must be JSON"}) from error
    if not isinstance(asked, dict):
        raise InvalidInputError({"": "must be a JSON object"})
    fields = cast("dict[str, object]", asked)
    amount, currency, donor = (fields.get(name) for name in ("amount_cents", "currency", "donor"))
    if is_amount(amount) and is_currency(currency) and is_donor(donor):
        return NewDonation(amount, currency, donor)
    problems: dict[str, str] = {}
    if not is_amount(amount):
        problems["amount_cents"] = f"must be a whole number of cents from 1 to {MOST_CENTS}"
    if not is_currency(currency):
        problems["currency"] = "must be three capital letters, such as USD"
    if not is_donor(donor):
        problems["donor"] = "must be 1 to 200 printable characters"
    raise InvalidInputError(problems)


def is_amount(value: object) -> TypeGuard[int]:
    """Whether `value` is an amount in cents. JSON's true is Python's 1, but no amount."""
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= MOST_CENTS


def is_currency(value: object) -> TypeGuard[str]:
    """Whether `value` looks like an ISO 4217 code."""
    return isinstance(value, str) and re.fullmatch(r"[A-Z]{3}", value) is not None


def is_donor(value: object) -> TypeGuard[str]:
    """Whether `value` can be a name. Lone surrogates, which SQLite cannot store, are not printable."""
    return isinstance(value, str) and len(value.strip()) >= 1 and len(value) <= 200 and value.isprintable()
