"""What Azure's what-if does not read is read here, so that its differences are true ones.

App settings and connection strings are not shown by GET: what-if calls all of them new, each time. Of a site's
configuration it knows a few properties only, of a vault's secret no value. Each of these is compared with what is
there: what changes is told setting by setting, and what is so already is marked as noise.

Source: learn.microsoft.com, "Bicep what-if"; github.com/Azure/arm-template-whatif, known issues.
"""

import asyncio
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from rollback.context import Run
from rollback.errors import ResourceMissing, RollbackError
from rollback.infrastructure.blinding import is_expression
from rollback.infrastructure.database_guard import SECRET, written_to
from rollback.infrastructure.sites import SiteReader
from rollback.infrastructure.what_if import ChangeKind, RawChange, name_of, type_of

SO_ALREADY = "it is so already: Azure's what-if does not read it"
HELD = "the secret holds this value already"
SITE_CONFIG = "properties.siteConfig."
VALUE = "properties.value"
SITES = frozenset({"microsoft.web/sites", "microsoft.web/sites/slots"})
CONFIGS = frozenset({"microsoft.web/sites/config", "microsoft.web/sites/slots/config"})
APP_SETTINGS, CONNECTION_STRINGS = "appsettings", "connectionstrings"

Delta = dict[str, Any]


@dataclass(frozen=True)
class Refiner:
    """Refines what-ifs of one template."""

    run: Run
    sites: SiteReader
    template: dict[str, Any] = field(repr=False)
    parameters: dict[str, Any] = field(repr=False)
    hosts: Mapping[str, str]
    """Of database servers, by their names in lower letters."""

    async def refine(self, changes: list[RawChange]) -> list[RawChange]:
        """The changes, with what is there in the place of what Azure did not read."""
        return list(await asyncio.gather(*(self._refine(each) for each in changes)))

    async def _refine(self, change: RawChange) -> RawChange:
        resource = str(change.get("resourceId") or "")
        kind, last = type_of(resource).lower(), name_of(resource).rpartition("/")[2].lower()
        if change["changeType"] != ChangeKind.MODIFY:
            return change
        if kind in CONFIGS and last in {APP_SETTINGS, CONNECTION_STRINGS}:
            return await self._settings(change, resource.rpartition("/config/")[0], last)
        if kind in SITES:
            return await self._site(change, resource)
        return await self._secret(change, resource) if kind == SECRET.lower() else change

    async def _settings(self, change: RawChange, site: str, last: str) -> RawChange:
        """A resource that replaces all settings: those that the template does not have are deleted."""
        try:
            if last == APP_SETTINGS:
                there = await self.sites.get_settings(site)
            else:
                there = await self.sites.get_connection_strings(site)
        except ResourceMissing:
            return change
        others = [each for each in _delta(change) if each["path"] != "properties"]
        return _with(change, [*others, *_compare("properties", there, _properties(change))])

    async def _site(self, change: RawChange, site: str) -> RawChange:
        """A site: what its template says of its configuration, against the configuration that it has."""
        delta = _delta(change)
        untold = [each for each in delta if each["path"].startswith(SITE_CONFIG) and each.get("before") is None]
        if not untold:
            return change
        there = await self.sites.get_configuration(site)
        told = [each for each in delta if each not in untold]
        for each in untold:
            name = str(each["path"]).removeprefix(SITE_CONFIG)
            if name == "appSettings":
                wanted = {str(own["name"]): own.get("value") for own in cast("list[Delta]", each.get("after") or [])}
                told += _compare(SITE_CONFIG + name, await self.sites.get_settings(site), wanted)
            elif there.get(name) is None:
                told.append(each)
            else:
                same = {"noise": SO_ALREADY} if each.get("after") == there[name] else {}
                told.append(each | {"before": there[name], "propertyChangeType": "Modify"} | same)
        return _with(change, told)

    async def _secret(self, change: RawChange, resource: str) -> RawChange:
        """A vault's secret: whether it holds what is written. Where it may not be read, it counts as changed."""
        vault, _, secret = name_of(resource).partition("/")
        try:
            held = (await (await self.run.key_vault(vault)).get_secret(secret)).value.get_secret_value()
        except RollbackError:
            return change
        shown = _properties(change).get("value")
        written = written_to(self.template, self.parameters, secret, self.hosts)
        if held not in ([shown] if isinstance(shown, str) and not is_expression(shown) else written):
            return change
        return _with(change, [each | ({"noise": HELD} if each["path"] == VALUE else {}) for each in _delta(change)])


def _compare(prefix: str, there: dict[str, Any], wanted: dict[str, Any]) -> Iterator[Delta]:
    for name in sorted({*there, *wanted}):
        before, after = there.get(name), wanted.get(name)
        if before != after:
            kind = "Create" if name not in there else "Delete" if name not in wanted else "Modify"
            yield {"path": f"{prefix}.{name}", "propertyChangeType": kind, "before": before, "after": after}


def _properties(change: RawChange) -> dict[str, Any]:
    """Those that the resource is to have."""
    after = cast("dict[str, Any]", change.get("after") or {})
    return cast("dict[str, Any]", after.get("properties") or {})


def _delta(change: RawChange) -> list[Delta]:
    return cast("list[Delta]", change.get("delta") or [])


def _with(change: RawChange, delta: list[Delta]) -> RawChange:
    return change | {"delta": delta} | ({} if delta else {"changeType": ChangeKind.NO_CHANGE.value})
