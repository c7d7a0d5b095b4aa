"""Secrets in templates and in what-if: blackened before anything is kept or shown, and comparable all the same.

What is blackened is known by its place (an app's setting, unless it refers to a vault or is too short for a secret), by
its value (a parameter from the vault), by its name (a password, a key), or by looking like one. A digest with a key of
the run's own says whether it is the same, to nobody but the run.
"""

import hashlib
import hmac
import json
import os
import re
import secrets
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Self, cast

from rollback.models import Model
from rollback.redaction import BLACK, SHORTEST_SECRET, blacken

KEY_FILE = "what-if.key"
MOST_CHARACTERS = 300
"""Of one value that is shown; of what is longer the digest tells whether it is the same."""
SECRET_TYPE = "microsoft.keyvault/vaults/secrets"  # noqa: S105 - a type's name
REFERENCE = "@Microsoft.KeyVault("
"""How a setting names a secret of a vault: no secret itself."""

_SECRET_NAME = re.compile(
    r"(?i)passw|pwd|secret|token|credential|connection_?-?string|account_?-?key|api_?-?key|access_?-?key|private_?-?key"
    r"|primary_?-?key|secondary_?-?key|shared_?-?key|_key\b|_dsn\b|sas\b"
)
_HARMLESS_NAME = re.compile(r"(?i)(?:uri|url|name|id|version|days|enabled|type|permissions)$")
"""What ends so is about a secret, not one."""
_USER_INFORMATION = re.compile(r"(?<=://)[^\s/@]+(?=@)")
_CONFIG = re.compile(r"microsoft\.web/(?:sites(?:/slots)?|staticsites(?:/builds)?)/config")
_SETTINGS = frozenset({"appsettings", "functionappsettings", "connectionstrings"})
"""Configurations that are nothing but an app's settings: any of them may hold a key, whatever it is called."""
_OF_SITE = re.compile(r"(?i)properties\.(?:siteConfig\.)?(?:appSettings|connectionStrings)\b")
"""Where a site has the same."""
_LABELS = ("].name", "].type")
_EXPRESSION = re.compile(r"\[\s*[A-Za-z_][\w.]*\s*\(.*\]", re.DOTALL)
"""It begins with a function: a list that is written as JSON is none."""
_LITERAL = re.compile(r"(?P<named>\b(?:parameters|variables)\(\s*)?'(?P<text>(?:[^']|'')*)'")


class Value(Model):
    """A property's value, as it may be kept and shown."""

    text: str
    digest: str = ""
    """Keyed: of what is blackened or cut, so that it can be compared."""
    unresolved: bool = False
    """Whether it is an expression that Azure evaluates only when it deploys."""


class Blinding:
    """Blackens; knows the run's key and the values that are secret."""

    def __init__(self, key: bytes, known: Iterable[str] = ()) -> None:
        self._key = key
        self._known = sorted({each for each in known if len(each) >= SHORTEST_SECRET}, key=len, reverse=True)

    @classmethod
    def of_run(cls, folder: Path, known: Iterable[str] = ()) -> Self:
        """With the key of a run, which is made where there is none yet; readable by its user only."""
        file = folder / KEY_FILE
        if not file.exists():
            temporary = file.with_suffix(".tmp")
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(descriptor, "wb") as opened:
                opened.write(secrets.token_bytes(32))
            temporary.replace(file)
        return cls(file.read_bytes(), known)

    def digest(self, value: Any) -> str:
        """The same for the same value within the run, and nothing to guess the value by."""
        content = json.dumps(value, sort_keys=True, separators=(",", ":"), default=str)
        return hmac.new(self._key, content.encode(), hashlib.sha256).hexdigest()

    def value(self, raw: Any, path: str, kind: str, name: str = "") -> Value | None:
        """A value of a resource's property without what is secret in it; none where there is none."""
        if raw is None:
            return None
        shown = self.shown(raw, path, kind, name)
        text = shown if isinstance(shown, str) else json.dumps(shown, sort_keys=True, ensure_ascii=False)
        whole = shown == raw and len(text) <= MOST_CHARACTERS
        cut = text if len(text) <= MOST_CHARACTERS else f"{text[:MOST_CHARACTERS]}…"
        return Value(text=cut, digest="" if whole else self.digest(raw), unresolved=is_expression(raw))

    def shown(self, raw: Any, path: str, kind: str = "", name: str = "") -> Any:
        """A value of any shape without what is secret in it; `kind` and `name`: the resource's."""
        if isinstance(raw, dict):
            content = cast("dict[str, Any]", raw)
            named = f"{path}[{content['name']}]" if isinstance(content.get("name"), str) else path
            return {own: self.shown(each, f"{named}.{own}", kind, name) for own, each in content.items()}
        if isinstance(raw, list):
            return [self.shown(each, path, kind, name) for each in cast("list[Any]", raw)]
        if isinstance(raw, str) and raw.startswith(REFERENCE):
            return raw
        setting = _is_setting(path, kind.lower(), name.lower())
        if is_expression(raw):
            return self.text(_without_literals(raw) if setting else raw)
        if (setting and len(str(raw)) >= SHORTEST_SECRET) or (raw and isinstance(raw, str) and _is_secret(path, kind)):
            return BLACK
        return self.text(raw) if isinstance(raw, str) else raw

    def text(self, text: str) -> str:
        """Text without the secrets that are known, and without what looks like one."""
        for each in self._known:
            text = text.replace(each, BLACK)
        return blacken(_USER_INFORMATION.sub(BLACK, text))


def is_expression(raw: Any) -> bool:
    """Whether a value is an expression of the template's language that nobody has evaluated."""
    return isinstance(raw, str) and _EXPRESSION.fullmatch(raw) is not None


def _is_setting(path: str, kind: str, name: str) -> bool:
    """Whether a property is the value of one of an app's settings or connection strings."""
    last = name.rpartition("/")[2]
    if _CONFIG.fullmatch(kind) and last in _SETTINGS:
        return path.startswith("properties") and not (last == "connectionstrings" and path.endswith(".type"))
    return kind.startswith("microsoft.web/sites") and bool(_OF_SITE.match(path)) and not path.endswith(_LABELS)


def _without_literals(expression: str) -> str:
    """An expression without its texts, but for names of parameters, variables and types."""

    def told(found: re.Match[str]) -> str:
        return found[0] if found["named"] or found["text"].startswith("Microsoft.") else f"'{BLACK}'"

    return _LITERAL.sub(told, expression)


def _is_secret(path: str, kind: str) -> bool:
    """Whether a property is a secret by its name, or by that of the list's element that it is the value of."""
    last = path.rpartition(".")[2]
    if kind.lower() == SECRET_TYPE and path == "properties.value":
        return True
    if last == "value" and path.removesuffix(".value").endswith("]"):
        last = path.removesuffix("].value").rpartition("[")[2]
    return _SECRET_NAME.search(last) is not None and _HARMLESS_NAME.search(last) is None
