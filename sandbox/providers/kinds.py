"""The types of which the sandbox keeps JSON: what Azure adds to each, and what what-if makes of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Plain:
    """One resource type."""

    type: str
    versions: tuple[str, ...]
    """Newest first."""
    defaults: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Properties that Azure gives a resource whose body leaves them out."""
    read_only: tuple[str, ...] = ("provisioningState",)
    """Properties that nobody sets."""
    etag: bool = False
    """Whether it has an etag, and honours `If-Match`."""
    not_patched: tuple[str, ...] = ()
    """Parts that Azure's PATCH of it does not have."""
    regional: bool = True
    """Without it the location is `global`."""

    @property
    def namespace(self) -> str:
        """The provider."""
        return self.type.partition("/")[0]


PLAIN = (
    Plain(
        "Microsoft.Web/serverfarms",
        ("2025-05-01", "2024-11-01", "2024-04-01", "2023-12-01", "2023-01-01", "2022-09-01", "2022-03-01"),
        {
            "status": "Ready",
            "maximumNumberOfWorkers": 30,
            "numberOfWorkers": 1,
            "perSiteScaling": False,
            "elasticScaleEnabled": False,
            "maximumElasticWorkerCount": 1,
            "isSpot": False,
            "reserved": False,
            "isXenon": False,
            "hyperV": False,
            "targetWorkerCount": 0,
            "targetWorkerSizeId": 0,
            "zoneRedundant": False,
        },
        ("provisioningState", "status", "maximumNumberOfWorkers", "numberOfWorkers", "numberOfSites", "geoRegion"),
        not_patched=("sku",),
    ),
    Plain(
        "Microsoft.Storage/storageAccounts",
        ("2025-01-01", "2024-01-01", "2023-05-01", "2023-01-01", "2022-09-01"),
        {
            "accessTier": "Hot",
            "allowBlobPublicAccess": False,
            "minimumTlsVersion": "TLS1_2",
            "supportsHttpsTrafficOnly": True,
            "networkAcls": {
                "bypass": "AzureServices",
                "virtualNetworkRules": [],
                "ipRules": [],
                "defaultAction": "Allow",
            },
            "encryption": {
                "services": {"file": {"enabled": True}, "blob": {"enabled": True}},
                "keySource": "Microsoft.Storage",
            },
        },
        ("provisioningState", "creationTime", "primaryLocation", "statusOfPrimary", "primaryEndpoints"),
    ),
    Plain(
        "Microsoft.Insights/metricAlerts",
        ("2024-03-01-preview", "2018-03-01"),
        {"autoMitigate": True},
        regional=False,
    ),
    Plain(
        "Microsoft.Insights/actionGroups",
        ("2024-10-01-preview", "2023-09-01-preview", "2023-01-01", "2022-06-01", "2021-09-01"),
        {"emailReceivers": [], "smsReceivers": [], "webhookReceivers": []},
        regional=False,
    ),
    Plain(
        "Microsoft.OperationalInsights/workspaces",
        ("2025-02-01", "2023-09-01", "2022-10-01"),
        {
            "retentionInDays": 30,
            "features": {"enableLogAccessUsingOnlyResourcePermissions": True},
            "publicNetworkAccessForIngestion": "Enabled",
            "publicNetworkAccessForQuery": "Enabled",
        },
        ("provisioningState", "customerId", "createdDate", "modifiedDate"),
        etag=True,
    ),
    Plain(
        "Microsoft.Network/virtualNetworks",
        ("2024-07-01", "2024-05-01", "2023-11-01", "2023-09-01"),
        {"enableDdosProtection": False, "virtualNetworkPeerings": []},
        ("provisioningState", "resourceGuid"),
        etag=True,
    ),
    Plain(
        "Microsoft.ManagedIdentity/userAssignedIdentities",
        ("2024-11-30", "2023-01-31"),
        {},
        ("tenantId", "principalId", "clientId"),
    ),
)


def find(resource_type: str) -> Plain | None:
    """The kind of this name, which has no case."""
    return next((each for each in PLAIN if each.type.lower() == resource_type.lower()), None)
