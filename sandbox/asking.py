"""Requests that the sandbox's own parts send to Azure Resource Manager: a deployment writes as its client would."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, cast

from sandbox.state import Principal, new_id


@dataclass(frozen=True)
class Inner:
    """What a handler sees of a request that came over no connection."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True)
class Question:
    """One request to Azure Resource Manager."""

    method: str
    path: str
    version: str
    """`api-version`."""
    principal: Principal
    """In whose name."""
    body: Any = None
    trusted: bool = False
    """Permissions and locks are not looked at: Azure asks for itself."""
    request_id: str = field(default_factory=new_id)


@dataclass(frozen=True)
class Answer:
    """What Azure Resource Manager said."""

    status: int
    body: object = None
    headers: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def resource(self) -> dict[str, Any]:
        """The body of an answer that is a resource; empty for any other."""
        return cast("dict[str, Any]", self.body) if isinstance(self.body, dict) else {}

    @property
    def status_word(self) -> str:
        """How an operation that was asked after stands: `InProgress`, `Succeeded`, `Failed`."""
        return str(self.resource.get("status"))

    @property
    def error(self) -> dict[str, Any]:
        """The error of an answer that is one."""
        return dict(self.resource["error"])


class Inside(Protocol):
    """Azure Resource Manager, for the sandbox's own parts."""

    async def ask(self, question: Question) -> Answer:
        """Answer as it answers a client."""
        ...

    def action_of(self, method: str, path: str) -> str | None:
        """The permission that a request needs; None where there is no such operation."""
        ...


class Nobody:
    """Before there is a server."""

    async def ask(self, question: Question) -> Answer:
        """Nothing answers."""
        message = f"{question.method} {question.path}: nothing answers yet."
        return Answer(503, {"error": {"code": "ServiceUnavailable", "message": message}})

    def action_of(self, method: str, path: str) -> str | None:
        """There are no operations."""
        return None
