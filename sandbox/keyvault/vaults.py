"""Vaults as Azure Resource Manager shows them, and who they let in: access policies, or roles."""

from typing import Any, Literal

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, JsonValue

from sandbox.arm import ArmError, Call, Route, collection, missing, resource_not_found
from sandbox.keyvault.access import vault_id
from sandbox.keyvault.model import AccessPolicy, Vault
from sandbox.resources import GROUP, SUBSCRIPTION
from sandbox.state import State

TYPE = "Microsoft.KeyVault/vaults"
VAULTS = f"/providers/{TYPE}"
VAULT = GROUP + VAULTS + "/{vault}"
READ = f"{TYPE}/read"
PERMISSIONS = ("accessPolicies", "enableRbacAuthorization")
SETTABLE = (
    "enabledForDeployment",
    "enabledForDiskEncryption",
    "enabledForTemplateDeployment",
    "networkAcls",
    "publicNetworkAccess",
)
"""Properties that can be changed, and that nothing here acts upon."""
KINDS = ("keys", "secrets", "certificates", "storage")


class PolicyEntry(BaseModel):
    """Azure's AccessPolicyEntry."""

    model_config = ConfigDict(populate_by_name=True)

    tenant_id: str = Field(alias="tenantId")
    object_id: str = Field(alias="objectId", min_length=1)
    application_id: str | None = Field(default=None, alias="applicationId")
    permissions: dict[Literal["keys", "secrets", "certificates", "storage"], list[str] | None]

    def policy(self) -> AccessPolicy:
        """As it is kept: permissions in lower case, each once."""
        given = {kind: sorted({each.lower() for each in words or []}) for kind, words in self.permissions.items()}
        return AccessPolicy(object_id=self.object_id, permissions=dict(given))


class PolicyProperties(BaseModel):
    """The properties of the body."""

    model_config = ConfigDict(populate_by_name=True)

    access_policies: list[PolicyEntry] = Field(alias="accessPolicies")


class VaultBody(BaseModel):
    """Azure's VaultCreateOrUpdateParameters, as far as it is not about permissions."""

    tags: dict[str, str] | None = None
    properties: dict[str, JsonValue] = {}


class PermissionProperties(BaseModel):
    """What of a vault can be changed here."""

    model_config = ConfigDict(populate_by_name=True)

    access_policies: list[PolicyEntry] | None = Field(default=None, alias="accessPolicies")
    rbac: bool | None = Field(default=None, alias="enableRbacAuthorization")


class PermissionBody(BaseModel):
    """The body that carries it."""

    properties: PermissionProperties = PermissionProperties()


class PolicyBody(BaseModel):
    """Azure's VaultAccessPolicyParameters."""

    properties: PolicyProperties


def vault_json(state: State, vault: Vault) -> dict[str, Any]:
    """A vault as GET shows it."""
    return {
        "id": vault_id(state, vault),
        "name": vault.name,
        "type": TYPE,
        "location": state.location,
        "tags": vault.tags,
        "systemData": {"createdAt": f"{vault.created:%Y-%m-%dT%H:%M:%S}Z", "createdByType": "User"},
        "properties": {
            "sku": {"family": "A", "name": "standard"},
            "tenantId": state.tenant_id,
            "accessPolicies": policies_json(state, vault),
            "enabledForDeployment": False,
            "enabledForDiskEncryption": False,
            "enabledForTemplateDeployment": False,
            "enableSoftDelete": True,
            "softDeleteRetentionInDays": vault.retention_days,
            "enableRbacAuthorization": vault.rbac,
            "vaultUri": f"https://{vault.host}/",
            "provisioningState": "Succeeded",
            "publicNetworkAccess": "Enabled",
            **vault.settings,
        },
    }


def policies_json(state: State, vault: Vault) -> list[dict[str, Any]]:
    """The vault's access policies."""
    return [
        {
            "tenantId": state.tenant_id,
            "objectId": policy.object_id,
            "permissions": {kind: policy.permissions.get(kind, []) for kind in KINDS if kind in policy.permissions},
        }
        for policy in vault.policies
    ]


def find(call: Call) -> Vault:
    """The vault that a call is about, or Azure's 404."""
    vault = call.world.state.find_vault(call.names["vault"])
    if vault is None or vault.group.lower() != call.names["group"].lower():
        raise resource_not_found(TYPE, call.names["vault"], call.names["group"])
    return vault


async def _get(call: Call) -> web.Response:
    return web.json_response(vault_json(call.world.state, find(call)))


async def _list_by_group(call: Call) -> web.Response:
    state, group = call.world.state, call.names["group"].lower()
    return collection([vault_json(state, each) for each in state.vaults if each.group.lower() == group])


async def _list_by_subscription(call: Call) -> web.Response:
    return collection([vault_json(call.world.state, each) for each in call.world.state.vaults])


async def _write(call: Call) -> web.Response:
    """Change a vault (PUT takes tags away that it does not name); what is not honoured is answered 501."""
    state = call.world.state
    put = call.request.method == "PUT"
    if put and state.find_vault(call.names["vault"]) is None:
        raise missing(call.request, "vaults are not made here")
    vault, wish = find(call), call.parse(VaultBody)
    shown = vault_json(state, vault)["properties"]
    changed = {
        name: value
        for name, value in wish.properties.items()
        if value not in (None, shown.get(name)) and name not in PERMISSIONS
    }
    unknown = [name for name in changed if name not in SETTABLE]
    if unknown:
        raise missing(call.request, f"{', '.join(unknown)} of a vault cannot be changed")
    wanted = call.parse(PermissionBody).properties
    for entry in wanted.access_policies or []:
        _require_known(call, entry)
    if wanted.access_policies is not None:
        vault.policies = [entry.policy() for entry in wanted.access_policies]
    vault.rbac = vault.rbac if wanted.rbac is None else wanted.rbac
    vault.tags = (wish.tags or {}) if put or wish.tags is not None else vault.tags
    vault.settings |= changed
    call.world.save()
    return web.json_response(vault_json(state, vault))


async def _change_policies(call: Call) -> web.Response:
    """Add permissions to those that are there, replace a principal's, or remove them."""
    vault, kind = find(call), call.names["kind"].lower()
    entries = call.parse(PolicyBody).properties.access_policies
    for entry in entries:
        _require_known(call, entry)
        _change(vault, kind, entry.policy())
    call.world.save()
    shown = {"accessPolicies": policies_json(call.world.state, vault)}
    body = {"id": f"{vault_id(call.world.state, vault)}/accessPolicies/", "type": f"{TYPE}/accessPolicies"}
    return web.json_response({**body, "location": call.world.state.location, "properties": shown})


def _require_known(call: Call, entry: PolicyEntry) -> None:
    if entry.tenant_id.lower() != call.world.state.tenant_id:
        raise ArmError(400, "BadRequest", "An invalid value was provided for 'accessPolicies.tenantId'.")
    if entry.application_id is not None:
        raise ArmError(501, "NotImplementedInSandbox", "Access policies for an application on behalf of a user.")


def _change(vault: Vault, kind: str, given: AccessPolicy) -> None:
    kept = next((each for each in vault.policies if each.object_id.lower() == given.object_id.lower()), None)
    if kind == "add":
        if kept is None:
            vault.policies.append(given)
            return
        for each, words in given.permissions.items():
            kept.permissions[each] = sorted({*kept.permissions.get(each, []), *words})
    elif kind == "replace":
        vault.policies = [each for each in vault.policies if each is not kept] + [given]
    elif kept is not None:
        for each, words in given.permissions.items():
            kept.permissions[each] = [word for word in kept.permissions.get(each, []) if word not in words]
        if not any(kept.permissions.values()):
            vault.policies.remove(kept)


ROUTES = [
    Route("GET", SUBSCRIPTION + VAULTS, READ, _list_by_subscription, frozenset({"$top"})),
    Route("GET", GROUP + VAULTS, READ, _list_by_group, frozenset({"$top"})),
    Route("GET", VAULT, READ, _get),
    Route("PUT", VAULT, f"{TYPE}/write", _write),
    Route("PATCH", VAULT, f"{TYPE}/write", _write),
    Route("PUT", VAULT + "/accessPolicies/{kind}", f"{TYPE}/accessPolicies/write", _change_policies),
]
