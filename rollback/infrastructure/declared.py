"""The resources that a template declares, as far as they can be told without Azure: deployments within it looked into.

What-if leaves out what it cannot evaluate. What that would write is read here, in the template itself.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from rollback.infrastructure.expressions import UNKNOWN, Reference, Unknown, evaluate

DEPLOYMENT = "microsoft.resources/deployments"

Name = str | Unknown


@dataclass(frozen=True)
class Declared:
    """One resource of a template."""

    kind: str
    """Its whole type, in lower letters."""
    name: Name
    """With its parents'."""
    within: tuple[Name, ...]
    """The deployments that it is in, from the outermost."""
    body: dict[str, Any] = field(repr=False)
    """As it is in the template."""
    known: Mapping[str, Any] = field(repr=False)
    reference: Reference = field(repr=False)

    def value(self, *path: str) -> Any:
        """What a part of it comes to; `UNKNOWN` where that cannot be told."""
        return evaluate(at(self.body, *path), self.known, self.reference)

    def shown(self, *path: str) -> Any:
        """A part of it, with every expression that cannot be evaluated as it is."""
        return self._shown(at(self.body, *path))

    def _shown(self, raw: Any) -> Any:
        if isinstance(raw, dict):
            return {name: self._shown(each) for name, each in cast("dict[str, Any]", raw).items()}
        if isinstance(raw, list):
            return [self._shown(each) for each in cast("list[Any]", raw)]
        value = evaluate(raw, self.known, self.reference)
        return raw if isinstance(value, Unknown) else value


def at(value: Any, *path: str) -> Any:
    """What is at a path within a value; none where it is not there."""
    for part in path:
        value = cast("dict[str, Any]", value).get(part) if isinstance(value, dict) else None
    return value


def walk(template: dict[str, Any], parameters: dict[str, Any], reference: Reference) -> Iterator[Declared]:
    """Every resource that is deployed, or may be: one whose condition is false is not."""
    yield from _walk(template, parameters, reference, ())


def _walk(
    template: dict[str, Any], parameters: dict[str, Any], reference: Reference, within: tuple[Name, ...]
) -> Iterator[Declared]:
    known = _known(template, parameters)
    for each in _resources(template, known, reference, within):
        yield each
        inner = at(each.body, "properties", "template")
        if each.kind != DEPLOYMENT or not isinstance(inner, dict):
            continue
        whole, inside = cast("dict[str, Any]", inner), (*within, each.name)
        if str(each.value("properties", "expressionEvaluationOptions", "scope")).lower() == "inner":
            given: dict[str, Any] = at(each.body, "properties", "parameters") or {}
            passed = {name: {"value": evaluate(at(own, "value"), known, reference)} for name, own in given.items()}
            yield from _walk(whole, passed, reference, inside)
        else:
            outer = {name: template.get(name) for name in ("parameters", "variables")}
            yield from _walk(whole | outer, parameters, reference, inside)


def _known(template: dict[str, Any], parameters: dict[str, Any]) -> dict[str, Any]:
    """What expressions of a template are evaluated with."""
    declared: dict[str, Any] = template.get("parameters") or {}
    known = {name.lower(): each.get("defaultValue", UNKNOWN) for name, each in declared.items()}
    known |= {name.lower(): each.get("value", UNKNOWN) for name, each in parameters.items()}
    variables: dict[str, Any] = template.get("variables") or {}
    return known | {f"variables/{name.lower()}": value for name, value in variables.items()}


def _resources(
    section: dict[str, Any],
    known: dict[str, Any],
    reference: Reference,
    within: tuple[Name, ...],
    parent: Declared | None = None,
) -> Iterator[Declared]:
    """Those of a template or of a resource, with their children's."""
    found: Any = section.get("resources") or []
    bodies: list[dict[str, Any]] = list(cast("dict[str, Any]", found).values()) if isinstance(found, dict) else found
    for body in bodies:
        if body.get("existing") is True or evaluate(body.get("condition"), known, reference) is False:
            continue
        kind, name = str(body.get("type")).lower(), evaluate(body.get("name"), known, reference)
        if parent is not None and "/" not in kind:
            kind = f"{parent.kind}/{kind}"
            whole = not isinstance(name, Unknown) and not isinstance(parent.name, Unknown)
            name = f"{parent.name}/{name}" if whole else UNKNOWN
        own = Declared(kind, name if isinstance(name, Unknown) else str(name), within, body, known, reference)
        yield own
        yield from _resources(body, known, reference, within, own)
