"""What can be done with the secrets of a vault. Names and attributes are told; a value only by reading it."""

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sandbox.clock import now
from sandbox.keyvault import access, answers
from sandbox.keyvault.access import Permission
from sandbox.keyvault.model import Secret, SecretVersion, Vault
from sandbox.state import Principal
from sandbox.world import World

NAME = re.compile("[0-9a-zA-Z-]{1,127}")
MOST_VALUE_BYTES = 25 * 1024
MOST_RESULTS = 25
"""On one page."""

Body = TypeVar("Body", bound=BaseModel)


class Attributes(BaseModel):
    """What a client may say of a version; None leaves it as it is."""

    enabled: bool | None = None
    nbf: int | None = None
    exp: int | None = None


class UpdateBody(BaseModel):
    """Azure's SecretUpdateParameters."""

    model_config = ConfigDict(populate_by_name=True)

    content_type: str | None = Field(default=None, alias="contentType")
    attributes: Attributes = Attributes()
    tags: dict[str, str] | None = None


class SetBody(UpdateBody):
    """Azure's SecretSetParameters."""

    value: str = Field(repr=False)


@dataclass(frozen=True)
class Call:
    """One request to a vault, authenticated and authorised."""

    world: World
    request: web.Request
    vault: Vault
    caller: Principal
    names: Mapping[str, str]
    body: bytes

    @property
    def name(self) -> str:
        """The secret that it is about, as the client wrote it."""
        return self.names["name"]

    def parse(self, model: type[Body]) -> Body:
        """The body as `model`, or Key Vault's 400, which says nothing of what was sent."""
        try:
            return model.model_validate_json(self.body or b"{}")
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False, include_context=False)[0]
            where = ".".join(str(part) for part in first["loc"]) or "the body"
            raise answers.bad_parameter(f"Property '{where}' has invalid value: {first['type']}.") from error

    def active(self) -> Secret:
        """The secret, or 404 if there is none or it is soft-deleted."""
        secret = self.vault.find_active(self.name)
        if secret is None:
            raise answers.secret_not_found(self.name)
        return secret

    def version(self, secret: Secret) -> SecretVersion:
        """The version that the path names, or the current one."""
        wanted = self.names.get("version", "")
        version = secret.find(wanted)
        if version is None:
            raise answers.secret_not_found(self.name, wanted)
        return version

    def deleted(self) -> Secret:
        """The soft-deleted secret, or 404."""
        secret = self.vault.find(self.name)
        if secret is None or secret.deleted is None:
            raise answers.deleted_not_found(self.name)
        return secret


Handler = Callable[[Call], Awaitable[web.Response]]


@dataclass(frozen=True)
class Operation:
    """One operation on secrets: where it is, what it needs, who does it."""

    method: str
    path: str
    """With `{names}`; compared without case. A trailing slash does not matter: the SDK sends an empty version."""
    permission: Permission
    handler: Handler
    query: frozenset[str] = frozenset()
    """Query parameters that are honoured, besides `api-version`."""

    @property
    def pattern(self) -> re.Pattern[str]:
        """Matches the path."""
        return re.compile(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", self.path), re.IGNORECASE)


async def _get(call: Call) -> web.Response:
    secret = call.active()
    version = call.version(secret)
    if not version.enabled:
        raise answers.secret_disabled("get")
    return web.json_response(answers.bundle(call.vault, secret, version))


async def _set(call: Call) -> web.Response:
    body = call.parse(SetBody)
    if not NAME.fullmatch(call.name):
        raise answers.bad_parameter(f"The request URI contains an invalid name: {call.name}")
    if len(body.value.encode()) > MOST_VALUE_BYTES:
        raise answers.bad_parameter(f"Secret value is too large; at most {MOST_VALUE_BYTES} bytes are allowed.")
    secret = call.vault.find(call.name)
    if secret is not None and secret.deleted is not None:
        raise answers.deleted_but_recoverable(secret.name)
    version = SecretVersion(value=body.value, tags=body.tags)
    _apply(version, body)
    if secret is None:
        secret = Secret(name=call.name, versions=[])
        call.vault.secrets.append(secret)
    secret.versions.append(version)
    call.world.save()
    return web.json_response(answers.bundle(call.vault, secret, version))


def _apply(version: SecretVersion, body: UpdateBody) -> None:
    said = body.attributes
    version.content_type = version.content_type if body.content_type is None else body.content_type
    version.tags = version.tags if body.tags is None else body.tags
    version.enabled = version.enabled if said.enabled is None else said.enabled
    version.not_before = version.not_before if said.nbf is None else said.nbf
    version.expires = version.expires if said.exp is None else said.exp


async def _update(call: Call) -> web.Response:
    body = call.parse(UpdateBody)
    secret = call.active()
    version = call.version(secret)
    _apply(version, body)
    version.updated = now()
    call.world.save()
    return web.json_response(answers.item(call.vault, secret, version, with_version=True))


async def _delete(call: Call) -> web.Response:
    secret = call.active()
    secret.deleted = now()
    call.world.save()
    return web.json_response(answers.deleted_item(call.vault, secret, with_version=True))


async def _list(call: Call) -> web.Response:
    secrets = sorted((each for each in call.vault.secrets if each.deleted is None), key=lambda each: each.name.lower())
    rows = [(each.name, answers.item(call.vault, each, each.current(), with_version=False)) for each in secrets]
    return _page(call, rows)


async def _list_versions(call: Call) -> web.Response:
    """In the order of their names, as Key Vault lists them: not by time. Empty for a secret that is not there."""
    secret = call.vault.find_active(call.name)
    versions = sorted(secret.versions, key=lambda each: each.version) if secret is not None else []
    rows = [
        (each.version, answers.item(call.vault, secret, each, with_version=True))
        for each in versions
        if secret is not None
    ]
    return _page(call, rows)


async def _list_deleted(call: Call) -> web.Response:
    gone = sorted((each for each in call.vault.secrets if each.deleted is not None), key=lambda each: each.name.lower())
    return _page(call, [(each.name, answers.deleted_item(call.vault, each, with_version=False)) for each in gone])


def _page(call: Call, rows: list[tuple[str, dict[str, Any]]]) -> web.Response:
    """So many rows after the one that the client's token names, and where the next ones are."""
    query = call.request.query
    asked = query.get("maxresults", str(MOST_RESULTS))
    if not asked.isdecimal() or not 1 <= int(asked) <= MOST_RESULTS:
        raise answers.bad_parameter(f"Invalid maxresults parameter. It must be between 1 and {MOST_RESULTS}.")
    after = _read_token(query["$skiptoken"]) if "$skiptoken" in query else None
    start = next((index + 1 for index, (key, _) in enumerate(rows) if key == after), 0)
    shown = rows[start : start + int(asked)]
    link = None
    if start + len(shown) < len(rows):
        token = urlsafe_b64encode(shown[-1][0].encode()).decode()
        version = query["api-version"]
        link = f"https://{call.vault.host}:443{call.request.path}?api-version={version}&$skiptoken={token}&maxresults={asked}"
    return web.json_response({"value": [row for _, row in shown], "nextLink": link})


def _read_token(token: str) -> str:
    try:
        return urlsafe_b64decode(token).decode()
    except ValueError as error:
        raise answers.bad_parameter("The skiptoken is invalid.") from error


async def _get_deleted(call: Call) -> web.Response:
    return web.json_response(answers.deleted_item(call.vault, call.deleted(), with_version=True))


async def _recover(call: Call) -> web.Response:
    secret = call.deleted()
    secret.deleted = None
    call.world.save()
    return web.json_response(answers.item(call.vault, secret, secret.current(), with_version=True))


async def _purge(call: Call) -> web.Response:
    call.vault.secrets.remove(call.deleted())
    call.world.save()
    return web.Response(status=204)


PAGED = frozenset({"maxresults", "$skiptoken"})

OPERATIONS = [
    Operation("GET", "/secrets", access.LIST, _list, PAGED),
    Operation("PUT", "/secrets/{name}", access.SET, _set),
    Operation("GET", "/secrets/{name}", access.GET, _get),
    Operation("PATCH", "/secrets/{name}", access.UPDATE, _update),
    Operation("DELETE", "/secrets/{name}", access.DELETE, _delete),
    Operation("GET", "/secrets/{name}/versions", access.LIST, _list_versions, PAGED),
    Operation("GET", "/secrets/{name}/{version}", access.GET, _get),
    Operation("PATCH", "/secrets/{name}/{version}", access.UPDATE, _update),
    Operation("GET", "/deletedsecrets", access.LIST, _list_deleted, PAGED),
    Operation("GET", "/deletedsecrets/{name}", access.GET_DELETED, _get_deleted),
    Operation("DELETE", "/deletedsecrets/{name}", access.PURGE, _purge),
    Operation("POST", "/deletedsecrets/{name}/recover", access.RECOVER, _recover),
]
