"""Values as JSON has them, and how Azure calls their kinds."""

import json
from typing import Any, TypeGuard

ORDER = ("Null", "Boolean", "Integer", "Float", "String", "Array", "Object")


def is_object(value: object) -> TypeGuard[dict[str, Any]]:
    """Whether it is an object."""
    return isinstance(value, dict)


def is_array(value: object) -> TypeGuard[list[Any]]:
    """Whether it is an array."""
    return isinstance(value, list)


def kind_of(value: object) -> str:
    """Azure's name for what it is."""
    if value is None:
        return "Null"
    kinds = ((bool, "Boolean"), (int, "Integer"), (float, "Float"), (str, "String"), (list, "Array"))
    return next((name for kind, name in kinds if isinstance(value, kind)), "Object")


def find_key(value: dict[str, Any], name: str) -> str | None:
    """The key that `name` is for: Azure compares keys without case."""
    if name in value:
        return name
    return next((key for key in value if key.lower() == name.lower()), None)


def as_text(value: object) -> str:
    """What string() and format() make of it, with .NET's spelling of booleans."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return str(value)
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False) if value is not None else ""
