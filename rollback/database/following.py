"""Everything that uses the database: stopped, led to another server by the secret, and started again."""

from rollback.context import Run
from rollback.convergence import Change, converge
from rollback.database import maintenance
from rollback.database.consumers import Consumer
from rollback.database.moves import MovePlan
from rollback.errors import OperationInProgress, OutcomeUnknown, PlanIsStale, ReferenceStaysOld, SomebodyElseChanged
from rollback.journal import Event
from rollback.key_vault import SecretVersion
from rollback.postgres.url import DatabaseUrl

CUT_OVER = "secret version"
"""The change's name in the journal: from here on there is no simple way back."""


def is_begun(run: Run) -> bool:
    """Whether the secret was sent its new version: from then on everything leads forwards."""
    return CUT_OVER in {*run.journal.open_changes(), *run.journal.confirmed_changes()}


async def stop(run: Run, plan: MovePlan, consumer: Consumer) -> None:
    """Stop an app that runs, or put it into maintenance mode where the plan says so.

    On return App Service says that it is stopped, or it was seen to serve nobody.
    """
    if consumer.maintenance:
        await maintenance.enter(run, plan, consumer, consumer.maintenance)
        return
    apps = await run.apps()

    async def is_done() -> bool:
        return not await apps.is_running(consumer)

    change = Change(
        name=f"stop {consumer.name}",
        doing=f"Stopping {consumer.name}.",
        done=f"{consumer.name} is stopped.",
        is_done=is_done,
        send=lambda: apps.stop(consumer),
    )
    await converge(run, change, run.database.change_timeout_seconds, run.database.settle_seconds)


async def start(run: Run, consumer: Consumer, why: str) -> None:
    """Start an app that ran when the plan was made, and take it out of maintenance mode."""
    if not consumer.was_running:
        return
    if consumer.maintenance:
        await maintenance.leave(run, consumer, consumer.maintenance, why)
    apps = await run.apps()
    change = Change(
        name=f"start {consumer.name} {why}",
        doing=f"Starting {consumer.name} {why}.",
        done=f"{consumer.name} runs {why}.",
        is_done=lambda: apps.is_running(consumer),
        send=lambda: apps.start(consumer),
    )
    await converge(run, change, run.database.change_timeout_seconds, run.database.settle_seconds)
    if consumer.maintenance:
        await maintenance.wait_until_back(run, consumer)


async def point_secret_at(run: Run, plan: MovePlan, host: str) -> SecretVersion:
    """Give the secret one new version in which only the host differs, and return it.

    Raises `PlanIsStale` or `SomebodyElseChanged` where others changed the secret since the plan.
    """
    vault = await run.key_vault()

    async def read() -> tuple[SecretVersion, DatabaseUrl]:
        secret = await vault.get_secret(plan.secret)
        return secret, DatabaseUrl.parse(secret.value.get_secret_value())

    async def is_done() -> bool:
        secret, url = await read()
        if secret.version == plan.secret_version:
            return False
        if url.host.lower() == host.lower():
            return True
        told = f"Secret '{plan.secret}' has version {secret.version}, which is neither the plan's nor ours."
        if CUT_OVER in run.journal.open_changes():
            raise SomebodyElseChanged(told, remedy="Find out who changed it, and where it should point.")
        raise PlanIsStale(told, remedy="Find out who changed it, then plan again.")

    async def send() -> None:
        secret, url = await read()
        if secret.version == plan.secret_version:
            await vault.add_version(secret, url.with_host(host).text)

    change = Change(
        name=CUT_OVER,
        doing=f"Giving secret '{plan.secret}' a new version that names '{plan.target.name}'.",
        done=f"Secret '{plan.secret}' names '{plan.target.name}'; user, password, database and options are as before.",
        is_done=is_done,
        send=send,
    )
    await converge(run, change, run.database.change_timeout_seconds, run.database.settle_seconds)
    return (await read())[0]


async def refresh(run: Run, plan: MovePlan, consumer: Consumer, version: str) -> None:
    """Let an app's references be fetched again, until each shows the secret's new version.

    Raises `ReferenceStaysOld`: the app is not started then.
    """
    apps = await run.apps()

    async def shown() -> dict[str, str]:
        found = await apps.list_references(consumer)
        return {
            each.setting: each.active_version or f"a version that App Service does not tell ({each.status})"
            for each in found
            if each.is_to(plan.vault, plan.secret)
        }

    async def is_done() -> bool:
        now = await shown()
        return set(now) >= set(consumer.settings) and set(now.values()) == {version}

    change = Change(
        name=f"references of {consumer.name}",
        doing=f"Refreshing the Key Vault references of {consumer.name}.",
        done=f"{consumer.name} gets version {version} of secret '{plan.secret}'.",
        is_done=is_done,
        send=lambda: apps.refresh_references(consumer),
    )
    try:
        await converge(run, change, run.database.answer_timeout_seconds, run.database.settle_seconds)
    except (OutcomeUnknown, OperationInProgress) as error:
        run.journal.write(Event.NO_EFFECT, change=change.name, text=f"{consumer.name} does not get version {version}.")
        told = ", ".join(f"{setting} shows {other}" for setting, other in (await shown()).items())
        raise ReferenceStaysOld(
            f"{consumer.name} does not get the secret's new version {version}: {told or 'no reference is left'}. "
            "It is not started.",
            remedy="Look at the reference in the portal, and at the identity's access to the vault; then resume.",
        ) from error
