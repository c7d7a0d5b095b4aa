"""What of a configuration differs from an earlier one: property paths, with what is there now and what was there then.

Both are without secrets and without what Azure decides by itself. A property that is null counts as not there.
"""

import hashlib
import json
from collections.abc import Iterator
from typing import cast

from pydantic import JsonValue

from rollback.models import Model
from rollback.resources.readonly import is_read_only
from rollback.resources.secrets import MARK, Tree, without_secrets

IDENTITIES = ("name", "id", "objectId", "key", "actionHostName", "ipAddress")
"""By which elements of an array are known, the first that all of them have and none shares."""
LONGEST_SHOWN = 120


class Difference(Model):
    """One property that is not what it was."""

    path: tuple[str, ...]
    """Names from the top; where one is within an array, the element's identity in brackets."""
    now: JsonValue
    """None: it is not there."""
    then: JsonValue

    @property
    def place(self) -> str:
        """The path, for people and for matching."""
        return place_of(self.path)

    @property
    def top(self) -> tuple[str, ...]:
        """The path up to the first array, which is only written whole."""
        inside = next((index for index, each in enumerate(self.path) if each.startswith("[")), len(self.path))
        return self.path[:inside]

    @property
    def words(self) -> str:
        """From what to what."""
        return f"{self.place}: {_shown(self.now)} → {_shown(self.then)}"


def comparable(kind: str, content: Tree) -> Tree:
    """What of a resource is its configuration: without secrets, which are marked, and without read-only properties."""
    cleaned = _without_read_only(kind, without_secrets(kind, content), "")
    if not isinstance(cleaned, dict):
        return {}
    location = cleaned.get("location")
    # Some providers write `East US`, others `eastus`.
    return {**cleaned, "location": location.replace(" ", "").lower()} if isinstance(location, str) else cleaned


def digest_of(tree: Tree) -> str:
    """SHA-256, in hex, of a configuration."""
    return hashlib.sha256(json.dumps(_ordered(tree), sort_keys=True).encode()).hexdigest()


def differences(now: Tree, then: Tree, *, partial: bool) -> tuple[Difference, ...]:
    """What differs. What the earlier one does not mention is left alone where it is only a part of a configuration."""
    here, there = ({"properties": {}, **each} for each in (now, then))
    return tuple(_compare((), here, there, partial=partial))


def value_at(tree: JsonValue, path: tuple[str, ...]) -> JsonValue:
    """What is there; none where nothing is."""
    for name in path:
        if name.startswith("[") and isinstance(tree, list):
            tree = (by_identity(tree) or {}).get(name[1:-1])
        else:
            tree = tree.get(name) if isinstance(tree, dict) else None
    return tree


def places(tree: JsonValue, path: tuple[str, ...] = ()) -> Iterator[str]:
    """Every property that can differ, as `Difference.place` calls it; secrets cannot."""
    known = by_identity(tree) if isinstance(tree, list) else None
    if isinstance(tree, dict) and tree != MARK:
        for name, each in tree.items():
            yield from places(each, (*path, name))
    elif known:
        for name, each in known.items():
            yield from places(each, (*path, f"[{name}]"))
    elif tree != MARK:
        yield place_of(path)


def place_of(path: tuple[str, ...]) -> str:
    """A path for people and for matching."""
    return "".join(each if each.startswith("[") else f".{each}" for each in path).removeprefix(".")


def by_identity(items: list[JsonValue]) -> dict[str, JsonValue] | None:
    """The elements of an array by what they are known by; none where there is no such property."""
    for name in IDENTITIES:
        found = [str(each.get(name)) for each in items if isinstance(each, dict) and each.get(name) is not None]
        if len(found) == len(items) == len(set(found)):
            return dict(zip(found, items, strict=True))
    return None


def _without_read_only(kind: str, value: JsonValue, path: str) -> JsonValue:
    if value == MARK:
        return value
    if isinstance(value, dict):
        inside = {name: (f"{path}.{name}" if path else name, each) for name, each in value.items()}
        kept = {
            name: _without_read_only(kind, each, where)
            for name, (where, each) in inside.items()
            if each is not None and not is_read_only(kind, where)
        }
        return {name: each for name, each in kept.items() if each != {}}
    if isinstance(value, list):
        return [_without_read_only(kind, each, f"{path}[]") for each in value]
    return value


def _compare(path: tuple[str, ...], now: JsonValue, then: JsonValue, *, partial: bool) -> Iterator[Difference]:
    if now == then or (then is None and partial):
        return
    if isinstance(now, dict) and isinstance(then, dict) and MARK not in (now, then):
        for name in sorted(now.keys() | then.keys()):
            yield from _compare((*path, name), now.get(name), then.get(name), partial=partial)
        return
    if isinstance(now, list) and isinstance(then, list):
        yield from _compare_lists(path, now, then)
        return
    yield Difference(path=path, now=now, then=then)


def _compare_lists(path: tuple[str, ...], now: list[JsonValue], then: list[JsonValue]) -> Iterator[Difference]:
    """By what the elements are known by, in whatever order; else as a whole."""
    here, there = by_identity(now), by_identity(then)
    if here is None or there is None:
        yield Difference(path=path, now=now, then=then)
        return
    for name in sorted(here.keys() | there.keys()):
        yield from _compare((*path, f"[{name}]"), here.get(name), there.get(name), partial=False)


def _ordered(value: JsonValue) -> JsonValue:
    """The same, with arrays whose elements have an identity in one order."""
    if isinstance(value, dict):
        return {name: _ordered(each) for name, each in value.items()}
    if isinstance(value, list):
        items = [_ordered(each) for each in value]
        known = by_identity(items)
        return [known[name] for name in sorted(known)] if known else items
    return value


def _shown(value: JsonValue) -> str:
    if value is None:
        return "(not there)"
    if value == MARK:
        return "(a secret)"
    text = json.dumps(cast("object", value), ensure_ascii=False)
    return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}…"
