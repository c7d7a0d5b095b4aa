"""How the platform's vaults stand in the beginning, and which app settings point at them."""

import hmac
from datetime import timedelta

from sandbox import rbac
from sandbox.clock import now
from sandbox.directory import ROLLBACK
from sandbox.keyvault.access import vault_id
from sandbox.keyvault.model import AccessPolicy, Secret, SecretVersion, Vault
from sandbox.keyvault.references import identity_of
from sandbox.postgresql.clusters import password_of
from sandbox.postgresql.start import PRODUCTION_SERVER, STAGING_SERVER, database_url
from sandbox.postgresql.template import ADMIN, APP
from sandbox.redis.start import PRODUCTION_CACHE, STAGING_CACHE, redis_url
from sandbox.start import WORKER
from sandbox.state import PRODUCTION, RoleAssignment, Site, State

PRODUCTION_VAULT = "fundrbolt-production-kv"
LEGACY_VAULT = "fundrbolt-legacy-kv"
DATABASE_URL, STAGING_DATABASE_URL, SESSION_SECRET = "database-url", "staging-database-url", "session-secret"
PASSWORDS = {"database-admin-password": ADMIN, "database-app-password": APP}
"""Secrets that the platform's template is deployed with, and whose passwords they are."""
REDIS_URL, STAGING_REDIS_URL = "redis-url", "staging-redis-url"
GITHUB_TOKEN = "github-token"  # noqa: S105 -- the secret's name
STAGING = "staging"
AGE = timedelta(days=40)
LASTS = timedelta(days=365)


def reference(vault: str, secret: str, version: str = "") -> str:
    """What an app setting holds instead of the secret."""
    return f"@Microsoft.KeyVault(SecretUri=https://{vault}.vault.azure.net/secrets/{secret}/{version})"


def furnish(state: State, seed: str, github_token: str) -> None:
    """Add the vaults, and make the settings of the apps with a database server point at them.

    Secrets are derived from `seed`, which is secret: each sandbox has its own, and they outlive a reset.
    """
    production, staging, worker = (_site(state, name) for name in (PRODUCTION, STAGING, WORKER))
    vault = Vault(
        name=PRODUCTION_VAULT,
        group=production.group,
        secrets=[
            _database_secret(state, DATABASE_URL, PRODUCTION_SERVER, seed),
            _secret(SESSION_SECRET, _derived(seed, SESSION_SECRET)),
            _secret(GITHUB_TOKEN, github_token),
            *(_secret(name, password_of(seed, role)) for name, role in PASSWORDS.items()),
            _cache_secret(state, REDIS_URL, PRODUCTION_CACHE, seed),
        ],
        created=now() - AGE,
    )
    ids = {each.name: each.object_id for each in state.principals}
    apps = [identity_of(site, site.slots[PRODUCTION]).object_id for site in (production, staging)]
    legacy = Vault(
        name=LEGACY_VAULT,
        group=production.group,
        rbac=False,
        policies=[
            AccessPolicy(object_id=ids[ROLLBACK], permissions={"secrets": ["get", "list", "set", "delete", "recover"]}),
            *(AccessPolicy(object_id=app, permissions={"secrets": ["get"]}) for app in apps),
        ],
        secrets=[
            _secret("smtp-password", _derived(seed, "smtp-password")),
            _database_secret(state, STAGING_DATABASE_URL, STAGING_SERVER, seed),
            _cache_secret(state, STAGING_REDIS_URL, STAGING_CACHE, seed),
        ],
        created=now() - AGE,
    )
    state.vaults = [vault, legacy]
    for slot in production.slots.values():
        slot.content.settings["SESSION_SECRET"] = reference(PRODUCTION_VAULT, SESSION_SECRET)
    for site, vault_name, database, cache in (
        (production, PRODUCTION_VAULT, DATABASE_URL, REDIS_URL),
        (worker, PRODUCTION_VAULT, DATABASE_URL, REDIS_URL),
        (staging, LEGACY_VAULT, STAGING_DATABASE_URL, STAGING_REDIS_URL),
    ):
        for slot in site.slots.values():
            slot.content.settings["DATABASE_URL"] = reference(vault_name, database)
            slot.content.settings["REDIS_URL"] = reference(vault_name, cache)
            if site is staging:
                slot.content.settings["REDIS_CLUSTER"] = "on"
    assign_roles(state)


def keep_token(state: State, github_token: str) -> None:
    """Put GitHub's token into the vault of a state that has another one there."""
    vault = state.find_vault(PRODUCTION_VAULT)
    if vault is not None:
        vault.secrets = [each for each in vault.secrets if each.name != GITHUB_TOKEN]
        vault.secrets.append(_secret(GITHUB_TOKEN, github_token))


def assign_roles(state: State) -> None:
    """Let production's slots and its worker read the secrets of the vault that has roles."""
    scope = next(vault_id(state, vault) for vault in state.vaults if vault.name == PRODUCTION_VAULT)
    state.role_assignments += [
        RoleAssignment(scope=scope, principal_id=identity_of(site, slot).object_id, role_id=rbac.SECRETS_USER)
        for site in (_site(state, PRODUCTION), _site(state, WORKER))
        for slot in site.slots.values()
    ]


def _site(state: State, environment: str) -> Site:
    return next(site for site in state.sites if site.environment == environment)


def _database_secret(state: State, name: str, server: str, seed: str) -> Secret:
    """The URL of a server's database, as somebody keeps it who cares: with tags and an expiry."""
    found = next(each for each in state.database_servers if each.name == server)
    made = _secret(name, database_url(found, seed))
    version = made.current()
    version.tags, version.content_type = {"owner": "platform", "used-by": "fundrbolt-api"}, "text/plain"
    version.expires = int((version.created + LASTS).timestamp())
    return made


def _cache_secret(state: State, name: str, cache: str, seed: str) -> Secret:
    """The URL of a cache."""
    found = next(each for each in state.caches if each.name == cache)
    return _secret(name, redis_url(found, seed))


def _derived(seed: str, name: str) -> str:
    return hmac.new(seed.encode(), name.encode(), "sha256").hexdigest()


def _secret(name: str, value: str) -> Secret:
    made = now() - AGE
    return Secret(name=name, versions=[SecretVersion(value=value, created=made, updated=made)])
