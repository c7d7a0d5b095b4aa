"""`rollback doctor`: is everything there that a rollback needs? Only reads, and says for each lack what to do."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack
from dataclasses import dataclass

import click

from deployments import prefect_api
from deployments.prefect_api import PrefectAway
from deployments.procedures import open_store
from rollback import azure, probes
from rollback.app_service import AppService
from rollback.approvals.policy import Need, Policy
from rollback.approvals.tokens import TokenVerifier
from rollback.azure import AzureConnection, our_errors
from rollback.errors import RollbackError
from rollback.image_planning import REDEPLOY
from rollback.permissions import ACTIONS
from rollback.probes import Prober
from rollback.releases import Manifest, load_manifest
from rollback.settings import Backend, Settings, load_settings
from rollback.slots import PRODUCTION, Slot

GOOD, MISSING, HINT = "✓", "✗", "–"


@dataclass(frozen=True)
class Check:
    """One line: what was found, and for a lack what to do."""

    mark: str
    text: str
    remedy: str = ""


def _lack(error: RollbackError) -> Check:
    return Check(MISSING, error.message, error.remedy)


async def examine(environment: str | None) -> bool:
    """Print every check as soon as it is known; whether nothing is missing."""
    whole = True
    async for check in _checks(environment):
        whole &= check.mark != MISSING
        click.echo(f"{check.mark} {' '.join(check.text.split())}")
        if check.remedy:
            click.echo(f"    {check.remedy}")
    return whole


async def _checks(environment: str | None) -> AsyncGenerator[Check]:
    try:
        settings = load_settings()
        chosen = [environment] if environment else sorted(settings.environments)
        backends = {name: settings.backend(name) for name in chosen}
    except RollbackError as error:
        yield _lack(error)
        return
    yield Check(GOOD, f"platform file {settings.file}: {', '.join(sorted(settings.environments))}")
    manifest, found = _check_manifest(settings)
    yield found
    yield _check_state(settings)
    yield await _check_approval(settings.approval)
    async with azure.connect(settings.azure) as connection:
        credential = await _check_credential(connection)
        yield credential
        if credential.mark == GOOD:
            examined = [_environment(connection, name, each, manifest) for name, each in backends.items()]
            for checks in await asyncio.gather(*examined):
                for check in checks:
                    yield check
    yield await _check_prefect(settings)


def _check_manifest(settings: Settings) -> tuple[Manifest, Check]:
    try:
        manifest = load_manifest(settings.releases.manifest)
    except RollbackError as error:
        return Manifest(), _lack(error)
    if manifest.file is None:
        hint = "Name a file in releases.manifest of the platform file to call builds by their release."
        return manifest, Check(HINT, "no release manifest: builds are known by digest only", hint)
    return manifest, Check(GOOD, f"release manifest {manifest.file}: {len(manifest.releases)} releases")


def _check_state(settings: Settings) -> Check:
    try:
        open_store(settings)
    except RollbackError as error:
        return _lack(error)
    return Check(GOOD, f"state folder {settings.state.directory} can be written")


async def _check_approval(policy: Policy) -> Check:
    """Whether approvals could be verified: it would be found out too late by a run that waits for one."""
    if not any(rule.needs is Need.SIGNED for rule in policy.rules):
        hint = "High risk needs a signed approval by default: set [approval] in the platform file."
        return Check(HINT, "approval: no rule asks for a signature", hint)
    try:
        signers = policy.signers()
        await TokenVerifier(signers).check_keys()
    except RollbackError as error:
        return _lack(error)
    told = f"tokens for {signers.audience}, by members of group {signers.group}"
    return Check(GOOD, f"approval: {told}; the tenant's keys can be had")


async def _check_credential(connection: AzureConnection) -> Check:
    try:
        with our_errors("Entra ID's token"):
            await connection.credential.get_token(azure.SCOPE)
    except RollbackError as error:
        return _lack(error)
    return Check(GOOD, f"Entra ID accepts the credential; subscription {connection.settings.subscription_id}")


async def _environment(connection: AzureConnection, name: str, backend: Backend, manifest: Manifest) -> list[Check]:
    async with AsyncExitStack() as stack:
        app = await stack.enter_async_context(AppService(connection, backend, manifest))
        try:
            slots = list(await app.get_pair()) if backend.slot else [await app.get_slot(PRODUCTION)]
        except RollbackError as error:
            return [Check(MISSING, f"{name}: {error.message}", error.remedy)]
        checks = [_describe(slot) for slot in slots]
        procedures = list(ACTIONS) if backend.slot else [REDEPLOY]
        checks += [await _check_permissions(app, procedure) for procedure in procedures]
        if not backend.slot:
            checks.append(Check(HINT, "no slot: this app cannot be rolled back by a swap"))
        checks.append(await _check_health(backend, slots[0]))
    return [Check(each.mark, f"{name}: {each.text}", each.remedy) for each in checks]


def _describe(slot: Slot) -> Check:
    where = "production" if slot.name == PRODUCTION else f"slot '{slot.name}'"
    told = f"{where} is {slot.state.lower()} and runs {slot.build}"
    if slot.build.digest is None:
        return Check(MISSING, told, "Deploy images by digest, or name the tag's digest in the release manifest.")
    if "@sha256:" not in slot.build.image:
        return Check(HINT, f"{told}, by a tag: a tag can move", "Deploy images by digest: DOCKER|image@sha256:…")
    return Check(GOOD, f"{told}, pinned by digest")


async def _check_permissions(app: AppService, procedure: str) -> Check:
    """What the role assignments of the credential really grant, as Azure tells it for the app."""
    try:
        await app.check_permissions(ACTIONS[procedure])
    except RollbackError as error:
        return _lack(error)
    return Check(GOOD, f"the credential may do everything that {procedure} does")


async def _check_health(backend: Backend, production: Slot) -> Check:
    async with probes.connect(backend.probes) as client:
        prober = Prober(client, backend.public_url or f"https://{production.host}", backend.probes)
        tally = await prober.ask_health()
    if tally.bad:
        remedy = "Check probes.health in the platform file. A rollback needs pages that answer 200 when all is well."
        return Check(MISSING, f"health pages at {prober.host}: {tally}", remedy)
    release = f", by {', '.join(sorted(tally.versions))}" if tally.versions else ""
    return Check(GOOD, f"health pages at {prober.host}: {tally}{release}")


async def _check_prefect(settings: Settings) -> Check:
    pool_name = settings.prefect.work_pool
    hint = "Not needed: 'rollback run' then runs the same flow by itself."
    try:
        async with prefect_api.connect() as api:
            pool = await api.work_pool(pool_name)
    except PrefectAway as error:
        return Check(HINT, f"no Prefect server: {error.message}", hint)
    if pool is None or pool.status != "READY":
        return Check(HINT, f"Prefect server {api.url}, but no worker is alive on work pool '{pool_name}'", hint)
    return Check(GOOD, f"Prefect server {api.url}, with a worker on work pool '{pool_name}'")
