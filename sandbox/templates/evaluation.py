"""Expressions, evaluated: alone, and everywhere in a JSON value.

*Source:* learn.microsoft.com, "ARM template functions" and "Resource iteration in ARM templates".
"""

from collections.abc import Callable, Iterator
from typing import Any

from sandbox.templates.context import OWN, Context
from sandbox.templates.errors import ExpressionError, HiddenError, NotYetError, UnsupportedError
from sandbox.templates.functions import PURE
from sandbox.templates.functions.dates import COMPACT, written
from sandbox.templates.functions.signature import failed
from sandbox.templates.language import Expression, Function, Literal, Member, is_expression, parse, plain
from sandbox.templates.scopes import FACTS, ID_FUNCTIONS
from sandbox.templates.values import find_key, is_array, is_object, kind_of

MOST_COPIES = 800
Leaf = Callable[[str, Context], Any]


def evaluate(value: Any, context: Context) -> Any:
    """A JSON value with all its expressions evaluated and its `copy` elements unrolled."""
    return _walk(value, context, _leaf)


def references(value: Any, context: Context) -> list[str]:
    """What the run-time functions in a JSON value name: where nothing is evaluated that is not deployed yet."""
    found: list[str] = []

    def leaf(text: str, where: Context) -> None:
        if is_expression(text):
            _require_known(parse(text), where)
            found.extend(_referenced(parse(text), where))

    _walk(value, context, leaf)
    return found


def copies(loop: Any, context: Context, *names: str, needs: tuple[str, ...] = ("name", "count")) -> Iterator[Context]:
    """The rounds of a loop that has these names; `ExpressionError` for a copy element without what it `needs`."""
    if not is_object(loop) or not set(needs) <= loop.keys():
        raise ExpressionError(f"The copy definition must have the properties '{', '.join(needs)}'.")
    number = evaluate(loop["count"], context)
    if kind_of(number) != "Integer" or not 0 <= number <= MOST_COPIES:
        raise ExpressionError(f"The copy count must be an integer between 0 and {MOST_COPIES}.")
    for index in range(number):
        yield context.inside(index, *names)


def _leaf(text: str, context: Context) -> Any:
    if not is_expression(text):
        return plain(text)
    if not context.showing:
        return _value(parse(text), context)
    try:
        return _value(parse(text), context)
    except (NotYetError, HiddenError):
        return text


def _walk(value: Any, context: Context, leaf: Leaf) -> Any:
    if isinstance(value, str):
        return leaf(value, context)
    if is_array(value):
        return [_walk(element, context, leaf) for element in value]
    if not is_object(value):
        return value
    made: dict[str, Any] = {}
    for name, each in value.items():
        if name.lower() == "copy" and is_array(each):
            made |= dict(_loop(loop, context, leaf) for loop in each)
        else:
            key = leaf(name, context) if is_expression(name) else plain(name)
            made[key if isinstance(key, str) else name] = _walk(each, context, leaf)
    return made


def _loop(loop: Any, context: Context, leaf: Leaf) -> tuple[str, list[Any]]:
    """A property that is an array, by its name."""
    name = str(loop.get("name", "")) if is_object(loop) else ""
    rounds = list(copies(loop, context, name, needs=("name", "count", "input")))
    return name, [_walk(loop["input"], each, leaf) for each in rounds]


def _value(expression: Expression, context: Context) -> Any:
    if isinstance(expression, Literal):
        return expression.value
    if isinstance(expression, Member):
        return _member(_value(expression.of, context), _value(expression.key, context))
    return _call(expression, context)


def _member(holder: Any, key: Any) -> Any:
    if is_object(holder) and isinstance(key, str):
        found = find_key(holder, key)
        if found is None:
            names = ", ".join(holder)
            message = f"The language expression property '{key}' doesn't exist, available properties are '{names}'."
            raise ExpressionError(message)
        return holder[found]
    if is_array(holder) and kind_of(key) == "Integer":
        if not 0 <= key < len(holder):
            raise ExpressionError(
                f"The language expression property array index '{key}' is out of bounds (the length of the array is "
                f"'{len(holder)}')."
            )
        return holder[key]
    kind, kinds = kind_of(holder), "Array" if kind_of(key) == "Integer" else "Object"
    raise ExpressionError(
        f"The language expression property '{key}' cannot be evaluated: it is of type '{kind}', and '{kinds}' was "
        "expected."
    )


def _call(function: Function, context: Context) -> Any:
    name = function.name.lower()
    if name in LAZY:
        return LAZY[name](function, context)
    if not _is_known(name):
        raise UnsupportedError(f"The template function '{function.name}'")
    arguments = [_value(argument, context) for argument in function.arguments]
    if name in PURE:
        return PURE[name](arguments)
    if name in ID_FUNCTIONS:
        return ID_FUNCTIONS[name](context.scope, _texts(function.name, arguments))
    if name in FACTS:
        return FACTS[name](context.scope)
    return STANDING.get(name, _listing)(function.name, arguments, context)


def _is_known(name: str) -> bool:
    return name in PURE or name in ID_FUNCTIONS or name in FACTS or name in STANDING or _is_listing(name)


def _is_listing(name: str) -> bool:
    return name.startswith("list") and len(name) > len("list")


def _texts(name: str, arguments: list[Any]) -> list[str]:
    if not all(isinstance(argument, str) for argument in arguments):
        raise failed(name, "expects all of its parameters to be of type 'String'.")
    return arguments


def _parameter(name: str, arguments: list[Any], context: Context) -> Any:
    return context.parameters.get(_one_text(name, arguments), context.showing)


def _variable(name: str, arguments: list[Any], context: Context) -> Any:
    return context.variables.get(_one_text(name, arguments), context.showing)


def _one_text(name: str, arguments: list[Any]) -> str:
    if len(arguments) != 1 or not isinstance(arguments[0], str):
        raise failed(name, "expects one parameter of type 'String'.")
    return arguments[0]


def _copy_index(_name: str, arguments: list[Any], context: Context) -> int:
    loop = str(arguments[0]) if arguments and isinstance(arguments[0], str) else OWN
    offset = arguments[-1] if arguments and kind_of(arguments[-1]) == "Integer" else 0
    index = context.loops.get(loop.lower())
    if index is None:
        raise ExpressionError("The template function 'copyIndex' is not expected at this location.")
    return index + offset


def _reference(name: str, arguments: list[Any], context: Context) -> Any:
    named, *rest = _texts(name, arguments) or [""]
    resource, own_version = _resolved(name, named, context)
    full = len(rest) == 2 and rest[1].lower() == "full"
    if context.reader is None:
        raise _misplaced(name)
    return context.reader.reference(resource, rest[0] if rest else own_version, full)


def _listing(name: str, arguments: list[Any], context: Context) -> Any:
    if len(arguments) not in (2, 3) or not all(isinstance(argument, str) for argument in arguments[:2]):
        raise failed(name, "expects a resource and an API version.")
    if len(arguments) == 3:
        raise UnsupportedError(f"The third argument of '{name}'")
    resource, _ = _resolved(name, arguments[0], context)
    if context.reader is None:
        raise _misplaced(name)
    return context.reader.listing(name, resource, arguments[1])


def _resolved(name: str, named: str, context: Context) -> tuple[str, str | None]:
    if context.resources is None:
        raise _misplaced(name)
    return context.resources.resolve(named)


def _misplaced(name: str) -> ExpressionError:
    return ExpressionError(f"The template function '{name}' is not expected at this location.")


def _utc_now(name: str, arguments: list[Any], context: Context) -> str:
    if context.now is None:
        raise _misplaced(name)
    form = _one_text(name, arguments) if arguments else COMPACT
    return written(context.now, form)


def _if(function: Function, context: Context) -> Any:
    if len(function.arguments) != 3:
        raise failed(function.name, "expects a condition and two values.")
    condition, then, otherwise = function.arguments
    return _value(then if _truth(function.name, condition, context) else otherwise, context)


def _and(function: Function, context: Context) -> bool:
    return all(_truth(function.name, argument, context) for argument in function.arguments)


def _or(function: Function, context: Context) -> bool:
    return any(_truth(function.name, argument, context) for argument in function.arguments)


def _truth(name: str, argument: Expression, context: Context) -> bool:
    value = _value(argument, context)
    if not isinstance(value, bool):
        raise failed(name, f"expects a condition of type 'Boolean'. The provided value is of type '{kind_of(value)}'.")
    return value


LAZY: dict[str, Callable[[Function, Context], Any]] = {"if": _if, "and": _and, "or": _or}
"""What is not needed is not evaluated."""
STANDING: dict[str, Callable[[str, list[Any], Context], Any]] = {
    "parameters": _parameter,
    "variables": _variable,
    "copyindex": _copy_index,
    "reference": _reference,
    "utcnow": _utc_now,
}
"""Functions that depend on where they stand."""


def _referenced(expression: Expression, context: Context) -> Iterator[str]:
    if isinstance(expression, Member):
        yield from _referenced(expression.of, context)
        yield from _referenced(expression.key, context)
    if not isinstance(expression, Function):
        return
    name, arguments = expression.name.lower(), expression.arguments
    if name == "if" and len(arguments) == 3:
        taken = _known(arguments[0], context)
        arguments = arguments if not isinstance(taken, bool) else (arguments[0], arguments[1 if taken else 2])
    for argument in arguments:
        yield from _referenced(argument, context)
    if (name == "reference" or _is_listing(name)) and arguments:
        named = _known(arguments[0], context)
        if isinstance(named, str):
            yield named


def _require_known(expression: Expression, context: Context) -> None:
    """Find before anything is deployed what is certain to fail then."""
    if isinstance(expression, Member):
        _require_known(expression.of, context)
        _require_known(expression.key, context)
    if not isinstance(expression, Function):
        return
    name = expression.name.lower()
    if name not in LAZY and not _is_known(name):
        raise UnsupportedError(f"The template function '{expression.name}'")
    if name == "parameters":
        _value(expression, context)
    for argument in expression.arguments:
        _require_known(argument, context)


def _known(expression: Expression, context: Context) -> Any:
    """Its value if that can be told before anything is deployed."""
    try:
        return _value(expression, context)
    except (ExpressionError, NotYetError):
        return None
