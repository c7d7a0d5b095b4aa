"""Flexible servers through Azure Resource Manager: looked at, restored beside, and set up.

Only a rehearsal's scratch server is ever deleted. Every request that changes something is sent once; who sends it reads
after it.

Source: Microsoft.DBforPostgreSQL (`azure-mgmt-postgresqlflexibleservers` 3.0).
"""

import asyncio
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from enum import Enum
from typing import TYPE_CHECKING, Any, Self

from rollback.azure import ONE_TRY, AzureConnection, our_errors
from rollback.database.models import Administrator, FirewallRule, Parameter, Server, ServerId, ServerSettings
from rollback.errors import Permanent, PermissionMissing, ResourceMissing
from rollback.permissions import check_granted

if TYPE_CHECKING:
    from azure.core.polling import AsyncLROPoller
    from azure.mgmt.postgresqlflexibleservers import models as sdk
    from azure.mgmt.postgresqlflexibleservers.aio import PostgreSQLManagementClient

POLL_SECONDS = 1.0
"""Between two looks at an operation of Azure's, where it does not say itself when to ask again."""


class FlexibleServers:
    """The subscription's flexible servers; an async context."""

    def __init__(self, connection: AzureConnection) -> None:
        self._connection = connection
        self._stack = AsyncExitStack()
        self._client: PostgreSQLManagementClient

    async def __aenter__(self) -> Self:
        from azure.mgmt.postgresqlflexibleservers.aio import PostgreSQLManagementClient

        self._client = await self._stack.enter_async_context(self._connection.client(PostgreSQLManagementClient))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    @property
    def subscription(self) -> str:
        """The subscription's id."""
        return self._connection.settings.subscription_id

    async def list_servers(self, groups: tuple[str, ...]) -> tuple[Server, ...]:
        """Every server of the subscription; only those of the groups where more may not be read."""
        try:
            with our_errors("servers of the subscription"):
                return tuple([_to_server(each) async for each in self._client.servers.list_by_subscription()])
        except PermissionMissing:
            found: list[Server] = []
            for group in groups:
                with our_errors(f"servers of resource group '{group}'"):
                    found += [_to_server(each) async for each in self._client.servers.list_by_resource_group(group)]
            return tuple(found)

    async def get(self, server: ServerId) -> Server:
        """One server; raises `ResourceMissing`."""
        with our_errors(str(server)):
            return _to_server(await self._client.servers.get(server.resource_group, server.name))

    async def find(self, server: ServerId) -> Server | None:
        """One server, if there is one of that name."""
        try:
            return await self.get(server)
        except ResourceMissing:
            return None

    async def check_permissions(self, server: ServerId, actions: tuple[str, ...]) -> None:
        """Make sure that the credential may do what is planned; raises `PermissionMissing` with the actions."""
        kind = ("Microsoft.DBforPostgreSQL", "flexibleServers")
        await check_granted(self._connection, str(server), server.resource_group, kind, server.name, actions)

    async def why_not_free(self, name: str) -> str | None:
        """Why a name cannot be given to a new server, in Azure's words; none where it can."""
        from azure.mgmt.postgresqlflexibleservers import models as sdk

        request = sdk.CheckNameAvailabilityRequest(name=name, type="Microsoft.DBforPostgreSQL/flexibleServers")
        with our_errors(f"the name '{name}'"):
            answer = await self._client.name_availability.check_globally(request)
        return None if answer.name_available else (answer.message or "It is taken.")

    async def get_settings(self, server: Server) -> ServerSettings:
        """What a restored server must have as this one has it, read side by side."""
        rules, parameters, administrators = await asyncio.gather(
            self.list_firewall_rules(server), self.list_parameters(server.id), self.list_administrators(server.id)
        )
        return ServerSettings(
            firewall_rules=rules,
            parameters=tuple(each for each in parameters if not each.is_default),
            administrators=administrators,
            tags=server.tags,
            high_availability=server.high_availability,
            backup_retention_days=server.backup_retention_days,
            geo_redundant_backup=server.geo_redundant_backup,
        )

    async def list_firewall_rules(self, server: Server) -> tuple[FirewallRule, ...]:
        """Who is let in; nothing for a server with private access."""
        if server.is_private:
            return ()
        group, name = server.id.resource_group, server.id.name
        with our_errors(f"firewall rules of {server.id}"):
            found = [each async for each in self._client.firewall_rules.list_by_server(group, name)]
        rules = [
            FirewallRule(
                name=each.name or "", start=each.properties.start_ip_address, end=each.properties.end_ip_address
            )
            for each in found
        ]
        return tuple(sorted(rules, key=lambda rule: rule.name))

    async def list_parameters(self, server: ServerId) -> tuple[Parameter, ...]:
        """Every parameter that may be set."""
        with our_errors(f"parameters of {server}"):
            pages = self._client.configurations.list_by_server(server.resource_group, server.name)
            found = [each async for each in pages]
        settable = [each for each in found if each.properties and not each.properties.is_read_only]
        return tuple(sorted((_to_parameter(each) for each in settable), key=lambda each: each.name))

    async def get_parameter(self, server: ServerId, name: str) -> Parameter:
        """One parameter."""
        with our_errors(f"parameter '{name}' of {server}"):
            return _to_parameter(await self._client.configurations.get(server.resource_group, server.name, name))

    async def list_administrators(self, server: ServerId) -> tuple[Administrator, ...]:
        """The Entra administrators."""
        with our_errors(f"administrators of {server}"):
            pages = self._client.administrators_microsoft_entra.list_by_server(server.resource_group, server.name)
            found = [each.properties async for each in pages]
        administrators = [
            Administrator(
                object_id=each.object_id or "",
                name=each.principal_name or "",
                kind=_word(each.principal_type, "Unknown"),
                tenant_id=each.tenant_id,
            )
            for each in found
        ]
        return tuple(sorted(administrators, key=lambda each: each.name))

    async def send_restore(
        self, new: ServerId, source: Server, point: datetime, tags: dict[str, str]
    ) -> "AsyncLROPoller[sdk.Server]":
        """Let Azure restore a server as it was at an instant to a new one beside it; sent once."""
        from azure.mgmt.postgresqlflexibleservers import models as sdk

        network = None
        if source.is_private:
            network = sdk.Network(
                delegated_subnet_resource_id=source.subnet, private_dns_zone_arm_resource_id=source.dns_zone
            )
        body = sdk.Server(
            location=source.location,
            tags=tags,
            properties=sdk.ServerProperties(
                create_mode="PointInTimeRestore",
                source_server_resource_id=source.id.path(self.subscription),
                point_in_time_utc=point,
                network=network,
            ),
        )
        with our_errors(f"restore to {new}"):
            return await self._client.servers.begin_create_or_update(
                new.resource_group, new.name, body, polling_interval=POLL_SECONDS, **ONE_TRY
            )

    async def wait_for(self, operation: "AsyncLROPoller[Any]", what: str) -> None:
        """Wait for an operation of Azure's to end; raises what it ended with."""
        with our_errors(what):
            await operation.result()

    async def set_parameter(self, server: ServerId, parameter: Parameter) -> None:
        """Give a parameter its value; safe to repeat."""
        from azure.mgmt.postgresqlflexibleservers import models as sdk

        source = "system-default" if parameter.is_default else "user-override"
        body = sdk.ConfigurationForUpdate(properties=sdk.ConfigurationProperties(value=parameter.value, source=source))
        what = f"parameter '{parameter.name}' of {server}"
        with our_errors(what):
            operation = await self._client.configurations.begin_update(
                server.resource_group, server.name, parameter.name, body, polling_interval=POLL_SECONDS, **ONE_TRY
            )
        await self.wait_for(operation, what)

    async def put_firewall_rule(self, server: ServerId, rule: FirewallRule) -> None:
        """Let addresses in; safe to repeat."""
        from azure.mgmt.postgresqlflexibleservers import models as sdk

        body = sdk.FirewallRule(
            properties=sdk.FirewallRuleProperties(start_ip_address=rule.start, end_ip_address=rule.end)
        )
        what = f"firewall rule '{rule.name}' of {server}"
        with our_errors(what):
            operation = await self._client.firewall_rules.begin_create_or_update(
                server.resource_group, server.name, rule.name, body, polling_interval=POLL_SECONDS, **ONE_TRY
            )
        await self.wait_for(operation, what)

    async def delete_firewall_rule(self, server: ServerId, rule: FirewallRule) -> None:
        """Let addresses in no more; safe to repeat."""
        what = f"firewall rule '{rule.name}' of {server}"
        with our_errors(what):
            operation = await self._client.firewall_rules.begin_delete(
                server.resource_group, server.name, rule.name, polling_interval=POLL_SECONDS, **ONE_TRY
            )
        await self.wait_for(operation, what)

    async def add_administrator(self, server: ServerId, administrator: Administrator) -> None:
        """Let an identity of Entra's sign in as administrator; safe to repeat."""
        from azure.mgmt.postgresqlflexibleservers import models as sdk

        body = sdk.AdministratorMicrosoftEntraAdd(
            properties=sdk.AdministratorMicrosoftEntraPropertiesForAdd(
                principal_name=administrator.name,
                principal_type=administrator.kind,
                tenant_id=administrator.tenant_id,
            )
        )
        what = f"administrator '{administrator.name}' of {server}"
        with our_errors(what):
            operation = await self._client.administrators_microsoft_entra.begin_create_or_update(
                server.resource_group,
                server.name,
                administrator.object_id,
                body,
                polling_interval=POLL_SECONDS,
                **ONE_TRY,
            )
        await self.wait_for(operation, what)

    async def update(
        self,
        server: ServerId,
        *,
        tags: dict[str, str] | None = None,
        retention_days: int | None = None,
        high_availability: str | None = None,
    ) -> None:
        """Change what is given of a server's own properties; safe to repeat."""
        from azure.mgmt.postgresqlflexibleservers import models as sdk

        backup = sdk.BackupForPatch(backup_retention_days=retention_days) if retention_days else None
        availability = sdk.HighAvailabilityForPatch(mode=high_availability) if high_availability else None
        properties = None
        if backup or availability:
            properties = sdk.ServerPropertiesForPatch(backup=backup, high_availability=availability)
        body = sdk.ServerForPatch(tags=tags, properties=properties)
        with our_errors(str(server)):
            operation = await self._client.servers.begin_update(
                server.resource_group, server.name, body, polling_interval=POLL_SECONDS, **ONE_TRY
            )
        await self.wait_for(operation, str(server))

    async def delete(self, server: ServerId) -> None:
        """Delete a server; safe to repeat. Only for one that was made to be deleted."""
        what = f"deletion of {server}"
        with our_errors(what):
            operation = await self._client.servers.begin_delete(
                server.resource_group, server.name, polling_interval=POLL_SECONDS, **ONE_TRY
            )
        await self.wait_for(operation, what)

    async def restart(self, server: ServerId) -> None:
        """Restart a server, so that parameters that are not dynamic take effect."""
        with our_errors(str(server)):
            operation = await self._client.servers.begin_restart(
                server.resource_group, server.name, polling_interval=POLL_SECONDS, **ONE_TRY
            )
        await self.wait_for(operation, str(server))


def _to_server(found: "sdk.Server") -> Server:
    properties = found.properties
    if properties is None or not found.id or not found.name:
        raise Permanent("Azure tells nothing about a server.")
    backup, network, availability = properties.backup, properties.network, properties.high_availability
    earliest = backup.earliest_restore_date if backup else None
    return Server(
        id=ServerId(resource_group=found.id.split("/")[4], name=found.name),
        location=found.location,
        state=_word(properties.state, "unknown"),
        host=properties.fully_qualified_domain_name or "",
        version=_word(properties.version),
        tags=found.tags or {},
        high_availability=_word(availability.mode if availability else None, "Disabled"),
        backup_retention_days=backup.backup_retention_days if backup else None,
        geo_redundant_backup=_word(backup.geo_redundant_backup if backup else None, "Disabled"),
        earliest_restore_point=earliest.astimezone(UTC) if earliest else None,
        subnet=(network.delegated_subnet_resource_id if network else None) or None,
        dns_zone=(network.private_dns_zone_arm_resource_id if network else None) or None,
    )


def _word(told: str | None, otherwise: str = "") -> str:
    """The service's own word for a value that the SDK may give as a member of an enumeration."""
    return str(told.value if isinstance(told, Enum) else told or otherwise)


def _to_parameter(found: "sdk.Configuration") -> Parameter:
    properties = found.properties
    if properties is None:
        raise Permanent(f"Azure tells nothing about parameter '{found.name}'.")
    return Parameter(
        name=found.name or "",
        value=properties.value or "",
        is_default=properties.value == properties.default_value,
        is_dynamic=properties.is_dynamic_config is not False,
        is_pending_restart=bool(properties.is_config_pending_restart),
    )
