"""What of a resource is secret, and left out wherever it is kept, compared or shown.

Where it is not known, a value under a telling name is taken for a secret: what is left out too much is only not
compared. Each left-out value is replaced by a mark that is never written to Azure. Source of the names: `x-ms-secret`
and the writable keys of Microsoft's OpenAPI for Microsoft.Web, Microsoft.Cache, Microsoft.DBforPostgreSQL,
Microsoft.Insights and Microsoft.Storage.
"""

import re
from collections.abc import Iterator

from pydantic import JsonValue

from rollback.redaction import blacken

MARK: JsonValue = {"$leftOut": "secret"}
"""Stands where a secret was. An object: no property of Azure's looks like it."""
KEY_VAULT_REFERENCE = "@Microsoft.KeyVault("
SETTINGS = "appsettings"
"""The configuration of an app whose every value may be a secret."""

_NAME = re.compile(
    r"password|passwd|pwd|secret|token|connectionstring|credential|signature|(?:key|keys|sas|sasurl)\d?$"
    r"|^(?:customdata|userdata|pfxblob)$"
)
_WEBHOOK_NAME = re.compile(r"^(?:serviceuri|callbackurl|httptriggerurl)$|webhookur[il]$")
"""Whoever knows such an address may post to it: part of its path is often the only secret."""
_HARMLESS_NAME = re.compile(r"^keyvault|publickey$|(?:uri|names?|id|identity|version|length|expiry|expiration|days)$")
_SWITCHES = frozenset({"enabled", "disabled", "true", "false", "none", "allow", "deny", "required", "optional"})
_SECRET_VALUE = re.compile(r"(?i)[?&](?:code|[\w-]*key)=[^&\s]|-----BEGIN [A-Z ]*PRIVATE KEY")
"""A key in an address's query, as of functions; a PEM file."""
_NAMED_BY = frozenset({"name", "key", "keyname"})
_PERMISSIONS = frozenset({("permissions", "keys"), ("permissions", "secrets")})
"""Of a vault's access policies: what one may do with keys and secrets."""

Path = tuple[str, ...]
Tree = dict[str, JsonValue]


def without_secrets(kind: str, content: Tree) -> Tree:
    """A resource of that type as Azure shows it, with the mark where a secret was."""
    if kind.lower().endswith("/config") and isinstance(settings := content.get("properties"), dict):
        where = f"{content.get('id') or content.get('name')}".lower()
        if where.endswith(SETTINGS):
            return {**content, "properties": {name: _setting(value) for name, value in settings.items()}}
    return {name: _clean(each, (name,)) for name, each in content.items()}


def holds_mark(value: JsonValue) -> bool:
    """Whether anything in it was left out."""
    return bool(next(marked(value), None) is not None)


def marked(value: JsonValue, path: Path = ()) -> Iterator[str]:
    """Where something was left out, as dotted paths."""
    if value == MARK:
        yield ".".join(path)
    elif isinstance(value, dict):
        for name, each in value.items():
            yield from marked(each, (*path, name))
    elif isinstance(value, list):
        for index, each in enumerate(value):
            yield from marked(each, (*path[:-1], f"{path[-1] if path else ''}[{index}]"))


def _setting(value: JsonValue) -> JsonValue:
    """Of an app setting the value where it only names a secret of a vault."""
    return value if _is_reference(value) else MARK


def _is_reference(value: JsonValue) -> bool:
    return isinstance(value, str) and value.startswith(KEY_VAULT_REFERENCE)


def _clean(value: JsonValue, path: Path) -> JsonValue:
    if _is_secret(path, value):
        return MARK
    if isinstance(value, dict):
        if _is_named_value(value):
            return {name: _clean_named(name, each, path) for name, each in value.items()}
        return {name: _clean(each, (*path, name)) for name, each in value.items()}
    if isinstance(value, list):
        return [_clean(each, path) for each in value]
    return value


def _is_named_value(value: dict[str, JsonValue]) -> bool:
    """An app setting within a site's configuration, a webhook's header; what else is said of it does not matter."""
    names = {name.lower() for name, each in value.items() if each is not None}
    return "value" in names and bool(names & _NAMED_BY)


def _clean_named(name: str, value: JsonValue, path: Path) -> JsonValue:
    if name.lower() == "value":
        return value if value is None else _setting(value)
    # What it is called by is no key, though it may be called so.
    return _clean(value, (*path, "name" if name.lower() in _NAMED_BY else name))


def _is_secret(path: Path, value: JsonValue) -> bool:
    if not value or isinstance(value, bool) or path[-2:] in _PERMISSIONS:
        return False
    if isinstance(value, str) and (_is_reference(value) or value.lower() in _SWITCHES):
        return False
    name = re.sub(r"[^a-z0-9]", "", path[-1].lower())
    if _WEBHOOK_NAME.search(name) or (_NAME.search(name) and not _HARMLESS_NAME.search(name)):
        return True
    return isinstance(value, str) and (_SECRET_VALUE.search(value) is not None or blacken(value) != value)
