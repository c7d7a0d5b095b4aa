import tracemalloc

import pytest

from rollback.migrations.ways.url_forms import forms_of
from rollback.postgres.url import DatabaseUrl
from rollback.programs.output import FLOOD, KEPT_LINES, LINE_BYTES, LINE_CHARACTERS, TOLD_LINES, Output
from rollback.redaction import BLACK

URL = DatabaseUrl.parse("postgresql+psycopg://fundrbolt_app:p%40ss%2fw%C3%B6rd%27%22@db.example.org:5432/fundrbolt\n")


def lines_of(*pieces: bytes) -> tuple[list[str], tuple[str, ...]]:
    """What was told line by line, and what was kept."""
    told: list[str] = []
    output = Output(told.append, forms_of(URL))
    for piece in pieces:
        output.feed(piece)
    output.end()
    return told, output.tail


def test_lines_are_told_and_kept_however_they_were_cut() -> None:
    told, kept = lines_of(b"one\ntw", b"o\r\n\nthr", b"\xc3", b"\xa9e")
    assert told == ["one", "two", "", "thrée"]
    assert kept == tuple(told)


@pytest.mark.parametrize(
    "written",
    [
        "could not connect to postgresql+psycopg://fundrbolt_app:p%40ss%2fw%C3%B6rd%27%22@db.example.org:5432/fundrbolt",
        "sign in with fundrbolt_app:p@ss/wörd'\"@db.example.org failed",
        "password is p@ss/wörd'\"",
        "kwargs = {'key': 'p@ss/wörd\\'\"', 'user': 'fundrbolt_app'}",
        'kwargs = {"key": "p@ss/w\\u00f6rd\'\\""}',
        "key: p%40ss%2Fw%C3%B6rd%27%22",
        "key: p%40ss%2fw%C3%B6rd%27%22",
        "ValueError: invalid interpolation syntax in '…p%%40ss%%2fw%%C3%%B6rd%%27%%22@db' at position 7",
    ],
)
def test_no_form_of_the_password_comes_through(written: str) -> None:
    told, kept = lines_of(f"Traceback:\n  {written}\n".encode())
    assert BLACK in told[1]
    assert kept == tuple(told)
    for part in ("ss/w", "ss%2", "ss%%2", "40ss", "p@ss"):
        assert part not in told[1]


def test_a_password_cut_by_the_end_of_a_long_line_shows_no_part() -> None:
    encoded = b"p%40ss%2fw%C3%B6rd%27%22"
    for place in range(LINE_CHARACTERS - len(encoded), LINE_CHARACTERS + 1):
        told, _ = lines_of(b"." * place + encoded + b"x" * LINE_BYTES + b"\n")
        assert "p%" not in told[0]
        assert len(told[0]) <= LINE_CHARACTERS
    # Where blackening shortens a line, its kept end comes into sight.
    told, _ = lines_of(encoded * 400 + b"x" * LINE_BYTES + b"\n")
    assert "p%" not in told[0]
    assert not told[0].endswith("p")


def test_a_short_password_is_blackened_where_it_stands_alone() -> None:
    url = DatabaseUrl.parse("postgresql://app:abc@db/fundrbolt")
    output = Output(secrets=forms_of(url))
    output.feed(b"password 'abc' is wrong, abcdef\n")
    assert output.tail == (f"password '{BLACK}' is wrong, abcdef",)


def test_control_characters_do_not_reach_a_terminal() -> None:
    told, _ = lines_of(b"\x1b[31mred\x1b[0m\x07\ttab\n")
    assert told == ["[31mred[0m\ttab"]


def test_a_line_without_an_end_takes_no_memory() -> None:
    output, piece = Output(), b"x" * 1_000_000
    tracemalloc.start()
    for _ in range(20):
        output.feed(piece)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert output.tail == ("x" * LINE_CHARACTERS,)
    assert peak < 5_000_000


def test_of_a_flood_the_last_lines_are_kept_and_the_first_are_told() -> None:
    block = b"".join(b"line %d of what a migration writes when it echoes everything\n" % n for n in range(16_000))
    told, kept = lines_of(block, block, b"x" * 1_000_000, b"y" * 1_000_000)
    assert len(told) == TOLD_LINES + 1
    assert told[-1] == FLOOD
    assert len(kept) == KEPT_LINES
    assert kept[-1] == "x" * LINE_CHARACTERS
    assert kept[-2].startswith("line 15999 ")
