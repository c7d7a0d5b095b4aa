"""What a deployment would change, as Azure's what-if tells it: resources, property paths, before and after.

Source: Microsoft.Resources deployments `whatIf`, API version 2025-04-01; learn.microsoft.com, "Bicep what-if".
"""

from collections.abc import Iterator
from enum import StrEnum
from typing import Any, cast

from rollback.infrastructure.blinding import Blinding, Value
from rollback.models import Model
from rollback.redaction import blacken

RawChange = dict[str, Any]
"""One change as Azure gives it, with the resource before and after: for eyes of ours only."""


class ChangeKind(StrEnum):
    """What happens to a resource."""

    CREATE = "Create"
    DELETE = "Delete"
    IGNORE = "Ignore"
    """It is there and not in the template, or beyond what Azure looks at."""
    DEPLOY = "Deploy"
    """It is deployed again, and Azure does not say whether that changes anything."""
    NO_CHANGE = "NoChange"
    MODIFY = "Modify"
    UNSUPPORTED = "Unsupported"
    """Azure cannot say what happens to it."""


UNEVALUATED = frozenset({ChangeKind.IGNORE, ChangeKind.UNSUPPORTED, ChangeKind.DEPLOY})
"""What Azure did not look into."""
WRITTEN = frozenset(ChangeKind) - {ChangeKind.IGNORE}
"""What the deployment touches."""
DEPLOYMENT = "Microsoft.Resources/deployments"
NOWHERE = "unknown"
"""In the place of an id, where Azure does not say what it speaks of."""
POTENTIAL = "potential"
"""Set in a change that may happen or not."""


class PropertyChange(Model):
    """One property that changes."""

    path: str
    """Dotted; a list's elements by name where they have one: `properties.siteConfig.appSettings[REGION].value`."""
    kind: str
    """Azure's: `Create`, `Delete`, `Modify`, `NoEffect`."""
    before: Value | None = None
    after: Value | None = None
    high: str = ""
    """Why it is of high risk; empty where it is not."""
    noise: str = ""
    """Why it means nothing, though Azure names it; empty where it counts."""

    @property
    def is_open(self) -> bool:
        """Whether Azure evaluates only when it deploys what it comes to: it may be so already."""
        return self.after is not None and self.after.unresolved and not self.noise


class ResourceChange(Model):
    """One resource, and what happens to it."""

    id: str
    kind: ChangeKind
    properties: tuple[PropertyChange, ...] = ()
    payload: str = ""
    """Of a resource that is made: keyed digest of all that it is made of."""
    why: str = ""
    """Why Azure could not say what happens to it, in its words."""
    high: str = ""
    """Why what happens to the resource as a whole is of high risk."""
    potential: bool = False
    """Whether Azure says only that it may happen."""

    @property
    def type(self) -> str:
        """Its type, for instance `Microsoft.Web/sites/config`."""
        return type_of(self.id)

    @property
    def name(self) -> str:
        """Its name, with its parents'."""
        return name_of(self.id)

    @property
    def counting(self) -> tuple[PropertyChange, ...]:
        """What changes and is no noise."""
        return tuple(each for each in self.properties if not each.noise)

    @property
    def differing(self) -> tuple[PropertyChange, ...]:
        """What is known to change."""
        return tuple(each for each in self.counting if not each.is_open)

    @property
    def counts(self) -> bool:
        """Whether the resource is changed, or may be by what is not evaluated yet; noise apart."""
        return self.differs or (self.kind is ChangeKind.MODIFY and not self.potential and bool(self.counting))

    @property
    def differs(self) -> bool:
        """Whether the resource is known to be changed, noise apart."""
        if self.potential:
            return False
        match self.kind:
            case ChangeKind.CREATE | ChangeKind.DELETE:
                return True
            case ChangeKind.MODIFY:
                return bool(self.differing) or not self.properties
            case _:
                return False

    @property
    def is_open(self) -> bool:
        """Whether the template has something of it that Azure did not compare."""
        return self.is_skipped or any(each.is_open for each in self.properties)

    @property
    def is_skipped(self) -> bool:
        """Whether the template has it, and Azure did not evaluate, or not to the end, what becomes of it."""
        if self.kind is ChangeKind.IGNORE:
            return bool(self.why) or self.type.lower() == DEPLOYMENT.lower()
        return self.potential or self.kind in UNEVALUATED

    @property
    def hides(self) -> bool:
        """Whether resources of the template may be in it that what-if names nowhere."""
        nested = self.type.lower() == DEPLOYMENT.lower() or "/providers/" not in self.id.lower()
        return nested and self.is_skipped

    @property
    def is_high(self) -> bool:
        """Whether anything of it is of high risk."""
        return bool(self.high) or any(each.high for each in self.counting)

    def binding(self) -> dict[str, Any]:
        """What an approval is of: the change without its noise."""
        return {
            "id": self.id.lower(),
            "kind": self.kind.value,
            "payload": self.payload,
            "potential": self.potential,
            "properties": [each.model_dump(mode="json", exclude={"high", "noise"}) for each in self.counting],
        }


def gather(properties: dict[str, Any]) -> list[RawChange]:
    """All that a what-if says, as changes: what may happen too, and each of Azure's warnings at what it is about.

    A warning about what Azure evaluated, or about nothing by name, is a change of its own that cannot be told.
    """
    changes = cast("list[RawChange]", properties.get("changes") or [])
    potential = cast("list[RawChange]", properties.get("potentialChanges") or [])
    found = [*(dict(each) for each in changes), *({**each, POTENTIAL: True} for each in potential)]
    for each in cast("list[dict[str, Any]]", properties.get("diagnostics") or []):
        if str(each.get("level")).lower() == "info":
            continue
        target, said = str(each.get("target") or NOWHERE), f"{each.get('code')}: {each.get('message')}"
        about = [
            own
            for own in found
            if str(own.get("resourceId")).lower() == target.lower() and own["changeType"] in UNEVALUATED
        ]
        if not about:
            about = [{"resourceId": target, "changeType": ChangeKind.UNSUPPORTED.value}]
            found += about
        for own in about:
            before = own.get("unsupportedReason")
            own["unsupportedReason"] = f"{before}; {said}" if before else said
    return found


def read_changes(raw: list[RawChange], blinding: Blinding) -> tuple[ResourceChange, ...]:
    """The changes of a what-if without its secrets, in a stable order."""
    return tuple(sorted((_read(each, blinding) for each in raw), key=lambda change: change.id.lower()))


def type_of(resource: str) -> str:
    """The type of a resource by its id; of the innermost, where it extends another one."""
    parts = resource.strip("/").split("/")
    lower = [each.lower() for each in parts]
    if "providers" not in lower:
        return (
            "Microsoft.Resources/resourceGroups" if "resourcegroups" in lower else "Microsoft.Resources/subscriptions"
        )
    last = len(lower) - 1 - lower[::-1].index("providers")
    return "/".join([parts[last + 1], *parts[last + 2 :: 2]])


def name_of(resource: str) -> str:
    """The name of a resource by its id, with its parents'."""
    parts = resource.strip("/").split("/")
    lower = [each.lower() for each in parts]
    if "providers" not in lower:
        return parts[-1]
    last = len(lower) - 1 - lower[::-1].index("providers")
    return "/".join(parts[last + 3 :: 2])


def group_of(resource: str) -> str:
    """The resource group in a resource's id; empty where it is in none."""
    parts = resource.strip("/").split("/")
    lower = [each.lower() for each in parts]
    return parts[lower.index("resourcegroups") + 1] if "resourcegroups" in lower[:-1] else ""


def _read(raw: RawChange, blinding: Blinding) -> ResourceChange:
    kind = ChangeKind(raw["changeType"])
    resource = str(raw.get("resourceId") or raw.get("symbolicName") or raw.get("identifiers") or "unknown")
    of = (type_of(resource), name_of(resource))
    pieces: list[PropertyChange] = []
    for piece, path in _flatten(raw.get("delta") or [], "", raw.get("before"), raw.get("after")):
        pieces.append(
            PropertyChange(
                path=path,
                kind=str(piece["propertyChangeType"]),
                before=blinding.value(piece.get("before"), path, *of),
                after=blinding.value(piece.get("after"), path, *of),
                noise=str(piece.get("noise") or ""),
            )
        )
    return ResourceChange(
        id=resource,
        kind=kind,
        properties=tuple(sorted(pieces, key=lambda each: each.path)),
        payload=blinding.digest(raw.get("after")) if kind is ChangeKind.CREATE else "",
        why=blacken(str(raw.get("unsupportedReason") or "")),
        potential=bool(raw.get(POTENTIAL)),
    )


def _flatten(
    delta: list[dict[str, Any]], prefix: str, before: Any, after: Any, *, of_list: bool = False
) -> Iterator[tuple[dict[str, Any], str]]:
    """Every property that changes itself, with its whole path: Azure nests those of objects and lists."""
    for piece in delta:
        own = str(piece["path"])
        # Where the object itself is given, its properties are looked up in it; a child's path is its parent's own.
        inside_before, inside_after = _inside(before, own), _inside(after, own)
        path = _join(prefix, own, _label(piece, own, inside_before, inside_after) if of_list else None)
        children: list[dict[str, Any]] = piece.get("children") or []
        if children:
            listed = piece["propertyChangeType"] == "Array"
            yield from _flatten(children, path, inside_before, inside_after, of_list=listed)
        else:
            yield piece, path


def _join(prefix: str, own: str, label: str | None) -> str:
    if label is not None:
        return f"{prefix}[{label}]"
    return f"{prefix}.{own}" if prefix else own


def _label(piece: dict[str, Any], own: str, *inside: Any) -> str:
    """How an element of a list is called: by its name, as app settings have one, else by its place."""
    for each in (piece.get("after"), piece.get("before"), *reversed(inside)):
        if isinstance(each, dict):
            name = cast("dict[str, Any]", each).get("name")
            if isinstance(name, str):
                return name
    return own


def _inside(value: Any, path: str) -> Any:
    """What is at a path within a value; none where it is not there."""
    for part in path.split("."):
        if isinstance(value, dict):
            value = cast("dict[str, Any]", value).get(part)
        elif isinstance(value, list) and part.isdecimal():
            items = cast("list[Any]", value)
            value = items[int(part)] if int(part) < len(items) else None
        else:
            return None
    return value
