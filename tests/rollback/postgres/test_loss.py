from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta

import pytest
from postgresql_server import APP, SUPERUSER, PostgreSql

from rollback.postgres import loss
from rollback.postgres.loss import TableLoss, TimeColumns, estimate_loss

MADE = [
    "CREATE TABLE donations (id int PRIMARY KEY, amount int, created_at timestamptz, updated_at timestamptz)",
    "INSERT INTO donations SELECT n, n, '2020-01-01+00', '2020-01-01+00' FROM generate_series(1, 100) AS n",
    "CREATE TABLE notes (id int PRIMARY KEY, note text, created timestamp, removed timestamptz)",
    "INSERT INTO notes SELECT n, 'x', '2020-01-01', NULL FROM generate_series(1, 100) AS n",
]
CHANGES = [
    "INSERT INTO donations VALUES (101, 1, now(), now()), (102, 1, now(), now())",
    "UPDATE donations SET amount = 7, updated_at = now() WHERE id IN (1, 2, 3, 101)",
    "UPDATE donations SET amount = 0 WHERE id IN (3, 4, 5)",
    "DELETE FROM donations WHERE id > 90 AND id < 100",
    "UPDATE notes SET removed = now() WHERE id = 1",
    "INSERT INTO notes VALUES (101)",
]


class Case:
    def __init__(self, server: PostgreSql, stack: AsyncExitStack) -> None:
        self.server = server
        self.stack = stack
        self.database = server.make_database(*MADE)
        # How far back commit time stamps go is known from the last checkpoint.
        server.sql(self.database, "ANALYZE", "CHECKPOINT")
        (row,) = server.sql(self.database, "SELECT clock_timestamp()")
        self.since: datetime = row[0]
        server.sql(self.database, *CHANGES, user=APP)

    async def estimate(
        self, since: datetime | None = None, columns: dict[str, TimeColumns] | None = None, seconds: float = 10
    ) -> dict[str, TableLoss]:
        session = await self.server.session(self.database)
        self.stack.push_async_callback(session.connection.close)
        found = await estimate_loss(session, since or self.since, columns, seconds_per_table=seconds)
        return {each.table: each for each in found}


@pytest.fixture
async def case(server: PostgreSql) -> AsyncGenerator[Case]:
    async with AsyncExitStack() as stack:
        yield Case(server, stack)


async def test_commit_times_see_changes_that_the_app_hides(case: Case) -> None:
    donations = (await case.estimate())["public.donations"]
    assert (donations.inserts.count, donations.inserts.how) == (2, "column created_at")
    assert donations.updates.count == 5
    assert "commit time stamps" in donations.updates.how
    assert donations.deletes.count is None
    assert "no trace" in donations.deletes.how


async def test_without_a_column_inserts_and_updates_are_counted_together(case: Case) -> None:
    notes = (await case.estimate())["public.notes"]
    assert notes.inserts.count == 2
    assert (notes.updates.count, notes.updates.how) == (0, "counted with the inserts")


async def test_commit_times_that_do_not_go_back_far_enough_are_not_used(case: Case) -> None:
    found = await case.estimate(datetime(2021, 1, 1, tzinfo=UTC))
    donations, notes = found["public.donations"], found["public.notes"]
    assert donations.inserts.count == 2
    assert donations.updates.count == 3
    assert donations.updates.how.startswith("column updated_at; changes that do not set it are not seen")
    assert "go back to" in donations.updates.how
    assert notes.inserts.count is None
    assert "no column tells when rows were inserted" in notes.inserts.how
    assert notes.updates.count is None


async def test_a_server_without_commit_times_says_so(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    async def off(*_: object) -> str:
        return "the server keeps no commit time stamps (track_commit_timestamp is off)"

    monkeypatch.setattr(loss, "_why_no_commit_times", off)
    donations = (await case.estimate())["public.donations"]
    assert donations.updates.count == 3
    assert "track_commit_timestamp is off" in donations.updates.how


async def test_configured_columns_count_deletes_too(case: Case) -> None:
    found = await case.estimate(columns={"public.notes": TimeColumns(deleted="removed")})
    deletes = found["public.notes"].deletes
    assert (deletes.count, deletes.how) == (1, "column removed")


async def test_nothing_is_lost_by_a_restore_to_now(case: Case) -> None:
    donations = (await case.estimate(datetime.now(UTC) + timedelta(hours=1)))["public.donations"]
    assert (donations.inserts.count, donations.updates.count) == (0, 0)


async def test_a_column_that_is_missing_is_unknown_and_not_zero(case: Case) -> None:
    found = await case.estimate(columns={"public.notes": TimeColumns(inserted="never")})
    assert found["public.notes"].inserts.count is None
    assert "never" in found["public.notes"].inserts.how
    assert found["public.donations"].inserts.count == 2


async def test_a_table_that_takes_too_long_is_unknown_and_the_others_are_not(case: Case) -> None:
    with case.server.connect(case.database, SUPERUSER) as other:
        other.execute("BEGIN")
        other.execute("LOCK TABLE notes")
        found = await case.estimate(seconds=0.2)
    assert found["public.notes"].inserts.count is None
    assert found["public.notes"].inserts.how == "counting took longer than 200ms"
    assert found["public.donations"].inserts.count == 2
