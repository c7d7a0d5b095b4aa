"""Alembic in the sandbox's own containers, through Kudu under its real name, on the database that production uses."""

from collections.abc import AsyncGenerator

import pytest
from azure_names import APP
from support import World

from rollback import azure
from rollback.azure import AzureConnection
from rollback.key_vault import KeyVault
from rollback.migrations.ways.ssh import SshWay
from rollback.migrations.ways.tunnel import scm_host
from rollback.migrations.ways.way import WayUnfit
from rollback.postgres.url import DatabaseUrl
from rollback.settings import load_settings
from sandbox.fundrbolt.releases import HEADS

HEAD = HEADS["v1.2.3"]
OPTIONS = {"PGOPTIONS": "-c lock_timeout=5000ms -c application_name=fundrbolt-rollback/migration"}


@pytest.fixture
async def connection(world: World) -> AsyncGenerator[AzureConnection]:
    async with azure.connect(load_settings().azure) as connection:
        yield connection


@pytest.fixture
async def url(connection: AzureConnection) -> DatabaseUrl:
    async with KeyVault(connection, "fundrbolt-production-kv") as vault:
        return DatabaseUrl.parse((await vault.get_secret("database-url")).value.get_secret_value())


def way(connection: AzureConnection, slot: str) -> SshWay:
    host = f"{APP}.azurewebsites.net" if slot == "production" else f"{APP}-{slot}.azurewebsites.net"
    return SshWay(
        connection=connection,
        app=APP,
        slot=slot,
        host=scm_host(host),
        folder="/app",
        command=("python", "-m", "alembic"),
        url_variable="DATABASE_URL",
        revision=HEAD,
    )


async def test_alembic_is_run_where_the_revisions_file_is_on_the_database_of_the_url(
    world: World, connection: AzureConnection, url: DatabaseUrl
) -> None:
    # The slot's own environment leads elsewhere: it must not be used.
    world.control.break_("ssh-wrong-database", environment="production", slot="production")
    production = way(connection, "production")
    await production.check()
    lines: list[str] = []
    ended = await production.run(["current"], url, OPTIONS, lines.append)
    assert ended.status == 0
    assert f"{HEAD} (head)" in lines
    assert url.password.get_secret_value() not in "".join(lines)
    with pytest.raises(WayUnfit, match=f"container of {APP}/staging has no file of revision {HEAD}"):
        await way(connection, "staging").check()


async def test_what_goes_wrong_in_the_container_is_told(
    world: World, connection: AzureConnection, url: DatabaseUrl
) -> None:
    world.control.break_("ssh-no-alembic", environment="production", slot="staging")
    with pytest.raises(WayUnfit, match="staging has no alembic for 'python -m alembic'"):
        await way(connection, "staging").check()
    world.control.break_("ssh-cut", environment="production", slot="production", after="PostgresqlImpl")
    ended = await way(connection, "production").run(["current"], url, OPTIONS, lambda _: None)
    assert ended.status is None
    world.control.break_("ssh-off", environment="production", slot="production")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("rollback.migrations.ways.tunnel.START_SECONDS", 0)
        with pytest.raises(WayUnfit, match="SSH server"):
            await way(connection, "production").check()
