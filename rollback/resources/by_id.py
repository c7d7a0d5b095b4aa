"""Resources by their ids, read and changed through the genuine SDK.

Source: Microsoft.Resources `resources`, `providers`, and Microsoft.Authorization `locks` (`azure-mgmt-resource` 26,
`azure-mgmt-resource-locks` 1). An id is read with the API version of its type that is the newest without "preview".
"""

from collections.abc import Generator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self, cast

from pydantic import JsonValue

from rollback.azure import ONE_TRY, AzureConnection, azure_error, our_errors
from rollback.errors import ResourceLocked, ResourceMissing, Transient
from rollback.permissions import check_granted
from rollback.resources.ids import ResourceId
from rollback.resources.secrets import SETTINGS

if TYPE_CHECKING:
    from azure.mgmt.postgresqlflexibleservers.aio import PostgreSQLManagementClient
    from azure.mgmt.resource.locks.aio import ManagementLockClient
    from azure.mgmt.resource.resources.aio import ResourceManagementClient
    from azure.mgmt.web.aio import WebSiteManagementClient

SITE_TYPES = frozenset({"microsoft.web/sites", "microsoft.web/sites/slots"})
STICKY = "slotConfigNames"
"""Which settings stay with their slot; said once, of the app."""
SERVER_TYPE = "microsoft.dbforpostgresql/flexibleservers"
DATABASES_OF = {"microsoft.cache/redisenterprise": ("databases", "default")}
"""A cluster of Azure Managed Redis has one database, always of this name."""
READ_ONLY_LOCK = "readonly"
WRONG_OR_GONE = "Check --resource ('rollback archives'). What was deleted comes back by roll-back-infrastructure."
SETTLED = frozenset({"succeeded", "failed", "canceled", ""})
"""Provisioning states in which nothing goes on; what has none is settled."""


class MovedMeanwhile(Transient):
    """The resource is not in the state that the request was for (412): nothing was changed."""


@dataclass(frozen=True)
class Shown:
    """A resource as Azure shows it; may hold secrets, so that it is only in memory and never printed."""

    id: ResourceId
    api_version: str
    content: dict[str, JsonValue] = field(repr=False)

    @property
    def etag(self) -> str:
        """By which a change can be made to depend on this state; empty where there is none."""
        return str(self.content.get("etag") or "")

    @property
    def provisioning_state(self) -> str:
        """Azure's word; empty where the type has none."""
        properties = self.content.get("properties")
        return str(properties.get("provisioningState") or "") if isinstance(properties, dict) else ""

    @property
    def needs_restart(self) -> bool:
        """Whether a server's parameter only holds after a restart."""
        properties = self.content.get("properties")
        return isinstance(properties, dict) and properties.get("isDynamicConfig") is False

    @property
    def awaits_restart(self) -> bool:
        """Whether a server's parameter was set and does not hold yet."""
        properties = self.content.get("properties")
        return isinstance(properties, dict) and properties.get("isConfigPendingRestart") is True

    @property
    def moving(self) -> bool:
        """Whether an operation is in progress."""
        return self.provisioning_state.lower() not in SETTLED


class Resources:
    """The subscription's resources; an async context."""

    def __init__(self, connection: AzureConnection) -> None:
        self._connection = connection
        self._stack = AsyncExitStack()
        self._versions: dict[str, dict[str, list[str]]] = {}
        self._client: ResourceManagementClient
        self._locks: ManagementLockClient
        self._web: WebSiteManagementClient
        self._servers: PostgreSQLManagementClient

    async def __aenter__(self) -> Self:
        from azure.mgmt.postgresqlflexibleservers.aio import PostgreSQLManagementClient
        from azure.mgmt.resource.locks.aio import ManagementLockClient
        from azure.mgmt.resource.resources.aio import ResourceManagementClient
        from azure.mgmt.web.aio import WebSiteManagementClient

        enter, client = self._stack.enter_async_context, self._connection.client
        self._client = await enter(client(ResourceManagementClient))
        self._locks = await enter(client(ManagementLockClient))
        self._web = await enter(client(WebSiteManagementClient))
        self._servers = await enter(client(PostgreSQLManagementClient))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def list_group(self, group: str) -> list[ResourceId]:
        """Everything in a resource group that the credential can see, apart from what belongs to another resource."""
        with our_errors(f"resource group '{group}'"):
            return [
                ResourceId.parse(each.id or "") async for each in self._client.resources.list_by_resource_group(group)
            ]

    async def list_children(self, parent: ResourceId) -> list[ResourceId]:
        """What belongs to a resource, is not listed by itself, and is configuration that matters."""
        kind = parent.type.lower()
        if kind in SITE_TYPES:
            sticky = [] if parent.parent else [parent.child("config", STICKY)]
            return [parent.child("config", "web"), parent.child("config", SETTINGS), *sticky]
        if kind == SERVER_TYPE:
            return await self._list_of_server(parent)
        return [parent.child(*DATABASES_OF[kind])] if kind in DATABASES_OF else []

    async def _list_of_server(self, server: ResourceId) -> list[ResourceId]:
        """Its firewall rules, and those of its parameters that are not as Azure sets them."""
        names = (server.group, server.parts[0][1])
        with our_errors(f"parameters and firewall rules of {_describe(server)}"):
            set_ones = [
                each.name
                async for each in self._servers.configurations.list_by_server(*names)
                if each.properties and each.properties.source == "user-override"
            ]
            rules = [each.name async for each in self._servers.firewall_rules.list_by_server(*names)]
        children = [("configurations", str(name)) for name in set_ones] + [
            ("firewallRules", str(each)) for each in rules
        ]
        return [server.child(kind, name) for kind, name in children]

    async def api_version(self, resource: ResourceId) -> str:
        """With which a type is read: its own newest one, or that of what it belongs to; raises `ResourceMissing`."""
        known = await self._versions_of(resource.namespace)
        place: ResourceId | None = resource
        while place is not None:
            versions = known.get("/".join(kind for kind, _ in place.parts).lower(), [])
            if versions:
                stable = [each for each in versions if "-" not in each[len("2024-01-01") :]]
                return max(stable or versions)
            place = place.parent
        raise ResourceMissing(
            f"Azure has no type '{resource.type}', or not any more.", remedy="Look at the id: 'az provider show'."
        )

    async def _versions_of(self, namespace: str) -> dict[str, list[str]]:
        key = namespace.lower()
        if key not in self._versions:
            with our_errors(f"provider '{namespace}'"):
                found = await self._client.providers.get(namespace)
            types = found.resource_types or []
            self._versions[key] = {(each.resource_type or "").lower(): list(each.api_versions or []) for each in types}
        return self._versions[key]

    async def get(self, resource: ResourceId, api_version: str = "") -> Shown:
        """A resource with all its properties, secrets included; raises `ResourceMissing`."""
        version = api_version or await self.api_version(resource)
        if resource.type.lower().endswith("/config") and resource.parts[-1][1].lower() == SETTINGS:
            return Shown(resource, version, await self._get_settings(resource))
        with _missing_by_its_id(), our_errors(_describe(resource)):
            found = await self._client.resources.get_by_id(str(resource), api_version=version)
        return Shown(resource, version, cast("dict[str, JsonValue]", found.as_dict()))

    async def _get_settings(self, resource: ResourceId) -> dict[str, JsonValue]:
        """App settings, which no GET tells."""
        apps, names = self._web.web_apps, [name for _, name in resource.parts[:-1]]
        with our_errors(_describe(resource)):
            if len(names) == 1:
                found = await apps.list_application_settings(resource.group, *names)
            else:
                found = await apps.list_application_settings_slot(resource.group, *names)
        return {"id": str(resource), "type": resource.type, "properties": cast("JsonValue", found.properties or {})}

    async def patch(self, shown: Shown, body: dict[str, JsonValue]) -> None:
        """Change a resource as it was shown, once, and wait for Azure's own operation.

        Raises `ResourceLocked`, and `MovedMeanwhile` where it is not in that state any more, if its type has an ETag.
        """
        from azure.core.exceptions import HttpResponseError

        headers = {"If-Match": shown.etag} if shown.etag else {}
        wanted: Any = body
        with our_errors(_describe(shown.id)):
            try:
                operation = await self._client.resources.begin_update_by_id(
                    str(shown.id), wanted, api_version=shown.api_version, headers=headers, **ONE_TRY
                )
                await operation.result()
            except HttpResponseError as error:
                _raise_known(shown.id, error)
                raise

    async def find_locks(self, resource: ResourceId) -> tuple[str, ...]:
        """The locks that keep it from being changed, in words: its own, its group's, and the subscription's.

        Asked of the resource, which tells those above and below it, too: that a role on its group allows.
        """
        with our_errors(f"locks of {_describe(resource)}"):
            locks = [each async for each in self._locks.management_locks.list_by_scope(str(resource.root))]
        found: list[str] = []
        for each in locks:
            scope = (each.id or "").lower().rpartition("/providers/microsoft.authorization/locks/")[0]
            # What the SDK does not know stays a string.
            level = str(getattr(each.level, "value", each.level)).lower()
            if level == READ_ONLY_LOCK and f"{resource.key}/".startswith(f"{scope}/"):
                found.append(f"'{each.name}' on {scope.rpartition('/')[2]}{f': {each.notes}' if each.notes else ''}")
        return tuple(found)

    async def check_permissions(self, resource: ResourceId, actions: tuple[str, ...]) -> None:
        """Make sure that the credential may do the actions on it; raises `PermissionMissing` with them."""
        root = resource.root
        kind = (root.namespace, root.parts[0][0])
        with _missing_by_its_id():
            await check_granted(self._connection, _describe(resource), root.group, kind, root.parts[0][1], actions)


@contextmanager
def _missing_by_its_id() -> Generator[None]:
    """What is not there was named by its id: the platform file says nothing of it."""
    try:
        yield
    except ResourceMissing as error:
        raise ResourceMissing(error.message, remedy=WRONG_OR_GONE) from error


def _raise_known(resource: ResourceId, error: Any) -> None:
    code, message = azure_error(error)
    if code == "ScopeLocked":
        raise ResourceLocked(
            f"{_describe(resource)} is locked: {message}", remedy="Whoever set the lock has to take it away first."
        ) from error
    if error.status_code == 412:
        raise MovedMeanwhile(f"{_describe(resource)} was changed meanwhile.") from error


def _describe(resource: ResourceId) -> str:
    return f"'{resource.short}' ({resource.type}) in resource group '{resource.group}'"
