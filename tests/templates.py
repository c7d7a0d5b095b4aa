"""Small ARM templates for the tests, and a reader of what is deployed."""

from typing import Any

from sandbox.templates.expansion import Expansion, NotYetError, Scope, expand

SUBSCRIPTION = "11111111-1111-4111-8111-111111111111"
TENANT = "22222222-2222-4222-8222-222222222222"
GROUP = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/app-rg"
AT_GROUP = Scope(TENANT, SUBSCRIPTION, "app-rg", "eastus", "platform")
AT_SUBSCRIPTION = Scope(TENANT, SUBSCRIPTION, None, "eastus", "platform")
SCHEMAS = "https://schema.management.azure.com/schemas"


class Deployed:
    """A reader of these resources, by id; others are not there yet."""

    def __init__(self, **resources: dict[str, Any]) -> None:
        self.resources = {
            f"{GROUP}/providers/Microsoft.Storage/storageAccounts/{name}": each for name, each in resources.items()
        }
        self.asked: list[tuple[Any, ...]] = []

    def reference(self, resource_id: str, api_version: str | None, full: bool) -> dict[str, Any]:
        self.asked.append((resource_id, api_version, full))
        found = self._found(resource_id)
        return found if full else found["properties"]

    def listing(self, function: str, resource_id: str, api_version: str) -> dict[str, Any]:
        self.asked.append((function, resource_id, api_version))
        self._found(resource_id)
        return {"keys": [{"value": "first key"}, {"value": "second key"}]}

    def group_location(self, name: str) -> str:
        return {"app-rg": "eastus", "other-rg": "westus"}[name]

    def _found(self, resource_id: str) -> dict[str, Any]:
        if resource_id not in self.resources:
            raise NotYetError(resource_id)
        return self.resources[resource_id]


def template(
    *resources: dict[str, Any], kind: str = "2019-04-01/deploymentTemplate", **sections: Any
) -> dict[str, Any]:
    """A template with these resources and other sections."""
    frame = {"$schema": f"{SCHEMAS}/{kind}.json#", "contentVersion": "1.0.0.0"}
    return {**frame, "resources": list(resources), **sections}


def storage(name: str, **more: Any) -> dict[str, Any]:
    """A resource of a template."""
    return {"type": "Microsoft.Storage/storageAccounts", "apiVersion": "2023-05-01", "name": name, **more}


def nested(name: str, inner: dict[str, Any], scope: str = "inner", **more: Any) -> dict[str, Any]:
    """A nested deployment; `parameters` among `more` are passed to it."""
    properties = {
        "mode": "Incremental",
        "expressionEvaluationOptions": {"scope": scope},
        "template": inner,
        "parameters": more.pop("parameters", {}),
    }
    return {
        "type": "Microsoft.Resources/deployments",
        "apiVersion": "2022-09-01",
        "name": name,
        "properties": properties,
        **more,
    }


def names(expansion: Expansion) -> list[str]:
    """What it declares, in order."""
    return [each.name for each in expansion.resources]


def value_of(expression: Any, parameters: dict[str, Any] | None = None, **sections: Any) -> Any:
    """What an expression comes to in a resource's properties; every parameter in `parameters` has a default value."""
    kinds = {str: "string", bool: "bool", int: "int", list: "array", dict: "object"}
    declared = {name: {"type": kinds[type(each)], "defaultValue": each} for name, each in (parameters or {}).items()}
    made = template(storage("only", properties={"value": expression}), parameters=declared, **sections)
    (resource,) = expand(made, {}, AT_GROUP).resources
    return resource.body(Deployed())["properties"]["value"]
