"""Functions on numbers and truth.

*Source:* learn.microsoft.com, "Numeric functions", "Comparison functions" and "Logical functions for ARM templates".
"""

from operator import add, mul, not_, sub
from typing import Any

from sandbox.templates.functions.signature import ANY, ARRAY, BOOLEAN, INTEGER, TEXT, Builtin, failed
from sandbox.templates.values import is_array, kind_of

MOST_OF_A_RANGE = 10_000


def _int(value: str | int | float) -> int:
    try:
        return int(value)
    except ValueError as error:
        raise failed("int", "cannot convert the provided value to an integer.") from error


def _bool(value: str | int | bool) -> bool:
    if isinstance(value, str):
        if value.lower() in ("true", "1"):
            return True
        if value.lower() in ("false", "0"):
            return False
        raise failed("bool", "cannot convert the provided value to a boolean.")
    return bool(value)


def _div(left: int, right: int) -> int:
    """Towards zero, as .NET divides."""
    if right == 0:
        raise failed("div", "cannot divide by zero.")
    quotient = abs(left) // abs(right)
    return quotient if (left < 0) == (right < 0) else -quotient


def _mod(left: int, right: int) -> int:
    return left - _div(left, right) * right


def _range(start: int, count: int) -> list[int]:
    if not 0 <= count <= MOST_OF_A_RANGE:
        raise failed("range", f"expects a count between 0 and {MOST_OF_A_RANGE}.")
    return list(range(start, start + count))


def _numbers(name: str, given: tuple[Any, ...]) -> list[int]:
    values = [number for each in given for number in (each if is_array(each) else [each])]
    if not values or any(kind_of(value) != "Integer" for value in values):
        raise failed(name, "expects integers, or an array of integers.")
    return values


def _equals(left: Any, right: Any) -> bool:
    """Python holds True for 1; Azure does not."""
    return kind_of(left) == kind_of(right) and left == right


def _compared(name: str, left: str | int, right: str | int) -> int:
    if kind_of(left) != kind_of(right):
        raise failed(name, "expects two values of the same type.")
    pair: tuple[Any, Any] = (left, right)
    return (pair[0] > pair[1]) - (pair[0] < pair[1])


def _greater(left: str | int, right: str | int) -> bool:
    return _compared("greater", left, right) > 0


def _greater_or_equals(left: str | int, right: str | int) -> bool:
    return _compared("greaterOrEquals", left, right) >= 0


def _less(left: str | int, right: str | int) -> bool:
    return _compared("less", left, right) < 0


def _less_or_equals(left: str | int, right: str | int) -> bool:
    return _compared("lessOrEquals", left, right) <= 0


def _max(*given: Any) -> int:
    return max(_numbers("max", given))


def _min(*given: Any) -> int:
    return min(_numbers("min", given))


TWO = (INTEGER, INTEGER)
PAIR = (TEXT | INTEGER, TEXT | INTEGER)
FUNCTIONS = (
    Builtin("add", add, TWO),
    Builtin("bool", _bool, (TEXT | INTEGER | BOOLEAN,)),
    Builtin("div", _div, TWO),
    Builtin("equals", _equals, (ANY, ANY)),
    Builtin("false", lambda: False, ()),
    Builtin("greater", _greater, PAIR),
    Builtin("greaterOrEquals", _greater_or_equals, PAIR),
    Builtin("int", _int, (TEXT | INTEGER | frozenset({"Float"}),)),
    Builtin("less", _less, PAIR),
    Builtin("lessOrEquals", _less_or_equals, PAIR),
    Builtin("max", _max, (INTEGER | ARRAY,), many=True),
    Builtin("min", _min, (INTEGER | ARRAY,), many=True),
    Builtin("mod", _mod, TWO),
    Builtin("mul", mul, TWO),
    Builtin("not", not_, (BOOLEAN,)),
    Builtin("null", lambda: None, ()),
    Builtin("range", _range, TWO),
    Builtin("sub", sub, TWO),
    Builtin("true", lambda: True, ()),
)
