import pytest

from rollback.database.bill import Bill, TableLoss


def lost(table: str = "donations", **counts: int | None) -> TableLoss:
    return TableLoss(**{"table": table, "inserts": 0, "updates": 0, "deletes": 0, "how": "counted", **counts})


def bill(*tables: TableLoss) -> Bill:
    return Bill(tables=tables, how="a test")


@pytest.mark.parametrize(
    ("approved", "measured", "rows", "share"),
    [
        pytest.param(0, 0, 0, 0, id="nothing"),
        pytest.param(10, 3, 0, 0, id="less than approved"),
        pytest.param(10, 110, 100, 0, id="just within the rows"),
        pytest.param(1000, 1100, 0, 0.1, id="just within the share"),
        pytest.param(1000, 1100, 50, 0.1, id="the larger of both holds"),
        pytest.param(None, 100, 100, 1, id="unknown when it was approved, and within the rows"),
        pytest.param(None, None, 0, 0, id="unknown when it was approved, and still"),
    ],
)
def test_a_bill_within_the_tolerance_is_not_worse(
    approved: int | None, measured: int | None, rows: int, share: float
) -> None:
    assert bill(lost(updates=measured)).worse_than(bill(lost(updates=approved)), rows, share) == []


@pytest.mark.parametrize(
    ("approved", "measured", "rows", "share", "words"),
    [
        pytest.param(10, 111, 100, 0, "donations: 111 updates, 10 approved", id="beyond the rows"),
        pytest.param(1000, 1101, 0, 0.1, "donations: 1 101 updates, 1 000 approved", id="beyond the share"),
        pytest.param(0, 1, 0, 1, "donations: 1 updates, nothing approved", id="a share of nothing is nothing"),
        pytest.param(None, 101, 100, 1, "donations: 101 updates, unknown approved", id="unknown is no leave"),
        pytest.param(3, None, 100, 1, "donations: unknown updates, 3 approved", id="not known any more"),
    ],
)
def test_a_worse_bill_says_where_in_words(
    approved: int | None, measured: int | None, rows: int, share: float, words: str
) -> None:
    assert bill(lost(updates=measured)).worse_than(bill(lost(updates=approved)), rows, share) == [words]


def test_a_table_that_nobody_knew_of_was_not_approved() -> None:
    worse = bill(lost("donations"), lost("refunds", deletes=5)).worse_than(bill(lost("donations", deletes=5)), 4, 1)
    assert worse == ["refunds: 5 deletes, unknown approved"]
    uncounted = bill(lost("refunds", deletes=None)).worse_than(bill(), 4, 1)
    assert uncounted == ["refunds: unknown deletes, unknown approved"]


def test_each_table_and_kind_of_change_is_held_against_its_own() -> None:
    approved = bill(lost("donations", inserts=50), lost("sessions", updates=50))
    measured = bill(lost("donations", updates=50), lost("sessions", inserts=50))
    assert measured.worse_than(approved, 0, 1) == [
        "donations: 50 updates, nothing approved",
        "sessions: 50 inserts, nothing approved",
    ]


@pytest.mark.parametrize(
    ("tables", "words"),
    [
        pytest.param((), "0 inserts, 0 updates, 0 deletes", id="no table"),
        pytest.param(
            (lost(inserts=1200, updates=3), lost("sessions", inserts=34)),
            "1 234 inserts, 3 updates, 0 deletes",
            id="added up",
        ),
        pytest.param(
            (lost(inserts=7, updates=None), lost("sessions", inserts=None)),
            "at least 7 inserts, unknown updates, 0 deletes",
            id="what is unknown stays so",
        ),
    ],
)
def test_the_whole_is_told_in_one_line(tables: tuple[TableLoss, ...], words: str) -> None:
    assert bill(*tables).total_words == words


def test_a_table_matters_where_something_is_lost_or_may_be() -> None:
    assert [each.matters for each in (lost(), lost(deletes=1), lost(updates=None))] == [False, True, True]
    assert lost(inserts=2, updates=None).words == "2 inserts, unknown updates, 0 deletes (counted)"
