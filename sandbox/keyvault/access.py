"""Who may do what in a vault: by role assignments, or by the vault's access policies."""

from dataclasses import dataclass

from sandbox import rbac
from sandbox.keyvault.answers import ACCESS_HELP, KeyVaultError
from sandbox.keyvault.model import Vault
from sandbox.state import Principal, State

FORBIDDEN = "kv-forbidden"
ANYBODY = ""


@dataclass(frozen=True)
class Permission:
    """What one operation needs, in both of the ways that a vault can decide."""

    data_action: str
    policy: str
    """The secret permission of an access policy."""


def _permission(data_action: str, policy: str) -> Permission:
    return Permission(f"Microsoft.KeyVault/vaults/secrets/{data_action}", policy)


GET = _permission("getSecret/action", "get")
SET = _permission("setSecret/action", "set")
UPDATE = _permission("update", "set")
LIST = _permission("readMetadata/action", "list")
DELETE = _permission("delete", "delete")
GET_DELETED = _permission("readMetadata/action", "get")
RECOVER = _permission("recover/action", "recover")
PURGE = _permission("purge/action", "purge")


def vault_id(state: State, vault: Vault) -> str:
    """The Azure resource id of a vault."""
    group = f"/subscriptions/{state.subscription_id}/resourceGroups/{vault.group}"
    return f"{group}/providers/Microsoft.KeyVault/vaults/{vault.name}"


def require(state: State, vault: Vault, caller: Principal, permission: Permission, secret: str | None) -> None:
    """Refuse what the caller may not do, in the words of the vault's kind of permissions."""
    if not _is_forbidden(state, caller) and _permits(state, vault, caller, permission, secret):
        return
    if vault.rbac:
        raise _by_role(state, vault, caller, permission, secret)
    raise _by_policy(state, vault, caller, permission)


def _is_forbidden(state: State, caller: Principal) -> bool:
    names = {ANYBODY, caller.name.lower(), caller.object_id.lower()}
    return any(str(each.options["principal"]).lower() in names for each in state.faults if each.name == FORBIDDEN)


def _permits(state: State, vault: Vault, caller: Principal, permission: Permission, secret: str | None) -> bool:
    if vault.rbac:
        return rbac.allows_data(state, caller, permission.data_action, _resource(state, vault, secret))
    ids = {caller.object_id.lower(), *(group.lower() for group in caller.groups)}
    policies = [each.permissions.get("secrets", []) for each in vault.policies if each.object_id.lower() in ids]
    granted = {word.lower() for words in policies for word in words}
    return not granted.isdisjoint({permission.policy, "all"})


def _resource(state: State, vault: Vault, secret: str | None) -> str:
    return vault_id(state, vault) + (f"/secrets/{secret}" if secret is not None else "")


def _described(state: State, caller: Principal) -> str:
    return f"appid={caller.client_id or ''};oid={caller.object_id};iss=https://sts.windows.net/{state.tenant_id}/"


def _by_role(
    state: State, vault: Vault, caller: Principal, permission: Permission, secret: str | None
) -> KeyVaultError:
    return KeyVaultError(
        403,
        "Forbidden",
        "Caller is not authorized to perform action on resource.\r\nIf role assignments, deny assignments or role "
        "definitions were changed recently, please observe propagation time.\r\n"
        f"Caller: {_described(state, caller)}\r\n"
        f"Action: '{permission.data_action}'\r\n"
        f"Resource: '{_resource(state, vault, secret).lower()}'\r\n"
        "Assignment: (not found)\r\nDenyAssignmentId: null\r\nDecisionReason: 'DeniedWithNoValidRBAC' \r\n"
        f"Vault: {vault.name};location={state.location}\r\n",
        "ForbiddenByRbac",
    )


def _by_policy(state: State, vault: Vault, caller: Principal, permission: Permission) -> KeyVaultError:
    return KeyVaultError(
        403,
        "Forbidden",
        f"The user, group or application '{_described(state, caller)}' does not have secrets {permission.policy} "
        f"permission on key vault '{vault.name};location={state.location}'. For help resolving this issue, please see "
        f"{ACCESS_HELP}",
        "ForbiddenByPolicy",
    )
