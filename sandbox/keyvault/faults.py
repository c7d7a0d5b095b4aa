"""What can go wrong with vaults, their secrets, and the references to them."""

from datetime import timedelta

from sandbox.clock import now
from sandbox.errors import SandboxError
from sandbox.faults import TIMES, Kind, Option, text
from sandbox.keyvault.access import FORBIDDEN
from sandbox.keyvault.data_plane import THROTTLE
from sandbox.keyvault.model import Secret, SecretVersion
from sandbox.keyvault.reference_routes import STUCK, UNTOLD
from sandbox.keyvault.references import STAYS_OLD, UNAVAILABLE, is_reference, parse
from sandbox.keyvault.start import PRODUCTION_VAULT, reference
from sandbox.state import PRODUCTION, Fault, Site, Slot
from sandbox.world import World

SECRET = {
    "name": Option("the secret's name", None),
    "vault": Option("the vault's name", PRODUCTION_VAULT),
}
SLOT = {
    "environment": Option("production, production-worker, staging or dev", PRODUCTION),
    "slot": Option("the slot's name", PRODUCTION),
}
LONG_AGO = timedelta(days=1)


def _secret(world: World, fault: Fault) -> Secret:
    vault = world.state.find_vault(text(fault, "vault"))
    if vault is None:
        known = ", ".join(each.name for each in world.state.vaults)
        raise SandboxError(f"There is no vault {text(fault, 'vault')!r}; there are {known}.")
    secret = vault.find(text(fault, "name"))
    if secret is None:
        known = ", ".join(each.name for each in vault.secrets)
        raise SandboxError(f"{vault.name} has no secret {text(fault, 'name')!r}; it has {known}.")
    return secret


def _before(world: World, fault: Fault) -> SecretVersion | None:
    """The version that the fault changed, unless it is gone."""
    vault = world.state.find_vault(text(fault, "vault"))
    secret = vault.find(text(fault, "name")) if vault is not None else None
    return secret.find(str(fault.before["version"])) if secret is not None else None


async def _disable(world: World, fault: Fault) -> None:
    version = _secret(world, fault).current()
    fault.before = {"version": version.version}
    version.enabled, version.updated = False, now()


async def _enable(world: World, fault: Fault) -> None:
    if (version := _before(world, fault)) is not None:
        version.enabled, version.updated = True, now()


async def _delete(world: World, fault: Fault) -> None:
    _secret(world, fault).deleted = now()


async def _recover(world: World, fault: Fault) -> None:
    vault = world.state.find_vault(text(fault, "vault"))
    secret = vault.find(text(fault, "name")) if vault is not None else None
    if secret is not None:
        secret.deleted = None


async def _expire(world: World, fault: Fault) -> None:
    version = _secret(world, fault).current()
    fault.before = {"version": version.version, "expires": version.expires}
    version.expires, version.updated = int((now() - LONG_AGO).timestamp()), now()


async def _prolong(world: World, fault: Fault) -> None:
    if (version := _before(world, fault)) is not None:
        before = fault.before["expires"]
        version.expires = int(str(before)) if before is not None else None


def _place(world: World, fault: Fault) -> tuple[Site, Slot]:
    environment, name = text(fault, "environment"), text(fault, "slot")
    site = next((each for each in world.state.sites if each.environment == environment), None)
    if site is None or name not in site.slots:
        raise SandboxError(f"There is no slot {name!r} in an environment {environment!r}.")
    return site, site.slots[name]


async def _look_for_slot(world: World, fault: Fault) -> None:
    _place(world, fault)


async def _pin(world: World, fault: Fault) -> None:
    _, slot = _place(world, fault)
    name = text(fault, "name")
    before = slot.content.settings.get(name, "")
    target = parse(before) if is_reference(before) else None
    vault = world.state.find_vault(target.vault) if target is not None else None
    secret = vault.find_active(target.secret) if vault is not None and target is not None else None
    if target is None or secret is None:
        raise SandboxError(f"The app setting {name!r} of slot {slot.name} is no reference to a secret that is there.")
    pinned = reference(target.vault, target.secret, secret.current().version)
    fault.before = {"value": before, "pinned": pinned}
    slot.content.settings[name] = pinned
    world.save()
    await world.run_slots()


async def _unpin(world: World, fault: Fault) -> None:
    site, _ = _place(world, fault)
    # The setting may have been swapped elsewhere in the meantime.
    for slot in site.slots.values():
        if slot.content.settings.get(text(fault, "name")) == fault.before["pinned"]:
            slot.content.settings[text(fault, "name")] = str(fault.before["value"])
    world.save()
    await world.run_slots()


async def _nothing(_world: World, _fault: Fault) -> None:
    """Whoever answers requests looks for the fault by itself."""


KINDS = [
    Kind(
        FORBIDDEN,
        "Vaults refuse a caller with 403, whatever its roles are.",
        {"principal": Option("its name in the directory, an app's name, or an object id; empty: everybody", "")},
        _nothing,
        _nothing,
    ),
    Kind(
        THROTTLE,
        "Vaults refuse requests with 429.",
        {"retry_after": Option("seconds that the client is asked to wait", 1.0), **TIMES},
    ),
    Kind(UNAVAILABLE, "Vaults answer 503, and App Service cannot fetch references.", {}, _nothing, _nothing),
    Kind("kv-secret-disabled", "The current version of a secret is disabled.", SECRET, _disable, _enable),
    Kind("kv-secret-deleted", "A secret is soft-deleted.", SECRET, _delete, _recover),
    Kind("kv-secret-expired", "The current version of a secret expired yesterday.", SECRET, _expire, _prolong),
    Kind(STUCK, "Refreshing a slot's references answers 200 and fetches nothing.", SLOT, _look_for_slot, _nothing),
    Kind(
        STAYS_OLD,
        "One of a slot's references goes on showing and giving its old version whenever references are fetched.",
        {"name": Option("the app setting", "DATABASE_URL"), **SLOT},
        _look_for_slot,
        _nothing,
    ),
    Kind(
        "reference-pinned",
        "A slot's reference names the version that is current now.",
        {"name": Option("the app setting", "DATABASE_URL"), **SLOT},
        _pin,
        _unpin,
    ),
    Kind(
        UNTOLD,
        "App Service does not tell which version a reference without one has resolved to (`activeVersion` is null).",
        {},
        _nothing,
        _nothing,
    ),
]
