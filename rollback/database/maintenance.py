"""An app that asks its users to come back, instead of being stopped: one app setting, put in place and put back.

It is nicer to users than a stopped app, and no guarantee: that nothing is written any more is the fence's affair.
"""

import asyncio

from rollback import probes
from rollback.context import Run
from rollback.convergence import Change, converge
from rollback.database import signing_in
from rollback.database.consumers import Consumer, Maintained
from rollback.database.plans import RestorePlan
from rollback.errors import MaintenanceNotSeen, SomebodyElseChanged
from rollback.postgres.sessions import list_sessions, sessions_of
from rollback.probes import Answer, Prober

LOOK_SECONDS = 0.5
ASKS_TO_COME_BACK = 503
SERVED_BELOW = 400
"""HTTP statuses from here on are errors."""


async def enter(run: Run, plan: RestorePlan, consumer: Consumer, mode: Maintained) -> None:
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
    await _wait_until_seen(run, plan, consumer)


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
                remedy=f"Let it be {_words(mode)} if the app is to serve again; then resume this run.",
            )
        return now == mode.before

    change = Change(
        name=f"maintenance mode of {consumer.name} {why}",
        doing=f"Taking {consumer.name} out of maintenance mode: {mode.setting} becomes {_words(mode)}.",
        done=f"{consumer.name} is out of maintenance mode {why}: {mode.setting} is {_words(mode)}.",
        is_done=is_done,
        send=lambda: apps.set_setting(consumer, mode.setting, mode.before),
    )
    await converge(run, change, run.database.change_timeout_seconds, run.database.settle_seconds)


def _words(mode: Maintained) -> str:
    return "absent, as before" if mode.before is None else f"'{mode.before}', as before"


async def _wait_until_seen(run: Run, plan: RestorePlan, consumer: Consumer) -> None:
    settings, seconds = run.backend.probes, run.database.answer_timeout_seconds
    page = settings.requests[0] if settings.requests else "/"
    answer, in_a_row = None, 0
    try:
        async with asyncio.timeout(seconds), probes.connect(settings) as client:
            prober = Prober(client, f"https://{consumer.host}", settings)
            while in_a_row < settings.in_a_row:
                answer = await prober.ask(page)
                in_a_row = in_a_row + 1 if await _serves_nobody(run, plan, consumer, answer) else 0
                await asyncio.sleep(LOOK_SECONDS if in_a_row == 0 else 0)
    except TimeoutError as error:
        raise MaintenanceNotSeen(
            f"{consumer.name} goes on serving {seconds:g} s after it was put into maintenance mode: "
            f"{answer or 'no answer'}.",
            remedy="Find out why its setting has no effect, or let the app be stopped: leave 'maintenance' out of "
            "the platform file, and begin again.",
        ) from error
    run.note(f"{consumer.name} serves nobody: {answer}.")


async def _serves_nobody(run: Run, plan: RestorePlan, consumer: Consumer, answer: Answer) -> bool:
    """Whether the app says so, or, where we may not ask it, has no session on its database's server any more."""
    if answer.status == ASKS_TO_COME_BACK:
        return not answer.cached
    if answer.status is not None and answer.status < SERVED_BELOW:
        return False
    async with signing_in.administrator(run, plan.source_host, plan.database) as session:
        return not sessions_of(await list_sessions(session), user=plan.user, addresses=set(consumer.addresses))
