"""What is told of a downgrade is what happens: the corpus on a real PostgreSQL, down and up by alembic itself."""

from typing import Any

import psycopg
import pytest
import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from postgresql_server import APP, PASSWORD, PORT, PostgreSql
from support import ROOT

from rollback.migrations.counting import count_losses
from rollback.migrations.models import Lost
from rollback.migrations.reading import read

CORPUS = ROOT / "tests" / "migrations_corpus"
ROWS = (
    "INSERT INTO donations (amount_cents, currency, donor, note) "
    "SELECT g, 'USD', 'donor ' || g, CASE WHEN g % 4 = 0 THEN 'note' END FROM generate_series(1, 20) AS g"
)
COLUMNS = (
    "SELECT table_schema || '.' || table_name, column_name, format_type(a.atttypid, a.atttypmod)"
    " FROM information_schema.columns JOIN pg_attribute a ON attname = column_name"
    " AND attrelid = format('%I.%I', table_schema, table_name)::regclass"
    " WHERE table_schema = 'public' AND table_name <> 'alembic_version'"
)
OBJECTS = (
    "SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' AND tablename <> 'alembic_version'"
    " UNION ALL SELECT conname || pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid > 0"
)

RUN = (
    *("good", "lossy_column", "lossy_table", "lossy_in_raw_sql", "narrowing"),
    *("non_transactional", "data_moving", "dialect_dependent", "merged"),
)


def migrate(server: PostgreSql, database: str, folder: str, to: str, *, down: bool = False) -> None:
    """Run alembic as an app's env.py does, on a connection of the app's role."""

    def connect() -> psycopg.Connection[Any]:
        return psycopg.connect(host=str(server.data), port=PORT, dbname=database, user=APP, password=PASSWORD)

    config = Config(CORPUS / folder / "alembic.ini")
    engine = sa.create_engine("postgresql+psycopg://", creator=connect, poolclass=sa.NullPool)
    with engine.connect() as connection:
        config.attributes["connection"] = connection
        (command.downgrade if down else command.upgrade)(config, to)
        connection.commit()


def at_heads(server: PostgreSql, folder: str) -> str:
    """A database at the folder's heads, with rows that were there before its last revisions."""
    database = server.make_database()
    migrate(server, database, folder, "start")
    server.sql(database, ROWS, user=APP)
    migrate(server, database, folder, "heads")
    return database


def columns(server: PostgreSql, database: str) -> dict[tuple[str, str], str]:
    return {(table, column): kind for table, column, kind in server.sql(database, COLUMNS)}


def schema(server: PostgreSql, database: str) -> tuple[object, ...]:
    return sorted(columns(server, database).items()), sorted(server.sql(database, OBJECTS))


def rows(server: PostgreSql, database: str) -> list[tuple[Any, ...]]:
    return server.sql(database, "SELECT * FROM donations ORDER BY id")


def named(losses: tuple[Lost, ...], before: dict[tuple[str, str], str]) -> set[tuple[str, str]]:
    """The columns that losses say will be gone."""
    whole = [lost for lost in losses if not lost.partly]
    return {each for each in before for lost in whole if lost.table == each[0] and lost.column in {None, each[1]}}


@pytest.mark.parametrize("folder", RUN)
def test_what_is_told_is_what_alembic_does(server: PostgreSql, folder: str) -> None:
    down = read(CORPUS / folder).revisions[0]
    to = down.down_revision or "base"
    database = at_heads(server, folder)
    by_hand = server.make_database(template=database)
    before, head = columns(server, database), schema(server, database)

    migrate(server, database, folder, to, down=True)
    for statement in down.statements:
        if statement not in {"COMMIT", "BEGIN"}:
            server.sql(by_hand, statement, user=APP)

    assert schema(server, by_hand) == schema(server, database)
    assert rows(server, by_hand) == rows(server, database)
    after = columns(server, database)
    assert before.keys() - after.keys() == named(down.losses, before)
    changed = {name for name in before.keys() & after.keys() if before[name] != after[name]}
    assert changed == {(lost.table, lost.column) for lost in down.losses if lost.partly}

    migrate(server, database, folder, "heads")
    assert schema(server, database) == head


@pytest.mark.parametrize(("folder", "error"), [("raising", NotImplementedError), ("raising_late", RuntimeError)])
def test_what_raises_leaves_everything_as_it_was(server: PostgreSql, folder: str, error: type[Exception]) -> None:
    database = at_heads(server, folder)
    head = schema(server, database)
    with pytest.raises(error):
        migrate(server, database, folder, "start", down=True)
    assert schema(server, database) == head


def test_what_needs_no_transaction_is_refused_in_one(server: PostgreSql) -> None:
    database = at_heads(server, "concurrently_inside")
    with pytest.raises(sa.exc.InternalError, match="cannot run inside a transaction block"):
        migrate(server, database, "concurrently_inside", "start", down=True)


def test_an_empty_downgrade_leaves_a_schema_that_its_revision_does_not_have(server: PostgreSql) -> None:
    database = at_heads(server, "empty")
    head = schema(server, database)
    migrate(server, database, "empty", "start", down=True)
    assert schema(server, database) == head
    assert server.sql(database, "SELECT version_num FROM alembic_version") == [("start",)]


@pytest.mark.parametrize("target", ["add_tip", "find_donors", "start", "base"])
def test_the_path_through_a_merge_is_what_alembic_runs(server: PostgreSql, target: str) -> None:
    database = at_heads(server, "merged")
    server.sql(database, "CREATE TABLE ran (revision text)", user=APP)
    server.sql(
        database,
        "CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN INSERT INTO ran VALUES (OLD.version_num); RETURN NULL; END $$",
        "CREATE TRIGGER note AFTER DELETE OR UPDATE ON alembic_version FOR EACH ROW EXECUTE FUNCTION note()",
        user=APP,
    )
    path = read(CORPUS / "merged").path("merge", target)
    migrate(server, database, "merged", target, down=True)
    ran = {revision for (revision,) in server.sql(database, "SELECT revision FROM ran")}
    assert ran == {step.revision for step in path}


async def test_the_losses_are_counted_where_they_are(server: PostgreSql) -> None:
    database = at_heads(server, "lossy_column")
    server.sql(database, "UPDATE donations SET tip_cents = 5 WHERE id <= 7", user=APP)
    session = await server.session(database)
    try:
        (counted,) = await count_losses(session, read(CORPUS / "lossy_column").revisions[0].losses)
    finally:
        await session.connection.close()
    assert counted == (Lost(table="public.donations", column="tip_cents"), 7)
