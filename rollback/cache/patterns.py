"""Redis's glob patterns, read exactly as the server reads them, so that one SCAN serves all patterns at once.

Source: `stringmatchlen` in Redis's `util.c`: `*`, `?`, `[a-z]`, `[^a]` and `\\`; a class without its end goes to the
end of the pattern, and an empty one matches nothing. Keys are bytes, and so are patterns.
"""

import re
from collections.abc import Callable, Iterable, Iterator

ANY = frozenset(range(256))
STAR = None
"""Any number of any bytes."""
MOST_BYTES = 128
"""A place that more bytes may stand at says nothing, as `[^a]` does."""
Atom = frozenset[int] | None
"""What stands at one place: one of these bytes, or `STAR`."""


def parse(pattern: str) -> tuple[Atom, ...]:
    """A pattern's places, in order."""
    text, at, atoms = pattern.encode(), 0, list[Atom]()
    while at < len(text):
        match text[at : at + 1]:
            case b"*":
                if not atoms or atoms[-1] is not STAR:
                    atoms.append(STAR)
            case b"?":
                atoms.append(ANY)
            case b"[":
                members, at = _read_class(text, at + 1)
                atoms.append(members)
            case b"\\" if at + 1 < len(text):
                at += 1
                atoms.append(frozenset(text[at : at + 1]))
            case byte:
                atoms.append(frozenset(byte))
        at += 1
    return tuple(atoms)


def _read_class(text: bytes, at: int) -> tuple[frozenset[int], int]:
    """The bytes of a class that begins here, and where its last character is."""
    negated = text[at : at + 1] == b"^"
    at += negated
    members: set[int] = set()
    while at < len(text) and text[at : at + 1] != b"]":
        if text[at : at + 1] == b"\\" and at + 1 < len(text):
            at += 1
            members.add(text[at])
        elif text[at + 1 : at + 2] == b"-" and at + 2 < len(text):
            low, high = sorted((text[at], text[at + 2]))
            members.update(range(low, high + 1))
            at += 2
        else:
            members.add(text[at])
        at += 1
    return (ANY - members if negated else frozenset(members)), at


def to_regex(pattern: str) -> bytes:
    """A regular expression over bytes, for `fullmatch`, that matches the same keys.

    The key without a name is matched by `*` alone: the server compares nothing then.
    """
    atoms = parse(pattern)
    something = b"(?!\\Z)" if pattern != "*" and set(atoms) == {STAR} else b""
    return something + b"".join(_regex_of(atom) for atom in atoms)


def _regex_of(atom: Atom) -> bytes:
    if atom is STAR:
        return b".*"
    if atom == ANY:
        return b"."
    if not atom:
        return b"(?!)"
    if len(atom) == 1:
        return re.escape(bytes(atom))
    return b"[" + b"".join(b"\\x%02x" % byte for byte in sorted(atom)) + b"]"


class Patterns:
    """Several patterns, looked for at once; the first that matches a key counts it."""

    def __init__(self, patterns: Iterable[str]) -> None:
        self.patterns = tuple(dict.fromkeys(patterns))
        alternatives = b"|".join(b"(" + to_regex(each) + b")" for each in self.patterns)
        self.match = re.compile(alternatives or b"(?!)", re.DOTALL).fullmatch
        """Whether one matches a key: `number_of` says which."""

    def find(self, key: bytes) -> int | None:
        """The number of the first pattern that matches a key; none where none does."""
        found = self.match(key)
        return number_of(found) if found else None


def number_of(found: re.Match[bytes]) -> int:
    """Of the first pattern that matched."""
    return (found.lastindex or 1) - 1


def covers_all(pattern: str) -> bool:
    """Whether every key matches, or nearly: a star, and nothing else that says something of a key."""
    atoms = parse(pattern)
    return STAR in atoms and all(atom is None or len(atom) > MOST_BYTES for atom in atoms)


def overlap(one: str, other: str) -> bool:
    """Whether a key could match both patterns."""
    ours, theirs = parse(one), parse(other)
    if any(atom is not None and not atom for atom in (*ours, *theirs)):
        return False

    def steps(at: int, there: int) -> Iterator[tuple[int, int]]:
        us, them = at < len(ours), there < len(theirs)
        if (us and ours[at] is STAR) or (them and theirs[there] is STAR):
            # It ends, or takes what the other one has here.
            if us:
                yield at + 1, there
            if them:
                yield at, there + 1
        elif us and them and not (ours[at] or ANY).isdisjoint(theirs[there] or ANY):
            yield at + 1, there + 1

    return _leads(steps, (len(ours), len(theirs)))


def within(narrow: str, wide: str) -> bool:
    """Whether a pattern stands, place by place, within another one: then that one matches every key of it."""
    ours, theirs = parse(narrow), parse(wide)

    def steps(at: int, there: int) -> Iterator[tuple[int, int]]:
        if there == len(theirs):
            return
        around, inside = theirs[there], at < len(ours)
        if around is None:
            yield at, there + 1
            if inside:
                yield at + 1, there
        elif inside and (place := ours[at]) is not None and place <= around:
            yield at + 1, there + 1

    return _leads(steps, (len(ours), len(theirs)))


def _leads(steps: Callable[[int, int], Iterator[tuple[int, int]]], end: tuple[int, int]) -> bool:
    """Whether steps lead from the beginning of two patterns to their end."""
    seen = {(0, 0)}
    left = [*seen]
    while left:
        new = {*steps(*left.pop())} - seen
        seen |= new
        left += new
    return end in seen
