"""Functions on arrays and objects, some of them on texts too.

*Source:* learn.microsoft.com, "Array functions" and "Object functions for ARM templates".
"""

import json
from typing import Any

from sandbox.templates.functions.signature import ANY, ARRAY, INTEGER, OBJECT, TEXT, Builtin, failed
from sandbox.templates.values import as_text, find_key, is_array, is_object, kind_of


def _concat(*parts: Any) -> Any:
    if all(is_array(part) for part in parts):
        return [element for part in parts for element in part]
    if any(is_array(part) for part in parts):
        raise failed("concat", "expects all of its parameters to be arrays where one of them is an array.")
    return "".join(as_text(part) for part in parts)


def _union(*parts: Any) -> Any:
    if len({kind_of(part) for part in parts}) != 1:
        raise failed("union", "expects its parameters to be either arrays or objects.")
    if is_array(parts[0]):
        return _distinct([element for part in parts for element in part])
    merged: dict[str, Any] = {}
    for part in parts:
        merged = _merged(merged, part)
    return merged


def _distinct(elements: list[Any]) -> list[Any]:
    made: list[Any] = []
    for element in elements:
        if not any(_same(element, kept) for kept in made):
            made.append(element)
    return made


def _merged(left: dict[str, Any], right: dict[str, Any]) -> dict[str, Any]:
    """Objects inside objects are merged too; of everything else the later stands."""
    made = dict(left)
    for name, value in right.items():
        key = find_key(made, name) or name
        kept = made.get(key)
        made[key] = _merged(kept, value) if is_object(kept) and is_object(value) else value
    return made


def _same(left: Any, right: Any) -> bool:
    return kind_of(left) == kind_of(right) and left == right


def _contains(holder: Any, wanted: Any) -> bool:
    if is_object(holder):
        return find_key(holder, str(wanted)) is not None
    if is_array(holder):
        return any(_same(element, wanted) for element in holder)
    return str(wanted) in holder


def _empty(value: Any) -> bool:
    return value is None or not value


def _first(value: Any) -> Any:
    return value[0] if value else ("" if isinstance(value, str) else None)


def _last(value: Any) -> Any:
    return value[-1] if value else ("" if isinstance(value, str) else None)


def _join(elements: list[Any], mark: str) -> str:
    return mark.join(as_text(element) for element in elements)


def _array(value: Any) -> list[Any]:
    return value if is_array(value) else [value]


def _create_array(*elements: Any) -> list[Any]:
    return list(elements)


def _skip(value: Any, number: int) -> Any:
    return value[max(number, 0) :]


def _take(value: Any, number: int) -> Any:
    return value[: max(number, 0)]


def _create_object(*pairs: Any) -> dict[str, Any]:
    names, values = pairs[::2], pairs[1::2]
    if len(names) != len(values) or not all(isinstance(name, str) for name in names):
        raise failed("createObject", "expects an even number of parameters, each first of a pair a string.")
    return dict(zip(names, values, strict=True))


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise failed("json", f"parameter is not valid. The provided value cannot be parsed: {error}.") from error


def _items(value: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"key": name, "value": value[name]} for name in sorted(value)]


def _coalesce(*values: Any) -> Any:
    return next((value for value in values if value is not None), None)


NULL = frozenset({"Null"})
MANY = TEXT | ARRAY
FUNCTIONS = (
    Builtin("array", _array, (ANY,)),
    Builtin("coalesce", _coalesce, (ANY,), many=True),
    Builtin("concat", _concat, (TEXT | INTEGER | ARRAY,), many=True),
    Builtin("contains", _contains, (MANY | OBJECT, ANY)),
    Builtin("createArray", _create_array, (ANY,), least=0, many=True),
    Builtin("createObject", _create_object, (ANY,), least=0, many=True),
    Builtin("empty", _empty, (MANY | OBJECT | NULL,)),
    Builtin("first", _first, (MANY,)),
    Builtin("items", _items, (OBJECT,)),
    Builtin("join", _join, (ARRAY, TEXT)),
    Builtin("json", _json, (TEXT,)),
    Builtin("last", _last, (MANY,)),
    Builtin("length", len, (MANY | OBJECT,)),
    Builtin("skip", _skip, (MANY, INTEGER)),
    Builtin("take", _take, (MANY, INTEGER)),
    Builtin("union", _union, (ARRAY | OBJECT,), least=1, many=True),
)
