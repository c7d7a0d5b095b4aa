"""Templates for tests: what the platform's own looks like, small."""

from typing import Any

SCHEMA = "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#"
SUBSCRIPTION_SCHEMA = "https://schema.management.azure.com/schemas/2018-05-01/subscriptionDeploymentTemplate.json#"

STORAGE: dict[str, Any] = {
    "type": "Microsoft.Storage/storageAccounts",
    "apiVersion": "2023-05-01",
    "name": "fundrboltreports",
    "location": "eastus",
    "sku": {"name": "Standard_LRS"},
    "kind": "StorageV2",
    "properties": {"minimumTlsVersion": "TLS1_2"},
}
ALERT: dict[str, Any] = {
    "type": "Microsoft.Insights/metricAlerts",
    "apiVersion": "2018-03-01",
    "name": "fundrbolt-production-errors",
    "location": "global",
    "dependsOn": ["[resourceId('Microsoft.Storage/storageAccounts', 'fundrboltreports')]"],
    "properties": {
        "severity": 2,
        "enabled": True,
        "description": "[reference('fundrboltreports').primaryLocation]",
    },
}


def template(*resources: dict[str, Any], **sections: Any) -> dict[str, Any]:
    """A group's template."""
    return {"$schema": SCHEMA, "contentVersion": "1.0.0.0", "resources": list(resources), **sections}


def nested(group: str, *resources: dict[str, Any], name: str = "inner", **sections: Any) -> dict[str, Any]:
    """A subscription's template with one deployment nested in a group."""
    inner = {
        "type": "Microsoft.Resources/deployments",
        "apiVersion": "2022-09-01",
        "name": name,
        "resourceGroup": group,
        "properties": {
            "mode": "Incremental",
            "expressionEvaluationOptions": {"scope": "inner"},
            "template": template(*resources, **sections),
        },
    }
    return {"$schema": SUBSCRIPTION_SCHEMA, "contentVersion": "1.0.0.0", "resources": [inner]}


def app_settings(settings: dict[str, str], site: str = "fundrbolt-production-api") -> dict[str, Any]:
    """A site's app settings, as a resource."""
    return {
        "type": "Microsoft.Web/sites/config",
        "apiVersion": "2023-12-01",
        "name": f"{site}/appsettings",
        "properties": settings,
    }
