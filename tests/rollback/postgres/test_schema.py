from collections.abc import Awaitable, Callable

import psycopg
import pytest
from postgresql_server import PostgreSql

from rollback.postgres.schema import Schema, compare, read_schema

Read = Callable[..., Awaitable[Schema]]

SCHEMA = (
    "CREATE TYPE currency AS ENUM ('EUR', 'USD')",
    "CREATE DOMAIN cents AS int CHECK (VALUE >= 0)",
    "CREATE TABLE campaigns (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text NOT NULL UNIQUE)",
    "CREATE TABLE donations (id bigserial PRIMARY KEY, campaign int REFERENCES campaigns, amount cents NOT NULL,"
    " currency currency DEFAULT 'EUR', doubled int GENERATED ALWAYS AS (amount * 2) STORED, CHECK (amount < 1000000))",
    "CREATE INDEX donations_by_campaign ON donations (campaign) WHERE amount > 0",
    "CREATE VIEW large AS SELECT id FROM donations WHERE amount > 10000",
    "CREATE MATERIALIZED VIEW totals AS SELECT sum(amount) FROM donations",
    "CREATE FUNCTION twice(n int) RETURNS int LANGUAGE sql AS $$\n  SELECT n * 2\n$$",
    "CREATE FUNCTION stamp() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN new; END'",
    "CREATE TRIGGER stamped BEFORE UPDATE ON donations FOR EACH ROW EXECUTE FUNCTION stamp()",
    "ALTER TABLE donations ENABLE ROW LEVEL SECURITY",
    "CREATE POLICY everybody ON donations FOR SELECT USING (amount > 0)",
    "CREATE STATISTICS pairs ON campaign, amount FROM donations",
    "CREATE TABLE visits (at date NOT NULL) PARTITION BY RANGE (at)",
    "CREATE TABLE visits_2026 PARTITION OF visits FOR VALUES FROM ('2026-01-01') TO ('2027-01-01')",
    "CREATE TABLE alembic_version (version_num varchar(32) NOT NULL PRIMARY KEY)",
)


CHANGES = [
    ("ALTER TABLE donations ADD tip_cents int", "column public.donations.tip_cents: only in the second"),
    ("DROP INDEX donations_by_campaign", "index public.donations_by_campaign: only in the first"),
    (
        "ALTER TABLE campaigns ALTER name DROP NOT NULL",
        "column public.campaigns.name: 'text not null' in the first, 'text' in the second",
    ),
    (
        "ALTER TABLE campaigns ALTER name TYPE varchar(9)",
        "column public.campaigns.name: 'text' in the first, 'character varying(9)' in the second",
    ),
    (
        "ALTER TYPE currency ADD VALUE 'GBP'",
        "type public.currency: 'enum ('EUR', 'USD')' in the first, 'enum ('EUR', 'USD', 'GBP')' in the second",
    ),
    ("DROP TABLE visits_2026", "table public.visits_2026: only in the first"),
    ("CREATE TABLE pledges (id int PRIMARY KEY)", "table public.pledges: only in the second"),
    (
        "CREATE OR REPLACE FUNCTION twice(n int) RETURNS int LANGUAGE sql AS $$\n  SELECT n + n\n$$",
        "function public.twice(n integer): differs from line 5: 'SELECT n * 2' in the first,"
        " 'SELECT n + n' in the second",
    ),
    (
        "ALTER TABLE donations DISABLE TRIGGER stamped",
        "trigger public.donations.stamped: 'CREATE TRIGGER stamped BEFORE UPDATE ON public.donations FOR EACH ROW"
        " EXECUTE FUNCTION public.stamp()' in the first, 'CREATE TRIGGER stamped BEFORE UPDATE ON"
        " public.donations FOR EACH ROW EXECUTE FUNCTION public.stamp() disabled' in the second",
    ),
    (
        "ALTER TABLE donations DISABLE ROW LEVEL SECURITY",
        "table public.donations: 'with row level security' in the first, '' in the second",
    ),
    ("DROP POLICY everybody ON donations", "policy public.donations.everybody: only in the first"),
    (
        "ALTER TABLE donations DROP CONSTRAINT donations_amount_check",
        "constraint public.donations.donations_amount_check: only in the first",
    ),
]
"""Made one after the other, with the one difference that each must show."""


@pytest.fixture
def read(server: PostgreSql) -> Read:
    """The schema of a database made by statements."""

    async def make(*statements: str, schemas: tuple[str, ...] = ("public",)) -> Schema:
        session = await server.session(server.make_database(*statements))
        async with session.connection:
            return await read_schema(session, schemas)

    return make


async def test_everything_is_read_and_alembics_own_table_left_out(read: Read) -> None:
    schema = await read(*SCHEMA)
    found = {f"{each.kind} {each.name}": each.definition for each in schema.things}
    assert found["column public.donations.amount"] == "public.cents not null"
    assert found["column public.donations.currency"] == "public.currency default 'EUR'::public.currency"
    assert found["column public.campaigns.id"] == "integer not null generated always as identity"
    assert found["column public.donations.doubled"].endswith(" stored")
    assert found["constraint public.donations.donations_campaign_fkey"] == (
        "FOREIGN KEY (campaign) REFERENCES public.campaigns(id)"
    )
    assert found["type public.currency"] == "enum ('EUR', 'USD')"
    assert "WHERE" in found["index public.donations_by_campaign"]
    assert "owned by public.donations.id" in found["sequence public.donations_id_seq"]
    assert found["policy public.donations.everybody"].startswith("permissive for select to public using")
    assert found["table public.visits"] == "partitioned by RANGE (at)"
    assert {each.kind for each in schema.things} == {
        *("column", "constraint", "extension", "function", "index", "materialized view", "policy", "schema"),
        *("sequence", "statistics", "table", "trigger", "type", "view"),
    }
    assert not [name for name in found if "alembic" in name]


async def test_the_same_schema_made_otherwise_has_the_same_fingerprint(read: Read) -> None:
    first = await read(*SCHEMA)
    moved = [each for each in SCHEMA if "campaigns (" not in each and "TYPE" not in each]
    second = await read(
        "CREATE TABLE alembic_version (version_num varchar(64))",
        "INSERT INTO alembic_version VALUES ('d95a3b1e7f08')",
        "CREATE TABLE for_other_object_ids ()",
        SCHEMA[2],
        SCHEMA[0],
        *(each for each in moved if "alembic" not in each),
        "ALTER TABLE campaigns DROP COLUMN name, ADD COLUMN name text NOT NULL UNIQUE",
        "COMMENT ON TABLE campaigns IS 'others call them appeals'",
        "DROP TABLE for_other_object_ids",
    )
    assert compare(first, second) == ()
    assert first.fingerprint == second.fingerprint


async def test_each_difference_names_its_object_and_nothing_else(server: PostgreSql) -> None:
    name = server.make_database(*SCHEMA)
    session = await server.session(name)
    async with session.connection:
        before = await read_schema(session)
        for change, told in CHANGES:
            server.sql(name, change)
            after = await read_schema(session)
            assert compare(before, after) == (told,), change
            assert before.fingerprint != after.fingerprint, change
            before = after


async def test_an_index_whose_concurrent_making_failed_is_told(server: PostgreSql, read: Read) -> None:
    table = ("CREATE TABLE donations (id int)", "INSERT INTO donations VALUES (1), (1)")
    first = await read(*table)
    name = server.make_database(*table)
    with pytest.raises(psycopg.errors.UniqueViolation):
        server.sql(name, "CREATE UNIQUE INDEX CONCURRENTLY once ON donations (id)")
    session = await server.session(name)
    async with session.connection:
        second = await read_schema(session)
    assert second.invalid_indexes == ("public.once",)
    assert compare(first, second) == (
        "index public.once: only in the second",
        "index public.once: invalid in the second",
    )
    assert compare(second, second) == (
        "index public.once: invalid in the first",
        "index public.once: invalid in the second",
    )


async def test_other_schemas_are_read_where_they_are_named(read: Read) -> None:
    statements = ("CREATE SCHEMA audit", "CREATE TABLE audit.entries (id int)")
    assert "audit.entries" not in {each.name for each in (await read(*statements)).things}
    assert "audit.entries" in {each.name for each in (await read(*statements, schemas=("public", "audit"))).things}
