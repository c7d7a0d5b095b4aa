"""Properties that Azure decides, and those that are decided once, when a resource is made.

Source: `readOnly` and `x-ms-mutability` in Microsoft's OpenAPI: Microsoft.Web 2023-12-01, Microsoft.DBforPostgreSQL
2023-12-01-preview, Microsoft.Cache 2024-03-01, Microsoft.KeyVault 2023-07-01, Microsoft.Insights 2020-02-02; the frame
of a resource: common types v5.
"""

from rollback.served import (
    TAG_BAD_DIGEST,
    TAG_DIGEST,
    TAG_PREVIOUS_DIGEST,
    TAG_PREVIOUS_RELEASE,
    TAG_RELEASE,
    TAG_SINCE,
)

_ANYWHERE = frozenset(
    {
        "id",
        "name",
        "type",
        "etag",
        "systemData",
        "resourceGroup",
        "apiVersion",
        "createdTime",
        "changedTime",
        "provisioningState",
        "identity.principalId",
        "identity.tenantId",
        "extendedLocation.type",
        "properties.provisioningState",
        "properties.privateEndpointConnections",
        *(f"tags.{each}" for each in (TAG_RELEASE, TAG_DIGEST, TAG_SINCE)),
        *(f"tags.{each}" for each in (TAG_PREVIOUS_RELEASE, TAG_PREVIOUS_DIGEST, TAG_BAD_DIGEST)),
    }
)
"""With what the Azure CLI and templates add. The tags are ours: what served is no configuration that comes back."""

_SITE = frozenset(
    {
        "properties.name",
        "properties.state",
        "properties.hostNames",
        "properties.webSpace",
        "properties.selfLink",
        "properties.repositorySiteName",
        "properties.usageState",
        "properties.enabledHostNames",
        "properties.availabilityState",
        "properties.lastModifiedTimeUtc",
        "properties.dnsConfiguration.dnsLegacySortOrder",
        "properties.siteConfig.machineKey",
        "properties.trafficManagerHostNames",
        "properties.targetSwapSlot",
        "properties.outboundIpAddresses",
        "properties.possibleOutboundIpAddresses",
        "properties.suspendedTill",
        "properties.maxNumberOfWorkers",
        "properties.resourceGroup",
        "properties.isDefaultContainer",
        "properties.defaultHostName",
        "properties.slotSwapStatus",
        "properties.inProgressOperationId",
        "properties.hostNameSslStates",
        "properties.customDomainVerificationId",
        "properties.contentAvailabilityState",
        "properties.runtimeAvailabilityState",
        "properties.homeStamp",
        "properties.sku",
        # What the build is comes and goes with releases: the backend's procedures bring it back.
        "properties.siteConfig.linuxFxVersion",
    }
)
_SITE_CONFIG = frozenset(
    {
        "location",
        "properties.machineKey",
        "properties.push.id",
        "properties.push.name",
        "properties.push.type",
        "properties.linuxFxVersion",
        "properties.experiments",
    }
)
_PLAN = frozenset(
    {
        "properties.status",
        "properties.subscription",
        "properties.maximumNumberOfWorkers",
        "properties.numberOfWorkers",
        "properties.geoRegion",
        "properties.numberOfSites",
        "properties.resourceGroup",
    }
)
READ_ONLY: dict[str, frozenset[str]] = {
    "microsoft.web/sites": _SITE,
    "microsoft.web/sites/slots": _SITE,
    "microsoft.web/sites/config": _SITE_CONFIG,
    "microsoft.web/sites/slots/config": _SITE_CONFIG,
    "microsoft.web/serverfarms": _PLAN,
    "microsoft.web/staticsites": frozenset(
        {
            "properties.defaultHostname",
            "properties.customDomains",
            "properties.contentDistributionEndpoint",
            "properties.keyVaultReferenceIdentity",
            "properties.userProvidedFunctionApps",
            "properties.linkedBackends",
            "properties.databaseConnections",
        }
    ),
    "microsoft.dbforpostgresql/flexibleservers": frozenset(
        {
            "properties.minorVersion",
            "properties.state",
            "properties.fullyQualifiedDomainName",
            "properties.backup.earliestRestoreDate",
            "properties.highAvailability.state",
            "properties.replicaCapacity",
            "properties.replica.capacity",
            "properties.replica.replicationState",
            "properties.dataEncryption.primaryEncryptionKeyStatus",
            "properties.dataEncryption.geoBackupEncryptionKeyStatus",
        }
    ),
    "microsoft.dbforpostgresql/flexibleservers/configurations": frozenset(
        {
            "properties.description",
            "properties.defaultValue",
            "properties.dataType",
            "properties.allowedValues",
            "properties.source",
            "properties.isDynamicConfig",
            "properties.isReadOnly",
            "properties.isConfigPendingRestart",
            "properties.unit",
            "properties.documentationLink",
        }
    ),
    "microsoft.cache/redis": frozenset(
        {
            "properties.redisConfiguration.maxclients",
            "properties.redisConfiguration.preferred-data-archive-auth-method",
            "properties.redisConfiguration.zonal-configuration",
            "properties.hostName",
            "properties.port",
            "properties.sslPort",
            "properties.accessKeys",
            "properties.linkedServers",
            "properties.instances",
        }
    ),
    "microsoft.cache/redisenterprise": frozenset(
        {"properties.hostName", "properties.redisVersion", "properties.resourceState", "properties.redundancyMode"}
    ),
    "microsoft.cache/redisenterprise/databases": frozenset({"properties.resourceState", "properties.redisVersion"}),
    "microsoft.keyvault/vaults": frozenset({"properties.vaultUri", "properties.hsmPoolResourceId"}),
    "microsoft.insights/components": frozenset(
        {
            "properties.AppId",
            "properties.ApplicationId",
            "properties.Name",
            "properties.CreationDate",
            "properties.TenantId",
            "properties.HockeyAppToken",
            "properties.LaMigrationDate",
            "properties.PrivateLinkScopedResources",
        }
    ),
}
"""By type, in small letters."""

_ONCE_ANYWHERE = frozenset({"location", "kind", "plan", "extendedLocation", "zones", "managedBy"})
ONCE: dict[str, frozenset[str]] = {
    "microsoft.web/sites": frozenset(
        {
            "properties.reserved",
            "properties.isXenon",
            "properties.hyperV",
            "properties.hostingEnvironmentProfile",
            "properties.siteConfig.vnetName",
        }
    ),
    "microsoft.web/sites/config": frozenset({"properties.vnetName"}),
    "microsoft.web/serverfarms": frozenset(
        {"properties.reserved", "properties.isXenon", "properties.hyperV", "properties.hostingEnvironmentProfile"}
    ),
    "microsoft.dbforpostgresql/flexibleservers": frozenset(
        {
            "properties.administratorLogin",
            "properties.availabilityZone",
            "properties.backup.geoRedundantBackup",
            "properties.sourceServerResourceId",
            "properties.pointInTimeUTC",
            "properties.createMode",
            "properties.network",
        }
    ),
    "microsoft.cache/redis": frozenset({"properties.staticIP", "properties.subnetId", "properties.shardCount"}),
    "microsoft.cache/redisenterprise": frozenset({"sku", "properties.encryption"}),
    "microsoft.cache/redisenterprise/databases": frozenset(
        {"properties.clusteringPolicy", "properties.port", "properties.modules"}
    ),
    "microsoft.keyvault/vaults": frozenset(
        {"properties.tenantId", "properties.sku", "properties.softDeleteRetentionInDays", "properties.enableSoftDelete"}
    ),
}
"""Those that no PATCH changes: the resource would have to be made anew."""

WITHOUT_PATCH = frozenset(
    f"microsoft.dbforpostgresql/flexibleservers/{each}" for each in ("firewallrules", "databases", "administrators")
)
"""Types that are only put as a whole."""
ONLY_TAGS = frozenset(
    {
        "microsoft.insights/components",
        *(
            f"microsoft.network/{each}"
            for each in ("virtualnetworks", "networksecuritygroups", "publicipaddresses", "loadbalancers")
        ),
        *(f"microsoft.network/{each}" for each in ("natgateways", "routetables", "applicationgateways")),
    }
)
"""Types whose PATCH takes nothing but tags."""
NOT_IN_PATCH: dict[str, frozenset[str]] = {"microsoft.web/serverfarms": frozenset({"sku"})}
"""Properties that are only put with the whole resource."""


def is_never_patched(kind: str, path: str) -> bool:
    """Whether Azure has no PATCH for it, though it can be changed."""
    small = kind.lower()
    if small in ONLY_TAGS:
        return not _is_below(path, frozenset({"tags"}))
    return small in WITHOUT_PATCH or _is_below(path, NOT_IN_PATCH.get(small, frozenset()))


def is_read_only(kind: str, path: str) -> bool:
    """Whether Azure, and not a configuration, says what is there."""
    return _is_below(path, _ANYWHERE | READ_ONLY.get(kind.lower(), frozenset()))


def is_decided_once(kind: str, path: str) -> bool:
    """Whether it can only be chosen when the resource is made."""
    return _is_below(path, _ONCE_ANYWHERE | ONCE.get(kind.lower().replace("/slots", ""), frozenset()))


def _is_below(path: str, places: frozenset[str]) -> bool:
    return any(path == each or path.startswith((f"{each}.", f"{each}[")) for each in places)
