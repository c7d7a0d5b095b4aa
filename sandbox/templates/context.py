"""What an expression sees from where it stands."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Protocol

from sandbox.templates.scopes import Scope

OWN = ""
"""The loop that copyIndex() without a name is about."""


class Reader(Protocol):
    """What run-time functions see of what is deployed. Each raises `NotYetError` for what is not there."""

    def reference(self, resource_id: str, api_version: str | None, full: bool) -> dict[str, Any]:
        """A resource's properties; with `full`, the whole resource."""
        ...

    def listing(self, function: str, resource_id: str, api_version: str) -> dict[str, Any]:
        """What `listKeys` or another list function answers."""
        ...

    def group_location(self, name: str) -> str:
        """Where a resource group is."""
        ...


class Named(Protocol):
    """Parameters or variables."""

    def get(self, name: str, hiding: bool) -> Any:
        """The value; `ExpressionError` for an unknown name, `HiddenError` where `hiding` and it is secret."""
        ...


class Resources(Protocol):
    """The template's own resources."""

    def resolve(self, name: str) -> tuple[str, str | None]:
        """The id and API version of what reference() or a list function names."""
        ...


@dataclass(frozen=True)
class Context:
    """Where an expression stands."""

    scope: Scope
    parameters: Named = field(repr=False)
    variables: Named = field(repr=False)
    resources: Resources | None = field(default=None, repr=False)
    reader: Reader | None = field(default=None, repr=False)
    """None where run-time functions are not expected."""
    loops: Mapping[str, int] = field(default_factory=dict[str, int])
    """The index in each loop around it, by the loop's name in lower case."""
    now: datetime | None = None
    """The current instant where utcNow() is allowed: in a parameter's default value."""
    showing: bool = False
    """Whether what cannot be told yet, or not at all, is to be left as it is written."""

    def inside(self, index: int, *names: str) -> "Context":
        """The same in one round of a loop that has these names."""
        return replace(self, loops={**self.loops, **{name.lower(): index for name in names}})
