"""Static Web Apps, read and changed through the genuine SDK.

Source: Microsoft.Web `staticSites`, API version 2025-05-01 (`azure-mgmt-web` 11). What a site serves is asked of the
site itself (`pages.py`): Azure tells only that, and when, something was deployed.
"""

import asyncio
from collections.abc import Generator
from contextlib import AsyncExitStack, contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Self
from urllib.parse import urlsplit

from pydantic import SecretStr

from rollback.azure import ONE_TRY, AzureConnection, our_errors
from rollback.errors import Permanent, RollbackError
from rollback.frontends.settings import Frontend
from rollback.models import Model
from rollback.permissions import check_granted
from rollback.redaction import blacken

if TYPE_CHECKING:
    from azure.core.polling import AsyncLROPoller
    from azure.mgmt.web.aio import WebSiteManagementClient
    from azure.mgmt.web.aio.operations import StaticSitesOperations

PRODUCTION = "default"
"""The environment of a Static Web App that its own host serves."""
TOKEN = "apiKey"  # noqa: S105 - a name in Azure's answer
FAILED = "Failed"
MOVING = frozenset({"WaitingForDeployment", "Uploading", "Deploying"})


class StaticSite(Model):
    """A Static Web App, and Azure's word about what was deployed to it last."""

    name: str
    host: str
    status: str
    """Of the production environment: `Ready`, `Deploying`, `Failed`, …"""
    updated_at: datetime | None
    """When something was deployed to it last."""

    @property
    def failed(self) -> bool:
        """Whether the last deployment ended without being served."""
        return self.status == FAILED

    @property
    def moving(self) -> bool:
        """Whether a deployment is in progress."""
        return self.status in MOVING


class StaticSites:
    """The subscription's Static Web Apps; an async context."""

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

    @property
    def _sites(self) -> "StaticSitesOperations":
        return self._client.static_sites

    async def get(self, frontend: Frontend) -> StaticSite:
        """The site and its production environment, read side by side."""
        names = (frontend.resource_group, frontend.app)
        with our_errors(_describe(frontend)):
            site, build = await asyncio.gather(
                self._sites.get_static_site(*names), self._sites.get_static_site_build(*names, PRODUCTION)
            )
        if site.properties is None or build.properties is None or not site.properties.default_hostname:
            raise Permanent(f"Azure tells nothing about {_describe(frontend)}.")
        return StaticSite(
            name=frontend.app,
            host=site.properties.default_hostname,
            # What the SDK does not know stays a string.
            status=str(getattr(build.properties.status, "value", build.properties.status) or "unknown"),
            updated_at=build.properties.last_updated_on,
        )

    async def check_permissions(self, frontend: Frontend, actions: tuple[str, ...]) -> None:
        """Make sure that the credential may do what is planned; raises `PermissionMissing` with the actions."""
        kind = ("Microsoft.Web", "staticSites")
        await check_granted(self._connection, _describe(frontend), frontend.resource_group, kind, frontend.app, actions)

    async def get_deployment_token(self, frontend: Frontend) -> SecretStr:
        """The token with which anybody can deploy to the site."""
        with our_errors(f"deployment token of {_describe(frontend)}"):
            found = await self._sites.list_static_site_secrets(frontend.resource_group, frontend.app)
        if not (found.properties or {}).get(TOKEN):
            raise Permanent(
                f"Azure gives no deployment token of {_describe(frontend)}.",
                remedy="Its deployment authorization policy must be 'Deployment token'.",
            )
        return SecretStr((found.properties or {})[TOKEN])

    async def deploy(self, frontend: Frontend, url: SecretStr, title: str) -> "AsyncLROPoller[None]":
        """Let Azure fetch a zip archive and serve it; sent once. The operation is still going on when this returns."""
        from azure.mgmt.web import models as sdk

        wanted = sdk.StaticSiteZipDeployment(
            app_zip_url=url.get_secret_value(), deployment_title=title, provider="rollback"
        )
        body = sdk.StaticSiteZipDeploymentARMResource(properties=wanted)
        with _without(url), our_errors(f"deployment to {_describe(frontend)}"):
            return await self._sites.begin_create_zip_deployment_for_static_site(
                frontend.resource_group, frontend.app, body, **ONE_TRY
            )

    async def wait_for(self, frontend: Frontend, url: SecretStr, operation: "AsyncLROPoller[None]") -> None:
        """Wait for a deployment to end; raises what Azure ended it with, or `Transient` where its word is not had."""
        with _without(url), our_errors(f"deployment to {_describe(frontend)}"):
            await operation.result()


def _describe(frontend: Frontend) -> str:
    return f"static web app '{frontend.app}' in resource group '{frontend.resource_group}'"


@contextmanager
def _without(url: SecretStr) -> Generator[None]:
    """Keep an address that is a secret, and the answer that may quote it, out of errors."""
    address = url.get_secret_value()
    try:
        yield
    except RollbackError as error:
        told = blacken(error.message, [address, urlsplit(address).query])
        raise type(error)(told, remedy=error.remedy) from None
