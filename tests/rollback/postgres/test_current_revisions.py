"""Where a real database is in alembic's history, whichever schema its table is in."""

import pytest
from postgresql_server import APP, PostgreSql

from rollback.migrations.current import current_revisions

TABLE = "CREATE TABLE {}.alembic_version (version_num varchar(32) NOT NULL PRIMARY KEY)"


def at(schema: str, *revisions: str) -> list[str]:
    row = "INSERT INTO {}.alembic_version VALUES ('{}')"
    return [
        f"CREATE SCHEMA IF NOT EXISTS {schema}",
        TABLE.format(schema),
        *(row.format(schema, each) for each in revisions),
    ]


PUBLIC = [TABLE.format("public"), "INSERT INTO alembic_version VALUES ('p1')"]
SEARCHES = f"ALTER ROLE {APP} IN DATABASE {{}} SET search_path = app, public"


@pytest.mark.parametrize(
    ("made", "revisions"),
    [
        pytest.param([], (), id="alembic was never there"),
        pytest.param([TABLE.format("public")], (), id="downgraded to base"),
        pytest.param(PUBLIC, ("p1",), id="in public"),
        pytest.param(at("app", "a1"), ("a1",), id="in another schema"),
        pytest.param(at("app", "a2", "a1"), ("a1", "a2"), id="two heads"),
        pytest.param([*PUBLIC, *at("app", "a1")], ("p1",), id="public before what is not on the search path"),
        pytest.param([*PUBLIC, *at(APP, "u1")], ("u1",), id="the role's own schema before public"),
        pytest.param([*at("app", "a1"), *at("old", "o1")], ("a1", "o1"), id="several, none on the search path"),
    ],
)
async def test_the_current_revision_is_what_alembic_tells_the_apps_role(
    server: PostgreSql, made: list[str], revisions: tuple[str, ...]
) -> None:
    session = await server.session(server.make_database(*made))
    async with session.connection:
        assert await current_revisions(session, APP) == revisions


async def test_the_apps_own_search_path_decides(server: PostgreSql) -> None:
    database = server.make_database(*PUBLIC, *at("app", "a1"))
    server.sql(database, SEARCHES.format(database))
    session = await server.session(database)
    async with session.connection:
        assert await current_revisions(session, APP) == ("a1",)
        assert await current_revisions(session, "somebody_else") == ("p1",)


async def test_what_is_set_for_the_role_in_the_database_wins_over_the_databases_own(server: PostgreSql) -> None:
    database = server.make_database(*PUBLIC, *at("app", "a1"), *at("old", "o1"))
    server.sql(database, f"ALTER DATABASE {database} SET search_path = old", SEARCHES.format(database))
    session = await server.session(database)
    async with session.connection:
        assert await current_revisions(session, APP) == ("a1",)
        assert await current_revisions(session, "somebody_else") == ("o1",)
