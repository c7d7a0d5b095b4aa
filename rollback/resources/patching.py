"""The smallest PATCH that brings a configuration back: only what differs, arrays and tags whole, null for what goes."""

from collections.abc import Iterable

from pydantic import JsonValue

from rollback.models import Model
from rollback.resources.diff import Difference, by_identity, digest_of, value_at
from rollback.resources.readonly import is_decided_once, is_never_patched
from rollback.resources.secrets import MARK, Tree, holds_mark

TAGS = "tags"
"""Azure takes them as a whole, as it does arrays."""

DECIDED, NEVER_PATCHED = "decided when the resource is made", "Azure has no PATCH for it"


class Left(Model):
    """A difference that stays, and why."""

    difference: Difference
    why: str

    @property
    def words(self) -> str:
        """For people."""
        return f"{self.difference.words} ({self.why})"


def sort_out(kind: str, found: Iterable[Difference], now: Tree, then: Tree) -> tuple[list[Difference], list[Left]]:
    """Which differences a PATCH can take back, and which it cannot."""
    patched: list[Difference] = []
    left: list[Left] = []
    for each in found:
        if is_decided_once(kind, each.place):
            left.append(Left(difference=each, why=DECIDED))
        elif is_never_patched(kind, each.place):
            left.append(Left(difference=each, why=NEVER_PATCHED))
        elif _holds_secret(each, now, then):
            left.append(Left(difference=each, why="a secret, or written only together with one"))
        else:
            patched.append(each)
    return patched, left


def body_of(found: Iterable[Difference], now: Tree, then: Tree) -> Tree:
    """The body of the PATCH, but for tags. An array keeps what there is now where that does not come back."""
    body: Tree = {}
    values: dict[tuple[str, ...], JsonValue] = {}
    for each in found:
        if each.path[0] != TAGS:
            value = values.get(each.top, value_at(now, each.top))
            values[each.top] = _with(value, each.path[len(each.top) :], each.then)
    for top, value in values.items():
        there = value_at(then, top)
        # In the order of then, where all of it comes back.
        _put(body, top, there if digest_of({"": value}) == digest_of({"": there}) else value)
    if holds_mark(body):
        raise AssertionError("a value that was left out would be written")
    return body


def with_tags(body: Tree, found: Iterable[Difference], now: JsonValue) -> Tree:
    """The body with all tags that there are to be, where any differs; `now` are those that there are."""
    changed = [each for each in found if each.path[0] == TAGS]
    if not changed:
        return body
    tags = dict(now) if isinstance(now, dict) else {}
    for each in changed:
        inside = {each.path[1]: each.then} if each.path[1:] else _each_tag(each)
        tags = {**tags, **inside}
    return {**body, TAGS: {name: value for name, value in tags.items() if value is not None}}


def _each_tag(difference: Difference) -> Tree:
    """Where there were no tags at all, or are to be none."""
    gone = dict.fromkeys(difference.now) if isinstance(difference.now, dict) else {}
    return {**gone, **(difference.then if isinstance(difference.then, dict) else {})}


def _with(value: JsonValue, path: tuple[str, ...], then: JsonValue) -> JsonValue:
    """The same, with another value in one place."""
    if not path:
        return then
    first, *rest = path
    if first.startswith("["):
        known = by_identity(value if isinstance(value, list) else []) or {}
        name = first[1:-1]
        elements = {**known, name: _with(known.get(name), tuple(rest), then)}
        return [each for each in elements.values() if each is not None]
    inside = value if isinstance(value, dict) else {}
    properties = {**inside, first: _with(inside.get(first), tuple(rest), then)}
    return {name: each for name, each in properties.items() if each is not None}


def _put(body: Tree, path: tuple[str, ...], value: JsonValue) -> None:
    *above, last = path
    for name in above:
        inner = body.setdefault(name, {})
        if not isinstance(inner, dict):
            raise TypeError(f"{'.'.join(path)} is within a value that is written whole")
        body = inner
    body[last] = value


def _holds_secret(difference: Difference, now: Tree, then: Tree) -> bool:
    if MARK in (difference.now, difference.then) or holds_mark(difference.then) or holds_mark(difference.now):
        return True
    whole = difference.top != difference.path
    return whole and (holds_mark(value_at(now, difference.top)) or holds_mark(value_at(then, difference.top)))
