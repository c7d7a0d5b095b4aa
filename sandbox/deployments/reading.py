"""What run-time functions of a template see: `reference()` and the list functions ask Azure.

Expressions are evaluated in one go and Azure is asked in between: an answer that is not there yet ends the evaluation,
is fetched, and the evaluation begins again.
"""

from collections.abc import Callable
from typing import Any, TypeVar

from sandbox.asking import Question
from sandbox.providers import kinds
from sandbox.state import Principal
from sandbox.templates.expansion import NotYetError
from sandbox.world import World

ANY_VERSION = "2023-12-01"
"""For types that take every version."""

T = TypeVar("T")
Key = tuple[str, str, str]
"""Method, path, version."""


class AnswerWantedError(Exception):
    """Azure must be asked this first."""

    def __init__(self, key: Key) -> None:
        super().__init__(" ".join(key))
        self.key = key


class RefusedError(Exception):
    """What Azure answered instead."""

    def __init__(self, status: int, error: dict[str, Any]) -> None:
        super().__init__(str(error["message"]))
        self.status, self.error = status, error


def type_of(resource_id: str) -> str:
    """The type of what has this id."""
    parts = resource_id.rpartition("/providers/")[2].split("/")
    return "/".join([parts[0], *parts[1::2]])


def version_of(resource_id: str) -> str:
    """An API version that the type has."""
    kind = kinds.find(type_of(resource_id))
    return kind.versions[0] if kind is not None else ANY_VERSION


class Answers:
    """A template's `Reader` while it is deployed."""

    def __init__(self, world: World, principal: Principal) -> None:
        self._world, self._principal = world, principal
        self._known: dict[Key, dict[str, Any]] = {}

    def reference(self, resource_id: str, api_version: str | None, full: bool) -> dict[str, Any]:
        """A resource's properties; with `full`, the whole resource."""
        version = api_version or version_of(resource_id)
        found = self._answer(("GET", resource_id, version))
        if not full:
            return dict(found.get("properties") or {})
        shown = {name: value for name, value in found.items() if name not in ("id", "name", "type")}
        return {**shown, "apiVersion": version, "resourceId": resource_id}

    def listing(self, function: str, resource_id: str, api_version: str) -> dict[str, Any]:
        """What `listKeys` or another list function answers."""
        return self._answer(("POST", f"{resource_id}/{function}", api_version))

    def group_location(self, name: str) -> str:
        """Every group is in the platform's region."""
        return self._world.state.location

    def _answer(self, key: Key) -> dict[str, Any]:
        if key not in self._known:
            raise AnswerWantedError(key)
        return self._known[key]

    async def evaluate(self, expression: Callable[[], T]) -> T:
        """`expression` with everything that it reads; `RefusedError` where that cannot be read."""
        while True:
            try:
                return expression()
            except AnswerWantedError as wanted:
                method, path, version = wanted.key
                answer = await self._world.arm.ask(Question(method, path, version, self._principal))
                if answer.status >= 400:
                    raise RefusedError(answer.status, answer.error) from wanted
                self._known[wanted.key] = answer.resource


class NotYet:
    """A template's `Reader` before anything is deployed: nothing is there yet, as for Azure's what-if."""

    def __init__(self, location: str) -> None:
        self._location = location

    def reference(self, resource_id: str, api_version: str | None, full: bool) -> dict[str, Any]:
        """It is not looked at."""
        raise NotYetError(resource_id)

    def listing(self, function: str, resource_id: str, api_version: str) -> dict[str, Any]:
        """It is not looked at."""
        raise NotYetError(resource_id)

    def group_location(self, name: str) -> str:
        """Every group is in the platform's region."""
        return self._location
