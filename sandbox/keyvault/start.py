"""How the platform's vaults stand in the beginning, and what production's app settings point at."""

import hmac
from datetime import timedelta

from sandbox import rbac
from sandbox.clock import now
from sandbox.directory import ROLLBACK
from sandbox.keyvault.access import vault_id
from sandbox.keyvault.model import AccessPolicy, Secret, SecretVersion, Vault
from sandbox.keyvault.references import identity_of
from sandbox.state import PRODUCTION, RoleAssignment, State

PRODUCTION_VAULT = "fundrbolt-production-kv"
LEGACY_VAULT = "fundrbolt-legacy-kv"
DATABASE_URL, SESSION_SECRET = "database-url", "session-secret"
AGE = timedelta(days=40)


def reference(vault: str, secret: str, version: str = "") -> str:
    """What an app setting holds instead of the secret."""
    return f"@Microsoft.KeyVault(SecretUri=https://{vault}.vault.azure.net/secrets/{secret}/{version})"


def furnish(state: State, seed: str) -> None:
    """Add the vaults, and make production's settings point at them.

    Secrets are derived from `seed`, which is secret: each sandbox has its own, and they outlive a reset.
    """
    production = next(site for site in state.sites if site.environment == PRODUCTION)
    group, settings = production.group, production.slots[PRODUCTION].content.settings
    vault = Vault(
        name=PRODUCTION_VAULT,
        group=group,
        secrets=[
            _secret(DATABASE_URL, settings["DATABASE_URL"]),
            _secret(SESSION_SECRET, _derived(seed, SESSION_SECRET)),
            _secret("github-token", f"ghp_{_derived(seed, 'github-token')[:36]}"),
        ],
        created=now() - AGE,
    )
    ids = {each.name: each.object_id for each in state.principals}
    app = identity_of(production, production.slots[PRODUCTION]).object_id
    legacy = Vault(
        name=LEGACY_VAULT,
        group=group,
        rbac=False,
        policies=[
            AccessPolicy(object_id=ids[ROLLBACK], permissions={"secrets": ["get", "list", "set", "delete", "recover"]}),
            AccessPolicy(object_id=app, permissions={"secrets": ["get"]}),
        ],
        secrets=[_secret("smtp-password", _derived(seed, "smtp-password"))],
        created=now() - AGE,
    )
    state.vaults = [vault, legacy]
    for slot in production.slots.values():
        slot.content.settings |= {
            "DATABASE_URL": reference(PRODUCTION_VAULT, DATABASE_URL),
            "SESSION_SECRET": reference(PRODUCTION_VAULT, SESSION_SECRET),
        }
    assign_roles(state)


def assign_roles(state: State) -> None:
    """Let production's slots read the secrets of the vault that has roles."""
    production = next(site for site in state.sites if site.environment == PRODUCTION)
    scope = next(vault_id(state, vault) for vault in state.vaults if vault.name == PRODUCTION_VAULT)
    state.role_assignments += [
        RoleAssignment(scope=scope, principal_id=identity_of(production, slot).object_id, role_id=rbac.SECRETS_USER)
        for slot in production.slots.values()
    ]


def _derived(seed: str, name: str) -> str:
    return hmac.new(seed.encode(), name.encode(), "sha256").hexdigest()


def _secret(name: str, value: str) -> Secret:
    made = now() - AGE
    return Secret(name=name, versions=[SecretVersion(value=value, created=made, updated=made)])
