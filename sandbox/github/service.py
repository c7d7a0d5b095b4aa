"""GitHub's host names: who answers for which, and what each answer of the API has besides its content."""

import hmac
from dataclasses import dataclass
from hashlib import sha256
from time import time

from aiohttp import web

from sandbox.clock import now
from sandbox.github import (
    accounts,
    deployments,
    downloads,
    faults,
    graphql,
    issues,
    packages,
    releases,
    repository,
    rerunning,
    running,
    runs,
)
from sandbox.github.frame import PAGING, VERSIONS, Call, GitHubError, Route, answer, missing, refused
from sandbox.github.git import Git, read
from sandbox.github.names import (
    ASSETS_HOST,
    FULL_NAME,
    HOST,
    HOSTS,
    NAME,
    ORGANISATION,
    ORGANISATION_ID,
    REPOSITORY_ID,
    RESULTS_HOST,
    WEB_HOST,
)
from sandbox.github.people import OPERATOR
from sandbox.state import new_id
from sandbox.world import World

__all__ = ["FAULTS", "HOSTS", "GitHubHosts", "refused", "resume"]

ROUTES: list[Route] = [
    *accounts.ROUTES,
    *repository.ROUTES,
    *releases.ROUTES,
    *runs.ROUTES,
    *rerunning.ROUTES,
    *deployments.ROUTES,
    *issues.ROUTES,
    *packages.ROUTES,
    *graphql.ROUTES,
]
FAULTS = faults.KINDS
WINDOW_SECONDS = 3600
LIMIT, ANONYMOUS_LIMIT = 5000, 60
"""Requests an hour, with a token and without."""
VARY = "Accept, Authorization, Cookie, X-GitHub-OTP,Accept-Encoding, Accept, X-Requested-With"

resume = running.resume


@dataclass
class Window:
    """How much of a rate limit is used, in one resource."""

    limit: int
    reset: int
    """Seconds since 1970."""
    used: int = 0
    status: int = 403
    """With which status it is told that it is used up."""


class GitHubHosts:
    """api.github.com, and the hosts that its answers point at."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._git: Git | None = None
        self._windows: dict[tuple[int, str, str], Window] = {}
        """By how often the world began anew, by user, and by resource."""
        self._routes = [*ROUTES, Route("GET", "/rate_limit", self._limits, docs="rate-limit/rate-limit", public=True)]
        files = downloads.Downloads(world)
        self.by_host = {
            HOST: self.handle,
            WEB_HOST: files.pages,
            ASSETS_HOST: files.asset,
            RESULTS_HOST: files.log,
        }

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """One request to api.github.com."""
        if faults.is_down(self._world):
            return faults.unicorn()
        user, resource = "", "graphql" if request.path == "/graphql" else "core"
        try:
            user = self._authenticate(request)
            request["principal"] = user or None
            window = self._window(user, resource)
            counts = request.path != "/rate_limit"
            if counts:
                self._take(window)
            faults.before(self._world, request)
            response = await self._answer(request, user)
        except GitHubError as error:
            response, window = error.response(), self._window(user, resource)
        if response.status == 200 and request.method in ("GET", "HEAD") and "ETag" not in response.headers:
            response = _conditional(request, response, window)
        _add_headers(request, response, window, resource, known=bool(user))
        return response

    def _authenticate(self, request: web.Request) -> str:
        """Whose token it is; empty without one."""
        if not request.headers.get("User-Agent"):
            told = "Request forbidden by administrative rules. Please make sure your request has a User-Agent header"
            raise GitHubError(403, told)
        given = request.headers.get("Authorization", "")
        if not given:
            return ""
        scheme, _, token = given.partition(" ")
        right = self._world.secrets.github_token
        if scheme.lower() not in ("bearer", "token") or not hmac.compare_digest(token.strip().encode(), right.encode()):
            raise GitHubError(401, "Bad credentials")
        if faults.is_revoked(self._world):
            raise GitHubError(401, "Bad credentials")
        return OPERATOR

    def _window(self, user: str, resource: str) -> Window:
        if (broken := faults.limit(self._world)) is not None:
            most = LIMIT if user else ANONYMOUS_LIMIT
            return Window(most, broken[0], most, broken[1])
        key, at = (self._world.resets, user, resource), int(time())
        window = self._windows.get(key)
        if window is None or window.reset <= at:
            self._windows = {each: kept for each, kept in self._windows.items() if kept.reset > at and each != key}
            window = self._windows[key] = Window(LIMIT if user else ANONYMOUS_LIMIT, at + WINDOW_SECONDS)
        return window

    def _take(self, window: Window) -> None:
        if window.used >= window.limit:
            raise faults.rate_limited(window.status)
        window.used += 1

    async def _answer(self, request: web.Request, user: str) -> web.Response:
        version = request.headers.get("X-GitHub-Api-Version", VERSIONS[0])
        if version not in VERSIONS:
            told = f"{version} is not a supported API version. Supported versions: {', '.join(VERSIONS)}."
            raise GitHubError(400, told, "about-the-rest-api/api-versions")
        route, names = self._find(request)
        self._require_visible(route, names, user)
        unknown = sorted(set(request.query) - route.query - (PAGING if route.paged else frozenset()))
        if unknown:
            raise missing(request, f"the query parameter {', '.join(unknown)} is not honoured")
        if self._git is None:
            self._git = read(self._world.folder.repository)
        call = Call(self._world, request, route, names, self._git, user, version, await request.read())
        made = await route.handler(call)
        return made if isinstance(made, web.Response) else answer(made)

    def _find(self, request: web.Request) -> tuple[Route, dict[str, str]]:
        path = request.path.rstrip("/")
        for by_id, by_name in (
            (f"/repositories/{REPOSITORY_ID}", f"/repos/{FULL_NAME}"),
            (f"/organizations/{ORGANISATION_ID}", f"/orgs/{ORGANISATION}"),
        ):
            if path == by_id or path.startswith(f"{by_id}/"):
                path = by_name + path.removeprefix(by_id)
        method = "GET" if request.method == "HEAD" else request.method
        for route in self._routes:
            if route.method == method and (match := route.pattern.fullmatch(path)) is not None:
                return route, match.groupdict()
        raise missing(request, "there is no such operation")

    async def _limits(self, call: Call) -> object:
        """What is left of each rate limit. The API's version of 2026 has no `rate` any more."""
        resources = {name: _shown(self._window(call.user, name)) for name in ("core", "search", "graphql")}
        return {"resources": resources, **({"rate": resources["core"]} if call.version < "2026" else {})}

    def _require_visible(self, route: Route, names: dict[str, str], user: str) -> None:
        """What is private does not exist for strangers."""
        if route.public:
            return
        if "owner" not in names and "org" not in names and not user:
            raise GitHubError(401, "Requires authentication", route.docs)
        owner, repo = names.get("owner", names.get("org", ORGANISATION)), names.get("repo", NAME)
        if not user or (owner.lower(), repo.lower()) != (ORGANISATION, NAME):
            raise GitHubError(404, "Not Found", route.docs)


def _shown(window: Window) -> dict[str, int]:
    left = window.limit - window.used
    return {"limit": window.limit, "used": window.used, "remaining": left, "reset": window.reset}


def _conditional(request: web.Request, response: web.Response, window: Window) -> web.Response:
    """The answer with its ETag, or 304 where the client has it already; that costs nothing of the rate limit."""
    content = response.body if isinstance(response.body, bytes) else b""
    tag = f'"{sha256(content).hexdigest()}"'
    asked = [each.strip().removeprefix("W/") for each in request.headers.get("If-None-Match", "").split(",")]
    if tag in asked:
        window.used = max(window.used - 1, 0)
        response = web.Response(status=304)
    response.headers["ETag"] = f"W/{tag}"
    response.headers["Cache-Control"] = "private, max-age=60, s-maxage=60"
    return response


def _add_headers(
    request: web.Request, response: web.StreamResponse, window: Window, resource: str, *, known: bool
) -> None:
    headers = response.headers
    if "x-ratelimit-limit" not in headers:
        headers["x-ratelimit-limit"] = str(window.limit)
        headers["x-ratelimit-remaining"] = str(window.limit - window.used)
        headers["x-ratelimit-used"] = str(window.used)
        headers["x-ratelimit-reset"] = str(window.reset)
        headers["x-ratelimit-resource"] = resource
    if known:
        ends = now().replace(microsecond=0).replace(hour=0, minute=0, second=0)
        headers["github-authentication-token-expiration"] = f"{ends.year + 1}-{ends:%m}-01 00:00:00 UTC"
    headers["X-GitHub-Media-Type"] = "github.v3; format=json"
    headers["x-github-api-version-selected"] = request.headers.get("X-GitHub-Api-Version", VERSIONS[0])
    headers["X-GitHub-Request-Id"] = ":".join(part.upper() for part in new_id().split("-"))
    headers["Vary"] = VARY
    headers["Server"] = "github.com"
    headers["Strict-Transport-Security"] = "max-age=31536000; includeSubdomains; preload"
    headers["X-Content-Type-Options"] = "nosniff"
