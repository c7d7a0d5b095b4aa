"""Losses are counted, or unknown; never 0 for what is not known."""

import pytest
from postgresql_server import APP, PostgreSql

from rollback.migrations.counting import count_losses, words
from rollback.migrations.models import UNNAMED, Lost

TABLES = (
    'CREATE TABLE donations (id int, tip_cents int, "odd %""name" text)',
    "INSERT INTO donations SELECT g, CASE WHEN g <= 3 THEN g END, 'x' FROM generate_series(1, 5) AS g",
    "CREATE TABLE empty (id int)",
    "CREATE TABLE parent (id int, tip int)",
    "CREATE TABLE child () INHERITS (parent)",
    "INSERT INTO child VALUES (1, 1), (2, NULL)",
)


def lost(table: str, column: str | None = None, *, partly: bool = False) -> Lost:
    return Lost(table=table, column=column, partly=partly)


async def test_rows_and_values_are_counted(server: PostgreSql) -> None:
    session = await server.session(server.make_database(*TABLES))
    losses = (
        lost("public.donations"),
        lost("public.donations", "tip_cents"),
        lost("public.donations", 'odd %"name'),
        lost("public.empty"),
        lost("public.parent", "tip"),
    )
    try:
        assert await count_losses(session, losses) == tuple(zip(losses, (5, 3, 5, 0, 1), strict=True))
        assert await session.fetch_value("SELECT current_setting('statement_timeout')") == "0"
    finally:
        await session.connection.close()


async def test_what_cannot_be_counted_is_unknown_and_not_zero(server: PostgreSql) -> None:
    database = server.make_database(*TABLES, "CREATE VIEW slow AS SELECT pg_sleep(600)::text AS slept")
    session = await server.session(database, user=APP)
    losses = (
        lost("public.gone"),
        lost("public.donations", "gone"),
        lost("public.slow", "slept"),
        lost("pg_catalog.pg_authid"),
        lost(UNNAMED),
        lost("other.*"),
        lost("public.empty"),
    )
    try:
        counted = await count_losses(session, losses, seconds_per_loss=0.2)
    finally:
        await session.connection.close()
    assert [count for _, count in counted] == [None, None, None, None, None, None, 0]


@pytest.mark.parametrize(
    ("of", "count", "text"),
    [
        (lost("public.donations", "tip_cents"), 3412, "3,412 values of donations.tip_cents will be lost"),
        (lost("public.donations", "tip_cents"), 1, "1 value of donations.tip_cents will be lost"),
        (lost("public.donations", "tip_cents"), 0, "no value of donations.tip_cents will be lost"),
        (
            lost("public.donations", "tip_cents"),
            None,
            "an unknown number of values of donations.tip_cents will be lost",
        ),
        (lost("audit.entries"), 2, "2 rows of audit.entries will be lost"),
        (lost("audit.entries", partly=True), 2, "up to 2 rows of audit.entries will be lost"),
        (lost("public.a", "b", partly=True), 2, "up to 2 values of a.b may change or be refused"),
        (lost("audit.*"), None, "an unknown number of rows of every table in schema audit will be lost"),
        (lost(UNNAMED), None, "an unknown number of rows and values, of tables that cannot be named, will be lost"),
    ],
)
def test_a_loss_is_told_in_words(of: Lost, count: int | None, text: str) -> None:
    assert words(of, count) == text
