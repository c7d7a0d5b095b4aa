"""Secrets as Azure Resource Manager shows and writes them: a template may put one, nobody gets a value."""

from typing import Any

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field

from sandbox.arm import ArmError, Call, Route, collection
from sandbox.clock import now
from sandbox.keyvault.access import vault_id
from sandbox.keyvault.model import Secret, SecretVersion, Vault
from sandbox.keyvault.vaults import VAULT, find
from sandbox.state import State

TYPE = "Microsoft.KeyVault/vaults/secrets"


class Attributes(BaseModel):
    """Azure's SecretAttributes; instants are Unix seconds."""

    enabled: bool | None = None
    nbf: int | None = None
    exp: int | None = None


class Properties(BaseModel):
    """Azure's SecretProperties."""

    model_config = ConfigDict(populate_by_name=True)

    value: str | None = Field(default=None, repr=False)
    content_type: str | None = Field(default=None, alias="contentType")
    attributes: Attributes = Attributes()


class Body(BaseModel):
    """Azure's SecretCreateOrUpdateParameters."""

    tags: dict[str, str] | None = None
    properties: Properties


def _secret_json(state: State, vault: Vault, secret: Secret) -> dict[str, Any]:
    version = secret.current()
    attributes = {"enabled": version.enabled, "nbf": version.not_before, "exp": version.expires}
    address = f"https://{vault.host}/secrets/{secret.name}"
    return {
        "id": f"{vault_id(state, vault)}/secrets/{secret.name}",
        "name": secret.name,
        "type": TYPE,
        "location": state.location,
        "tags": version.tags or {},
        "properties": {
            "contentType": version.content_type,
            "attributes": {
                **{name: value for name, value in attributes.items() if value is not None},
                "created": int(version.created.timestamp()),
                "updated": int(version.updated.timestamp()),
            },
            "secretUri": address,
            "secretUriWithVersion": f"{address}/{version.version}",
        },
    }


async def _list(call: Call) -> web.Response:
    vault = find(call)
    found = [each for each in vault.secrets if each.deleted is None]
    return collection([_secret_json(call.world.state, vault, each) for each in found])


async def _get(call: Call) -> web.Response:
    vault = find(call)
    secret = vault.find_active(call.names["secret"])
    if secret is None:
        message = f"A secret with (name/id) {call.names['secret']} was not found in this key vault."
        raise ArmError(404, "SecretNotFound", message)
    return web.json_response(_secret_json(call.world.state, vault, secret))


async def _put(call: Call) -> web.Response:
    """A new version where there is a value; without one the newest version's attributes."""
    vault, wish = find(call), call.parse(Body)
    said, secret = wish.properties, vault.find(call.names["secret"])
    if secret is not None and secret.deleted is not None:
        message = (
            f"Secret {secret.name} is currently in a deleted but recoverable state, and its name cannot be reused."
        )
        raise ArmError(409, "ConflictError", message)
    if secret is None and said.value is None:
        raise ArmError(400, "BadRequest", "The parameter secret.properties.value is required to create a secret.")
    if secret is None:
        secret = Secret(name=call.names["secret"], versions=[])
        vault.secrets.append(secret)
    if said.value is not None:
        secret.versions.append(SecretVersion(value=said.value))
    version = secret.current()
    version.tags = wish.tags if wish.tags is not None else version.tags
    version.content_type = said.content_type if said.content_type is not None else version.content_type
    version.enabled = said.attributes.enabled if said.attributes.enabled is not None else version.enabled
    version.not_before = said.attributes.nbf if said.attributes.nbf is not None else version.not_before
    version.expires = said.attributes.exp if said.attributes.exp is not None else version.expires
    version.updated = now()
    call.world.save()
    return web.json_response(_secret_json(call.world.state, vault, secret))


ROUTES = [
    Route("GET", VAULT + "/secrets", f"{TYPE}/read", _list, frozenset({"$top"})),
    Route("GET", VAULT + "/secrets/{secret}", f"{TYPE}/read", _get),
    Route("PUT", VAULT + "/secrets/{secret}", f"{TYPE}/write", _put),
    Route("PATCH", VAULT + "/secrets/{secret}", f"{TYPE}/write", _put),
]
