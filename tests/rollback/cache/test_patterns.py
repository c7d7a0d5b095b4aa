"""Our reading of Redis's patterns, held against the server's own."""

import re
from itertools import product

import pytest
from valkey_server import Valkey

from rollback.cache.patterns import Patterns, covers_all, overlap, to_regex, within

PATTERNS = [
    *("*", "**", "?", "a", "a*", "*a", "a*b", "a?b", "*:*", "session:*", "a**b", "?*", "*?", "??"),
    *("[abc]", "[a-c]x", "[c-a]x", "[^a]", "[^a-c]*", "[a^]", "[]", "[]a]", "[^]", "[^]a", "[", "[^", "[a", "[a-"),
    *("[a-]", "[a-]b", "[-a]", "[\\]]", "[\\a-c]", "[a\\-c]", "[a\\", "x[\\", "[*]", "[?]", "[[]", "[]-a]", "[a-\\]]"),
    *(
        "é*",
        "[é]",
        "\\*",
        "\\?",
        "\\[a]",
        "a\\",
        "\\",
        "\\\\",
        "\\a",
        "a\\*b",
        "*\\",
        "a.b",
        "a|b",
        "(a)",
        "^a$",
        "a\nb",
    ),
    *("a*b*c", "*a*a*", "a[b-d]?*e", "*[^x]", "*[", "a*[", "a]", "]"),
]
KEYS = [
    *(b"", b"a", b"b", b"ab", b"axb", b"a:b", b"session:1", b"a\nb", b"\n", b"*", b"?", b"[", b"]", b"^", b"-", b"\\"),
    *(b"a*b", b"a.b", b"a|b", b"(a)", b"^a$", b"abc", b"aabbcc", b"acxe", b"bx", b"cx", b"dx", b"\xc3\xa9", b"\xc3"),
    *(b"\xff\x00", b"[a]", b"a]", b"[a", b"a\\", b"\\a", b"a-", b"Z", b"_b", b"]b", b"-b", b"ab\\", b"a[", b"x"),
]


@pytest.fixture
async def keys(valkey: Valkey) -> set[bytes]:
    made = set(KEYS) | {bytes(each) for length in (1, 2, 3) for each in product(b"ab]-[^\\", repeat=length)}
    await valkey.command("MSET", *(part for each in made for part in (each, "1")))
    return made


async def test_every_pattern_matches_what_the_server_matches(valkey: Valkey, keys: set[bytes]) -> None:
    every = [bytes(each).decode() for length in (1, 2, 3) for each in product(b"a]-[^\\*", repeat=length)]
    every += [f"[{bytes(each).decode()}" for each in product(b"a]-^\\", repeat=3)]
    async with valkey.client() as client:
        for pattern in [*PATTERNS, *every]:
            ours = {key for key in keys if re.fullmatch(to_regex(pattern), key, re.DOTALL)}
            _, theirs = await client.execute_command("SCAN", 0, "MATCH", pattern, "COUNT", 10_000)
            assert ours == set(theirs), pattern


def test_the_first_pattern_that_matches_counts_a_key() -> None:
    patterns = Patterns(["a:*", "*:1", "a:*"])
    assert patterns.patterns == ("a:*", "*:1")
    assert [patterns.find(key) for key in (b"a:1", b"b:1", b"b:2")] == [0, 1, None]
    assert Patterns([]).find(b"a") is None


@pytest.mark.parametrize(
    ("one", "other", "both"),
    [
        ("jwt_*", "jwt_blacklist:*", True),
        ("*:1", "session:*", True),
        ("cache:*", "session:*", False),
        ("cache:?", "cache:??", False),
        ("[a-c]*", "[d-f]*", False),
        ("[^a]*", "b*", True),
        ("cel?ry", "celery", True),
        ("celery", "celery", True),
        ("celery:*", "celery", False),
        ("*a", "b*", True),
        ("[]*", "*", False),
        ("a*c", "ab", False),
    ],
)
def test_patterns_overlap_where_a_key_could_match_both(one: str, other: str, *, both: bool) -> None:
    assert overlap(one, other) is both
    assert overlap(other, one) is both


def test_a_very_long_pattern_is_held_against_another_all_the_same() -> None:
    long = "*" + "a" * 1200
    assert not overlap(long, "jwt_blacklist:*b")
    assert overlap(long, "jwt_blacklist:*")
    assert within(f"jwt_blacklist:{long}", "jwt_blacklist:*")


@pytest.mark.parametrize(
    ("narrow", "wide", "inside"),
    [
        ("queue:emails", "queue:*", True),
        ("queue:*", "queue:*", True),
        ("queue:**", "queue:*", True),
        ("queue:?*", "queue:*", True),
        ("queue:[a-c]?", "queue:[a-d]*", True),
        ("queue:a*z", "*e:*z", True),
        ("queue:[e]mails", "queue:[ef]mails", True),
        ("queue*", "queue:*", False),
        ("q?eue:emails", "queue:*", False),
        ("queue:*", "queue:?", False),
        ("queue:a", "queue:", False),
        ("queue:", "queue:a", False),
        ("a", "[]", False),
        ("celery", "celery", True),
    ],
)
def test_a_pattern_lies_within_another_where_that_one_matches_every_key_of_it(
    narrow: str, wide: str, *, inside: bool
) -> None:
    assert within(narrow, wide) is inside


@pytest.mark.parametrize("pattern", ["*", "**", "?*", "*?", "*??*", "[^a]*", "*[^]"])
def test_what_says_nothing_of_a_key_covers_every_key_or_nearly(pattern: str) -> None:
    assert covers_all(pattern)


@pytest.mark.parametrize("pattern", ["", "\\*", "*:*", "??", "[a-z]*", "[]*", "a*"])
def test_what_says_something_of_a_key_does_not_cover_all(pattern: str) -> None:
    assert not covers_all(pattern)
