"""Azure Resource Manager: the frame around every request, whichever service it is for."""

import json
import logging
import re
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from aiohttp import web
from pydantic import BaseModel, ValidationError

from sandbox import locking, rbac
from sandbox.asking import Answer, Inner, Question
from sandbox.entra import Entra, TokenRefusedError
from sandbox.state import Principal
from sandbox.world import World

log = logging.getLogger(__name__)

HOST = "management.azure.com"
API_VERSION = re.compile(r"\d{4}-\d{2}-\d{2}(-preview|-alpha|-beta|-privatepreview)?")
READS = ("GET", "HEAD")
LIMITS = {"reads": (250, 25), "writes": (200, 10), "deletes": (200, 10)}
"""Size and refill a second of ARM's buckets: one for each principal, subscription and kind."""

Body = TypeVar("Body", bound=BaseModel)


class ArmError(Exception):
    """An answer that is an error, in Azure's shape."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        headers: Mapping[str, str] | None = None,
        details: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        super().__init__(message)
        self.status, self.code, self.headers = status, code, dict(headers or {})
        self.details = [dict(each) for each in details]

    def response(self) -> web.Response:
        """The error as Azure Resource Manager sends it."""
        error: dict[str, Any] = {"code": self.code, "message": str(self)}
        if self.details:
            error["details"] = self.details
        return web.json_response({"error": error}, status=self.status, headers=self.headers)


@dataclass(frozen=True)
class Call:
    """One request that is authenticated, authorised and meant for a route."""

    world: World
    request: web.Request | Inner
    names: Mapping[str, str]
    """What the placeholders of the route's path stand for, as the client wrote it."""
    request_id: str
    body: bytes
    principal: Principal
    """Who asks."""

    def may(self, action: str, scope: str) -> bool:
        """Whether the caller may do `action` on `scope`: what a list shows of it."""
        return rbac.allows(self.world.state, self.principal, action, scope)

    def parse(self, model: type[Body]) -> Body:
        """The body as `model`, or Azure's 400."""
        try:
            return model.model_validate_json(self.body)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(str(part) for part in first["loc"]) or "the body"
            raise ArmError(
                400,
                "InvalidRequestContent",
                f"The request content was invalid and could not be deserialized: '{where}: {first['msg']}'.",
            ) from error


Handler = Callable[[Call], Awaitable[web.StreamResponse]]


@dataclass(frozen=True)
class Route:
    """One operation: where it is, which permission it needs, who does it."""

    method: str
    path: str
    """With `{names}`; compared without case."""
    action: str
    handler: Handler
    query: frozenset[str] = frozenset()
    """Query parameters that are honoured, besides `api-version`; any other is answered 501."""
    lenient: bool = False
    """The body need not be strict JSON."""
    pattern: re.Pattern[str] = field(init=False)

    def __post_init__(self) -> None:
        parts = re.split(r"\{(\w+)\}", self.path)
        expression = "".join(f"(?P<{part}>[^/]+)" if index % 2 else re.escape(part) for index, part in enumerate(parts))
        object.__setattr__(self, "pattern", re.compile(expression, re.IGNORECASE))


@dataclass
class Bucket:
    """ARM's throttling: a token bucket that fills up again by the second."""

    size: float
    per_second: float
    left: float = field(init=False)
    at: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self.left = self.size

    def take(self) -> bool:
        """Take one; False if there is none."""
        instant = time.monotonic()
        self.left = min(self.size, self.left + (instant - self.at) * self.per_second)
        self.at = instant
        if self.left < 1:
            return False
        self.left -= 1
        return True


class Arm:
    """management.azure.com."""

    def __init__(self, world: World, entra: Entra, routes: list[Route]) -> None:
        self._world = world
        self._entra = entra
        self._routes = routes
        self._buckets: dict[tuple[str, str], Bucket] = {}
        """By principal and kind."""

    async def handle(self, request: web.Request, request_id: str) -> web.StreamResponse:
        """Authenticate, find the operation, authorise, do it; errors as Azure words them."""
        try:
            principal = self._authenticate(request)
        except ArmError as error:
            return error.response()
        request["principal"] = principal.name
        bucket = self._buckets.setdefault((principal.name, _kind(request)), Bucket(*LIMITS[_kind(request)]))
        try:
            self._throttle(bucket)
            response = await self._handle(request, request_id, principal)
        except ArmError as error:
            response = error.response()
        if not response.prepared:
            _add_headers(request, response, bucket)
        return response

    async def _handle(self, request: web.Request, request_id: str, principal: Principal) -> web.StreamResponse:
        self._require_api_version(request)
        route, names = self._find(request)
        self._require_subscription(names)
        self._authorise(request, route, principal)
        self._require_known_query(request, route)
        self._require_group(names)
        self._require_unlocked(request, route)
        call = Call(self._world, request, names, request_id, await request.read(), principal)
        if request.content_type == "application/json" and call.body and not route.lenient:
            _require_json(call.body)
        return await route.handler(call)

    async def ask(self, question: Question) -> Answer:
        """Answer a request of the sandbox's own: by the same routes, and under the same rules unless it is trusted."""
        request = Inner(question.method, question.path, {"api-version": question.version})
        try:
            route, names = self._find(request)
            if not question.trusted:
                self._authorise(request, route, question.principal)
                self._require_unlocked(request, route)
            self._require_group(names)
            body = b"" if question.body is None else json.dumps(question.body).encode()
            call = Call(self._world, request, names, question.request_id, body, question.principal)
            response = await route.handler(call)
        except ArmError as error:
            response = error.response()
        content = response.body if isinstance(response, web.Response) else None
        told = json.loads(content) if isinstance(content, bytes) and content else None
        return Answer(response.status, told, dict(response.headers))

    def action_of(self, method: str, path: str) -> str | None:
        """The permission that a request needs; None where there is no such operation."""
        try:
            return self._find(Inner(method, path, {}))[0].action
        except ArmError:
            return None

    def _authenticate(self, request: web.Request) -> Principal:
        try:
            return self._entra.verify(request.headers.get("Authorization"))
        except TokenRefusedError as error:
            tenant = self._world.state.tenant_id
            challenge = (
                f'Bearer authorization_uri="https://login.windows.net/{tenant}", error="invalid_token", '
                f'error_description="{error}"'
            )
            raise ArmError(401, error.code, str(error), {"WWW-Authenticate": challenge}) from error

    def _throttle(self, bucket: Bucket) -> None:
        if bucket.take():
            return
        raise ArmError(
            429,
            "SubscriptionRequestsThrottled",
            f"Number of requests for subscription '{self._world.state.subscription_id}' exceeded the limit. "
            "Please try again after '1' seconds.",
            {"Retry-After": "1"},
        )

    def _require_api_version(self, request: web.Request) -> None:
        version = request.query.get("api-version")
        if not version:
            raise ArmError(
                400,
                "MissingApiVersionParameter",
                "The api-version query parameter (?api-version=) is required for all requests.",
            )
        if not API_VERSION.fullmatch(version):
            raise ArmError(400, "InvalidApiVersionParameter", f"The api-version '{version}' is invalid.")

    def _find(self, request: web.Request | Inner) -> tuple[Route, dict[str, str]]:
        path = _path(request)
        for route in self._routes:
            if route.method == request.method and (match := route.pattern.fullmatch(path)) is not None:
                return route, match.groupdict()
        raise missing(request, "there is no such operation")

    def _require_subscription(self, names: Mapping[str, str]) -> None:
        subscription = names.get("subscription")
        if subscription is not None and subscription.lower() != self._world.state.subscription_id:
            raise ArmError(404, "SubscriptionNotFound", f"The subscription '{subscription}' could not be found.")

    def _authorise(self, request: web.Request | Inner, route: Route, principal: Principal) -> None:
        path = _path(request)
        if route.action and not rbac.allows(self._world.state, principal, route.action, path):
            scope = path.rpartition("/")[0] if route.action.endswith("/action") else path
            raise ArmError(
                403,
                "AuthorizationFailed",
                f"The client '{principal.user_name or principal.client_id}' with object id '{principal.object_id}' "
                f"does not have authorization to perform action '{route.action}' over scope '{scope}' or the scope is "
                "invalid. If access was recently granted, please refresh your credentials.",
            )

    def _require_unlocked(self, request: web.Request | Inner, route: Route) -> None:
        refusal = locking.refusal(self._world.state, request.method, _path(request), route.action)
        if refusal is not None:
            raise ArmError(409, "ScopeLocked", refusal)

    def _require_known_query(self, request: web.Request, route: Route) -> None:
        unknown = sorted({name for name in request.query if name not in route.query and name != "api-version"})
        if unknown:
            raise missing(request, f"the query parameter {', '.join(unknown)} is not honoured")

    def _require_group(self, names: Mapping[str, str]) -> None:
        group = names.get("group")
        if group is not None and group.lower() not in (each.lower() for each in self._world.state.groups):
            raise ArmError(404, "ResourceGroupNotFound", f"Resource group '{group}' could not be found.")


def _path(request: web.Request | Inner) -> str:
    """The path as Azure reads it: the SDKs double a slash where a resource has no parent or a scope begins with one."""
    return re.sub("/+", "/", request.path).rstrip("/")


def _add_headers(request: web.Request, response: web.StreamResponse, bucket: Bucket) -> None:
    response.headers[f"x-ms-ratelimit-remaining-subscription-{_kind(request)}"] = str(int(bucket.left))
    response.headers["Cache-Control"] = "no-cache"
    response.headers["Strict-Transport-Security"] = "max-age=31536000; includeSubDomains"
    response.headers["X-Content-Type-Options"] = "nosniff"


def _kind(request: web.Request) -> str:
    return "reads" if request.method in READS else "deletes" if request.method == "DELETE" else "writes"


def _require_json(body: bytes) -> None:
    try:
        json.loads(body)
    except ValueError as error:
        message = f"The request content was invalid and could not be deserialized: '{error}'."
        raise ArmError(400, "InvalidRequestContent", message) from error


def missing(request: web.Request | Inner, what: str) -> ArmError:
    """501: the sandbox does not do this, and says so here and in its log."""
    message = f"{request.method} {request.path}: {what}."
    log.warning("not implemented: %s", message)
    return ArmError(501, "NotImplementedInSandbox", message)


def resource_not_found(kind: str, name: str, group: str) -> ArmError:
    """404 for a resource, in Azure Resource Manager's words."""
    return ArmError(
        404,
        "ResourceNotFound",
        f"The Resource '{kind}/{name}' under resource group '{group}' was not found. For more details please go to "
        "https://aka.ms/ARMResourceNotFoundFix",
    )


def collection(values: list[dict[str, Any]]) -> web.Response:
    """A list as Azure pages it: everything on one page."""
    return web.json_response({"value": values})
