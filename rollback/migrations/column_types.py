"""Which changes of a column's type keep every value."""

from typing import Any, NamedTuple

_UNBOUNDED = 1_000_000
_WIDTHS = (("int2", 5), ("int4", 10), ("int8", 19))
_BOUNDED = frozenset({"varchar", "bpchar", "bit", "varbit", "timestamp", "timestamptz", "time", "timetz", "interval"})
"""One modifier, and the more of it the more is kept."""
_EXACT = frozenset({"bit", "bpchar"})
"""Without their modifier they are as if it was 1."""
_KEPT_BY = {"json": {"jsonb"}, "float8": {"float4"}, "timestamp": {"date"}}
_BUILT_IN = _BOUNDED | {
    *(name for name, _ in _WIDTHS),
    *("bool", "bytea", "cidr", "date", "float4", "float8", "inet", "json", "jsonb", "macaddr", "money", "name", "oid"),
    *("text", "tsvector", "uuid", "xml"),
}


class ColumnType(NamedTuple):
    """A type as PostgreSQL's parser names it."""

    name: str
    modifiers: tuple[int, ...] = ()
    array: bool = False

    def __str__(self) -> str:
        inside = f"({', '.join(map(str, self.modifiers))})" if self.modifiers else ""
        return f"{self.name}{inside}{'[]' if self.array else ''}"

    @classmethod
    def of(cls, node: dict[str, Any]) -> "ColumnType":
        """The type of a parser's node."""
        modifiers = (each.get("A_Const", {}).get("ival", {}).get("ival", 0) for each in node.get("typmods", ()))
        return cls(node["names"][-1]["String"]["sval"].lower(), tuple(modifiers), bool(node.get("arrayBounds")))


def keeps(old: ColumnType | None, new: ColumnType) -> bool:
    """Whether every value of the old type is one of the new; an old type that is not known keeps only as text."""
    if new.name in {"text", "varchar"} and not new.modifiers and not new.array:
        return True
    if old is None or old.array != new.array:
        return False
    if new.name == "numeric":
        return _numeric_keeps(old, new)
    if new.name in _BOUNDED and old.name == new.name:
        return _bound(new) >= _bound(old)
    widths = dict(_WIDTHS)
    if new.name in widths and old.name in widths:
        return widths[new.name] >= widths[old.name]
    # Two enums of one name may have different values: what is not built in is never known to keep.
    same = old == new and new.name in _BUILT_IN
    return same or (old.name in _KEPT_BY.get(new.name, ()) and not new.modifiers)


def _bound(kind: ColumnType) -> int:
    return kind.modifiers[0] if kind.modifiers else 1 if kind.name in _EXACT else _UNBOUNDED


def _numeric_keeps(old: ColumnType, new: ColumnType) -> bool:
    digits = dict(_WIDTHS).get(old.name)
    if old.name != "numeric" and digits is None:
        return False
    if not new.modifiers:
        return True
    whole, scale = _places(new)
    if digits is not None:
        return whole >= digits
    return bool(old.modifiers) and whole >= _places(old)[0] and scale >= _places(old)[1]


def _places(numeric: ColumnType) -> tuple[int, int]:
    """Digits before and after the point."""
    precision, scale = (*numeric.modifiers, 0)[:2]
    return precision - scale, scale
