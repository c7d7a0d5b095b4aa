"""Known noise of what-if: differences that Azure names and that mean nothing. Marked with the reason, never hidden."""

import re
from collections.abc import Iterable

from rollback.infrastructure.what_if import PropertyChange, ResourceChange

NO_EFFECT, DELETE = "NoEffect", "Delete"
_READ_ONLY = re.compile(
    r"(?:^|\.)(?:etag|systemData|provisioningState|createdTime|creationTime|lastModifiedTime\w*|fullyQualifiedDomainName"
    r"|defaultHostName|hostNames|enabledHostNames|outboundIpAddresses|possibleOutboundIpAddresses|resourceGuid"
    r"|privateEndpointConnections|hostNameSslStates|uniqueId|usageState|availabilityState)(?:$|[.\[])"
    r"|^identity\.(?:principalId|tenantId)$"
)
_PARAMETER = re.compile(r"\[parameters\('[^']+'\)\]")
"""Where what-if leaves a parameter unresolved, it is a secret one."""
_SITE = frozenset({"clientAffinityEnabled", "clientCertMode", "keyVaultReferenceIdentity", "hostNamesDisabled"})
_DEFAULTED: dict[str, frozenset[str]] = {
    "microsoft.web/sites": _SITE,
    "microsoft.web/sites/slots": _SITE,
    "microsoft.web/sites/config": frozenset({"loadBalancing", "managedPipelineMode", "netFrameworkVersion"}),
    "microsoft.web/serverfarms": frozenset({"elasticScaleEnabled", "zoneRedundant", "perSiteScaling"}),
    "microsoft.dbforpostgresql/flexibleservers": frozenset({"availabilityZone", "maintenanceWindow"}),
    "microsoft.storage/storageaccounts": frozenset({"encryption", "networkAcls", "accessTier"}),
    "microsoft.cache/redis": frozenset({"publicNetworkAccess", "updateChannel"}),
}
"""By type: what Azure gives every resource, and what-if calls deleted where a template leaves it out."""


def mark(changes: Iterable[ResourceChange], globs: Iterable[str]) -> tuple[ResourceChange, ...]:
    """The changes with their noise marked; `globs`: what the platform file calls so."""
    patterns = [(glob, *_pattern(glob)) for glob in globs]
    return tuple(
        each.model_copy(update={"properties": tuple(_marked(each, own, patterns) for own in each.properties)})
        for each in changes
    )


def _marked(
    resource: ResourceChange, change: PropertyChange, patterns: list[tuple[str, str, re.Pattern[str]]]
) -> PropertyChange:
    reason = change.noise or _reason(resource.type.lower(), change)
    if not reason:
        named = (
            glob
            for glob, kind, path in patterns
            if kind in {"", resource.type.lower()} and path.fullmatch(change.path) is not None
        )
        reason = next((f"the platform file calls it noise: {glob}" for glob in named), "")
    return change.model_copy(update={"noise": reason})


def _reason(kind: str, change: PropertyChange) -> str:
    if change.kind == NO_EFFECT:
        return "Azure says that it is not set by a deployment"
    if change.after is not None and _PARAMETER.fullmatch(change.after.text):
        return "a secret parameter, which what-if does not compare: it is written as it is in the vault"
    if change.after is not None and change.after.unresolved:
        return "Azure evaluates this expression only when it deploys"
    if _READ_ONLY.search(change.path):
        return "Azure sets it, no deployment does"
    if change.kind == DELETE and change.path.removeprefix("properties.") in _DEFAULTED.get(kind, ()):
        return "it has its default, which what-if does not know: nothing is deleted"
    return ""


def _pattern(glob: str) -> tuple[str, re.Pattern[str]]:
    """The type in lower letters, or nothing, and what the path must be; brackets in paths mean themselves."""
    kind, colon, path = glob.partition(":")
    if not colon:
        kind, path = "", glob
    escaped = ".*".join(re.escape(part) for part in path.strip().split("*"))
    return kind.strip().lower(), re.compile(escaped, re.IGNORECASE)
