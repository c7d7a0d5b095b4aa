"""The expression language: from `[concat('a', parameters('b').c[0])]` to a tree.

*Source:* learn.microsoft.com, "Syntax and expressions in Azure Resource Manager templates".
"""

import re
from dataclasses import dataclass
from functools import lru_cache

from sandbox.templates.errors import ExpressionError

TOKEN = re.compile(
    r"\s*(?:(?P<text>'(?:[^']|'')*')|(?P<number>[+-]?\d+)|(?P<name>[A-Za-z_$][\w$]*)|(?P<mark>[()\[\],.]))"
)
MARKS = {
    "(": "LeftParenthesis",
    ")": "RightParenthesis",
    "[": "LeftSquareBracket",
    "]": "RightSquareBracket",
    ",": "Comma",
    ".": "Dot",
}
KINDS = {"text": "StringLiteral", "number": "IntegerLiteral", "name": "Identifier"}
END = "EndOfData"


@dataclass(frozen=True)
class Literal:
    """A text or a whole number."""

    value: str | int


@dataclass(frozen=True)
class Function:
    """A function with its arguments; names are compared without case."""

    name: str
    arguments: tuple["Expression", ...]


@dataclass(frozen=True)
class Member:
    """A property (`.name`, `['name']`) or an element (`[0]`) of something."""

    of: "Expression"
    key: "Expression"


Expression = Literal | Function | Member


def is_expression(text: str) -> bool:
    """Whether a text of a template is an expression; `[[` begins a text that begins with a bracket."""
    return text.startswith("[") and text.endswith("]") and not text.startswith("[[")


def plain(text: str) -> str:
    """A text of a template that is no expression, as it is meant."""
    return text[1:] if text.startswith("[[") else text


@lru_cache(maxsize=4096)
def parse(text: str) -> Expression:
    """The expression between the outer brackets of `text`, or `ExpressionError` in Azure's words."""
    source = text[1:-1]
    parser = _Parser(source, _tokens(source))
    made = parser.expression()
    parser.take(END)
    return made


def _tokens(source: str) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    position, end = 0, len(source.rstrip())
    while position < end:
        match = TOKEN.match(source, position)
        if match is None or match.lastgroup is None:
            where = source[position:].lstrip()[:1]
            raise ExpressionError(f"Unable to parse language expression '{source}': unexpected character '{where}'.")
        kind, word = match.lastgroup, match[match.lastgroup]
        found.append((MARKS[word] if kind == "mark" else KINDS[kind], word))
        position = match.end()
    return [*found, (END, "")]


class _Parser:
    def __init__(self, source: str, tokens: list[tuple[str, str]]) -> None:
        self._source, self._tokens, self._at = source, tokens, 0

    @property
    def _next(self) -> str:
        return self._tokens[self._at][0]

    def take(self, kind: str) -> str:
        if self._next != kind:
            raise ExpressionError(
                f"Unable to parse language expression '{self._source}': expected token '{kind}' and actual "
                f"'{self._next}'."
            )
        word = self._tokens[self._at][1]
        self._at += 1
        return word

    def expression(self) -> Expression:
        made = self._first()
        while self._next in ("Dot", "LeftSquareBracket"):
            if self._next == "Dot":
                self.take("Dot")
                made = Member(made, Literal(self.take("Identifier")))
            else:
                self.take("LeftSquareBracket")
                made = Member(made, self.expression())
                self.take("RightSquareBracket")
        return made

    def _first(self) -> Expression:
        if self._next == "StringLiteral":
            return Literal(self.take("StringLiteral")[1:-1].replace("''", "'"))
        if self._next == "IntegerLiteral":
            return Literal(int(self.take("IntegerLiteral")))
        name = self.take("Identifier")
        self.take("LeftParenthesis")
        arguments: list[Expression] = [] if self._next == "RightParenthesis" else [self.expression()]
        while self._next == "Comma":
            self.take("Comma")
            arguments.append(self.expression())
        self.take("RightParenthesis")
        return Function(name, tuple(arguments))
