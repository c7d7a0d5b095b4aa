"""A template's parameters and variables: checked, evaluated when they are asked for, and shown without secrets.

*Source:* learn.microsoft.com, "Parameters in ARM templates" and "Variables in ARM templates".
"""

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from sandbox.clock import now
from sandbox.templates.context import Context
from sandbox.templates.errors import PARAMETERS, ExpressionError, HiddenError, UnsupportedError, invalid, validating
from sandbox.templates.evaluation import copies, evaluate
from sandbox.templates.scopes import Scope
from sandbox.templates.values import find_key, is_array, is_object, kind_of

TYPES = {
    "string": ("String", "String, Uri"),
    "securestring": ("SecureString", "String, Uri"),
    "int": ("Int", "Integer"),
    "bool": ("Bool", "Boolean"),
    "object": ("Object", "Object"),
    "secureobject": ("SecureObject", "Object"),
    "array": ("Array", "Array"),
}
"""How a deployment shows each type, and how a message calls its values."""
SECURE = ("securestring", "secureobject")
FIELDS = {"type", "defaultvalue", "allowedvalues", "minvalue", "maxvalue", "minlength", "maxlength", "metadata"}


def type_of(declaration: dict[str, Any]) -> str:
    """A parameter's or output's type, lower case."""
    name = declaration.get("type")
    if not isinstance(name, str):
        raise UnsupportedError("$ref" if "$ref" in declaration else "A parameter or output without a type")
    if name.lower() not in TYPES:
        raise invalid(f"The type '{name}' is not valid. The only supported types are '{', '.join(TYPES)}'.")
    return name.lower()


class Parameters:
    """The parameters of one deployment of a template: all are valid once it is made."""

    def __init__(self, declared: dict[str, Any], given: dict[str, Any], scope: Scope) -> None:
        self._declared, self._given = declared, _values(declared, given)
        self._context = Context(scope, self, NoVariables(), now=now())
        self._known: dict[str, Any] = {}
        self._asked = _Asked("parameter")
        for name in declared:
            self.get(name, hiding=False)

    def get(self, name: str, hiding: bool) -> Any:
        """A parameter's value."""
        key = find_key(self._declared, name)
        if key is None:
            raise ExpressionError(f"The template parameter '{name}' is not found.")
        if hiding and type_of(self._declared[key]) in SECURE:
            raise HiddenError(key)
        if key not in self._known:
            with self._asked.once(key):
                value = self._value(key)
            _check(key, self._declared[key], value)
            self._known[key] = value
        return self._known[key]

    def shown(self) -> dict[str, dict[str, Any]]:
        """What a deployment's properties show."""
        made: dict[str, dict[str, Any]] = {}
        for name, declaration in self._declared.items():
            kind = type_of(declaration)
            made[name] = {"type": TYPES[kind][0]} | ({} if kind in SECURE else {"value": self._known[name]})
        return made

    def _value(self, name: str) -> Any:
        declaration = self._declared[name]
        unknown = [key for key in declaration if key.lower() not in FIELDS]
        if unknown:
            raise UnsupportedError(f"'{unknown[0]}' of a parameter")
        if self._given.get(name) is not None:
            return self._given[name]
        if "defaultValue" not in declaration:
            raise invalid(f"The value for the template parameter '{name}' is not provided.", PARAMETERS)
        with validating(f"template parameter '{name}'"):
            return evaluate(declaration["defaultValue"], self._context)


class Variables:
    """A template's variables."""

    def __init__(self, declared: dict[str, Any], scope: Scope, parameters: Parameters) -> None:
        loops = declared.get("copy")
        self._loops = {str(loop.get("name")): loop for loop in loops if is_object(loop)} if is_array(loops) else {}
        self._declared = {name: value for name, value in declared.items() if name != "copy" or not is_array(loops)}
        self._context = Context(scope, parameters, self)
        self._known: dict[tuple[str, bool], Any] = {}
        self._asked = _Asked("variable")

    def get(self, name: str, hiding: bool) -> Any:
        """A variable's value."""
        key = find_key(self._declared | self._loops, name)
        if key is None:
            raise ExpressionError(f"The template variable '{name}' is not found.")
        if (key, hiding) not in self._known:
            with self._asked.once(key):
                self._known[key, hiding] = self._value(key, hiding)
        return self._known[key, hiding]

    def _value(self, name: str, hiding: bool) -> Any:
        # Evaluated as a whole or not at all: whoever asks for it in a place that is shown keeps his own expression.
        context = replace(self._context, parameters=_Hiding(self._context.parameters), variables=_Hiding(self))
        context = context if hiding else self._context
        loop = self._loops.get(name)
        if loop is None:
            return evaluate(self._declared[name], context)
        return [evaluate(loop["input"], each) for each in copies(loop, context, name, needs=("count", "input"))]


class NoVariables:
    """Where variables are not expected: in a parameter's default value."""

    def get(self, name: str, hiding: bool) -> Any:
        """Refuse."""
        del name, hiding
        raise ExpressionError("The template function 'variables' is not expected at this location.")


class _Hiding:
    """The same names; a secret among them is never told, whoever asks."""

    def __init__(self, named: Any) -> None:
        self._named = named

    def get(self, name: str, hiding: bool) -> Any:
        del hiding
        return self._named.get(name, hiding=True)


class _Asked:
    """What is being evaluated: asked for again meanwhile, it depends on itself."""

    def __init__(self, kind: str) -> None:
        self._kind, self._names = kind, set[str]()

    @contextmanager
    def once(self, name: str) -> Generator[None]:
        if name in self._names:
            raise invalid(f"Circular reference detected on template {self._kind} '{name}'.")
        self._names.add(name)
        try:
            yield
        finally:
            self._names.discard(name)


def _values(declared: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """What is given, by the names as they are declared."""
    unknown = [name for name in given if find_key(declared, name) is None]
    if unknown:
        raise invalid(
            f"The template parameters '{', '.join(unknown)}' in the parameters file are not valid; they are not "
            "present in the original template and can therefore not be provided at deployment time. The only supported "
            f"parameters for this template are '{', '.join(declared)}'.",
            "https://aka.ms/arm-pass-parameter-values",
        )
    made: dict[str, Any] = {}
    for name, entry in given.items():
        if not is_object(entry):
            raise invalid(f"The provided value for the template parameter '{name}' is not valid.", PARAMETERS)
        if "reference" in entry:
            raise UnsupportedError("A parameter's reference to a Key Vault")
        made[find_key(declared, name) or name] = entry.get("value")
    return made


def _check(name: str, declaration: dict[str, Any], value: Any) -> None:
    kind = type_of(declaration)
    expected, actual = TYPES[kind][1], kind_of(value)
    refused = f"The provided value for the template parameter '{name}' is not valid."
    if actual not in expected.split(", "):
        told = f"Expected a value of type '{expected}', but received a value of type '{actual}'."
        raise invalid(f"{refused} {told}", PARAMETERS)
    allowed = declaration.get("allowedValues")
    if (
        allowed is not None
        and value not in allowed
        and not (is_array(value) and all(each in allowed for each in value))
    ):
        shown = "" if kind in SECURE else f" '{value}'"
        told = f"The parameter value is not part of the allowed value(s): '{','.join(map(str, allowed))}'."
        raise invalid(f"The provided value{shown} for the template parameter '{name}' is not valid. {told}", PARAMETERS)
    measured, suffix = (value, "Value") if actual == "Integer" else (_length(value), "Length")
    subject = "The value" if suffix == "Value" else "Length of the value"
    least, most = declaration.get(f"min{suffix}"), declaration.get(f"max{suffix}")
    if least is not None and measured is not None and measured < least:
        raise invalid(f"{refused} {subject} should be greater than or equal to '{least}'.", PARAMETERS)
    if most is not None and measured is not None and measured > most:
        raise invalid(f"{refused} {subject} should be less than or equal to '{most}'.", PARAMETERS)


def _length(value: Any) -> int | None:
    return len(value) if isinstance(value, str) or is_array(value) else None
