"""What Azure's what-if does not read is read here, so that its differences are true ones.

App settings and connection strings are not shown by GET: what-if calls all of them new, each time. Of a site's
configuration it knows a few properties only, of a vault's secret no value. Each of these is compared with what is
there: what changes is told setting by setting, and what is so already is marked as noise.

Source: learn.microsoft.com, "Bicep what-if"; github.com/Azure/arm-template-whatif, known issues.
"""

import asyncio
from collections.abc import Iterator
from typing import Any, cast

from rollback.context import Run
from rollback.errors import ResourceMissing, RollbackError
from rollback.infrastructure.blinding import is_expression
from rollback.infrastructure.database_guard import SECRET, written_to
from rollback.infrastructure.sites import SiteReader
from rollback.infrastructure.what_if import ChangeKind, RawChange, name_of, type_of
from rollback.postgres.errors import DatabaseUrlInvalid
from rollback.postgres.url import DatabaseUrl

SO_ALREADY = "it is so already: Azure's what-if does not read it"
SITE_CONFIG = "properties.siteConfig."
SITES = frozenset({"microsoft.web/sites", "microsoft.web/sites/slots"})
CONFIGS = frozenset({"microsoft.web/sites/config", "microsoft.web/sites/slots/config"})
APP_SETTINGS, CONNECTION_STRINGS = "appsettings", "connectionstrings"

Delta = dict[str, Any]


async def refine(
    run: Run, changes: list[RawChange], template: dict[str, Any], parameters: dict[str, Any]
) -> list[RawChange]:
    """The changes, with what is there in the place of what Azure did not read."""
    reader = SiteReader(await run.connection())
    return list(await asyncio.gather(*(_refine(run, reader, each, template, parameters) for each in changes)))


async def _refine(
    run: Run, reader: SiteReader, change: RawChange, template: dict[str, Any], parameters: dict[str, Any]
) -> RawChange:
    resource = str(change.get("resourceId") or "")
    kind, last = type_of(resource).lower(), name_of(resource).rpartition("/")[2].lower()
    if change["changeType"] != ChangeKind.MODIFY:
        return change
    if kind in CONFIGS and last in {APP_SETTINGS, CONNECTION_STRINGS}:
        return await _whole(reader, change, resource, last)
    if kind in SITES:
        return await _site(reader, change, resource)
    if kind == SECRET.lower():
        return await _secret(run, change, resource, template, parameters)
    return change


async def _whole(reader: SiteReader, change: RawChange, resource: str, last: str) -> RawChange:
    """A resource that replaces all settings: those that the template does not have are deleted."""
    site = resource.rpartition("/config/")[0]
    try:
        there = await (reader.get_settings(site) if last == APP_SETTINGS else reader.get_connection_strings(site))
    except ResourceMissing:
        return change
    wanted: dict[str, Any] = _properties(change)
    others = [each for each in _delta(change) if each["path"] != "properties"]
    return _with(change, [*others, *_compare("properties", there, wanted)])


def _compare(prefix: str, there: dict[str, Any], wanted: dict[str, Any]) -> Iterator[Delta]:
    for name in sorted({*there, *wanted}):
        before, after = there.get(name), wanted.get(name)
        if before == after:
            continue
        kind = "Create" if name not in there else "Delete" if name not in wanted else "Modify"
        yield {"path": f"{prefix}.{name}", "propertyChangeType": kind, "before": before, "after": after}


async def _site(reader: SiteReader, change: RawChange, resource: str) -> RawChange:
    """A site: what its template says of its configuration, against the configuration that it has."""
    untold = [each for each in _delta(change) if each["path"].startswith(SITE_CONFIG) and each.get("before") is None]
    if not untold:
        return change
    there = await reader.get_configuration(resource)
    told: list[Delta] = []
    for each in _delta(change):
        name = str(each["path"]).removeprefix(SITE_CONFIG)
        if each not in untold:
            told.append(each)
        elif name == "appSettings":
            wanted = {str(own["name"]): own.get("value") for own in cast("list[Delta]", each.get("after") or [])}
            told += _compare(SITE_CONFIG + name, await reader.get_settings(resource), wanted)
        elif name in there:
            told.append(each | {"before": there[name], "propertyChangeType": "Modify"} | _so_already(each, there[name]))
        else:
            told.append(each)
    return _with(change, told)


async def _secret(
    run: Run, change: RawChange, resource: str, template: dict[str, Any], parameters: dict[str, Any]
) -> RawChange:
    """A vault's secret: whether what is written is what it holds. Where it may not be read, it counts as changed."""
    vault, _, secret = name_of(resource).partition("/")
    shown = _properties(change).get("value")
    values = [shown] if isinstance(shown, str) and not is_expression(shown) else []
    try:
        held = (await (await run.key_vault(vault)).get_secret(secret)).value.get_secret_value()
    except RollbackError:
        return change
    hosts = _hosts(held)
    if held not in [*values, *written_to(template, parameters, secret, hosts)]:
        return change
    told = [
        each | {"noise": "the secret holds this value already"} if each["path"] == "properties.value" else each
        for each in _delta(change)
    ]
    return _with(change, told)


def _hosts(held: str) -> dict[str, str]:
    """The host that a database's URL names, by its server's name."""
    try:
        host = DatabaseUrl.parse(held).host
    except DatabaseUrlInvalid:
        return {}
    return {host.partition(".")[0].lower(): host}


def _so_already(own: Delta, there: Any) -> Delta:
    return {"noise": SO_ALREADY} if own.get("after") == there else {}


def _properties(change: RawChange) -> dict[str, Any]:
    """Those that the resource is to have."""
    after = cast("dict[str, Any]", change.get("after") or {})
    return cast("dict[str, Any]", after.get("properties") or {})


def _delta(change: RawChange) -> list[Delta]:
    return cast("list[Delta]", change.get("delta") or [])


def _with(change: RawChange, delta: list[Delta]) -> RawChange:
    return change | {"delta": delta} | ({} if delta else {"changeType": ChangeKind.NO_CHANGE.value})
