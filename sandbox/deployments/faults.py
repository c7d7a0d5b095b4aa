"""What can go wrong with deployments, and with the resources that they are about."""

from typing import Any

from pydantic import JsonValue

from sandbox.asking import Question
from sandbox.deployments.checks import POLICY, QUOTA
from sandbox.deployments.reading import version_of
from sandbox.deployments.sending import FAILS, NEVER_ENDS, SLOW
from sandbox.deployments.what_if import BLIND, CLUTTER, SHORT
from sandbox.directory import ROLLBACK
from sandbox.errors import SandboxError
from sandbox.faults import TIMES, Kind, Option, text
from sandbox.rbac import find_principal
from sandbox.state import Fault, ManagementLock
from sandbox.world import World

WHICH = {
    "type": Option("resource type; empty: any", ""),
    "name": Option("the resource's name, as the template has it; empty: any", ""),
}
LOCK = "somebody-elses-lock"


async def _noted(_world: World, _fault: Fault) -> None:
    """It holds as long as it is there: whoever it concerns looks."""


async def _ask(world: World, method: str, path: str, body: JsonValue = None) -> dict[str, Any]:
    """What somebody does by hand, past locks and permissions."""
    who = find_principal(world.state, ROLLBACK)
    answer = await world.arm.ask(Question(method, path, version_of(path), who, body, trusted=True))
    if answer.status >= 400:
        raise SandboxError(f"{method} {path}: {answer.error['message']}")
    return answer.resource


async def _drift(world: World, fault: Fault) -> None:
    path, tag, value = text(fault, "id"), text(fault, "tag"), text(fault, "value")
    found = await _ask(world, "GET", path)
    if not tag:
        change: JsonValue = {"properties": _nested(text(fault, "property"), value)}
    else:
        change = {"tags": {**(found.get("tags") or {}), tag: value}}
    await _ask(world, "PATCH", path, change)


def _nested(path: str, value: str) -> JsonValue:
    if not path:
        raise SandboxError("arm-drift needs tag=… or property=… (what is changed).")
    first, dot, rest = path.partition(".")
    words: dict[str, JsonValue] = {"true": True, "false": False}
    return {first: _nested(rest, value) if dot else words.get(value.lower(), value)}


async def _remove(world: World, fault: Fault) -> None:
    await _ask(world, "GET", text(fault, "id"))
    await _ask(world, "DELETE", text(fault, "id"))


async def _lock(world: World, fault: Fault) -> None:
    scope = text(fault, "scope")
    level = "CanNotDelete" if text(fault, "level") == "CanNotDelete" else "ReadOnly"
    if not scope.startswith("/"):
        scope = f"/subscriptions/{world.state.subscription_id}/resourceGroups/{scope}"
    world.state.locks.append(ManagementLock(name=LOCK, scope=scope, level=level, notes="Do not touch."))


async def _unlock(world: World, _fault: Fault) -> None:
    world.state.locks = [each for each in world.state.locks if each.name != LOCK]


KINDS = [
    Kind(FAILS, "A deployment fails at a resource; what it wrote before stays.", {**WHICH, **TIMES}),
    Kind(
        NEVER_ENDS,
        "A deployment never gets done with a resource, until this is repaired or it is cancelled.",
        WHICH,
        _noted,
        _noted,
    ),
    Kind(
        SLOW,
        "A deployment takes longer for each resource.",
        {"seconds": Option("how much longer", 1.0), **WHICH},
        _noted,
        _noted,
    ),
    Kind(
        QUOTA,
        "A deployment is refused because a quota would be exceeded.",
        {"quota": Option("which", "Total Regional Cores"), **TIMES},
    ),
    Kind(
        POLICY,
        "A policy denies resources of a template.",
        {"type": WHICH["type"], "policy": Option("its name", "require-cost-center")},
        _noted,
        _noted,
    ),
    Kind(
        "arm-drift",
        "Somebody changes a tag or a property of a resource, now.",
        {
            "id": Option("the resource's id", None),
            "tag": Option("which tag", ""),
            "property": Option("which property instead, below properties: siteConfig.alwaysOn", ""),
            "value": Option("the new value", "by-hand"),
        },
        _drift,
    ),
    Kind("arm-resource-gone", "Somebody deletes a resource, now.", {"id": Option("the resource's id", None)}, _remove),
    Kind(
        "arm-lock",
        "Somebody locks a scope.",
        {
            "scope": Option("a group's name, or a resource's id", "fundrbolt-production-rg"),
            "level": Option("ReadOnly or CanNotDelete", "ReadOnly"),
        },
        _lock,
        _unlock,
    ),
    Kind(
        CLUTTER,
        "What-if tells a property as deleted that is only there by default.",
        {"type": Option("resource type", "Microsoft.Web/sites"), "property": Option("which", "clientCertMode")},
        _noted,
        _noted,
    ),
    Kind(BLIND, "What-if does not support a type.", {"type": Option("resource type", None)}, _noted, _noted),
    Kind(
        SHORT,
        "What-if ignores nested templates beyond a number, as Azure does beyond 500.",
        {"nested": Option("how many it looks into", 0)},
        _noted,
        _noted,
    ),
]
