"""What tests of database servers share: names, sign-in, and the bodies of the usual requests."""

import asyncio
from datetime import datetime

import psycopg
from azure.core.exceptions import HttpResponseError
from azure.mgmt.postgresqlflexibleservers.aio import PostgreSQLManagementClient
from azure.mgmt.postgresqlflexibleservers.models import AdministratorMicrosoftEntraAdd, FirewallRule, Server
from azure_names import GROUP, SUBSCRIPTION

from sandbox.control import Control

PRODUCTION, STAGING, STAGING_GROUP = "fundrbolt-production-pg", "fundrbolt-staging-pg", "fundrbolt-staging-rg"
RESTORED = "fundrbolt-production-pg-r2611221200"
ROLE, DATABASE, SCOPE = "fundrbolt-rollback", "fundrbolt", "https://ossrdbms-aad.database.windows.net/.default"
ROLLBACK_ID = "44444444-4444-4444-8444-444444444444"
SERVERS = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/{GROUP}/providers/Microsoft.DBforPostgreSQL/flexibleServers"
OPERATOR = "203.0.113.10"
CLOCK = "SELECT clock_timestamp()"

Row = tuple[object, ...]


class Database:
    """Signs in as the rollback principal does: with a token, over verified TLS."""

    def __init__(self, control: Control, ca: str) -> None:
        self.control, self.ca = control, ca

    async def connect(self, host: str, **more: str | int) -> psycopg.AsyncConnection[Row]:
        options = {
            "user": ROLE,
            "dbname": DATABASE,
            "sslmode": "verify-full",
            "sslrootcert": self.ca,
            "connect_timeout": 20,
            **more,
        }
        if "password" not in options:
            options["password"] = self.control.token("rollback", SCOPE)
        return await psycopg.AsyncConnection.connect(host=host, autocommit=True, **options)

    async def rows(self, host: str, *statements: str, **more: str | int) -> list[Row]:
        """What the last statement returns."""
        async with await self.connect(host, **more) as connection:
            for statement in statements[:-1]:
                await connection.execute(statement)
            return await (await connection.execute(statements[-1])).fetchall()


class Servers:
    """The genuine SDK's client, with the requests that tests make again and again."""

    def __init__(self, client: PostgreSQLManagementClient) -> None:
        self.client = client

    async def host(self, name: str = PRODUCTION) -> str:
        return (await self.client.servers.get(GROUP, name)).fully_qualified_domain_name

    async def restore(
        self, point: datetime, name: str = RESTORED, *, source: str = PRODUCTION, geo: bool = False, **body: object
    ) -> Server:
        """A new server as it was at `point`: asked for until that is old enough."""
        while True:
            try:
                poller = await self.client.servers.begin_create_or_update(
                    GROUP, name, wish(point, source, geo=geo, **body)
                )
                return await poller.result()
            except HttpResponseError as error:
                if error.error is None or error.error.code != "InvalidRestorePointInTime":
                    raise
                # Not more often: Azure takes only so many writes.
                await asyncio.sleep(0.3)

    async def let_in(self, name: str) -> str:
        """Let the rollback principal sign in on a restored server; returns where that is."""
        properties = {"startIpAddress": OPERATOR, "endIpAddress": OPERATOR}
        rule = FirewallRule({"properties": properties})
        await (await self.client.firewall_rules.begin_create_or_update(GROUP, name, "operators", rule)).result()
        who = AdministratorMicrosoftEntraAdd(
            {"properties": {"principalName": ROLE, "principalType": "ServicePrincipal"}}
        )
        administrators = self.client.administrators_microsoft_entra
        await (await administrators.begin_create_or_update(GROUP, name, ROLLBACK_ID, who)).result()
        return await self.host(name)


def wish(point: datetime, source: str = PRODUCTION, *, geo: bool = False, **body: object) -> Server:
    """The body that asks for a restore."""
    properties = {
        "createMode": "GeoRestore" if geo else "PointInTimeRestore",
        "sourceServerResourceId": f"{SERVERS}/{source}",
        "pointInTimeUTC": point.isoformat(),
    }
    return Server({"location": "westus" if geo else "eastus", "properties": properties, **body})
