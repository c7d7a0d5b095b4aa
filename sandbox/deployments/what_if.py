"""What a deployment of a template would change, told from the sandbox's state and from nothing else."""

from dataclasses import dataclass, field
from typing import Any

from sandbox import inventory
from sandbox.arm import ArmError, Call
from sandbox.asking import Question
from sandbox.deployments.comparing import READ_ONLY, differences, predicted
from sandbox.deployments.reading import AnswerWantedError, NotYet
from sandbox.deployments.scopes import KIND
from sandbox.deployments.wish import Wish
from sandbox.faults import number
from sandbox.templates.expansion import Declared, Expansion, NotYetError, TemplateError, UnsupportedError

MOST_NESTED, MOST_GROUPS = 500, 800
"""Beyond these Azure does not look into templates. Source: learn.microsoft.com, "What-if limits"."""
UNSHOWN = ("appsettings", "connectionstrings")
"""Configuration of a site that GET does not show."""
BLIND = "whatif-unsupported"
SHORT = "whatif-limit"
CLUTTER = "whatif-noise"


@dataclass
class Prediction:
    """What is found out so far."""

    call: Call
    full: bool
    changes: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    diagnostics: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    groups: set[str] = field(default_factory=set[str])
    """Ids in lower case of the groups that the template deploys to."""
    seen: set[str] = field(default_factory=set[str])
    nested: int = 0

    @property
    def most_nested(self) -> int:
        """How many nested templates are looked into."""
        told = [number(each, "nested") for each in self.call.world.state.faults if each.name == SHORT]
        return int(min(told, default=MOST_NESTED))


async def predict(call: Call, wish: Wish, expansion: Expansion) -> dict[str, Any]:
    """The result of a what-if, as its client gets it."""
    prediction = Prediction(call, wish.properties.what_if.format == "FullResourcePayloads")
    group = call.names.get("group")
    if group is not None:
        scope = f"/subscriptions/{call.world.state.subscription_id}/resourceGroups/{group}"
        prediction.groups.add(scope.lower())
    try:
        await _walk(prediction, expansion)
    except TemplateError as error:
        raise ArmError(400, error.code, error.message) from error
    except UnsupportedError as error:
        raise ArmError(501, "NotImplementedInSandbox", str(error)) from error
    _add_others(prediction)
    changes = sorted(prediction.changes, key=lambda each: str(each["resourceId"]).lower())
    properties: dict[str, Any] = {"changes": changes, "potentialChanges": [], "diagnostics": prediction.diagnostics}
    return {"status": "Succeeded", "properties": properties}


async def _walk(prediction: Prediction, expansion: Expansion) -> None:
    for resource in expansion.resources:
        if resource.type.lower() == KIND.lower():
            await _walk_nested(prediction, resource)
        else:
            await _compare(prediction, resource)


async def _walk_nested(prediction: Prediction, resource: Declared) -> None:
    prediction.groups.add(resource.id.lower().rpartition("/providers/")[0])
    prediction.nested += 1
    if prediction.nested > prediction.most_nested:
        _ignore(prediction, resource, "NestedDeploymentLimitReached", "the limit of nested templates was reached")
        return
    try:
        inner = resource.nested(NotYet(prediction.call.world.state.location))
    except (NotYetError, AnswerWantedError):
        why = "its name, scope or parameters use reference(), which cannot be evaluated before the deployment"
        _ignore(prediction, resource, "NestedDeploymentShortCircuited", why)
        return
    await _walk(prediction, inner)


def _ignore(prediction: Prediction, resource: Declared, code: str, why: str) -> None:
    prediction.changes.append({"resourceId": resource.id, "changeType": "Ignore"})
    message = f"The nested deployment '{resource.id}' was not evaluated and is ignored by what-if: {why}."
    prediction.diagnostics.append({"level": "Warning", "code": code, "message": message, "target": resource.id})


async def _compare(prediction: Prediction, resource: Declared) -> None:
    """One resource of the template against the one that is there."""
    call = prediction.call
    prediction.seen.add(resource.id.lower())
    if any(each.name == BLIND and each.options["type"] == resource.type for each in call.world.state.faults):
        reason = f"The resource type '{resource.type}' is not supported by what-if."
        prediction.changes.append({"resourceId": resource.id, "changeType": "Unsupported", "unsupportedReason": reason})
        return
    body = resource.preview(NotYet(call.world.state.location))
    wanted = _framed(resource, body)
    current = await current_state(call, resource.id, resource.api_version)
    told: dict[str, Any] = {"resourceId": resource.id}
    if current is None:
        told |= {"changeType": "Create", "after": wanted}
    elif not prediction.full:
        told |= {"changeType": "Deploy"}
    else:
        deltas = differences(resource.type, current, body)
        told_already = {each["path"] for each in deltas}
        deltas += [each for each in _clutter(call, resource, current) if each["path"] not in told_already]
        before = {**_framed(resource, {}), **current}
        kind = "Modify" if deltas else "NoChange"
        told |= {"changeType": kind, "before": before, "after": predicted(before, wanted, deltas)}
        if deltas:
            told["delta"] = deltas
    if not prediction.full:
        told = {name: value for name, value in told.items() if name in ("resourceId", "changeType")}
    prediction.changes.append(told)


def _framed(resource: Declared, body: dict[str, Any]) -> dict[str, Any]:
    """A payload with what the resource is called."""
    name = resource.name.rpartition("/")[2]
    return {"apiVersion": resource.api_version, "id": resource.id, "type": resource.type, "name": name, **body}


def _clutter(call: Call, resource: Declared, current: dict[str, Any]) -> list[dict[str, Any]]:
    """More noise, by a fault: properties that are only defaulted are told as deleted."""
    return [
        {
            "path": f"properties.{each.options['property']}",
            "propertyChangeType": "Delete",
            "before": current["properties"][each.options["property"]],
            "children": None,
        }
        for each in call.world.state.faults
        if each.name == CLUTTER
        and str(each.options["type"]).lower() == resource.type.lower()
        and each.options["property"] in current.get("properties", {})
    ]


async def current_state(call: Call, resource_id: str, version: str) -> dict[str, Any] | None:
    """A resource as GET shows it, without what nobody sets; None where there is none."""
    path, name = resource_id, resource_id.rpartition("/")[2].lower()
    unshown = name in UNSHOWN and "/config/" in path.lower()
    method = "POST" if unshown else "GET"
    question = Question(method, f"{path}/list" if unshown else path, version, call.principal, trusted=True)
    answer = await call.world.arm.ask(question)
    if answer.status >= 400:
        return None
    found = {key: value for key, value in answer.resource.items() if key not in READ_ONLY}
    if unshown:
        found.pop("properties", None)
    elif isinstance(found.get("properties"), dict):
        found["properties"] = {key: value for key, value in found["properties"].items() if key != "provisioningState"}
    return found


def _add_others(prediction: Prediction) -> None:
    """What is in the groups that the template deploys to, and not in the template: it stays as it is."""
    for each in inventory.every(prediction.call.world):
        resource_id = str(each["id"])
        if resource_id.lower().rpartition("/providers/")[0] not in prediction.groups:
            continue
        if resource_id.lower() in prediction.seen or not prediction.call.may(f"{each['type']}/read", resource_id):
            continue
        told: dict[str, Any] = {"resourceId": resource_id, "changeType": "Ignore"}
        if prediction.full:
            shown = ("id", "name", "type", "location", "tags", "kind", "sku")
            told["before"] = told["after"] = {key: each[key] for key in shown if each.get(key) is not None}
        prediction.changes.append(told)
