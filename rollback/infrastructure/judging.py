"""What of a what-if is of high risk, and why: it decides who must agree, and it comes first."""

import re
from collections.abc import Iterable

from rollback.infrastructure.what_if import ChangeKind, PropertyChange, ResourceChange

SERVER = "a database server"
_TYPES = (
    (re.compile(r"microsoft\.(?:dbforpostgresql|dbformysql|sql|documentdb)/.*"), SERVER),
    (re.compile(r"microsoft\.keyvault/vaults/secrets"), "a vault's secret"),
    (re.compile(r"microsoft\.web/sites(?:/slots)?/config"), "settings of a site"),
    (re.compile(r"microsoft\.authorization/.*"), "who may do what"),
)
_SITE = re.compile(r"microsoft\.web/sites(?:/slots)?(?:/config)?")
_IMAGE = re.compile(r"(?:^|\.)(?:linuxFxVersion|windowsFxVersion)$", re.IGNORECASE)
_FIXED: tuple[tuple[re.Pattern[str], re.Pattern[str]], ...] = tuple(
    (re.compile(kind), re.compile(path, re.IGNORECASE))
    for kind, path in (
        (r".*", r"location|name|zones.*|kind"),
        (
            r"microsoft\.dbforpostgresql/flexibleservers",
            r"properties\.(?:version|administratorLogin|createMode|sourceServerResourceId|pointInTimeUTC"
            r"|network\.delegatedSubnetResourceId|storage\.type|backup\.geoRedundantBackup)",
        ),
        (r"microsoft\.cache/redis", r"properties\.(?:sku\.family|subnetId|staticIP)"),
        (r"microsoft\.cache/redisenterprise(?:/databases)?", r"properties\.(?:clusteringPolicy|modules.*|port)"),
        (r"microsoft\.storage/storageaccounts", r"properties\.isHnsEnabled"),
        (r"microsoft\.web/serverfarms", r"properties\.reserved"),
        (r"microsoft\.keyvault/vaults", r"properties\.(?:tenantId|enablePurgeProtection)"),
    )
)
"""What Azure cannot change where the resource is: it refuses, or the resource must be made anew."""


def judge(changes: Iterable[ResourceChange]) -> tuple[ResourceChange, ...]:
    """The changes with their risk, those of high risk first, then those that count, then the rest."""
    judged = [_judged(each) for each in changes]
    return tuple(sorted(judged, key=lambda each: (not each.is_high, not each.counts, each.id.lower())))


def is_fixed(resource_type: str, path: str) -> bool:
    """Whether a property cannot be changed where the resource is."""
    kind = resource_type.lower()
    return any(types.fullmatch(kind) and paths.fullmatch(path) for types, paths in _FIXED)


def _judged(change: ResourceChange) -> ResourceChange:
    properties = tuple(each.model_copy(update={"high": _of_property(change, each)}) for each in change.properties)
    properties = tuple(sorted(properties, key=lambda each: (bool(each.noise), not each.high, each.path)))
    return change.model_copy(update={"properties": properties, "high": _of_resource(change)})


def _of_resource(change: ResourceChange) -> str:
    if change.kind is ChangeKind.DELETE:
        return "it is deleted"
    if change.kind is ChangeKind.UNSUPPORTED:
        return "Azure cannot say what happens to it"
    if change.kind is ChangeKind.IGNORE and change.is_skipped:
        return "Azure did not look into it"
    if change.kind is ChangeKind.CREATE or (change.kind is ChangeKind.MODIFY and not change.properties):
        return _of_type(change.type)
    return ""


def _of_property(change: ResourceChange, own: PropertyChange) -> str:
    if own.noise or own.path == "tags" or own.path.startswith("tags."):
        return ""
    if is_fixed(change.type, own.path):
        return "cannot be changed in place: Azure refuses, or it must be made anew"
    if _SITE.fullmatch(change.type.lower()):
        if _IMAGE.search(own.path):
            return "a site's image"
        if own.path.startswith("properties.siteConfig"):
            return "settings of a site"
    return _of_type(change.type)


def _of_type(kind: str) -> str:
    return next((reason for pattern, reason in _TYPES if pattern.fullmatch(kind.lower())), "")
