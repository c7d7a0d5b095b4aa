from datetime import UTC, datetime

import pytest

from rollback.database.planning import parse_restore_point
from rollback.errors import RestorePointInvalid

MEANT = datetime(2026, 3, 1, 10, 2, 13, tzinfo=UTC)


@pytest.mark.parametrize(
    "text",
    [
        "2026-03-01T10:02:13Z",
        " 2026-03-01T10:02:13+00:00 ",
        "2026-03-01 05:02:13-05:00",
        "2026-03-01T15:32:13.000000+05:30",
        "20260301T100213Z",
    ],
)
def test_one_instant_is_meant_however_it_is_written(text: str) -> None:
    point = parse_restore_point(text)
    assert (point, point.tzinfo) == (MEANT, UTC)


def test_a_restore_point_is_kept_to_the_microsecond() -> None:
    assert parse_restore_point("2026-03-01T10:02:13.123456Z").microsecond == 123456


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param("2026-03-01T10:02:13", "has no time zone", id="local to nobody"),
        pytest.param("2026-03-01", "has no time zone", id="a day"),
        pytest.param("", "is not a restore point", id="nothing"),
        pytest.param("ten minutes ago", "is not a restore point", id="words"),
        pytest.param("1772359333", "is not a restore point", id="a number of seconds"),
        pytest.param("2026-02-30T10:02:13Z", "is not a restore point", id="no such day"),
    ],
)
def test_what_is_no_instant_is_refused_with_an_example(text: str, words: str) -> None:
    with pytest.raises(RestorePointInvalid, match=words) as refused:
        parse_restore_point(text)
    assert "2026-03-01T10:02:13Z" in refused.value.remedy
