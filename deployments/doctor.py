"""`rollback doctor`: is everything there that a rollback needs? Only reads, and says for each lack what to do."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import click

from deployments import (
    archive_checks,
    cache_checks,
    frontend_checks,
    infrastructure_checks,
    migration_checks,
    prefect_api,
)
from deployments.checks import GOOD, HINT, MISSING, Check, check, lack
from deployments.prefect_api import PrefectAway
from deployments.procedures import CLEAR_CACHE, open_store
from rollback import azure, probes
from rollback.app_service import AppService
from rollback.approvals.policy import Need, Policy
from rollback.approvals.tokens import TokenVerifier
from rollback.azure import AzureConnection, our_errors
from rollback.context import Run
from rollback.database import signing_in
from rollback.database.models import Server
from rollback.database.planning import PROCEDURE as RESTORE
from rollback.database.surveying import Survey
from rollback.errors import RollbackError
from rollback.image_planning import REDEPLOY
from rollback.key_vault import SecretVersion
from rollback.models import now
from rollback.permissions import ACTIONS, SERVER_ACTIONS
from rollback.postgres.url import DatabaseUrl
from rollback.probes import Prober
from rollback.releases import Manifest, load_manifest
from rollback.runs import RunHeader, Store
from rollback.settings import Backend, Settings, load_settings
from rollback.slots import PRODUCTION, Slot


async def examine(environment: str | None) -> bool:
    """Print every check as soon as it is known; whether nothing is missing."""
    whole = True
    async for found in _checks(environment):
        whole &= found.mark != MISSING
        click.echo(f"{found.mark} {' '.join(found.text.split())}")
        if found.remedy:
            click.echo(f"    {found.remedy}")
    return whole


async def _checks(environment: str | None) -> AsyncGenerator[Check]:
    try:
        settings = load_settings()
        chosen = [environment] if environment else sorted(settings.environments)
        backends = {name: settings.backend(name) for name in chosen}
    except RollbackError as error:
        yield lack(error)
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
            examined = [
                *(_environment(connection, name, each, manifest) for name, each in backends.items()),
                *(_database(settings, name, manifest) for name in chosen if settings.environments[name].database),
                *(_migrations(settings, name, manifest) for name in chosen if settings.environments[name].migrations),
                *(_archives(settings, name, manifest) for name in chosen),
                *(_frontends(settings, name, manifest) for name in chosen if settings.environments[name].frontends),
                *(_cache(settings, name, manifest) for name in chosen if settings.environments[name].cache),
                *(_templates(settings, name, manifest) for name in _with_templates(settings, chosen)),
            ]
            for checks in await asyncio.gather(*examined):
                for each in checks:
                    yield each
    yield await _check_prefect(settings)


def _check_manifest(settings: Settings) -> tuple[Manifest, Check]:
    try:
        manifest = load_manifest(settings.releases.manifest)
    except RollbackError as error:
        return Manifest(), lack(error)
    if manifest.file is None:
        hint = "Name a file in releases.manifest of the platform file to call builds by their release."
        return manifest, Check(HINT, "no release manifest: builds are known by digest only", hint)
    return manifest, Check(GOOD, f"release manifest {manifest.file}: {len(manifest.releases)} releases")


def _check_state(settings: Settings) -> Check:
    try:
        open_store(settings)
    except RollbackError as error:
        return lack(error)
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
        return lack(error)
    told = f"tokens for {signers.audience}, by members of group {signers.group}"
    return Check(GOOD, f"approval: {told}; the tenant's keys can be had")


async def _check_credential(connection: AzureConnection) -> Check:
    try:
        with our_errors("Entra ID's token"):
            await connection.credential.get_token(azure.SCOPE)
    except RollbackError as error:
        return lack(error)
    return Check(GOOD, f"Entra ID accepts the credential; subscription {connection.settings.subscription_id}")


async def _environment(connection: AzureConnection, name: str, backend: Backend, manifest: Manifest) -> list[Check]:
    async with AsyncExitStack() as stack:
        app = await stack.enter_async_context(AppService(connection, backend, manifest))
        try:
            slots = list(await app.get_pair()) if backend.slot else [await app.get_slot(PRODUCTION)]
        except RollbackError as error:
            return [Check(MISSING, f"{name}: {error.message}", error.remedy)]
        checks = [_describe(slot) for slot in slots]
        procedures = (
            [each for each in ACTIONS if each not in {*SERVER_ACTIONS, CLEAR_CACHE}] if backend.slot else [REDEPLOY]
        )
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
        return lack(error)
    return Check(GOOD, f"the credential may do everything that {procedure} does")


@asynccontextmanager
async def _looking(settings: Settings, environment: str, manifest: Manifest) -> AsyncGenerator[Run]:
    """A run that only looks, so that what a plan would refuse is found by the plan's own eyes; nothing is kept."""
    with TemporaryDirectory() as folder:
        store = Store(Path(folder))
        header = RunHeader(run="doctor", procedure="doctor", environment=environment, started_at=now(), reason="")
        created = store.create(header)
        run = Run(settings, store, created, created.journal(), manifest)
        try:
            yield run
        finally:
            await run.close()


async def _database(settings: Settings, name: str, manifest: Manifest) -> list[Check]:
    """Whether the environment's database could be restored, and everything that uses it would follow."""
    checks: list[Check] = []
    async with _looking(settings, name, manifest) as run:
        database = run.database
        try:
            secret = await (await run.key_vault()).get_secret(database.secret)
            url = DatabaseUrl.parse(secret.value.get_secret_value())
            checks.append(Check(GOOD, f"secret '{secret.name}' of vault '{database.vault}' can be read"))
            survey = Survey(run)
            source = await survey.find_source(url)
            checks.append(_describe_server(source, url))
        except RollbackError as error:
            checks.append(lack(error))
        else:
            checks += await _check_restore(run, survey, source, url, secret)
    return [Check(each.mark, f"{name}: {each.text}", each.remedy) for each in checks]


async def _migrations(settings: Settings, name: str, manifest: Manifest) -> list[Check]:
    async with _looking(settings, name, manifest) as run:
        checks = await migration_checks.examine(run)
    return [Check(each.mark, f"{name}: {each.text}", each.remedy) for each in checks]


async def _frontends(settings: Settings, name: str, manifest: Manifest) -> list[Check]:
    async with _looking(settings, name, manifest) as run:
        checks = await frontend_checks.examine(run)
    return [Check(each.mark, f"{name}: {each.text}", each.remedy) for each in checks]


async def _cache(settings: Settings, name: str, manifest: Manifest) -> list[Check]:
    async with _looking(settings, name, manifest) as run:
        checks = await cache_checks.examine(run)
    return [Check(each.mark, f"{name}: {each.text}", each.remedy) for each in checks]


async def _archives(settings: Settings, name: str, manifest: Manifest) -> list[Check]:
    async with _looking(settings, name, manifest) as run:
        checks = await archive_checks.examine(run, open_store(settings).archives(name))
    return [Check(each.mark, f"{name}: {each.text}", each.remedy) for each in checks]


def _with_templates(settings: Settings, chosen: list[str]) -> list[str]:
    return [name for name in chosen if settings.environments[name].infrastructure]


async def _templates(settings: Settings, name: str, manifest: Manifest) -> list[Check]:
    async with _looking(settings, name, manifest) as run:
        checks = await infrastructure_checks.examine(run)
    return [Check(each.mark, f"{name}: {each.text}", each.remedy) for each in checks]


def _describe_server(source: Server, url: DatabaseUrl) -> Check:
    told = f"it names database '{url.database}' on server '{source.id.name}', which is ready"
    earliest = source.earliest_restore_point
    if earliest is None:
        return Check(MISSING, f"{told}, but has no backup yet", "Wait for the first: nothing can be restored before.")
    return Check(GOOD, f"{told}, and can be restored from {earliest:%Y-%m-%d %H:%M:%S} UTC on")


async def _check_restore(
    run: Run, survey: Survey, source: Server, url: DatabaseUrl, secret: SecretVersion
) -> list[Check]:
    servers, app, administrator = await run.servers(), await run.app_service(), run.database.administrator

    async def sign_in() -> None:
        async with signing_in.administrator(run, source.host, url.database):
            pass

    checks = [
        await check(app.check_permissions(ACTIONS[RESTORE]), f"the credential may lead the apps as {RESTORE} does"),
        await check(
            servers.check_permissions(source.id, SERVER_ACTIONS[RESTORE]),
            f"the credential may do everything with '{source.id.name}' that {RESTORE} does",
        ),
        await check(
            survey.check_may_cut_over(), f"the credential may give secret '{run.database.secret}' a new version"
        ),
        await check(sign_in(), f"'{administrator}' can sign in to '{source.id.name}' with Entra ID's token"),
        await check(
            signing_in.check_password(run, url, source.host),
            f"role '{url.user}' can sign in with the secret's password",
        ),
    ]
    try:
        consumers = await survey.find_consumers(secret, source)
    except RollbackError as error:
        return [*checks, lack(error)]
    found = ", ".join(f"{each.name} ({each.how})" for each in consumers)
    return [*checks, Check(GOOD, f"used by {found}"), *(Check(HINT, each) for each in survey.warnings)]


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
