"""What is around every request to api.github.com: the token, the rate limit, pages, ETags, and GitHub's own errors.

Source: docs.github.com/rest/using-the-rest-api: getting started, best practices, pagination, rate limits,
troubleshooting; docs.github.com/rest/about-the-rest-api/api-versions.
"""

import json
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeVar

from aiohttp import web
from pydantic import BaseModel, ValidationError

from sandbox.arm import ArmError
from sandbox.github.git import Git
from sandbox.github.model import GitHub
from sandbox.github.names import API, ORGANISATION, ORGANISATION_ID, REPOSITORY_ID, URL
from sandbox.world import World

DOCS = "https://docs.github.com/rest"
VERSIONS = ("2022-11-28", "2026-03-10")
"""The first is what a client gets that does not choose."""
PAGING = frozenset({"per_page", "page"})
PER_PAGE, MOST_PER_PAGE = 30, 100

Body = TypeVar("Body", bound=BaseModel)


class GitHubError(Exception):
    """An answer that is an error, in GitHub's shape."""

    def __init__(
        self,
        status: int,
        message: str,
        docs: str = "",
        errors: list[dict[str, str]] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.errors, self.headers = status, errors, dict(headers or {})
        self.docs = docs if docs.startswith("https://") else f"{DOCS}/{docs}".rstrip("/")

    def response(self) -> web.Response:
        """The error as api.github.com sends it."""
        errors = {} if self.errors is None else {"errors": self.errors}
        body = {"message": str(self), **errors, "documentation_url": self.docs, "status": str(self.status)}
        return answer(body, self.status, self.headers)


@dataclass(frozen=True)
class Call:
    """One request that is authenticated and meant for a route."""

    world: World
    request: web.Request
    route: "Route"
    names: Mapping[str, str]
    """What the placeholders of the route's path stand for."""
    git: Git
    user: str
    """Login of who asks; empty without a token."""
    version: str
    body: bytes

    @property
    def github(self) -> GitHub:
        """What GitHub keeps."""
        return self.world.state.github

    def number(self, name: str) -> int:
        """A placeholder that is an id; 404 where it is not a number."""
        given = self.names[name]
        if not given.isdecimal():
            raise not_found(self)
        return int(given)

    def parse(self, model: type[Body]) -> Body:
        """The body as `model`. What the model does not know is not honoured here, and answered 501."""
        try:
            return model.model_validate_json(self.body or b"{}")
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(str(part) for part in first["loc"])
            if first["type"] == "json_invalid":
                raise GitHubError(400, "Problems parsing JSON", self.route.docs) from error
            if first["type"] == "extra_forbidden":
                raise missing(self.request, f"{where} in the body is not honoured") from error
            told = f"Invalid request.\n\n{where}: {first['msg']}"
            raise GitHubError(422, told, self.route.docs) from error


Answer = object
"""JSON, or a response that is complete already."""
Handler = Callable[[Call], Awaitable[Answer]]


@dataclass(frozen=True)
class Route:
    """One operation of the REST API."""

    method: str
    path: str
    """With `{names}`; `{name*}` stands for the rest of the path."""
    handler: Handler
    query: frozenset[str] = frozenset()
    """Query parameters that are honoured; any other is answered 501."""
    docs: str = ""
    """The operation's page below `DOCS`."""
    paged: bool = False
    public: bool = False
    """Whether it needs no token."""
    pattern: re.Pattern[str] = field(init=False)

    def __post_init__(self) -> None:
        parts = re.split(r"\{(\w+\*?)\}", self.path)
        expression = "".join(_pattern(part) if index % 2 else re.escape(part) for index, part in enumerate(parts))
        object.__setattr__(self, "pattern", re.compile(expression, re.IGNORECASE))


def _pattern(name: str) -> str:
    return f"(?P<{name[:-1]}>.+)" if name.endswith("*") else f"(?P<{name}>[^/]+)"


def not_found(call: Call) -> GitHubError:
    """404 for what is not there, or not there for this token."""
    return GitHubError(404, "Not Found", call.route.docs)


def unprocessable(call: Call, message: str) -> GitHubError:
    """422 with one sentence."""
    return GitHubError(422, message, call.route.docs)


def invalid(call: Call, resource: str, name: str, code: str, message: str = "") -> GitHubError:
    """422 `Validation Failed` for one field."""
    error = {"resource": resource, "field": name, "code": code}
    return GitHubError(422, "Validation Failed", call.route.docs, [error | ({"message": message} if message else {})])


def missing(request: web.Request, what: str) -> GitHubError:
    """501: the sandbox does not do this."""
    return GitHubError(501, f"NotImplementedInSandbox: {request.method} {request.path}: {what}.")


def refused(error: ArmError) -> web.Response:
    """An error that is not GitHub's own, in GitHub's shape."""
    return GitHubError(error.status, str(error), headers=error.headers).response()


def stamp(instant: datetime) -> str:
    """An instant as the API writes it: UTC, whole seconds."""
    return instant.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def answer(body: object, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    """JSON as the API writes it: without spaces."""
    text = json.dumps(body, separators=(",", ":"), ensure_ascii=False)
    return web.json_response(text=text, status=status, headers=headers)


def page(call: Call, items: list[Any], key: str = "") -> web.Response:
    """One page of `items` with its links: a list, or below `key` beside the total count."""
    size = min(_whole(call.request.query.get("per_page"), PER_PAGE), MOST_PER_PAGE)
    current, last = _whole(call.request.query.get("page"), 1), max(-(-len(items) // size), 1)
    shown = items[(current - 1) * size : current * size]
    wanted = {"prev": current - 1} if current > 1 else {}
    wanted |= {"next": current + 1, "last": last} if current < last else {}
    wanted |= {"first": 1} if current > 1 else {}
    links = [f'<{_page_url(call.request, number)}>; rel="{word}"' for word, number in wanted.items()]
    body = {"total_count": len(items), key: shown} if key else shown
    return answer(body, headers={"Link": ", ".join(links)} if links else {})


def _page_url(request: web.Request, number: int) -> str:
    """GitHub's links have ids where the request may have had names."""
    path = str(request.rel_url.update_query(page=str(number)))
    path = re.sub(f"^{URL.removeprefix(API)}(?=/|\\?)", f"/repositories/{REPOSITORY_ID}", path, flags=re.IGNORECASE)
    return API + re.sub(f"^/orgs/{ORGANISATION}(?=/)", f"/organizations/{ORGANISATION_ID}", path, flags=re.IGNORECASE)


def _whole(given: str | None, otherwise: int) -> int:
    return int(given) if given is not None and given.isdecimal() and int(given) else otherwise
