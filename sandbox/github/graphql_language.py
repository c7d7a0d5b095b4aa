"""Reads GraphQL queries, as far as clients of GitHub write them: operations, fields, aliases, arguments, fragments.

Source: spec.graphql.org/October2021, section 2.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

TOKEN = re.compile(r'"""(?:.|\n)*?"""|"(?:\\.|[^"\\])*"|\.\.\.|[A-Za-z_]\w*|-?\d+(?:\.\d+)?|[{}()\[\]:$!=|@&]')
IGNORED = re.compile(r"(?:[\s,\ufeff]|#[^\n]*)*")


class GraphQLSyntaxError(Exception):
    """The query cannot be read."""


@dataclass(frozen=True)
class Variable:
    """Stands for a value that comes with the query."""

    name: str


@dataclass(frozen=True)
class Field:
    """One field that is asked for."""

    name: str
    alias: str
    arguments: Mapping[str, object]
    selection: "list[Field | Spread]"


@dataclass(frozen=True)
class Spread:
    """A fragment: its fields count where the type is the one it is on."""

    on: str
    """Empty: any type."""
    selection: "list[Field | Spread]"
    fragment: str = ""
    """The name of a fragment that is defined elsewhere; then there is no selection here."""


@dataclass(frozen=True)
class Document:
    """A query or mutation, and the fragments that it uses."""

    kind: str
    selection: list[Field | Spread]
    defaults: Mapping[str, object]
    """Of its variables."""
    fragments: Mapping[str, Spread] = field(default_factory=dict[str, Spread])


def parse(text: str) -> Document:
    """The query's only operation with its fragments."""
    reader = _Reader(text)
    operation: Document | None = None
    fragments = dict[str, Spread]()
    while reader.peek():
        if reader.peek() == "fragment":
            reader.take()
            name = reader.take()
            reader.expect("on")
            fragments[name] = Spread(reader.take(), reader.selection())
        else:
            operation = reader.operation()
    if operation is None:
        raise GraphQLSyntaxError("A query attribute must be specified and must be a string.")
    return Document(operation.kind, operation.selection, operation.defaults, fragments)


class _Reader:
    def __init__(self, text: str) -> None:
        self._tokens = list[str]()
        self._at = place = 0
        while True:
            ignored = IGNORED.match(text, place)
            place = ignored.end() if ignored else place
            if place >= len(text):
                return
            found = TOKEN.match(text, place)
            if found is None:
                raise GraphQLSyntaxError(f'Parse error on "{text[place]}" (error) at [1, {place + 1}]')
            self._tokens.append(found[0])
            place = found.end()

    def peek(self) -> str:
        return self._tokens[self._at] if self._at < len(self._tokens) else ""

    def take(self) -> str:
        token = self.peek()
        if not token:
            raise GraphQLSyntaxError("Unexpected end of document")
        self._at += 1
        return token

    def expect(self, token: str) -> None:
        taken = self.take()
        if taken != token:
            raise GraphQLSyntaxError(f'Expected "{token}", actual: "{taken}"')

    def operation(self) -> Document:
        """An operation; one that is a selection only is a query."""
        if self.peek() == "{":
            return Document("query", self.selection(), {})
        kind = self.take()
        if self.peek() not in ("(", "{"):
            self.take()
        return Document(kind, defaults=self._variables(), selection=self.selection())

    def _variables(self) -> dict[str, object]:
        defaults = dict[str, object]()
        if self.peek() != "(":
            return defaults
        self.take()
        while self.peek() != ")":
            self.expect("$")
            name = self.take()
            self.expect(":")
            while self.peek() not in ("$", ")", "="):
                self.take()
            if self.peek() == "=":
                self.take()
                defaults[name] = self._value()
        self.take()
        return defaults

    def selection(self) -> list[Field | Spread]:
        self.expect("{")
        found = list[Field | Spread]()
        while self.peek() != "}":
            found.append(self._spread() if self.peek() == "..." else self._field())
        self.take()
        return found

    def _spread(self) -> Spread:
        self.take()
        if self.peek() == "on":
            self.take()
            return Spread(self.take(), self.selection())
        if self.peek() == "{":
            return Spread("", self.selection())
        return Spread("", [], self.take())

    def _field(self) -> Field:
        alias = name = self.take()
        if self.peek() == ":":
            self.take()
            name = self.take()
        arguments = self._arguments()
        if self.peek() == "@":
            raise GraphQLSyntaxError("Directives are not read here.")
        return Field(name, alias, arguments, self.selection() if self.peek() == "{" else [])

    def _arguments(self, last: str = ")") -> dict[str, object]:
        found = dict[str, object]()
        if last == ")" and self.peek() != "(":
            return found
        self.take()
        while self.peek() != last:
            name = self.take()
            self.expect(":")
            found[name] = self._value()
        self.take()
        return found

    def _value(self) -> object:
        if self.peek() == "{":
            return self._arguments("}")
        word = self.take()
        if word == "$":
            return Variable(self.take())
        if word == "[":
            values = list[object]()
            while self.peek() != "]":
                values.append(self._value())
            self.take()
            return values
        if word.startswith('"'):
            return word.strip('"').encode().decode("unicode_escape")
        if word in ("true", "false", "null"):
            return {"true": True, "false": False, "null": None}[word]
        return int(word) if word.lstrip("-").isdecimal() else word
