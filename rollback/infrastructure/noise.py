"""Known noise of what-if: differences that Azure names and that mean nothing. Marked with the reason, never hidden."""

import json
import re
from collections.abc import Iterable
from typing import Any, cast

from rollback.infrastructure.what_if import PropertyChange, ResourceChange

NO_EFFECT, DELETE = "NoEffect", "Delete"
_READ_ONLY = re.compile(
    r"(?:^|\.)(?:etag|systemData|provisioningState|createdTime|creationTime|lastModifiedTime\w*|fullyQualifiedDomainName"
    r"|defaultHostName|hostNames|enabledHostNames|outboundIpAddresses|possibleOutboundIpAddresses|resourceGuid"
    r"|privateEndpointConnections|hostNameSslStates|uniqueId|usageState|availabilityState)(?:$|[.\[])"
    r"|^identity\.(?:principalId|tenantId)$"
)
ANY: Any = object()
_SITE: dict[str, Any] = {
    "clientAffinityEnabled": True,
    "clientCertMode": "Required",
    "keyVaultReferenceIdentity": "SystemAssigned",
    "hostNamesDisabled": False,
}
_ENCRYPTED = {"enabled": True, "keyType": "Account", "lastEnabledTime": ANY}
_DEFAULTS: dict[str, dict[str, Any]] = {
    "microsoft.web/sites": _SITE,
    "microsoft.web/sites/slots": _SITE,
    "microsoft.web/sites/config": {
        "loadBalancing": "LeastRequests",
        "managedPipelineMode": "Integrated",
        "netFrameworkVersion": "v4.0",
    },
    "microsoft.web/serverfarms": {"elasticScaleEnabled": False, "zoneRedundant": False, "perSiteScaling": False},
    "microsoft.dbforpostgresql/flexibleservers": {
        "availabilityZone": ANY,  # chosen when it is made: leaving it out moves no server
        "maintenanceWindow": {"customWindow": "Disabled", "dayOfWeek": 0, "startHour": 0, "startMinute": 0},
    },
    "microsoft.storage/storageaccounts": {
        "accessTier": "Hot",
        "encryption": {"keySource": "Microsoft.Storage", "services": {"blob": _ENCRYPTED, "file": _ENCRYPTED}},
        "networkAcls": {
            "bypass": "AzureServices",
            "defaultAction": "Allow",
            "ipRules": [],
            "ipv6Rules": [],
            "resourceAccessRules": [],
            "virtualNetworkRules": [],
        },
    },
    "microsoft.cache/redis": {"publicNetworkAccess": "Enabled", "updateChannel": "Stable"},
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
    if _READ_ONLY.search(change.path):
        return "Azure sets it, no deployment does"
    default = _DEFAULTS.get(kind, {}).get(change.path.removeprefix("properties."))
    if change.kind == DELETE and change.before is not None and _is_default(change.before.text, default):
        return "it has its default, which what-if does not know: nothing is deleted"
    return ""


def _is_default(text: str, default: Any) -> bool:
    """Whether a value, as it is shown, is a default; what is cut is none."""
    if default is None or default is ANY or isinstance(default, str):
        return default is ANY or text == default
    try:
        return _is_within(json.loads(text), default)
    except ValueError:
        return False


def _is_within(found: Any, default: Any) -> bool:
    """Whether nothing in a value is other than in the default: of an object, parts may be missing."""
    if isinstance(found, dict) and isinstance(default, dict):
        parts, defaults = cast("dict[str, Any]", found), cast("dict[str, Any]", default)
        return all(name in defaults and _is_within(own, defaults[name]) for name, own in parts.items())
    return default is ANY or found == default


def _pattern(glob: str) -> tuple[str, re.Pattern[str]]:
    """The type in lower letters, or nothing, and what the path must be; brackets in paths mean themselves."""
    kind, colon, path = glob.partition(":")
    if not colon:
        kind, path = "", glob
    escaped = ".*".join(re.escape(part) for part in path.strip().split("*"))
    return kind.strip().lower(), re.compile(escaped, re.IGNORECASE)
