"""Key Vault references in app settings: what an app gets instead of `@Microsoft.KeyVault(…)`, and since when.

A slot's references are fetched by the slot's own identity and kept in its cache. They are fetched again when the
slot's configuration changes, by the refresh call, and after a day; a restart goes on with what is there. A reference
that names a version never moves. One that cannot be resolved gives the app its literal text.

The cache moves with the content in a swap, because the processes do: what was warmed up with a value goes on serving
with it, and nothing is fetched then. Only where a swap brings other (sticky) settings to a slot its configuration has
changed, so that everything there is fetched again, by the identity of that slot. So after a secret has got a new
version each slot must be refreshed, or a later swap brings the old value back.

Source: learn.microsoft.com/azure/app-service/app-service-key-vault-references.
"""

import json
import re
from dataclasses import dataclass
from datetime import timedelta
from hashlib import sha256
from uuid import NAMESPACE_DNS, uuid5

from sandbox.clock import now
from sandbox.keyvault import access
from sandbox.keyvault.answers import KeyVaultError
from sandbox.keyvault.model import References, Resolution, Status
from sandbox.state import PRODUCTION, ConnectionString, Principal, Site, Slot, State

BEGINNING = "@microsoft.keyvault("
CACHE_LIFETIME = timedelta(hours=24)
UNAVAILABLE = "kv-unavailable"
STAYS_OLD = "reference-stays-old"
SECRET_URI = re.compile(
    r"SecretUri=https://(?P<vault>[0-9a-z-]+)\.vault\.azure\.net(:443)?/secrets/(?P<secret>[0-9a-z-]+)"
    r"(/(?P<version>[0-9a-f]{32})?)?/?",
    re.IGNORECASE,
)
NAMES = re.compile(
    r"VaultName=(?P<vault>[0-9a-z-]+);\s*SecretName=(?P<secret>[0-9a-z-]+)"
    r"(;\s*SecretVersion=(?P<version>[0-9a-f]{32})?)?;?",
    re.IGNORECASE,
)
DETAILS: dict[Status, str] = {
    "Resolved": "Reference has been successfully resolved.",
    "InvalidSyntax": "Key Vault reference was not able to be resolved because the reference syntax is invalid.",
    "VaultNotFound": "Key Vault reference was not able to be resolved because the vault was not found.",
    "SecretNotFound": "Key Vault reference was not able to be resolved because the secret was not found.",
    "SecretVersionNotFound": "Key Vault reference was not able to be resolved because the version was not found.",
    "AccessToKeyVaultDenied": "Key Vault reference was not able to be resolved because site was denied access to Key "
    "Vault reference's vault.",
    "FetchTimedOut": "Key Vault reference was not able to be resolved because fetching the secret timed out.",
    "OtherReasons": "Key Vault reference was not able to be resolved due to other reasons: the secret is disabled.",
}


@dataclass(frozen=True)
class Target:
    """What a reference points at."""

    vault: str
    secret: str
    version: str
    """Empty: the current one."""


def identity_of(site: Site, slot: Slot) -> Principal:
    """The system-assigned identity of a slot. It stays with the slot in a swap."""
    name = site.name if slot.name == PRODUCTION else f"{site.name}/slots/{slot.name}"
    return Principal(
        name=name,
        kind="ServicePrincipal",
        object_id=str(uuid5(NAMESPACE_DNS, slot.host)),
        display_name=name,
        client_id=str(uuid5(NAMESPACE_DNS, f"application.{slot.host}")),
    )


def is_reference(value: str) -> bool:
    """Whether App Service takes the value of an app setting for a reference."""
    return value.lower().startswith(BEGINNING)


def parse(reference: str) -> Target | None:
    """What `reference` points at, or None for one that makes no sense."""
    inside = reference[len(BEGINNING) : -1] if reference.endswith(")") else ""
    match = SECRET_URI.fullmatch(inside) or NAMES.fullmatch(inside)
    return Target(match["vault"], match["secret"], match["version"] or "") if match is not None else None


def basis_of(slot: Slot, settings: dict[str, str], strings: dict[str, ConnectionString]) -> str:
    """Digest of the configuration that restarts the app: a change of it fetches everything again."""
    content = slot.content
    values = {name: string.model_dump() for name, string in strings.items()}
    parts = [content.linux_fx_version, settings, values, content.config]
    return sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def are_due(slot: Slot, basis: str) -> bool:
    """Whether the references were fetched for another configuration than `basis`, or a day ago."""
    kept = slot.references
    return kept.basis != basis or kept.fetched is None or now() - kept.fetched >= CACHE_LIFETIME


def fetch(state: State, site: Site, slot: Slot, settings: dict[str, str], basis: str) -> None:
    """Fetch every reference in `settings` by the slot's identity."""
    caller, kept = identity_of(site, slot), slot.references.by_setting
    stale = {name: kept[name] for name in _stays_old(state, site, slot) if name in kept}
    found = {name: resolve(state, caller, value) for name, value in settings.items() if is_reference(value)}
    found |= {name: old for name, old in stale.items() if name in found}
    slot.references = References(basis=basis, fetched=now(), by_setting=found)


def _stays_old(state: State, site: Site, slot: Slot) -> set[str]:
    """The app settings that a fault keeps at what they were resolved to."""
    place = (STAYS_OLD, site.environment, slot.name)
    return {
        str(fault.options["name"])
        for fault in state.faults
        if (fault.name, fault.options.get("environment"), fault.options.get("slot")) == place
    }


def resolved(slot: Slot, settings: dict[str, str]) -> dict[str, str]:
    """The settings as the app's process gets them."""
    values = {name: each.value for name, each in slot.references.by_setting.items() if each.value is not None}
    return {name: values.get(name, value) if is_reference(value) else value for name, value in settings.items()}


def resolve(state: State, caller: Principal, reference: str) -> Resolution:
    """Fetch one reference as `caller`."""
    target = parse(reference)
    if target is None:
        return Resolution(reference=reference, status="InvalidSyntax", details=DETAILS["InvalidSyntax"])
    made = Resolution(
        reference=reference,
        status="Resolved",
        details=DETAILS["Resolved"],
        vault=target.vault,
        secret=target.secret,
        version=target.version or None,
    )
    refusal = _fetch_into(made, state, caller, target)
    if refusal is not None:
        made.status, made.details = refusal, DETAILS[refusal]
    return made


def _fetch_into(made: Resolution, state: State, caller: Principal, target: Target) -> Status | None:
    vault = state.find_vault(target.vault)
    if vault is None:
        return "VaultNotFound"
    if any(each.name == UNAVAILABLE for each in state.faults):
        return "FetchTimedOut"
    try:
        access.require(state, vault, caller, access.GET, target.secret)
    except KeyVaultError:
        return "AccessToKeyVaultDenied"
    secret = vault.find_active(target.secret)
    version = secret.find(target.version) if secret is not None else None
    if version is None:
        return "SecretNotFound" if secret is None else "SecretVersionNotFound"
    if not version.enabled:
        return "OtherReasons"
    made.active_version, made.value = version.version, version.value
    return None
