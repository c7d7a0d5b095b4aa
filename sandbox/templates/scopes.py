"""Where a template is deployed, and the ids of what it declares."""

import re
from dataclasses import dataclass
from typing import Any

from sandbox.templates.errors import ExpressionError
from sandbox.templates.functions.signature import failed

GUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
CLOUD: dict[str, Any] = {
    "name": "AzureCloud",
    "portal": "https://portal.azure.com",
    "resourceManager": "https://management.azure.com/",
    "authentication": {
        "loginEndpoint": "https://login.microsoftonline.com/",
        "audiences": ["https://management.core.windows.net/", "https://management.azure.com/"],
        "tenant": "common",
        "identityProvider": "AAD",
    },
    "graph": "https://graph.windows.net/",
    "suffixes": {
        "storage": "core.windows.net",
        "keyvaultDns": ".vault.azure.net",
        "sqlServerHostname": ".database.windows.net",
        "azureFrontDoorEndpointSuffix": "azurefd.net",
    },
}
"""What environment() tells of the public cloud."""


@dataclass(frozen=True)
class Scope:
    """Where a template is deployed."""

    tenant_id: str
    subscription_id: str
    group: str | None
    """None for a subscription."""
    location: str
    """Of the group; of the deployment where the scope is a subscription."""
    deployment: str

    @property
    def id(self) -> str:
        """The group's or the subscription's resource id."""
        subscription = f"/subscriptions/{self.subscription_id}"
        return subscription if self.group is None else f"{subscription}/resourceGroups/{self.group}"


def path_of(kind: str, names: list[str]) -> str:
    """`Microsoft.Web/sites/slots` and two names: `Microsoft.Web/sites/a/slots/b`."""
    namespace, *types = kind.split("/")
    return "/".join([namespace, *(part for pair in zip(types, names, strict=True) for part in pair)])


def child_id(scope_id: str, kind: str, names: list[str]) -> str:
    """The id of a resource of this type, with a name for each of its segments, in a scope."""
    base = "" if scope_id == "/" else scope_id.rstrip("/")
    if kind.lower() == "microsoft.resources/resourcegroups":
        return f"{base}/resourceGroups/{names[0]}"
    return f"{base}/providers/{path_of(kind, names)}"


def _typed(name: str, parts: list[str]) -> tuple[str, list[str]]:
    kind, *names = parts or [""]
    required = kind.count("/")
    if not required or len(names) != required:
        raise ExpressionError(
            f"Unable to evaluate template language function '{name}': the type '{kind}' requires '{required}' resource "
            f"name argument(s). Please see https://aka.ms/arm-resource-functions/#{name.lower()} for usage details."
        )
    return kind, names


def _leading(parts: list[str]) -> tuple[list[str], list[str]]:
    """What stands before the type, and the rest: only a type has a slash there."""
    at = next((index for index, part in enumerate(parts) if "/" in part), 0)
    return parts[:at], parts[at:]


def resource_id(scope: Scope, parts: list[str]) -> str:
    """resourceId([subscription], [group], type, names…)."""
    before, rest = _leading(parts)
    kind, names = _typed("resourceId", rest)
    if len(before) > 2:
        raise failed("resourceId", "expects at most a subscription and a resource group before the type.")
    subscription, group = scope.subscription_id, scope.group
    if len(before) == 2:
        subscription, group = before
    elif before and GUID.fullmatch(before[0]):
        subscription = before[0]
    elif before:
        group = before[0]
    base = f"/subscriptions/{subscription}"
    return child_id(base if group is None else f"{base}/resourceGroups/{group}", kind, names)


def subscription_resource_id(scope: Scope, parts: list[str]) -> str:
    """subscriptionResourceId([subscription], type, names…)."""
    before, rest = _leading(parts)
    kind, names = _typed("subscriptionResourceId", rest)
    return child_id(f"/subscriptions/{before[0] if before else scope.subscription_id}", kind, names)


def extension_resource_id(_scope: Scope, parts: list[str]) -> str:
    """extensionResourceId(id, type, names…)."""
    kind, names = _typed("extensionResourceId", parts[1:])
    return child_id(parts[0], kind, names)


def tenant_resource_id(_scope: Scope, parts: list[str]) -> str:
    """tenantResourceId(type, names…)."""
    kind, names = _typed("tenantResourceId", parts)
    return child_id("/", kind, names)


def subscription_json(scope: Scope) -> dict[str, Any]:
    """What subscription() tells."""
    return {
        "id": f"/subscriptions/{scope.subscription_id}",
        "subscriptionId": scope.subscription_id,
        "tenantId": scope.tenant_id,
    }


def group_json(scope: Scope) -> dict[str, Any]:
    """What resourceGroup() tells; there is none in a subscription's template."""
    if scope.group is None:
        raise ExpressionError("The template function 'resourceGroup' is not expected at this location.")
    return {
        "id": scope.id,
        "name": scope.group,
        "type": "Microsoft.Resources/resourceGroups",
        "location": scope.location,
        "properties": {"provisioningState": "Succeeded"},
    }


def tenant_json(scope: Scope) -> dict[str, Any]:
    """What tenant() tells."""
    return {"tenantId": scope.tenant_id}


def environment_json(_scope: Scope) -> dict[str, Any]:
    """What environment() tells."""
    return CLOUD


def deployment_json(scope: Scope) -> dict[str, Any]:
    """What deployment() tells: its name, and a subscription's deployment has a location."""
    return {"name": scope.deployment} | ({} if scope.group else {"location": scope.location})


ID_FUNCTIONS = {
    "resourceid": resource_id,
    "subscriptionresourceid": subscription_resource_id,
    "extensionresourceid": extension_resource_id,
    "tenantresourceid": tenant_resource_id,
}
FACTS = {
    "subscription": subscription_json,
    "resourcegroup": group_json,
    "deployment": deployment_json,
    "tenant": tenant_json,
    "environment": environment_json,
}
"""Functions without arguments that tell where the deployment is."""
