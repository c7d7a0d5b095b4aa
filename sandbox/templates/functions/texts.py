"""Functions on texts.

*Source:* learn.microsoft.com, "String functions for ARM templates".
"""

import base64
import re
import uuid
from hashlib import sha256
from typing import Any
from urllib.parse import quote, urljoin

from sandbox.templates.errors import UnsupportedError
from sandbox.templates.functions.signature import ANY, ARRAY, INTEGER, TEXT, Builtin, failed
from sandbox.templates.values import as_text

NAMESPACE = uuid.UUID("11fb06fb-712d-4ddd-98c7-e71bbd588830")
"""Azure's own, for names that guid() is made of."""
UNIQUE_LENGTH = 13
PLACE = re.compile(r"\{\{|\}\}|\{(?P<index>\d+)(?P<form>[^}]*)\}")
DIGITS = re.compile(r":[dD](\d*)")


def _unique_string(*parts: str) -> str:
    """Thirteen characters that always come from the same texts. They are not those that Azure would make."""
    digest = sha256("-".join(parts).encode()).digest()
    return base64.b32encode(digest).decode().lower()[:UNIQUE_LENGTH]


def _guid(*parts: str) -> str:
    return str(uuid.uuid5(NAMESPACE, "-".join(parts)))


def _format(pattern: str, *values: Any) -> str:
    def fill(match: re.Match[str]) -> str:
        if match["index"] is None:
            return match[0][0]
        index = int(match["index"])
        if index >= len(values):
            raise failed("format", "has a format item whose index is not less than the number of its arguments.")
        return _formed(values[index], match["form"])

    return PLACE.sub(fill, pattern)


def _formed(value: Any, form: str) -> str:
    if not form:
        return as_text(value)
    digits = DIGITS.fullmatch(form)
    if digits is None or not isinstance(value, int):
        raise UnsupportedError(f"format('{{0{form}}}')")
    return f"{'-' if value < 0 else ''}{abs(value):0{digits[1] or 1}d}"


def _substring(text: str, start: int, length: int | None = None) -> str:
    end = len(text) if length is None else start + length
    if not 0 <= start <= end <= len(text):
        raise failed(
            "substring",
            "has invalid parameters. The index and length parameters must refer to a location within the string. The "
            f"index parameter: '{start}', the length parameter: '{end - start}', the length of the string parameter: "
            f"'{len(text)}'.",
        )
    return text[start:end]


def _split(text: str, marks: str | list[str]) -> list[str]:
    known = [marks] if isinstance(marks, str) else marks
    return re.split("|".join(re.escape(mark) for mark in known), text)


def _pad_left(value: str | int, length: int, mark: str = " ") -> str:
    if len(mark) != 1:
        raise failed("padLeft", "expects a single character to pad with.")
    return str(value).rjust(length, mark)


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def _starts_with(text: str, part: str) -> bool:
    return text.lower().startswith(part.lower())


def _ends_with(text: str, part: str) -> bool:
    return text.lower().endswith(part.lower())


def _index_of(text: str, part: str) -> int:
    return text.lower().find(part.lower())


def _replace(text: str, old: str, new: str) -> str:
    if not old:
        raise failed("replace", "expects a text to look for that is not empty.")
    return text.replace(old, new)


def _uri(base: str, relative: str) -> str:
    return urljoin(base, relative)


def _uri_component(text: str) -> str:
    return quote(text, safe="")


FUNCTIONS = (
    Builtin("base64", _base64, (TEXT,)),
    Builtin("endsWith", _ends_with, (TEXT, TEXT)),
    Builtin("format", _format, (TEXT, ANY), least=1, many=True),
    Builtin("guid", _guid, (TEXT,), many=True),
    Builtin("indexOf", _index_of, (TEXT, TEXT)),
    Builtin("padLeft", _pad_left, (TEXT | INTEGER, INTEGER, TEXT), least=2),
    Builtin("replace", _replace, (TEXT, TEXT, TEXT)),
    Builtin("split", _split, (TEXT, TEXT | ARRAY)),
    Builtin("startsWith", _starts_with, (TEXT, TEXT)),
    Builtin("string", as_text, (ANY,)),
    Builtin("substring", _substring, (TEXT, INTEGER, INTEGER), least=2),
    Builtin("toLower", str.lower, (TEXT,)),
    Builtin("toUpper", str.upper, (TEXT,)),
    Builtin("trim", str.strip, (TEXT,)),
    Builtin("uniqueString", _unique_string, (TEXT,), many=True),
    Builtin("uri", _uri, (TEXT, TEXT)),
    Builtin("uriComponent", _uri_component, (TEXT,)),
)
