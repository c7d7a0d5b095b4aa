"""What going down and up again loses is seen in the rows themselves, whatever the revisions say of it."""

from collections.abc import Sequence

import pytest
from postgresql_server import APP, PostgreSql

from rollback.migrations.contents import Contents, is_planned, lost_between, read_contents
from rollback.migrations.models import UNNAMED, Lost

TABLES = (
    "CREATE TABLE donations (id int, tip_cents int, note text, nothing text)",
    "INSERT INTO donations SELECT g, CASE WHEN g <= 3 THEN g END, 'note ' || g FROM generate_series(1, 5) AS g",
    'CREATE TABLE "odd %""name" (id int, "odd %""column" jsonb)',
    """INSERT INTO "odd %""name" VALUES (1, '{"a": 1}')""",
    "CREATE TABLE empty (id int)",
    "CREATE TABLE alembic_version (version_num text)",
)


async def read(server: PostgreSql, database: str, user: str = APP) -> Contents:
    session = await server.session(database, user=user)
    try:
        return await read_contents(session)
    finally:
        await session.connection.close()


def lost(table: str, column: str | None = None) -> Lost:
    return Lost(table=table, column=column)


@pytest.mark.parametrize(
    ("statements", "found"),
    [
        (("ALTER TABLE donations RENAME tip_cents TO x", "ALTER TABLE donations RENAME x TO tip_cents"), []),
        (("CREATE TABLE other AS SELECT * FROM donations ORDER BY id DESC", "DROP TABLE other"), []),
        (
            ("ALTER TABLE donations DROP tip_cents", "ALTER TABLE donations ADD tip_cents int"),
            [lost("public.donations", "tip_cents")],
        ),
        (("ALTER TABLE donations DROP nothing", "ALTER TABLE donations ADD nothing text"), []),
        (("UPDATE donations SET note = left(note, 3)",), [lost("public.donations", "note")]),
        (("DELETE FROM donations WHERE id = 1",), [lost("public.donations")]),
        (("DROP TABLE donations, empty",), [lost("public.donations")]),
        (("""UPDATE "odd %""name" SET "odd %""column" = '{}'""",), [lost('public.odd %"name', 'odd %"column')]),
        (("INSERT INTO alembic_version VALUES ('e2a8c40b7f15')",), []),
    ],
)
async def test_what_is_lost_is_named(server: PostgreSql, statements: Sequence[str], found: list[Lost]) -> None:
    database = server.make_database()
    server.sql(database, *TABLES, user=APP)
    before = await read(server, database)
    server.sql(database, *statements, user=APP)
    assert list(lost_between(before, await read(server, database))) == found


async def test_a_table_that_cannot_be_read_is_named_and_not_taken_for_lost(server: PostgreSql) -> None:
    database = server.make_database()
    server.sql(database, *TABLES, "REVOKE SELECT ON empty FROM CURRENT_USER", user=APP)
    found = await read(server, database)
    assert found.unread == ("public.empty",)
    server.sql(database, "REVOKE SELECT ON donations FROM CURRENT_USER", user=APP)
    assert lost_between(found, await read(server, database)) == ()


@pytest.mark.parametrize(
    ("planned", "covered"),
    [
        (lost("public.donations", "tip_cents"), True),
        (lost("public.donations"), True),
        (lost(f"public.{UNNAMED}"), True),
        (lost(UNNAMED), True),
        (lost("public.donations", "note"), False),
        (lost("public.sessions"), False),
        (lost(f"other.{UNNAMED}"), False),
    ],
)
def test_a_plan_covers_a_loss_by_its_name_or_by_what_it_belongs_to(planned: Lost, covered: bool) -> None:
    assert is_planned(lost("public.donations", "tip_cents"), (planned,)) is covered
    assert not is_planned(lost("public.donations"), (lost("public.donations", "tip_cents"),))
