"""Who reads a database's address from its secret: apps and slots with a Key Vault reference, and how they follow.

An app gets what its reference resolved to, from a cache that a restart does not renew. So after the secret has a new
version each reference is refreshed and looked at, version by version, before the app may start.

Source: Microsoft.Web, API version 2025-05-01 (`azure-mgmt-web` 11); learn.microsoft.com, "Use Key Vault references".
"""

import asyncio
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, Self

from rollback.azure import ONE_TRY, AzureConnection, our_errors, ours
from rollback.errors import Permanent, PermissionMissing
from rollback.models import Model
from rollback.slots import PRODUCTION

if TYPE_CHECKING:
    from azure.core.async_paging import AsyncItemPaged
    from azure.mgmt.web import models as sdk
    from azure.mgmt.web.aio import WebSiteManagementClient

API_VERSION = "2025-05-01"
RUNNING = "Running"


class Maintained(Model):
    """How an app is put into maintenance mode, and taken out of it again."""

    setting: str
    """The app setting, by name."""
    value: str
    """What it is in maintenance mode."""
    before: str | None
    """What it was when the plan was made, and becomes again; none where there was no such setting."""

    @property
    def before_words(self) -> str:
        """What it becomes again, for people."""
        return "absent" if self.before is None else f"'{self.before}'"

    @property
    def stays(self) -> bool:
        """Whether the app was in maintenance mode already: then it is left there."""
        return self.before == self.value


class Consumer(Model):
    """An app, or a slot of one, whose settings refer to the secret."""

    resource_group: str
    app: str
    slot: str = PRODUCTION
    host: str = ""
    settings: tuple[str, ...]
    """The app settings that refer to it, by name."""
    was_running: bool
    """When the plan was made: only then it is started again."""
    addresses: tuple[str, ...] = ()
    """From which it calls other services."""
    how: str
    """How it is known: declared in the platform file, or found."""
    maintenance: Maintained | None = None
    """None: it is stopped."""

    @property
    def quiet_words(self) -> str:
        """How it is kept from writing, for people."""
        mode = self.maintenance
        if mode is None:
            return "stopped"
        back = "stays so" if mode.stays else f"then back to {mode.before_words}"
        return f"in maintenance mode by {mode.setting}={mode.value}, {back}"

    @property
    def serves_again(self) -> bool:
        """Whether it is in use in the end: not what was stopped or in maintenance mode when the plan was made."""
        return self.was_running and not (self.maintenance and self.maintenance.stays)

    @property
    def name(self) -> str:
        """App and slot, as people say it."""
        return self.app if self.slot == PRODUCTION else f"{self.app}/{self.slot}"


class Reference(Model):
    """A Key Vault reference of an app setting, as App Service resolved it."""

    setting: str
    vault: str
    secret: str
    pinned_to: str | None
    """The version that it names; such a reference never moves."""
    status: str
    active_version: str | None
    """The version whose value the app gets; none where App Service does not tell."""

    def is_to(self, vault: str, secret: str) -> bool:
        """Whether it refers to the secret."""
        return (self.vault.lower(), self.secret.lower()) == (vault.lower(), secret.lower())


class App(Model):
    """An app or a slot at one moment."""

    resource_group: str
    app: str
    slot: str
    host: str
    state: str
    addresses: tuple[str, ...]


class Apps:
    """The subscription's apps, as far as they use secrets; an async context."""

    def __init__(self, connection: AzureConnection) -> None:
        self._connection = connection
        self._stack = AsyncExitStack()
        self._client: WebSiteManagementClient

    async def __aenter__(self) -> Self:
        from azure.mgmt.web.aio import WebSiteManagementClient

        self._client = await self._stack.enter_async_context(self._connection.client(WebSiteManagementClient))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def list_apps(self, groups: tuple[str, ...]) -> tuple[tuple[App, ...], bool]:
        """Every app and slot of the subscription, and whether these are all: else only those of the groups."""
        apps, whole = self._client.web_apps, True
        sites: list[sdk.Site] = []
        try:
            with our_errors("apps of the subscription"):
                sites = [each async for each in apps.list()]
        except PermissionMissing:
            whole = False
            for group in groups:
                with our_errors(f"apps of resource group '{group}'"):
                    sites += [each async for each in apps.list_by_resource_group(group)]
        slots = await asyncio.gather(*(self._list_slots(each) for each in sites))
        return tuple(_to_app(each) for each in [*sites, *(slot for found in slots for slot in found)]), whole

    async def _list_slots(self, site: "sdk.Site") -> "list[sdk.Site]":
        group, name = _group_of(site), site.name or ""
        with our_errors(f"slots of app '{name}'"):
            return [each async for each in self._client.web_apps.list_slots(group, name)]

    async def list_references(self, app: App | Consumer) -> tuple[Reference, ...]:
        """An app's Key Vault references, as they are resolved now."""
        apps = self._client.web_apps
        pages: AsyncItemPaged[sdk.ApiKVReference]
        if app.slot == PRODUCTION:
            pages = apps.get_app_settings_key_vault_references(app.resource_group, app.app)
        else:
            pages = apps.get_app_settings_key_vault_references_slot(app.resource_group, app.app, app.slot)
        with our_errors(f"Key Vault references of {_describe(app)}"):
            found = [each async for each in pages]
        return tuple(_to_reference(each) for each in found if each.properties)

    async def refresh_references(self, app: Consumer) -> None:
        """Let App Service fetch every reference of an app again; safe to repeat. The SDK has no such call."""
        from azure.core.exceptions import AzureError, HttpResponseError
        from azure.core.rest import HttpRequest

        subscription = self._connection.settings.subscription_id
        site = (
            f"/subscriptions/{subscription}/resourceGroups/{app.resource_group}/providers/Microsoft.Web/sites/{app.app}"
        )
        slot = "" if app.slot == PRODUCTION else f"/slots/{app.slot}"
        path = f"{site}{slot}/config/configreferences/appsettings/refresh?api-version={API_VERSION}"
        what = f"Key Vault references of {_describe(app)}"
        try:
            response = await self._client.send_request(
                HttpRequest("POST", f"https://management.azure.com{path}"), **ONE_TRY
            )
            response.raise_for_status()
        except HttpResponseError as error:
            raise ours(what, error) from error
        except AzureError as error:
            raise ours(what, error) from error

    async def get_app(self, app: Consumer) -> App:
        """What an app's state is."""
        apps = self._client.web_apps
        with our_errors(_describe(app)):
            if app.slot == PRODUCTION:
                return _to_app(await apps.get(app.resource_group, app.app))
            return _to_app(await apps.get_slot(app.resource_group, app.app, app.slot))

    async def is_running(self, app: Consumer) -> bool:
        """Whether App Service says that an app runs."""
        return (await self.get_app(app)).state == RUNNING

    async def stop(self, app: Consumer) -> None:
        """Stop an app; safe to repeat. Its users get errors until it is started."""
        apps: Any = self._client.web_apps
        with our_errors(_describe(app)):
            if app.slot == PRODUCTION:
                await apps.stop(app.resource_group, app.app, **ONE_TRY)
            else:
                await apps.stop_slot(app.resource_group, app.app, app.slot, **ONE_TRY)

    async def start(self, app: Consumer) -> None:
        """Start an app; safe to repeat."""
        apps: Any = self._client.web_apps
        with our_errors(_describe(app)):
            if app.slot == PRODUCTION:
                await apps.start(app.resource_group, app.app, **ONE_TRY)
            else:
                await apps.start_slot(app.resource_group, app.app, app.slot, **ONE_TRY)

    async def restart(self, app: App | Consumer) -> None:
        """Restart an app. Repeated, it is restarted again."""
        apps: Any = self._client.web_apps
        with our_errors(_describe(app)):
            if app.slot == PRODUCTION:
                await apps.restart(app.resource_group, app.app, **ONE_TRY)
            else:
                await apps.restart_slot(app.resource_group, app.app, app.slot, **ONE_TRY)

    async def get_setting(self, app: App | Consumer, name: str) -> str | None:
        """The value of one app setting; none where there is none of that name."""
        return (await self._read_settings(app)).get(name)

    async def set_setting(self, app: Consumer, name: str, value: str | None) -> None:
        """Give one app setting a value, or remove it (none); safe to repeat. The app restarts.

        Azure only takes all of them at once: what somebody else changes between our reading and writing, within
        milliseconds, is overwritten. They hold secrets, and do not leave this method.
        """
        settings = await self._read_settings(app)
        if not settings.keys() >= set(app.settings):
            raise Permanent(
                f"Azure does not tell all settings of {_describe(app)}: writing them back would lose some.",
                remedy="Look at them in the portal.",
            )
        settings = {key: text for key, text in settings.items() if key != name}
        body: Any = {"properties": settings if value is None else {**settings, name: value}}
        apps = self._client.web_apps
        with our_errors(f"settings of {_describe(app)}"):
            if app.slot == PRODUCTION:
                await apps.update_application_settings(app.resource_group, app.app, body, **ONE_TRY)
            else:
                await apps.update_application_settings_slot(app.resource_group, app.app, app.slot, body, **ONE_TRY)

    async def _read_settings(self, app: App | Consumer) -> dict[str, str]:
        apps = self._client.web_apps
        with our_errors(f"settings of {_describe(app)}"):
            if app.slot == PRODUCTION:
                found = await apps.list_application_settings(app.resource_group, app.app)
            else:
                found = await apps.list_application_settings_slot(app.resource_group, app.app, app.slot)
        return dict(found.properties or {})

    async def list_instances(self, app: Consumer) -> tuple[str, ...]:
        """The ids of an app's instances."""
        apps = self._client.web_apps
        if app.slot == PRODUCTION:
            pages = apps.list_instance_identifiers(app.resource_group, app.app)
        else:
            pages = apps.list_instance_identifiers_slot(app.resource_group, app.app, app.slot)
        with our_errors(f"instances of {_describe(app)}"):
            return tuple([each.name or "" async for each in pages])


def _describe(app: App | Consumer) -> str:
    place = f"app '{app.app}' in resource group '{app.resource_group}'"
    return place if app.slot == PRODUCTION else f"slot '{app.slot}' of {place}"


def _group_of(site: "sdk.Site") -> str:
    return (site.id or "").split("/")[4]


def _to_app(site: "sdk.Site") -> App:
    properties = site.properties
    app, _, slot = (site.name or "").partition("/")
    addresses = [properties.outbound_ip_addresses, properties.possible_outbound_ip_addresses] if properties else []
    return App(
        resource_group=_group_of(site),
        app=app,
        slot=slot or PRODUCTION,
        host=(properties.default_host_name if properties else None) or "",
        state=(properties.state if properties else None) or "unknown",
        addresses=tuple(sorted({each.strip() for each in ",".join(filter(None, addresses)).split(",")} - {""})),
    )


def _to_reference(found: "sdk.ApiKVReference") -> Reference:
    properties: Any = found.properties
    return Reference(
        setting=(found.name or "").rpartition("/")[2],
        vault=properties.vault_name or "",
        secret=properties.secret_name or "",
        pinned_to=properties.secret_version or None,
        status=str(getattr(properties.status, "value", properties.status) or "unknown"),
        active_version=properties.active_version or None,
    )
