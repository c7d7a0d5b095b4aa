"""What procedures are made of: Prefect tasks, one external system a file.

What decides their order belongs to `flows/`.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import wraps
from typing import Any, ParamSpec, TypeVar, cast

from prefect import Task
from prefect.cache_policies import NO_CACHE
from prefect.context import FlowRunContext

from rollback.context import current
from rollback.errors import StepTimedOut
from rollback.journal import Event

P = ParamSpec("P")
R = TypeVar("R")

log = logging.getLogger(__name__)


class Step(Task[..., Any]):
    """A task that also runs where no Prefect engine does: the plain way is the same flow."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run under Prefect inside a flow run, and as the plain function outside of one."""
        if FlowRunContext.get() is None:
            return self.fn(*args, **kwargs)
        return super().__call__(*args, **kwargs)


@asynccontextmanager
async def telling(title: str) -> AsyncGenerator[None]:
    """Tell the run's journal that a step of this title starts, and how it ends."""
    journal = current().journal
    journal.write(Event.STEP_STARTED, step=title)
    log.info("%s", title)
    try:
        yield
    except asyncio.CancelledError:
        journal.write(Event.STEP_CANCELLED, step=title)
        raise
    except Exception as error:
        journal.write(Event.STEP_FAILED, step=title, text=str(error))
        raise
    journal.write(Event.STEP_FINISHED, step=title, azure_seconds=current().take_azure_seconds())


def step(title: str, *, timeout_seconds: float) -> Callable[[Callable[P, Awaitable[R]]], Callable[P, Awaitable[R]]]:
    """Make a step of a procedure: a Prefect task with a time limit, told in the run's journal under the plan's words.

    Nothing is persisted and nothing cached: a step that runs again looks at the world again.
    """

    def decorate(function: Callable[P, Awaitable[R]]) -> Callable[P, Awaitable[R]]:
        @wraps(function)
        async def told(*args: P.args, **kwargs: P.kwargs) -> R:
            limit = asyncio.timeout(timeout_seconds)
            async with telling(title):
                try:
                    async with limit:
                        return await function(*args, **kwargs)
                except TimeoutError as error:
                    if not limit.expired():
                        raise
                    raise StepTimedOut(
                        f"The step '{title}' did not end within {timeout_seconds:g} s.",
                        remedy="Look at what it waited for, in the report and in the portal.",
                    ) from error

        made = Step(told, name=title, persist_result=False, cache_policy=NO_CACHE)
        return cast("Callable[P, Awaitable[R]]", made)

    return decorate
