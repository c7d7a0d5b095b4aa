from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack

import pytest
from postgresql_server import APP, SUPERUSER, PostgreSql

from rollback.postgres.comparison import Comparison, TableComparison, both_still, compare
from rollback.postgres.errors import TookTooLong
from rollback.postgres.sequences import advance_sequences
from rollback.postgres.session import Session

DONATIONS = "CREATE TABLE donations (id int PRIMARY KEY, amount_cents int, donor text)"
SEED = "INSERT INTO donations SELECT n, n * 100, 'donor ' || n FROM generate_series(1, 5000) AS n"

Open = Callable[[str], Awaitable[Session]]


@pytest.fixture
async def opened(server: PostgreSql) -> AsyncGenerator[Open]:
    async with AsyncExitStack() as stack:

        async def open_session(database: str) -> Session:
            session = await server.session(database)
            stack.push_async_callback(session.connection.close)
            return session

        yield open_session


async def compared(server: PostgreSql, opened: Open, before: list[str], after: list[str]) -> Comparison:
    """What stands in the old database after changes, compared with the state before them."""
    old = server.make_database(*before)
    new = server.make_database(template=old)
    server.sql(old, *after, user=APP)
    return await compare(await opened(old), await opened(new))


def only(comparison: Comparison) -> TableComparison:
    (table,) = comparison.tables
    return table


def figures(table: TableComparison) -> tuple[int, int, int]:
    return table.only_old, table.differing, table.only_new


async def test_equal_tables_are_equal(server: PostgreSql, opened: Open) -> None:
    table = only(await compared(server, opened, [DONATIONS, SEED], []))
    assert table.equal
    assert (table.rows_old, table.rows_new) == (5000, 5000)
    assert table.buckets == ()


async def test_each_change_is_counted_as_what_it_is(server: PostgreSql, opened: Open) -> None:
    changes = [
        "INSERT INTO donations VALUES (9001, 1, 'late'), (9002, 2, NULL)",
        "UPDATE donations SET amount_cents = 0 WHERE id IN (17, 18, 4711)",
        "UPDATE donations SET donor = NULL, amount_cents = 1 WHERE id = 5",
        "DELETE FROM donations WHERE id IN (4999, 5000)",
    ]
    comparison = await compared(server, opened, [DONATIONS, SEED, "ANALYZE"], changes)
    table = only(comparison)

    assert figures(table) == (2, 4, 2)
    assert (comparison.only_old, comparison.differing, comparison.only_new) == (2, 4, 2)
    assert {each.name: each.rows for each in table.changed_columns} == {"amount_cents": 4, "donor": 1}
    assert table.table == "public.donations"
    assert table.method == "by primary key (id)"
    assert 0 < len(table.buckets) <= 8


async def test_differing_rows_are_streamed_with_their_keys(server: PostgreSql, opened: Open) -> None:
    old = server.make_database(
        "CREATE TABLE seats (hall text, seat int, guest text, PRIMARY KEY (hall, seat))",
        "INSERT INTO seats VALUES ('A', 1, 'x'), ('A', 2, 'y'), ('ß, \"é\"', 3, 'z')",
    )
    new = server.make_database(template=old)
    server.sql(old, "UPDATE seats SET guest = '' WHERE seat = 3", "DELETE FROM seats WHERE seat = 1", user=APP)
    here, there = await opened(old), await opened(new)
    table = only(await compare(here, there))
    async with both_still(here, there):
        rows = {row.key: row async for row in table.rows(here, there)}

    assert set(rows) == {("A", "1"), ('ß, "é"', "3")}
    assert rows["A", "1"][2:] == (0, 1, ())
    assert rows['ß, "é"', "3"][2:] == (1, 1, (2,))


@pytest.mark.parametrize(
    ("kind", "before", "after"),
    [
        ("numeric", "1.0", "1.00"),
        ("numeric", "'NaN'", "NULL"),
        ("double precision", "0.1", "0.1::float8 + 2e-17"),
        ("double precision", "0.0", "'-0'"),
        ("real", "1e10", "1.0000001e10"),
        ("timestamptz", "'2026-01-01 00:00:00.000001+00'", "'2026-01-01 00:00:00.000002+00'"),
        ("json", "'{\"a\": 1}'", "'{\"a\":1}'"),
        ("jsonb", "'{\"a\": 1}'", "'{\"a\": 1.0}'"),
        ("bytea", r"'\x00ff'", r"'\x00fe'"),
        ("text[]", "'{a,b}'", "'{\"a,b\"}'"),
        ("text[]", "'{NULL}'", "'{\"NULL\"}'"),
        ("text", "NULL", "''"),
        ("text", "'a'", "'a '"),
        ("interval", "'1 month'", "'30 days'"),
        ("money", "1.00", "1.01"),
    ],
)
async def test_values_are_compared_exactly(
    server: PostgreSql, opened: Open, kind: str, before: str, after: str
) -> None:
    made = f"CREATE TABLE things (id int PRIMARY KEY, value {kind})"
    insert = f"INSERT INTO things VALUES (1, {before})"  # noqa: S608 - the values above
    change = f"UPDATE things SET value = {after}"  # noqa: S608 - the values above
    table = only(await compared(server, opened, [made, insert], [change]))
    assert figures(table) == (0, 1, 0)
    assert [each.name for each in table.changed_columns] == ["value"]


async def test_what_was_written_anew_with_the_same_values_is_equal(server: PostgreSql, opened: Open) -> None:
    changes = [
        "UPDATE donations SET donor = donor",
        "ALTER DATABASE {} SET timezone = 'Asia/Tokyo'",
        "VACUUM FULL donations",
    ]
    old = server.make_database(DONATIONS, SEED)
    new = server.make_database(template=old)
    server.sql(old, *(change.format(old) for change in changes), user=APP)
    assert only(await compare(await opened(old), await opened(new))).equal


async def test_tables_without_a_key_are_compared_as_a_set_that_counts(server: PostgreSql, opened: Open) -> None:
    made = ["CREATE TABLE log (line text)", "INSERT INTO log VALUES ('a'), ('a'), ('a'), ('b')"]
    changes = ["DELETE FROM log WHERE ctid IN (SELECT ctid FROM log WHERE line = 'a' LIMIT 2)"]
    table = only(await compared(server, opened, made, [*changes, "INSERT INTO log VALUES ('c'), ('c'), (NULL)"]))
    assert figures(table) == (3, 0, 2)
    assert "whole rows" in table.method


async def test_keys_of_every_script_are_put_in_the_same_order_here_and_there(server: PostgreSql, opened: Open) -> None:
    keys = "'a', 'B', 'ä', 'Z', 'z', 'Ω', '😀', '\uffff', '', ' ', 'A', 'aa', 'a-b', 'ab'"
    made = ["CREATE TABLE words (word text PRIMARY KEY, note int)"]
    made += [f"INSERT INTO words SELECT word, 1 FROM unnest(ARRAY[{keys}]) AS word"]  # noqa: S608 - the words above
    table = only(await compared(server, opened, made, ["UPDATE words SET note = 2 WHERE word IN ('ä', '😀', '')"]))
    assert figures(table) == (0, 3, 0)


async def test_tables_and_columns_of_one_side_only_are_counted_and_told(server: PostgreSql, opened: Open) -> None:
    changes = [
        "CREATE TABLE later (id int PRIMARY KEY)",
        "INSERT INTO later VALUES (1), (2)",
        "ALTER TABLE donations ADD COLUMN note text, DROP COLUMN donor",
        "UPDATE donations SET note = 'hello' WHERE id = 1",
        "DROP TABLE former",
    ]
    made = [DONATIONS, "INSERT INTO donations VALUES (1, 1), (2, 2)", "CREATE TABLE former (id int PRIMARY KEY)"]
    comparison = await compared(server, opened, [*made, "INSERT INTO former VALUES (1)"], changes)
    tables = {table.table: table for table in comparison.tables}

    assert figures(tables["public.later"]) == (2, 0, 0)
    assert "no such table" in tables["public.later"].note
    assert figures(tables["public.former"]) == (0, 0, 1)
    assert figures(tables["public.donations"]) == (0, 1, 0)
    assert "lacks the columns note" in tables["public.donations"].note
    assert "donor come back" in tables["public.donations"].note


async def test_partitioned_and_generated_and_inherited_tables_are_compared(server: PostgreSql, opened: Open) -> None:
    made = [
        "CREATE TABLE parts (id int PRIMARY KEY, twice int GENERATED ALWAYS AS (id * 2)) PARTITION BY RANGE (id)",
        "CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (0) TO (10)",
        "CREATE TABLE parts_2 PARTITION OF parts FOR VALUES FROM (10) TO (20)",
        "INSERT INTO parts VALUES (1), (11)",
        "CREATE TABLE base (id int PRIMARY KEY)",
        "CREATE TABLE heir (extra text, PRIMARY KEY (id)) INHERITS (base)",
    ]
    changes = ["INSERT INTO parts VALUES (2)", "DELETE FROM parts WHERE id = 11", "INSERT INTO heir VALUES (1, 'x')"]
    comparison = await compared(server, opened, made, changes)
    assert {table.table: figures(table) for table in comparison.tables} == {
        "public.parts": (1, 0, 1),
        "public.base": (0, 0, 0),
        "public.heir": (1, 0, 0),
    }


async def test_names_that_need_quotes_are_quoted(server: PostgreSql, opened: Open) -> None:
    made = [
        'CREATE SCHEMA "My ""Schema"',
        'CREATE TABLE "My ""Schema"."select % {}" ("key %s" int PRIMARY KEY, "x y" int)',
    ]
    comparison = await compared(server, opened, made, ['INSERT INTO "My ""Schema"."select % {}" VALUES (1, 2)'])
    assert figures(only(comparison)) == (1, 0, 0)


async def test_sequences_that_stand_elsewhere_are_told(server: PostgreSql, opened: Open) -> None:
    made = ["CREATE TABLE things (id serial PRIMARY KEY)", "INSERT INTO things DEFAULT VALUES"]
    comparison = await compared(server, opened, made, ["INSERT INTO things VALUES (DEFAULT), (DEFAULT)"])
    (sequence,) = comparison.sequences
    assert (sequence.sequence, sequence.old, sequence.new) == ("public.things_id_seq", 3, 1)


async def test_advanced_sequences_do_not_give_numbers_of_lost_rows_again(server: PostgreSql, opened: Open) -> None:
    made = ['CREATE TABLE "The Things" (id serial PRIMARY KEY)', "CREATE SEQUENCE unused"]
    old = server.make_database(*made)
    new = server.make_database(template=old)
    server.sql(old, 'INSERT INTO "The Things" VALUES (DEFAULT), (DEFAULT)', "SELECT nextval('unused')", user=APP)
    comparison = await compare(await opened(old), await opened(new))
    app = await server.session(new, APP)
    for _ in range(2):
        assert len(await advance_sequences(app, comparison.sequences)) == 2
        assert await app.fetch_value('SELECT last_value FROM public."The Things_id_seq"') == 2
    assert server.sql(new, 'INSERT INTO "The Things" VALUES (DEFAULT) RETURNING id', user=APP) == [(3,)]
    await advance_sequences(app, comparison.sequences)
    assert server.sql(new, 'INSERT INTO "The Things" VALUES (DEFAULT) RETURNING id', user=APP) == [(4,)]
    await app.connection.close()


async def test_large_objects_are_counted(server: PostgreSql, opened: Open) -> None:
    comparison = await compared(server, opened, [DONATIONS], ["SELECT lo_from_bytea(0, 'x')"])
    assert (comparison.large_objects_old, comparison.large_objects_new) == (1, 0)


async def test_rows_behind_a_policy_are_an_error_and_never_missing(server: PostgreSql, opened: Open) -> None:
    made = [DONATIONS, SEED, "ALTER TABLE donations ENABLE ROW LEVEL SECURITY"]
    with pytest.raises(Exception, match="row-level security"):
        await compared(server, opened, made, [])


async def test_a_comparison_that_takes_too_long_ends(server: PostgreSql, opened: Open) -> None:
    old = server.make_database(DONATIONS, SEED)
    with server.connect(old, SUPERUSER) as other:
        other.execute("BEGIN")
        other.execute("LOCK TABLE donations")
        with pytest.raises(TookTooLong, match=r"longer than 0\.5 s"):
            await compare(await opened(old), await opened(old), timeout_seconds=0.5)
