"""App Service sites by their ids, as far as what-if needs them: settings and configuration. Only reads.

Source: Microsoft.Web, API version 2025-05-01 (`azure-mgmt-web` 11).
"""

from typing import TYPE_CHECKING, Any

from rollback.azure import AzureConnection, our_errors
from rollback.infrastructure.what_if import group_of, name_of

if TYPE_CHECKING:
    from azure.mgmt.web.aio import WebSiteManagementClient


class SiteReader:
    """Reads sites and slots of the subscription."""

    def __init__(self, connection: AzureConnection) -> None:
        self._connection = connection

    async def get_settings(self, site: str) -> dict[str, Any]:
        """The app settings of a site or slot; secrets are among them."""
        names, slot = _names(site)
        async with self._connection.client(_client()) as client:
            with our_errors(f"settings of site '{name_of(site)}'"):
                if slot:
                    found = await client.web_apps.list_application_settings_slot(*names, slot)
                else:
                    found = await client.web_apps.list_application_settings(*names)
        return dict(found.properties or {})

    async def get_connection_strings(self, site: str) -> dict[str, Any]:
        """The connection strings of a site or slot, as a template writes them; secrets are among them."""
        names, slot = _names(site)
        async with self._connection.client(_client()) as client:
            with our_errors(f"connection strings of site '{name_of(site)}'"):
                if slot:
                    found = await client.web_apps.list_connection_strings_slot(*names, slot)
                else:
                    found = await client.web_apps.list_connection_strings(*names)
        return {name: each.as_dict() for name, each in (found.properties or {}).items()}

    async def get_configuration(self, site: str) -> dict[str, Any]:
        """The whole configuration of a site or slot."""
        names, slot = _names(site)
        async with self._connection.client(_client()) as client:
            with our_errors(f"configuration of site '{name_of(site)}'"):
                if slot:
                    found = await client.web_apps.get_configuration_slot(*names, slot)
                else:
                    found = await client.web_apps.get_configuration(*names)
        return found.as_dict().get("properties") or {}


def _client() -> "type[WebSiteManagementClient]":
    from azure.mgmt.web.aio import WebSiteManagementClient

    return WebSiteManagementClient


def _names(site: str) -> tuple[tuple[str, str], str]:
    """Group and name of a site, and the slot; empty for the site itself."""
    app, _, slot = name_of(site).partition("/")
    return (group_of(site), app), slot
