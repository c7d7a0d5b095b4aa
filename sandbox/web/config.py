"""Configuration of a site or slot: `config/web`, app settings, connection strings, and what is sticky.

A change that the process must see restarts it, as on Azure.
"""

from collections.abc import Mapping
from typing import Any

from aiohttp import web
from pydantic import BaseModel, Field, JsonValue, TypeAdapter, ValidationError

from sandbox.arm import ArmError, Call
from sandbox.state import ConnectionString, RampUpRule, Site, Slot
from sandbox.web import swap
from sandbox.web.lifecycle import restart_later
from sandbox.web.resources import child_json, find, find_changeable, for_site_and_slot, touch

STAYS = (
    "alwaysOn",
    "cors",
    "ipSecurity",
    "scmIpSecurity",
    "minTlsVersion",
    "scmMinTlsVersion",
    "numberOfWorkers",
    "vnet",
)
"""Beginnings of the settings that a swap leaves where they are; all others move with the content."""
DEFAULTS: dict[str, JsonValue] = {
    "numberOfWorkers": 1,
    "defaultDocuments": [],
    "netFrameworkVersion": "v4.0",
    "appCommandLine": "",
    "alwaysOn": True,
    "httpLoggingEnabled": False,
    "logsDirectorySizeLimit": 35,
    "use32BitWorkerProcess": False,
    "webSocketsEnabled": False,
    "managedPipelineMode": "Integrated",
    "loadBalancing": "LeastRequests",
    "http20Enabled": False,
    "minTlsVersion": "1.2",
    "scmMinTlsVersion": "1.2",
    "ftpsState": "FtpsOnly",
    "healthCheckPath": "/health",
    "acrUseManagedIdentityCreds": False,
}


class Properties(BaseModel):
    """A body whose properties may be anything."""

    properties: dict[str, JsonValue]


class Strings(BaseModel):
    """A body whose properties are texts: app settings. Azure takes null for an empty body."""

    properties: dict[str, str] | None = None


class ConnectionStrings(BaseModel):
    """A body of connection strings."""

    properties: dict[str, ConnectionString] | None = None


class NameValue(BaseModel):
    """Azure's NameValuePair."""

    name: str
    value: str = ""


class NamedConnectionString(BaseModel):
    """Azure's ConnStringInfo."""

    name: str
    connection_string: str = Field(alias="connectionString")
    type: str = "Custom"


class StickyNames(BaseModel):
    """Azure's SlotConfigNames; a list that is missing or null stays as it is."""

    appSettingNames: list[str] | None = None  # noqa: N815 -- Azure's own spelling
    connectionStringNames: list[str] | None = None  # noqa: N815 -- as above


class StickyBody(BaseModel):
    """The body that carries them."""

    properties: StickyNames


def _web_config_json(call: Call) -> dict[str, Any]:
    _, slot = find(call)
    content = slot.content
    rules = [rule.model_dump() for rule in slot.ramp_up_rules]
    return child_json(
        call,
        "config",
        "web",
        DEFAULTS
        | content.config
        | slot.config
        | {
            "linuxFxVersion": content.linux_fx_version,
            "autoSwapSlotName": slot.auto_swap_slot,
            "experiments": {"rampUpRules": rules},
        },
    )


async def _get_web_config(call: Call) -> web.Response:
    return web.json_response(_web_config_json(call))


async def _list_configs(call: Call) -> web.Response:
    return web.json_response({"value": [_web_config_json(call)]})


async def _change_web_config(call: Call) -> web.Response:
    """PATCH changes what is named, PUT puts everything else back to its default."""
    site, slot = find_changeable(call)
    properties = {name: value for name, value in call.parse(Properties).properties.items() if value is not None}
    require_valid(site, slot, properties)
    if call.request.method == "PUT":
        slot.content.config, slot.config = {}, {}
    await configure(call, site, slot, properties)
    return web.json_response(_web_config_json(call))


def require_valid(site: Site, slot: Slot, properties: Mapping[str, JsonValue]) -> None:
    """Azure's 400 for what cannot be set, before anything is."""
    _ramp_up_rules(site, slot, properties.get("experiments"))
    _pairs(properties.get("appSettings"))
    _connection_strings(properties.get("connectionStrings"))


async def configure(call: Call, site: Site, slot: Slot, given: Mapping[str, JsonValue]) -> None:
    """Set what is named of a SiteConfig: app settings and connection strings in it replace those that are there."""
    properties = dict(given)
    slot.ramp_up_rules = _ramp_up_rules(site, slot, properties.pop("experiments", None))
    auto_swap = properties.pop("autoSwapSlotName", slot.auto_swap_slot)
    image = str(properties.pop("linuxFxVersion", slot.content.linux_fx_version))
    deployed = image != slot.content.linux_fx_version
    slot.content.linux_fx_version = image
    slot.auto_swap_slot = str(auto_swap) or None if auto_swap is not None else None
    if (settings := properties.pop("appSettings", None)) is not None:
        slot.content.settings = _pairs(settings)
    if (strings := properties.pop("connectionStrings", None)) is not None:
        slot.content.connection_strings = _connection_strings(strings)
    for name, value in properties.items():
        (slot.config if name.startswith(STAYS) else slot.content.config)[name] = value
    await _changed(call, site, slot)
    if deployed:
        await swap.after_deployment(call.world, site, slot)


def _pairs(given: JsonValue) -> dict[str, str]:
    """App settings as a SiteConfig lists them."""
    try:
        return {each.name: each.value for each in TypeAdapter(list[NameValue]).validate_python(given or [])}
    except ValidationError as error:
        raise ArmError(400, "BadRequest", "siteConfig.appSettings has an invalid entry.") from error


def _connection_strings(given: JsonValue) -> dict[str, ConnectionString]:
    try:
        listed = TypeAdapter(list[NamedConnectionString]).validate_python(given or [])
    except ValidationError as error:
        raise ArmError(400, "BadRequest", "siteConfig.connectionStrings has an invalid entry.") from error
    return {each.name: ConnectionString(value=each.connection_string, type=each.type) for each in listed}


def _ramp_up_rules(site: Site, slot: Slot, experiments: JsonValue) -> list[RampUpRule]:
    if not isinstance(experiments, dict):
        return slot.ramp_up_rules
    try:
        rules = TypeAdapter(list[RampUpRule]).validate_python(experiments.get("rampUpRules") or [])
    except ValidationError as error:
        raise ArmError(400, "BadRequest", "experiments.rampUpRules has an invalid rule.") from error
    hosts = {each.host for each in site.slots.values()}
    for rule in rules:
        if rule.actionHostName.lower() not in hosts or not 0 <= rule.reroutePercentage <= 100:
            raise ArmError(400, "BadRequest", f"The ramp-up rule '{rule.name}' has an invalid host name or percentage.")
    return rules


async def _changed(call: Call, site: Site, slot: Slot) -> None:
    """Write down, and restart the process if what it was started with has changed."""
    touch(slot)
    call.world.save()
    if call.world.needs_restart(site, slot):
        call.world.start(restart_later(call.world, site, slot))


async def _list_settings(call: Call) -> web.Response:
    _, slot = find(call)
    return web.json_response(child_json(call, "config", "appsettings", dict(slot.content.settings)))


async def _put_settings(call: Call) -> web.Response:
    site, slot = find_changeable(call)
    slot.content.settings = call.parse(Strings).properties or {}
    await _changed(call, site, slot)
    return await _list_settings(call)


async def _list_connection_strings(call: Call) -> web.Response:
    _, slot = find(call)
    values = {name: string.model_dump() for name, string in slot.content.connection_strings.items()}
    return web.json_response(child_json(call, "config", "connectionstrings", values))


async def _put_connection_strings(call: Call) -> web.Response:
    site, slot = find_changeable(call)
    slot.content.connection_strings = call.parse(ConnectionStrings).properties or {}
    await _changed(call, site, slot)
    return await _list_connection_strings(call)


async def _get_sticky(call: Call) -> web.Response:
    site, _ = find(call)
    names = {"connectionStringNames": site.sticky_connection_strings, "appSettingNames": site.sticky_settings}
    return web.json_response(child_json(call, "config", "slotConfigNames", names | {"azureStorageConfigNames": None}))


async def _put_sticky(call: Call) -> web.Response:
    site, _ = find_changeable(call)
    names = call.parse(StickyBody).properties
    if names.appSettingNames is not None:
        site.sticky_settings = names.appSettingNames
    if names.connectionStringNames is not None:
        site.sticky_connection_strings = names.connectionStringNames
    call.world.save()
    return await _get_sticky(call)


STICKY = "/config/slotConfigNames"
READ, WRITE, LIST = "{sites}/config/read", "{sites}/config/write", "{sites}/config/list/action"

ROUTES = [
    *for_site_and_slot("GET", "/config", READ, _list_configs),
    *for_site_and_slot("GET", "/config/web", READ, _get_web_config),
    *for_site_and_slot("PATCH", "/config/web", WRITE, _change_web_config),
    *for_site_and_slot("PUT", "/config/web", WRITE, _change_web_config),
    *for_site_and_slot("POST", "/config/appsettings/list", LIST, _list_settings),
    *for_site_and_slot("PUT", "/config/appsettings", WRITE, _put_settings),
    *for_site_and_slot("POST", "/config/connectionstrings/list", LIST, _list_connection_strings),
    *for_site_and_slot("PUT", "/config/connectionstrings", WRITE, _put_connection_strings),
    # What is sticky belongs to the app as a whole: there is no such resource below a slot.
    *for_site_and_slot("GET", STICKY, READ, _get_sticky)[:1],
    *for_site_and_slot("PUT", STICKY, WRITE, _put_sticky)[:1],
]
