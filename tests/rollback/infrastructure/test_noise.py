"""What what-if calls deleted, and is there by default: noise where it has that default, and a difference where not."""

from typing import Any

import pytest

from rollback.infrastructure import noise
from rollback.infrastructure.blinding import Blinding
from rollback.infrastructure.what_if import PropertyChange, read_changes

STORAGE, SITE = "Microsoft.Storage/storageAccounts", "Microsoft.Web/sites"
SERVER, REDIS = "Microsoft.DBforPostgreSQL/flexibleServers", "Microsoft.Cache/redis"
OPEN = {"bypass": "AzureServices", "virtualNetworkRules": [], "ipRules": [], "defaultAction": "Allow"}
SERVICE = {"keyType": "Account", "enabled": True, "lastEnabledTime": "2025-01-31T10:20:30.1234567Z"}
ENCRYPTION = {"services": {"file": SERVICE, "blob": SERVICE}, "keySource": "Microsoft.Storage"}
WINDOW = {"customWindow": "Disabled", "dayOfWeek": 0, "startHour": 0, "startMinute": 0}


def left_out(kind: str, path: str, before: Any) -> PropertyChange:
    namespace, _, types = kind.partition("/")
    resource = f"/subscriptions/s/resourceGroups/g/providers/{namespace}/{types.replace('/', '/x/')}/x"
    delta = [{"path": f"properties.{path}", "propertyChangeType": "Delete", "before": before, "after": None}]
    raw = {"changeType": "Modify", "resourceId": resource, "delta": delta}
    ((own,),) = [each.properties for each in noise.mark(read_changes([raw], Blinding(b"a key of a test")), ())]
    return own


@pytest.mark.parametrize(
    ("kind", "path", "value"),
    [
        (STORAGE, "networkAcls", OPEN),
        (STORAGE, "networkAcls", OPEN | {"resourceAccessRules": [], "ipv6Rules": []}),
        (STORAGE, "encryption", ENCRYPTION),
        (STORAGE, "accessTier", "Hot"),
        (SITE, "keyVaultReferenceIdentity", "SystemAssigned"),
        ("Microsoft.Web/sites/config", "netFrameworkVersion", "v4.0"),
        ("Microsoft.Web/serverfarms", "zoneRedundant", False),
        (SERVER, "maintenanceWindow", WINDOW),
        (SERVER, "availabilityZone", "3"),
        (REDIS, "publicNetworkAccess", "Enabled"),
    ],
)
def test_what_is_left_out_and_has_its_default_is_noise(kind: str, path: str, value: Any) -> None:
    assert left_out(kind, path, value).noise


@pytest.mark.parametrize(
    ("kind", "path", "value"),
    [
        (STORAGE, "networkAcls", OPEN | {"defaultAction": "Deny"}),
        (STORAGE, "networkAcls", OPEN | {"ipRules": [{"value": "203.0.113.7", "action": "Allow"}]}),
        (STORAGE, "encryption", ENCRYPTION | {"keySource": "Microsoft.Keyvault"}),
        (STORAGE, "encryption", ENCRYPTION | {"keyvaultproperties": {"keyname": "own"}}),
        (STORAGE, "networkAcls", OPEN | {"ipRules": [{"value": f"203.0.113.{each}"} for each in range(99)]}),
        (STORAGE, "accessTier", "Cool"),
        (SITE, "keyVaultReferenceIdentity", "/subscriptions/s/providers/Microsoft.ManagedIdentity/x"),
        ("Microsoft.Web/serverfarms", "zoneRedundant", True),
        (SERVER, "maintenanceWindow", WINDOW | {"customWindow": "Enabled"}),
        (REDIS, "publicNetworkAccess", "Disabled"),
    ],
)
def test_what_is_left_out_and_has_another_value_is_a_difference(kind: str, path: str, value: Any) -> None:
    assert not left_out(kind, path, value).noise
