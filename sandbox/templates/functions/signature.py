"""What a function takes, checked before it is called."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sandbox.templates.errors import ExpressionError
from sandbox.templates.values import kind_of

TEXT, INTEGER, BOOLEAN = frozenset({"String"}), frozenset({"Integer"}), frozenset({"Boolean"})
ARRAY, OBJECT = frozenset({"Array"}), frozenset({"Object"})
ANY = frozenset({"Null", "Boolean", "Integer", "Float", "String", "Array", "Object"})


@dataclass(frozen=True)
class Builtin:
    """One function."""

    name: str
    call: Callable[..., Any]
    takes: tuple[frozenset[str], ...]
    """The kinds of its arguments."""
    least: int | None = None
    """How many are required, where not all are."""
    many: bool = False
    """Whether the last may be repeated."""

    def __call__(self, arguments: Sequence[Any]) -> Any:
        """The function's value, or `ExpressionError`."""
        least = len(self.takes) if self.least is None else self.least
        if len(arguments) < least or (len(arguments) > len(self.takes) and not self.many):
            told = f"at least {least}" if self.many or least < len(self.takes) else str(least)
            raise ExpressionError(
                f"Unable to evaluate template language function '{self.name}': function requires {told} argument(s) "
                f"while {len(arguments)} argument(s) were provided."
            )
        for position, argument in enumerate(arguments):
            kinds = self.takes[min(position, len(self.takes) - 1)]
            if kind_of(argument) not in kinds:
                raise self.wrong(position, kinds, argument)
        return self.call(*arguments)

    def wrong(self, position: int, kinds: frozenset[str], argument: object) -> ExpressionError:
        """The argument at `position` is of another kind."""
        return ExpressionError(
            f"The template language function '{self.name}' expects its parameter at position '{position + 1}' to be of "
            f"type '{', '.join(sorted(kinds))}'. The provided value is of type '{kind_of(argument)}'."
        )


def failed(name: str, why: str) -> ExpressionError:
    """A function that cannot do what it is asked."""
    return ExpressionError(f"The template language function '{name}' {why}")
