"""Deployments and their operations as Azure tells them."""

import json
from datetime import timedelta
from hashlib import sha256
from typing import Any

from sandbox.clock import now
from sandbox.deployments.model import ArmDeployment, DeploymentOperation
from sandbox.deployments.reading import type_of
from sandbox.deployments.scopes import KIND, id_of
from sandbox.state import State


def duration(length: timedelta) -> str:
    """`PT12.5S`, `PT1M3S`."""
    seconds = max(length.total_seconds(), 0)
    minutes, rest = divmod(seconds, 60)
    return f"PT{int(minutes)}M{rest:g}S" if minutes else f"PT{rest:g}S"


def template_hash(template: dict[str, Any]) -> str:
    """A number that is another one for another template, as Azure writes it: digits."""
    return str(int.from_bytes(sha256(json.dumps(template, sort_keys=True).encode()).digest()[:8]))


def deployment_json(state: State, deployment: ArmDeployment) -> dict[str, Any]:
    """A deployment as GET shows it."""
    ended = deployment.ended or now()
    properties: dict[str, Any] = {
        "templateHash": template_hash(deployment.template),
        "parameters": deployment.shown_parameters,
        "mode": deployment.mode,
        "debugSetting": {"detailLevel": deployment.debug} if deployment.debug is not None else None,
        "provisioningState": deployment.state,
        "timestamp": ended.isoformat(),
        "duration": duration(ended - deployment.begun),
        "correlationId": deployment.correlation_id,
        "providers": _providers(state, deployment),
        "dependencies": [],
    }
    if deployment.state == "Succeeded":
        properties["outputs"] = deployment.outputs
        properties["outputResources"] = [{"id": each.resource_id} for each in deployment.operations]
    if deployment.error is not None:
        properties["error"] = deployment.error
    shown: dict[str, Any] = {
        "id": id_of(state, deployment),
        "name": deployment.name,
        "type": KIND,
        "tags": deployment.tags,
        "properties": {name: value for name, value in properties.items() if value is not None},
    }
    if deployment.group is None:
        shown["location"] = deployment.location
    return {name: value for name, value in shown.items() if value is not None}


def _providers(state: State, deployment: ArmDeployment) -> list[dict[str, Any]]:
    kinds = dict.fromkeys(
        type_of(each.resource_id) for each in deployment.operations if "/providers/" in each.resource_id
    )
    found: dict[str, list[dict[str, Any]]] = {}
    for kind in kinds:
        namespace, _, name = kind.partition("/")
        found.setdefault(namespace, []).append({"resourceType": name, "locations": [state.location]})
    return [{"namespace": namespace, "resourceTypes": types} for namespace, types in found.items()]


def operation_json(state: State, deployment: ArmDeployment, operation: DeploymentOperation) -> dict[str, Any]:
    """What a deployment did with one resource."""
    ended = operation.ended or now()
    properties: dict[str, Any] = {
        "provisioningOperation": operation.kind,
        "provisioningState": operation.state,
        "timestamp": ended.isoformat(),
        "duration": duration(ended - operation.begun),
        "trackingId": deployment.tracking_id,
        "serviceRequestId": operation.request_id,
        "statusCode": operation.status_code,
        "targetResource": {
            "id": operation.resource_id,
            "resourceType": type_of(operation.resource_id)
            if "/providers/" in operation.resource_id
            else "Microsoft.Resources/resourceGroups",
            "resourceName": operation.resource_id.rpartition("/")[2],
        },
    }
    if operation.error is not None:
        properties["statusMessage"] = {"status": "Failed", "error": operation.error}
    return {
        "id": f"{id_of(state, deployment)}/operations/{operation.id}",
        "operationId": operation.id,
        "properties": properties,
    }
