"""An app that asks its users to come back, instead of being stopped: one app setting, put in place and put back.

It is nicer to users than a stopped app, and no guarantee: that nothing is written any more is the fence's affair.
"""

import asyncio
from collections.abc import Awaitable, Callable

from rollback import probes
from rollback.context import Run
from rollback.convergence import Change, converge
from rollback.database import signing_in
from rollback.database.consumers import RUNNING, App, Consumer, Maintained
from rollback.database.moves import MovePlan
from rollback.errors import ConsumerUnfit, MaintenanceNotSeen, SomebodyElseChanged
from rollback.permissions import MAINTAIN
from rollback.postgres.sessions import list_sessions, sessions_of
from rollback.probes import Answer, Prober

LOOK_SECONDS = 0.5
ASKS_TO_COME_BACK = 503
SERVED_BELOW = 400
"""HTTP statuses from here on are errors."""
LONGEST_SWITCH = 32
"""Characters of a setting that may be told in a plan: what is longer is no switch, and may be a secret."""


async def plan_for(run: Run, app: App) -> Maintained | None:
    """How an app is put into maintenance mode: only the environment's own, where it runs. None: it is stopped.

    Raises `PermissionMissing`, or `ConsumerUnfit` where the setting holds something else than a switch.
    """
    wanted = run.database.maintenance
    if wanted is None or app.app != run.backend.app or app.state != RUNNING:
        return None
    await (await run.app_service()).check_permissions(MAINTAIN)
    before = await (await run.apps()).get_setting(app, wanted.setting)
    if before is not None and len(before) > LONGEST_SWITCH:
        raise ConsumerUnfit(
            f"Setting {wanted.setting} of {app.app} holds {len(before)} characters: it is no switch for maintenance.",
            remedy="Name the right setting in the platform file. Nothing was touched.",
        )
    return Maintained(setting=wanted.setting, value=wanted.value, before=before)


async def is_on(run: Run, consumer: Consumer) -> bool:
    """Whether an app that the plan puts into maintenance mode is in it now."""
    mode = consumer.maintenance
    return mode is not None and await (await run.apps()).get_setting(consumer, mode.setting) == mode.value


async def enter(run: Run, plan: MovePlan, consumer: Consumer, mode: Maintained) -> None:
    """Put an app into maintenance mode; on return it was seen from outside that it serves nobody.

    Raises `MaintenanceNotSeen` where it goes on serving.
    """
    apps = await run.apps()

    async def is_done() -> bool:
        return await apps.get_setting(consumer, mode.setting) == mode.value

    change = Change(
        name=f"stop {consumer.name}",
        doing=f"Putting {consumer.name} into maintenance mode: {mode.setting} becomes {mode.value}.",
        done=f"{consumer.name} has {mode.setting} {mode.value}; its other settings are as they were.",
        is_done=is_done,
        send=lambda: apps.set_setting(consumer, mode.setting, mode.value),
    )
    await converge(run, change, run.database.change_timeout_seconds, run.database.settle_seconds)
    await _wait_until_quiet(run, plan, consumer)


async def leave(run: Run, consumer: Consumer, mode: Maintained, why: str) -> None:
    """Give the setting back what it was when the plan was made.

    Raises `SomebodyElseChanged` where it is neither that nor ours any more.
    """
    apps = await run.apps()

    async def is_done() -> bool:
        now = await apps.get_setting(consumer, mode.setting)
        if now not in {mode.value, mode.before}:
            raise SomebodyElseChanged(
                f"Setting {mode.setting} of {consumer.name} is neither ours nor what it was.",
                remedy=f"Let it be {mode.before_words} if the app is to serve again; then resume this run.",
            )
        return now == mode.before

    change = Change(
        name=f"maintenance mode of {consumer.name} {why}",
        doing=f"Taking {consumer.name} out of maintenance mode: {mode.setting} becomes {mode.before_words}, as before.",
        done=f"{consumer.name} is out of maintenance mode {why}: {mode.setting} is {mode.before_words}, as before.",
        is_done=is_done,
        send=lambda: apps.set_setting(consumer, mode.setting, mode.before),
    )
    await converge(run, change, run.database.change_timeout_seconds, run.database.settle_seconds)


async def _wait_until_quiet(run: Run, plan: MovePlan, consumer: Consumer) -> None:
    async def is_quiet(answer: Answer) -> bool:
        return await _serves_nobody(run, plan, consumer, answer)

    found, answer = await _look_until(run, consumer, is_quiet)
    if not found:
        raise MaintenanceNotSeen(
            f"{consumer.name} goes on serving after it was put into maintenance mode: {answer or 'no answer'}.",
            remedy="Find out why its setting has no effect, or let the app be stopped: leave 'maintenance' out of "
            "the platform file, and begin again.",
        )
    run.note(f"{consumer.name} serves nobody: {answer}.")


async def wait_until_back(run: Run, consumer: Consumer) -> None:
    """Wait until an app that was taken out of maintenance mode does not say any more that it is in it.

    Its old instances may answer until the new ones have started. Raises `MaintenanceNotSeen`.
    """
    if not consumer.serves_again:
        return

    async def is_back(answer: Answer) -> bool:
        return answer.status != ASKS_TO_COME_BACK

    found, answer = await _look_until(run, consumer, is_back)
    if not found:
        raise MaintenanceNotSeen(
            f"{consumer.name} still asks its users to come back after it was taken out of maintenance mode: {answer}.",
            remedy="Look at its log and restart it; then resume this run.",
        )


async def _look_until(
    run: Run, consumer: Consumer, holds: Callable[[Answer], Awaitable[bool]]
) -> tuple[bool, Answer | None]:
    """Ask an app's own host until something held several times in a row; false where it did not in time."""
    settings = run.backend.probes
    page = settings.requests[0] if settings.requests else "/"
    answer, in_a_row = None, 0
    try:
        async with asyncio.timeout(run.database.answer_timeout_seconds), probes.connect(settings) as client:
            prober = Prober(client, f"https://{consumer.host}", settings)
            while in_a_row < settings.in_a_row:
                answer = await prober.ask(page)
                in_a_row = in_a_row + 1 if await holds(answer) else 0
                await asyncio.sleep(LOOK_SECONDS if in_a_row == 0 else 0)
    except TimeoutError:
        return False, answer
    return True, answer


async def _serves_nobody(run: Run, plan: MovePlan, consumer: Consumer, answer: Answer) -> bool:
    """Whether the app says so, or, where we may not ask it, has no session on its database's server any more."""
    if answer.status == ASKS_TO_COME_BACK:
        return not answer.cached
    if answer.status is not None and answer.status < SERVED_BELOW:
        return False
    async with signing_in.administrator(run, plan.source_host, plan.database) as session:
        return not sessions_of(await list_sessions(session), user=plan.user, addresses=set(consumer.addresses))
