"""What a what-if says of one resource: its properties now, those that the template wants, and the differences.

Azure knows each type's description, and so what of a resource nobody sets: those properties are left out. What the
template does not say and Azure gives every resource by itself is known for some properties only: for the others Azure
says `Delete`, though nothing will be. That is its noise, and it is here as it is there:

- a plain resource's `PUT` resets what its template leaves out: what has another value than its default is told as
  `Delete`, and will be the default;
- `NOISE` names properties that are there by default and show up as `Delete` when a template leaves them out;
- `siteConfig` of a site has few properties when it is read: all others show up as `Create`;
- app settings and connection strings are not shown by `GET`: all of them show up as one `Create` of `properties`;
- what refers to another resource stays an expression, and shows up as `Modify`.

*Source:* learn.microsoft.com, "Bicep deployment what-if operation"; github.com/Azure/arm-template-whatif, issues 90,
298, 398 and 419.
"""

from typing import Any, Literal, cast

from sandbox.providers import kinds
from sandbox.templates.values import is_object

ChangeKind = Literal["Create", "Delete", "Modify", "Array", "NoEffect"]

READ_ONLY = ("id", "type", "name", "etag", "systemData", "resourceGroup", "managedBy")
"""Of any resource. What it is called is told apart from what changes."""
NOISE = {
    "microsoft.web/sites": ("clientAffinityEnabled", "clientCertMode", "keyVaultReferenceIdentity"),
    "microsoft.web/sites/slots": ("clientAffinityEnabled", "clientCertMode", "keyVaultReferenceIdentity"),
    "microsoft.web/sites/config": ("loadBalancing", "managedPipelineMode", "netFrameworkVersion"),
    "microsoft.dbforpostgresql/flexibleservers": ("availabilityZone", "maintenanceWindow"),
    "microsoft.storage/storageaccounts": ("encryption",),
    "microsoft.cache/redis": ("publicNetworkAccess", "updateChannel"),
    "microsoft.web/serverfarms": ("elasticScaleEnabled", "zoneRedundant"),
}
"""By type: properties whose default Azure's what-if does not know."""


def change(
    path: str, kind: ChangeKind, before: Any, after: Any, children: list[dict[str, Any]] | None = None
) -> dict[str, Any]:
    """One difference, as Azure writes it."""
    told: dict[str, Any] = {"path": path, "propertyChangeType": kind}
    if kind != "Create":
        told["before"] = before
    if kind != "Delete":
        told["after"] = after
    told["children"] = children
    return told


def differences(kind: str, before: dict[str, Any], after: dict[str, Any]) -> list[dict[str, Any]]:
    """Every difference between a resource and what the template wants of it, by path."""
    found: list[dict[str, Any]] = []
    for name in sorted(after.keys() | before.keys()):
        if name in READ_ONLY or name in ("apiVersion", "properties"):
            continue
        if name in after:
            found += _differs(name, before.get(name), after[name], there=before.get(name) is not None)
        elif name == "tags" and before["tags"]:
            found.append(change("tags", "Delete", before["tags"], None))
    return found + _properties(kind, before.get("properties"), after.get("properties"))


def _properties(kind: str, before: Any, after: Any) -> list[dict[str, Any]]:
    if not isinstance(after, dict):
        return []
    if not isinstance(before, dict):
        return [change("properties", "Create", None, after)]
    wanted, current = cast("dict[str, Any]", after), cast("dict[str, Any]", before)
    found = [
        each
        for name in sorted(wanted)
        for each in _differs(f"properties.{name}", current.get(name), wanted[name], there=current.get(name) is not None)
    ]
    told = [*NOISE.get(kind.lower(), ()), *_reset(kind, current)]
    left_out = [name for name in dict.fromkeys(told) if name not in wanted and current.get(name) is not None]
    return found + [change(f"properties.{name}", "Delete", current[name], None) for name in left_out]


def _reset(kind: str, current: dict[str, Any]) -> list[str]:
    """What a plain resource has of other values than its defaults: leaving it out gives it the default again."""
    plain = kinds.find(kind)
    if plain is None:
        return []
    return [
        name
        for name, value in sorted(current.items())
        if name not in plain.read_only and value != plain.defaults.get(name)
    ]


def _differs(path: str, before: Any, after: Any, *, there: bool) -> list[dict[str, Any]]:
    if after is None:
        return []
    if not there:
        return [change(path, "Create", None, after)]
    if isinstance(before, dict) and isinstance(after, dict):
        current, wanted = cast("dict[str, Any]", before), cast("dict[str, Any]", after)
        found = [
            each
            for name in sorted(wanted)
            for each in _differs(f"{path}.{name}", current.get(name), wanted[name], there=current.get(name) is not None)
        ]
        gone = [name for name in sorted(current) if path == "tags" and name not in wanted]
        return found + [change(f"{path}.{name}", "Delete", current[name], None) for name in gone]
    if isinstance(before, list) and isinstance(after, list):
        return _array(path, cast("list[Any]", before), cast("list[Any]", after))
    return [] if same(path, before, after) else [change(path, "Modify", before, after)]


def _array(path: str, before: list[Any], after: list[Any]) -> list[dict[str, Any]]:
    children: list[dict[str, Any]] = []
    for index in range(max(len(before), len(after))):
        if index >= len(before):
            children.append(change(str(index), "Create", None, after[index]))
        elif index >= len(after):
            children.append(change(str(index), "Delete", before[index], None))
        else:
            inner = _differs("", before[index], after[index], there=True)
            if inner:
                told = [{**each, "path": each["path"].lstrip(".")} for each in inner]
                nested = isinstance(after[index], dict)
                children.append(change(str(index), "Modify", before[index], after[index], told if nested else None))
    return [change(path, "Array", before, after, children)] if children else []


def same(path: str, before: Any, after: Any) -> bool:
    """Whether two values say the same: regions are written in two ways, ids and enumerations have no case."""
    if isinstance(before, str) and isinstance(after, str):
        if path == "location":
            return _region(before) == _region(after)
        if before.startswith("/subscriptions/"):
            return before.lower() == after.lower()
    return bool(before == after)


def _region(name: str) -> str:
    return name.replace(" ", "").lower()


def predicted(before: dict[str, Any], after: dict[str, Any], deltas: list[dict[str, Any]]) -> dict[str, Any]:
    """The whole resource as what-if expects it: what is, with what the template says, less what it says is deleted."""
    result = _laid_over(before, after)
    for each in deltas:
        if each["propertyChangeType"] == "Delete":
            _take_away(result, each["path"])
    return result


def _laid_over(before: Any, after: Any) -> Any:
    if is_object(before) and is_object(after):
        return {name: _laid_over(before.get(name), after.get(name)) for name in dict.fromkeys([*before, *after])}
    return before if after is None else after


def _take_away(result: dict[str, Any], path: str) -> None:
    first, dot, rest = path.partition(".")
    if dot and isinstance(result.get(first), dict):
        result[first] = dict(result[first])
        _take_away(result[first], rest)
    else:
        result.pop(first, None)
