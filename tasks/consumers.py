"""App Service, as far as apps use a database: stop them, lead them to another one, start them.

Blast radius: every app and slot whose settings refer to the database's secret. While they are stopped users get errors.
"""

import asyncio
from collections.abc import Awaitable, Iterable

from rollback.context import current
from rollback.database import following
from rollback.database.models import Server
from rollback.database.moves import MovePlan
from rollback.database.plans import FOLLOW, START, STOP
from rollback.database.undo_plans import START_ON_OLD
from tasks import step

START_AGAIN = "Start again as before"


@step(STOP, timeout_seconds=4000)
async def stop_writers(plan: MovePlan) -> None:
    """Stop everything that uses the database, or put it into maintenance mode; on return none of it serves users."""
    run = current()
    if not following.is_begun(run):
        await _side_by_side(following.stop(run, plan, each) for each in plan.consumers)


@step(FOLLOW, timeout_seconds=4000)
async def refresh_references(plan: MovePlan, version: str) -> None:
    """Let every app get the secret's new version, and see that it does; raises `ReferenceStaysOld`."""
    run = current()
    await _side_by_side(following.refresh(run, plan, each, version) for each in plan.consumers)


@step(START, timeout_seconds=4000)
async def start_on(restored: Server, plan: MovePlan) -> None:
    """Start what ran when the plan was made; everything gets the restored server's address by now."""
    run = current()
    await _side_by_side(following.start(run, each, f"on '{restored.id.name}'") for each in plan.consumers)


@step(START_ON_OLD, timeout_seconds=4000)
async def start_on_old(plan: MovePlan) -> None:
    """Start what is to run; everything gets the old server's address by now."""
    run = current()
    await _side_by_side(following.start(run, each, f"on '{plan.target.name}'") for each in plan.consumers)


@step(START_AGAIN, timeout_seconds=4000)
async def start_again(plan: MovePlan) -> None:
    """Undo: start what this run stopped, on the server that it used before."""
    run = current()
    touched = {*run.journal.open_changes(), *run.journal.confirmed_changes()}
    stopped = [each for each in plan.consumers if f"stop {each.name}" in touched]
    await _side_by_side(following.start(run, each, "again, as before") for each in stopped)


async def _side_by_side(works: Iterable[Awaitable[None]]) -> None:
    """All at once; one that fails does not keep the others from their end, and is raised then."""
    for ended in await asyncio.gather(*works, return_exceptions=True):
        if isinstance(ended, BaseException):
            raise ended
