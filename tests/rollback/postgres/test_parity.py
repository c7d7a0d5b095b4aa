from collections.abc import AsyncGenerator

import pytest
from postgresql_server import APP, PostgreSql

from rollback.postgres.inventory import Inventory, read_inventory
from rollback.postgres.parity import compare_inventories, reapply, same_origin
from rollback.postgres.session import Session

MADE = ["CREATE TABLE donations (id int PRIMARY KEY, amount int)", "CREATE SEQUENCE numbers", "CREATE SCHEMA reports"]


class Pair:
    def __init__(self, server: PostgreSql, source: Session, restored: Session) -> None:
        self.server = server
        self.source = source
        self.restored = restored

    async def differences(self) -> dict[str, tuple[str, ...]]:
        found = compare_inventories(await read_inventory(self.source), await read_inventory(self.restored))
        return {each.name: each.statements or (each.person,) for each in found}

    async def reapply_as(self, user: str) -> list[str]:
        """Reapply what can be, as a role; the refusals."""
        found = compare_inventories(await read_inventory(self.source), await read_inventory(self.restored))
        session = await self.server.session(self.restored.database, user)
        done = await reapply(session, found)
        await session.connection.close()
        return [each.refused for each in done if each.refused]


@pytest.fixture
async def pair(server: PostgreSql) -> AsyncGenerator[Pair]:
    server.sql("postgres", "CREATE ROLE reader NOLOGIN", f"GRANT reader TO {APP}")
    old = server.make_database(*MADE)
    new = server.make_database(template=old)
    pair = Pair(server, await server.session(old), await server.session(new))
    yield pair
    for session in (pair.source, pair.restored):
        await session.connection.close()
    server.drop_databases()
    server.sql("postgres", "DROP ROLE reader")


async def test_an_inventory_tells_what_a_database_is(pair: Pair) -> None:
    inventory = await read_inventory(pair.source)
    assert inventory.identity.database == pair.source.database
    assert inventory.identity.owner == APP
    assert inventory.identity.system_identifier
    assert [(each.full_name, each.key) for each in inventory.tables] == [("public.donations", ("id",))]
    assert [each.name for each in inventory.extensions] == ["plpgsql"]
    roles = {each.name: each for each in inventory.roles}
    assert "LOGIN" in roles[APP].options
    assert "NOLOGIN" in roles["reader"].options
    assert "azuresu" not in roles
    assert ("reader", APP) in {(each.role, each.member) for each in inventory.memberships}
    assert inventory.large_objects == 0
    assert same_origin(inventory, inventory)


async def test_a_copy_has_no_differences(pair: Pair) -> None:
    assert await pair.differences() == {}


@pytest.mark.parametrize(
    ("change", "name", "statement"),
    [
        ("GRANT SELECT ON donations TO reader", "right SELECT on table public.donations of reader",
         'GRANT SELECT ON TABLE public.donations TO "reader"'),
        ("GRANT USAGE ON SEQUENCE numbers TO reader WITH GRANT OPTION",
         "right USAGE on sequence public.numbers of reader",
         'GRANT USAGE ON SEQUENCE public.numbers TO "reader" WITH GRANT OPTION'),
        ("GRANT USAGE ON SCHEMA reports TO reader", "right USAGE on schema reports of reader",
         'GRANT USAGE ON SCHEMA reports TO "reader"'),
        ("GRANT CREATE ON DATABASE {old} TO reader", "right CREATE on database of reader",
         'GRANT CREATE ON DATABASE "{new}" TO "reader"'),
        ("REVOKE TEMPORARY ON DATABASE {old} FROM PUBLIC", "right TEMPORARY on database of PUBLIC",
         'REVOKE TEMPORARY ON DATABASE "{new}" FROM PUBLIC'),
        ("ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO reader",
         "default right SELECT on tables of fundrbolt_app for reader",
         'ALTER DEFAULT PRIVILEGES FOR ROLE "fundrbolt_app" GRANT SELECT ON TABLES TO "reader"'),
        ("ALTER DEFAULT PRIVILEGES IN SCHEMA reports GRANT INSERT ON TABLES TO reader",
         "default right INSERT on tables of fundrbolt_app in schema reports for reader",
         'ALTER DEFAULT PRIVILEGES FOR ROLE "fundrbolt_app" IN SCHEMA "reports" GRANT INSERT ON TABLES TO "reader"'),
        ("ALTER DATABASE {old} SET work_mem = '8MB'", "setting work_mem",
         """ALTER DATABASE "{new}" SET "work_mem" TO '8MB'"""),
        ("ALTER DATABASE {old} SET search_path = reports, \"$user\"", "setting search_path",
         'ALTER DATABASE "{new}" SET "search_path" TO reports, "$user"'),
        ("ALTER ROLE fundrbolt_app IN DATABASE {old} SET lock_timeout = 7",
         "setting lock_timeout of role fundrbolt_app",
         """ALTER ROLE "fundrbolt_app" IN DATABASE "{new}" SET "lock_timeout" TO '7'"""),
    ],
)  # fmt: skip
async def test_what_was_granted_and_set_since_is_done_again(pair: Pair, change: str, name: str, statement: str) -> None:
    names = {"old": pair.source.database, "new": pair.restored.database}
    pair.server.sql(pair.source.database, change.format(**names), user=APP)

    assert await pair.differences() == {name: (statement.format(**names),)}
    assert await pair.reapply_as(APP) == []
    assert await pair.differences() == {}


@pytest.mark.parametrize(
    "change",
    [
        "GRANT SELECT ON donations TO reader",
        "GRANT SELECT ON donations TO PUBLIC WITH GRANT OPTION",
        "ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO reader",
        "ALTER DATABASE {new} SET work_mem = '8MB'",
    ],
)
async def test_what_was_taken_since_is_taken_again(pair: Pair, change: str) -> None:
    if "PUBLIC" in change:
        change = change.replace("PUBLIC", "reader")
    pair.server.sql(pair.restored.database, change.format(new=pair.restored.database), user=APP)
    assert len(await pair.differences()) == 1
    assert await pair.reapply_as(APP) == []
    assert await pair.differences() == {}


async def test_a_refusal_is_told_and_stops_nothing(pair: Pair) -> None:
    changes = ["GRANT SELECT ON donations TO reader", "GRANT USAGE ON SEQUENCE numbers TO reader"]
    pair.server.sql(pair.source.database, *changes, user=APP)
    refusals = await pair.reapply_as("fundrbolt-rollback")
    assert len(refusals) == 2
    assert any("no privileges were granted" in each for each in refusals)
    assert len(await pair.differences()) == 2


async def test_a_changed_schema_needs_a_person(pair: Pair) -> None:
    changes = ["ALTER TABLE donations ADD COLUMN note text", "CREATE TABLE later (id int)"]
    pair.server.sql(pair.source.database, *changes, user=APP)
    differences = await pair.differences()
    assert "migration" in differences["table public.donations"][0]
    assert "migration" in differences["table public.later"][0]


async def test_an_extension_and_a_publication_are_compared(pair: Pair) -> None:
    changes = ["CREATE EXTENSION pg_trgm SCHEMA reports", "CREATE PUBLICATION changes FOR TABLE donations"]
    pair.server.sql(pair.source.database, *changes)
    differences = await pair.differences()
    assert differences["extension pg_trgm"][0].startswith('CREATE EXTENSION "pg_trgm" SCHEMA "reports" VERSION')
    assert "by hand" in differences["publication changes"][0]


def of_roles(inventory: Inventory, **changes: object) -> Inventory:
    roles = [role.model_copy(update=changes) if role.name == APP else role for role in inventory.roles]
    return inventory.model_copy(update={"roles": tuple(roles)})


async def test_roles_are_compared_and_their_passwords_left_to_a_person(pair: Pair) -> None:
    restored = await read_inventory(pair.restored)
    options = tuple("CREATEDB" if each == "NOCREATEDB" else each for each in next(iter(restored.roles)).options)
    changed = of_roles(restored, options=options, connection_limit=5)
    (difference,) = compare_inventories(changed, restored)
    assert difference.name == f"role {APP}"
    assert difference.statements[0].startswith(f'ALTER ROLE "{APP}" WITH ')
    assert "CONNECTION LIMIT 5" in difference.statements[0]

    without = restored.model_copy(update={"roles": tuple(r for r in restored.roles if r.name not in {APP, "reader"})})
    found = {each.name: each for each in compare_inventories(restored, without)}
    assert "with its password" in found[f"role {APP}"].person
    assert found["role reader"].statements[0].startswith('CREATE ROLE "reader" WITH NOLOGIN')
