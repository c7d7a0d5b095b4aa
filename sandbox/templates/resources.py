"""The resources of a template: read, copied, named, and found again by what other resources call them.

*Source:* learn.microsoft.com, "Understand the structure and syntax of ARM templates", "Define the order for deploying
resources in ARM templates" and "Set name and type for child resources".
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from sandbox.templates.context import OWN, Context
from sandbox.templates.errors import RESOURCES, ExpressionError, TemplateError, UnsupportedError, invalid, validating
from sandbox.templates.evaluation import copies, evaluate
from sandbox.templates.scopes import Scope, child_id
from sandbox.templates.values import is_array, is_object

DEPLOYMENTS = "microsoft.resources/deployments"
REQUIRED = ("type", "apiVersion", "name")
ELEMENT = re.compile(r"(?P<symbol>.+)\[(?P<index>\d+)\]")


@dataclass(frozen=True)
class Instance:
    """One resource as the template has it; of a loop, one round."""

    id: str
    kind: str
    name: str
    api_version: str
    source: dict[str, Any] = field(repr=False)
    context: Context = field(repr=False)
    symbol: str | None
    """Its key, where resources have keys."""
    loop: str | None
    index: int
    declared: bool
    """False if its condition is, or if it only tells of a resource that exists."""


def instances(resources: Any, context: Context, target: Scope) -> list[Instance]:
    """Every resource of a template that is deployed to `target`."""
    made = [each for symbol, source in _listed(resources) for each in _rounds(symbol, source, context, target)]
    seen: set[str] = set()
    for each in made:
        if each.declared and each.id.lower() in seen:
            raise invalid(f"The resource '{short(each.id)}' is defined multiple times in a template.", RESOURCES)
        seen |= {each.id.lower()} if each.declared else set()
    return made


def short(resource_id: str) -> str:
    """A resource id without its scope: how messages call a resource."""
    return resource_id.rpartition("/providers/")[2]


def _listed(resources: Any) -> Iterator[tuple[str | None, dict[str, Any]]]:
    pairs = resources.items() if is_object(resources) else ((None, each) for each in resources)
    for position, (symbol, source) in enumerate(pairs):
        needed = ("type", "apiVersion") if is_object(source) and source.get("existing") else REQUIRED
        missing = next((name for name in needed if not is_object(source) or name not in source), None)
        if missing is not None:
            path = f"properties.template.resources[{position if symbol is None else repr(symbol)}]"
            raise TemplateError(
                "InvalidRequestContent",
                "The request content was invalid and could not be deserialized: 'Required property "
                f"'{missing}' not found in JSON. Path '{path}'.'.",
            )
        yield symbol, source


def _rounds(
    symbol: str | None, source: dict[str, Any], context: Context, target: Scope, parent: tuple[str, str] | None = None
) -> Iterator[Instance]:
    loop = source.get("copy")
    if loop is None:
        yield from _with_children(symbol, source, (context, None, 0), target, parent)
        return
    if parent is not None:
        raise invalid("The copy element is not supported for a resource nested in another one.", RESOURCES)
    with validating(f"template resource '{source['name']}'"):
        name = str(loop.get("name", "")) if is_object(loop) else ""
        rounds = list(copies(loop, context, OWN, name))
    for index, each in enumerate(rounds):
        yield from _with_children(symbol, source, (each, name, index), target, parent)


def _with_children(
    symbol: str | None,
    source: dict[str, Any],
    place: tuple[Context, str | None, int],
    target: Scope,
    parent: tuple[str, str] | None,
) -> Iterator[Instance]:
    with validating(f"template resource '{source['name']}'"):
        made = _instance(symbol, source, place, target, parent)
    yield made
    for key, child in _listed(source.get("resources", [])):
        yield from _rounds(key, child, place[0], target, (made.kind, made.name))


def _instance(
    symbol: str | None,
    source: dict[str, Any],
    place: tuple[Context, str | None, int],
    target: Scope,
    parent: tuple[str, str] | None,
) -> Instance:
    context, loop, index = place
    kind, name = _text(source["type"], context), _text(source["name"], context)
    if parent is not None:
        kind, name = f"{parent[0]}/{kind}", f"{parent[1]}/{name}"
    names = name.split("/")
    if kind.count("/") != len(names) or "" in names:
        raise invalid(
            f"The template resource '{name}' for type '{kind}' has incorrect segment lengths. A nested resource type "
            "must have identical number of segments as its resource name. A root resource type must have segment "
            "length one greater than its resource name.",
            RESOURCES,
        )
    condition = evaluate(source.get("condition", True), context)
    if not isinstance(condition, bool):
        raise ExpressionError("The condition must be of type 'Boolean'.")
    return Instance(
        id=child_id(_scope_of(kind, source, context, target), kind, names),
        kind=kind,
        name=name,
        api_version=_text(source["apiVersion"], context),
        source=source,
        context=context,
        symbol=symbol,
        loop=loop,
        index=index,
        declared=condition and not source.get("existing", False),
    )


def _text(value: Any, context: Context) -> str:
    made = evaluate(value, context)
    if not isinstance(made, str):
        raise ExpressionError("Expected a value of type 'String, Uri'.")
    return made


def _scope_of(kind: str, source: dict[str, Any], context: Context, target: Scope) -> str:
    """The id of what a resource is in or on: for a nested deployment, where its resources go."""
    if kind.lower() == DEPLOYMENTS:
        return nested_scope(source, context, target)
    scope = _text(source.get("scope", ""), context)
    if not scope:
        return target.id
    return scope if scope.startswith("/") else f"{target.id}/providers/{scope}"


def nested_scope(source: dict[str, Any], context: Context, target: Scope) -> str:
    """The id of the group or subscription that a nested deployment goes to."""
    if "scope" in source:
        raise UnsupportedError("'scope' of a nested deployment")
    subscription = _text(source.get("subscriptionId", target.subscription_id), context)
    if "resourceGroup" in source:
        return f"/subscriptions/{subscription}/resourceGroups/{_text(source['resourceGroup'], context)}"
    if "subscriptionId" in source or target.group is None:
        return f"/subscriptions/{subscription}"
    return target.id


class Known:
    """A template's resources by what they are called: `Resources` of its expressions."""

    def __init__(self, made: list[Instance], context: Context) -> None:
        self._made, self._context = made, context

    def resolve(self, name: str) -> tuple[str, str | None]:
        """The id and API version of what reference() or a list function names."""
        found = self._named(name)
        if len(found) == 1:
            return found[0].id, found[0].api_version
        if "/" not in name or len(found) > 1:
            raise ExpressionError(
                f"The template reference '{name}' is not valid: could not find template resource or resource copy with "
                "this name."
            )
        return self._full(name), None

    def depended(self, name: str) -> list[Instance]:
        """The resources that an entry of dependsOn is about; none for one that is not deployed."""
        found = self._named(name)
        if not found:
            what = f"The resource '{short(name)}' is not defined in the template."
            raise invalid(what)
        return [each for each in found if each.declared]

    def _full(self, name: str) -> str:
        return name if name.startswith("/") else f"{self._context.scope.id}/providers/{name}"

    def _named(self, name: str) -> list[Instance]:
        element = ELEMENT.fullmatch(name)
        if element is not None:
            symbol, index = element["symbol"], int(element["index"])
            return [each for each in self._made if each.symbol == symbol and each.index == index]
        called = [each for each in self._made if name in (each.symbol, each.loop)]
        if called:
            return called
        wanted = self._full(name).lower() if "/" in name else None
        found = [each for each in self._made if each.id.lower() == wanted]
        found = found or [each for each in self._made if each.name.lower() == name.lower()]
        return [each for each in found if each.declared] or found


def serial_batches(each: Instance, made: list[Instance]) -> list[Instance]:
    """The rounds of the same loop that must be deployed before this one, where its mode is serial."""
    loop = each.source.get("copy")
    if not is_object(loop) or str(loop.get("mode", "parallel")).lower() != "serial":
        return []
    size = max(int(loop.get("batchSize", 1)), 1)
    before = each.index // size - 1
    return [other for other in made if other.source is each.source and other.index // size == before]


def declared_dependencies(each: Instance) -> list[str]:
    """Its dependsOn, evaluated."""
    entries = each.source.get("dependsOn", [])
    if not is_array(entries):
        raise ExpressionError("The dependsOn must be an array.")
    return [_text(entry, each.context) for entry in entries]
