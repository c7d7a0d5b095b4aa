"""The few functions of ARM's template language by which templates write a database's URL.

What-if leaves an expression with `reference()` as it is. Whether it comes to the URL in use is found out by evaluating
it with what is known; anything else is `UNKNOWN`, never a guess.

Source: learn.microsoft.com, "ARM template functions".
"""

import re
from collections.abc import Callable, Mapping
from typing import Any, Final, cast
from urllib.parse import quote

_TOKEN = re.compile(r"\s*(?:'((?:[^']|'')*)'|([A-Za-z_]\w*)|(-?\d+)|([().,\[\]]))")


class Unknown:
    """What cannot be told before the deployment."""


UNKNOWN: Final = Unknown()
Reference = Callable[[str], Any]
"""The properties of a resource by its type and names, `Microsoft.X/y/name`; `UNKNOWN` where they are not known."""


def evaluate(value: Any, known: Mapping[str, Any], reference: Reference) -> Any:
    """A value of a template: what is no expression as it is; else what it comes to, or `UNKNOWN`.

    `known`: parameters by their names in lower letters, and variables as `variables/name`.
    """
    if not isinstance(value, str) or not value.startswith("[") or not value.endswith("]"):
        return value
    if value.startswith("[["):
        return value[1:]
    try:
        return _Reading(value[1:-1], known, reference).whole()
    except (SyntaxError, IndexError, KeyError, TypeError, ValueError):
        return UNKNOWN


def _format(given: list[Any]) -> str:
    return re.sub(r"\{(\d+)\}", lambda found: str(given[1 + int(found[1])]), given[0])


def _resource_id(given: list[Any]) -> str:
    """Type and names; subscription and group, where they are given, stand before the type."""
    kind = next(index for index, each in enumerate(given) if "/" in str(each))
    return "/".join(str(each) for each in given[kind:])


_PURE: dict[str, Callable[[list[Any]], str]] = {
    "format": _format,
    "concat": lambda given: "".join(str(each) for each in given),
    "uricomponent": lambda given: quote(given[0], safe=""),
    "resourceid": _resource_id,
}


class _Reading:
    """Reads one expression from left to right, evaluating as it goes."""

    def __init__(self, text: str, known: Mapping[str, Any], reference: Reference) -> None:
        self._known = known
        self._reference = reference
        self._tokens: list[tuple[str, str]] = []
        at, end = 0, len(text.rstrip())
        while at < end:
            found = _TOKEN.match(text, at)
            if found is None:
                raise SyntaxError(text[at:])
            kind = next(kind for kind in (1, 2, 3, 4) if found[kind] is not None)
            self._tokens.append(("'n0("[kind - 1], found[kind]))
            at = found.end()

    def whole(self) -> Any:
        value = self._value()
        if self._tokens:
            raise SyntaxError(self._tokens[0][1])
        return value

    def _take(self) -> tuple[str, str]:
        return self._tokens.pop(0)

    def _next_is(self, mark: str) -> bool:
        return bool(self._tokens) and self._tokens[0] == ("(", mark)

    def _value(self) -> Any:
        kind, text = self._take()
        match kind:
            case "'":
                value: Any = text.replace("''", "'")
            case "0":
                value = int(text)
            case "n" if self._next_is("("):
                value = self._call(text.lower(), self._arguments())
            case _:
                raise SyntaxError(text)
        while self._next_is("."):
            self._take()
            name = self._take()[1]
            value = cast("dict[str, Any]", value)[name] if isinstance(value, dict) else UNKNOWN
        return value

    def _arguments(self) -> list[Any]:
        self._take()
        given: list[Any] = []
        while not self._next_is(")"):
            if given:
                if not self._next_is(","):
                    raise SyntaxError("a comma is missing")
                self._take()
            given.append(self._value())
        self._take()
        return given

    def _call(self, name: str, given: list[Any]) -> Any:
        if any(isinstance(each, Unknown) for each in given):
            return UNKNOWN
        if name == "reference":
            return self._reference(given[0])
        if name in {"parameters", "variables"}:
            return self._lookup(given[0].lower() if name == "parameters" else f"variables/{given[0].lower()}")
        return _PURE[name](given) if name in _PURE else UNKNOWN

    def _lookup(self, name: str) -> Any:
        return evaluate(self._known.get(name, UNKNOWN), self._known, self._reference)
