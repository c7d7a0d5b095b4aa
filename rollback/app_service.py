"""App Service: an app, its slots, and the swap that exchanges them.

A slot swap is a toggle without precondition or idempotency key: whoever sends it must know, from what the slots run,
that it was not done already. This module reads and sends; `slot_swap.py` decides.

Source: Microsoft.Web, API version 2025-05-01 (`azure-mgmt-web` 11).
"""

import asyncio
import hashlib
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Self

from rollback import settings as platform
from rollback.azure import ONE_TRY, AzureConnection, azure_error, our_errors, ours
from rollback.errors import NoSlots, Permanent, ResourceMissing
from rollback.permissions import check_granted
from rollback.redaction import blacken
from rollback.releases import Manifest
from rollback.slots import PRODUCTION, LastSwap, RampUpRule, Slot
from rollback.throttling import retry_after

UNTOLD_WAIT_SECONDS = 5.0
"""After a 429 that names no time."""

if TYPE_CHECKING:
    from azure.core.exceptions import HttpResponseError
    from azure.core.polling import AsyncLROPoller
    from azure.mgmt.web import models as sdk
    from azure.mgmt.web.aio import WebSiteManagementClient
    from azure.mgmt.web.aio.operations import WebAppsOperations


class SwapAnswer(StrEnum):
    """What Azure's answer to a swap tells about its effect."""

    ACCEPTED = "accepted"
    REFUSED_NOW = "refused for now"
    """Not done; may be sent again after the wait that was named."""
    BUSY = "another operation in progress"
    """Not done; somebody's operation runs on the app."""
    OPEN = "open"
    """It may have happened, happen later, or never."""


@dataclass(frozen=True)
class SentSwap:
    """A swap that was sent once, and what came back."""

    answer: SwapAnswer
    text: str = ""
    wait_seconds: float = 0
    operation: "AsyncLROPoller[None] | None" = None


@dataclass(frozen=True)
class OperationResult:
    """How Azure says that an operation ended; `failure` is its message."""

    succeeded: bool
    failure: str = ""


class AppService:
    """One app, read and changed through the genuine SDK; an async context."""

    def __init__(self, connection: AzureConnection, backend: platform.Backend, manifest: Manifest) -> None:
        self._connection = connection
        self._backend = backend
        self._manifest = manifest
        self._stack = AsyncExitStack()
        self._client: WebSiteManagementClient

    async def __aenter__(self) -> Self:
        from azure.mgmt.web.aio import WebSiteManagementClient

        self._client = await self._stack.enter_async_context(self._connection.client(WebSiteManagementClient))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    @property
    def _apps(self) -> "WebAppsOperations":
        return self._client.web_apps

    @property
    def _names(self) -> tuple[str, str]:
        return self._backend.resource_group, self._backend.app

    def _describe(self, slot: str) -> str:
        place = f"app '{self._backend.app}' in resource group '{self._backend.resource_group}'"
        return place if slot == PRODUCTION else f"slot '{slot}' of {place}"

    @property
    def name(self) -> str:
        """The app's name."""
        return self._backend.app

    def require_slot(self) -> str:
        """The name of the slot that swaps with production; raises `NoSlots` where the platform file has none."""
        if self._backend.slot is None:
            raise NoSlots(
                f"App '{self._backend.app}' has no slot to swap with.",
                remedy="Without slots an earlier release is redeployed, not swapped in.",
            )
        return self._backend.slot

    async def get_slot(self, slot: str = PRODUCTION) -> Slot:
        """What a slot is and runs, from its site and its configuration, read side by side."""
        with our_errors(self._describe(slot)):
            if slot == PRODUCTION:
                site, config = await asyncio.gather(
                    self._apps.get(*self._names), self._apps.get_configuration(*self._names)
                )
            else:
                site, config = await asyncio.gather(
                    self._apps.get_slot(*self._names, slot), self._apps.get_configuration_slot(*self._names, slot)
                )
        return self._to_slot(slot, site, config)

    async def get_pair(self) -> tuple[Slot, Slot]:
        """Production and the slot that swaps with it, read side by side."""
        slot = self.require_slot()
        production, other = await asyncio.gather(self.get_slot(PRODUCTION), self.get_slot(slot), return_exceptions=True)
        if isinstance(production, BaseException):
            raise production
        if isinstance(other, ResourceMissing):
            raise NoSlots(
                f"App '{self._backend.app}' has no slot '{slot}'.",
                remedy="Name an existing slot in the platform file's 'backend.slot'.",
            ) from other
        if isinstance(other, BaseException):
            raise other
        return production, other

    async def list_sticky_settings_that_differ(self) -> tuple[str, ...]:
        """Names of the settings that stay with their slot and differ between the two; never their values."""
        slot = self.require_slot()
        with our_errors(f"settings of {self._describe(PRODUCTION)}"):
            names, here, there = await asyncio.gather(
                self._apps.list_slot_configuration_names(*self._names),
                self._apps.list_application_settings(*self._names),
                self._apps.list_application_settings_slot(*self._names, slot),
            )
        sticky = frozenset[str]((names.properties and names.properties.app_setting_names) or ())
        mine, theirs = _digests(here.properties, sticky), _digests(there.properties, sticky)
        return tuple(sorted(each for each in sticky if mine.get(each) != theirs.get(each)))

    async def list_deployments_since(self, slot: str, instant: datetime) -> tuple[datetime, ...]:
        """When something was deployed to a slot after an instant, newest first."""
        with our_errors(f"deployments of {self._describe(slot)}"):
            found = [each async for each in self._apps.list_deployments_slot(*self._names, slot)]
        details = [each.properties for each in found if each.properties]
        times = [_utc(each.end_time or each.start_time) for each in details]
        return tuple(sorted((time for time in times if time and time > instant), reverse=True))

    async def check_permissions(self, actions: tuple[str, ...]) -> None:
        """Make sure that the credential may do what is planned; raises `PermissionMissing` with the actions."""
        group, app = self._names
        what = self._describe(PRODUCTION)
        await check_granted(self._connection, what, group, ("Microsoft.Web", "sites"), app, actions)

    async def send_swap(self) -> SentSwap:
        """Send the swap of the slot with production, once; nothing here ever sends it again.

        Raises `PermissionMissing`, `ResourceMissing` or `CredentialRejected` where Azure refuses it for good: not done.
        """
        from azure.core.exceptions import AzureError, HttpResponseError

        slot = self.require_slot()
        body: Any = {"targetSlot": PRODUCTION, "preserveVnet": True}
        try:
            operation = await self._apps.begin_swap_slot(*self._names, slot, body, **ONE_TRY)
        except HttpResponseError as error:
            return _read_answer(error, self._describe(slot))
        except AzureError as error:
            return SentSwap(SwapAnswer.OPEN, f"no answer ({type(error).__name__})")
        return SentSwap(SwapAnswer.ACCEPTED, operation=operation)

    async def wait_for(self, operation: "AsyncLROPoller[None]") -> OperationResult | None:
        """Wait for an operation to end; none where Azure's word about it cannot be had. Cancel it to stop waiting."""
        from azure.core.exceptions import AzureError, HttpResponseError

        try:
            await operation.result()
        except HttpResponseError as error:
            code, message = azure_error(error)
            if error.status_code is not None and (error.status_code == 429 or error.status_code >= 500):
                return None
            return OperationResult(succeeded=False, failure=f"{code}: {message}")
        except AzureError:
            return None
        return OperationResult(succeeded=True)

    async def set_image(self, slot: str, linux_fx_version: str) -> None:
        """Let a slot run another image, once it is pulled and answers; safe to repeat."""
        from azure.mgmt.web import models as sdk

        config = sdk.SiteConfigResource(properties=sdk.SiteConfig(linux_fx_version=linux_fx_version))
        with our_errors(f"image of {self._describe(slot)}"):
            if slot == PRODUCTION:
                await self._apps.update_configuration(*self._names, config, **ONE_TRY)
            else:
                await self._apps.update_configuration_slot(*self._names, slot, config, **ONE_TRY)

    async def get_log_tail(self, slot: str, lines: int) -> list[str]:
        """The last lines of a container log, with the values of app settings blackened, but for Azure's own names."""
        with our_errors(f"container log of {self._describe(slot)}"):
            if slot == PRODUCTION:
                stream = await self._apps.get_web_site_container_logs(*self._names)
                settings = await self._apps.list_application_settings(*self._names)
            else:
                stream = await self._apps.get_web_site_container_logs_slot(*self._names, slot)
                settings = await self._apps.list_application_settings_slot(*self._names, slot)
            content = b"".join([chunk async for chunk in stream]) if stream else b""
        names = " ".join((*self._names, slot))
        values = [value for value in (settings.properties or {}).values() if value not in names]
        text = blacken(content.decode("utf-8", "replace"), values)
        return text.splitlines()[-lines:]

    async def merge_tags(self, tags: dict[str, str]) -> None:
        """Add tags to the app, or change them; others stay. Safe to repeat, and the app goes on undisturbed."""
        from azure.mgmt.resource.resources import models as sdk
        from azure.mgmt.resource.resources.aio import ResourceManagementClient

        group, app = self._names
        subscription = self._connection.settings.subscription_id
        scope = f"subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.Web/sites/{app}"
        patch = sdk.TagsPatchResource(operation="Merge", properties=sdk.Tags(tags=tags))
        with our_errors(f"tags of {self._describe(PRODUCTION)}"):
            async with self._connection.client(ResourceManagementClient) as client:
                poller = await client.tags.begin_update_at_scope(scope, patch, **ONE_TRY)
                await poller.result()

    async def remove_ramp_up_rules(self) -> None:
        """Send every user of production's host to production again; safe to repeat."""
        from azure.mgmt.web import models as sdk

        config = sdk.SiteConfigResource(properties=sdk.SiteConfig(experiments=sdk.Experiments(ramp_up_rules=[])))
        with our_errors(f"routing rules of {self._describe(PRODUCTION)}"):
            await self._apps.update_configuration(*self._names, config, **ONE_TRY)

    def _to_slot(self, name: str, site: "sdk.Site", config: "sdk.SiteConfigResource") -> Slot:
        properties, settings = site.properties, config.properties
        if properties is None or settings is None:
            raise Permanent(f"Azure tells nothing about {self._describe(name)}.")
        swap = properties.slot_swap_status
        swapped_at = _utc(swap.timestamp_utc) if swap else None
        rules = (settings.experiments.ramp_up_rules if settings.experiments else None) or []
        return Slot(
            name=name,
            host=properties.default_host_name or "",
            state=properties.state or "unknown",
            build=self._manifest.build_of(settings.linux_fx_version or ""),
            operation_in_progress=properties.in_progress_operation_id or None,
            unfinished_swap_with=properties.target_swap_slot or None,
            last_swap=LastSwap(
                at=swapped_at, source=swap.source_slot_name or "", destination=swap.destination_slot_name or ""
            )
            if swap and swapped_at
            else None,
            last_modified=_utc(properties.last_modified_time_utc),
            ramp_up=tuple(
                RampUpRule(name=each.name or "", host=each.action_host_name or "", percent=each.reroute_percentage or 0)
                for each in rules
                if each.reroute_percentage
            ),
            auto_swap_to=settings.auto_swap_slot_name or None,
            tags=site.tags or {},
        )


def _utc(instant: datetime | None) -> datetime | None:
    """App Service's time stamps are UTC, and most of them come without a zone."""
    return instant.replace(tzinfo=UTC) if instant and instant.tzinfo is None else instant


def _digests(settings: Mapping[str, str] | None, names: frozenset[str]) -> dict[str, str]:
    """The values' digests: enough to compare them, and no secret leaves this module."""
    return {
        name: hashlib.sha256(value.encode()).hexdigest() for name, value in (settings or {}).items() if name in names
    }


def _read_answer(error: "HttpResponseError", what: str) -> SentSwap:
    code, message = azure_error(error)
    match error.status_code:
        case 409:
            return SentSwap(SwapAnswer.BUSY, message)
        case 429:
            return SentSwap(SwapAnswer.REFUSED_NOW, f"429 {code}", wait_seconds=_wait_seconds(error))
        case status if status is None or status >= 500 or status == 408:
            return SentSwap(SwapAnswer.OPEN, f"{status} {code}")
        case _:
            raise ours(what, error) from error


def _wait_seconds(error: "HttpResponseError") -> float:
    headers: Mapping[str, str] = getattr(error.response, "headers", {})
    return retry_after(headers.get("Retry-After", ""), UNTOLD_WAIT_SECONDS)
