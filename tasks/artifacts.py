"""What Prefect's pages show of a run, told beside the work: never in its way, and silent where Prefect is away."""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

import httpx
from prefect.artifacts import (
    acreate_markdown_artifact,
    acreate_progress_artifact,
    aupdate_progress_artifact,
)
from prefect.client.orchestration import get_client
from prefect.context import FlowRunContext
from prefect.exceptions import PrefectException

from rollback import report
from rollback.expectations import expected, usual_seconds
from rollback.journal import Entry, Event
from rollback.plans import Plan
from rollback.report.words import for_seconds
from rollback.runs import RunHeader, Store

log = logging.getLogger(__name__)

MESSENGER_SECONDS = 10.0
"""For telling Prefect one thing: a broken messenger never stops a rollback."""
LONG_STEP_SECONDS = 5.0
"""A step that takes longer gets a progress artifact."""
PROGRESS_SECONDS = 3.0
"""Between two of its updates."""
STEP_ENDS = frozenset({Event.STEP_FINISHED, Event.STEP_FAILED, Event.STEP_CANCELLED})
AWAY = (httpx.HTTPError, PrefectException, TimeoutError)


@dataclass(frozen=True)
class Pages:
    """What is shown of a run that ended, in markdown."""

    outcome: str
    steps: str = ""


class Artifacts:
    """Tells Prefect of one run; does nothing outside of a flow run."""

    def __init__(self, header: RunHeader, store: Store) -> None:
        self._header = header
        self._store = store
        self._messages: set[asyncio.Task[None]] = set()
        self._ended: dict[str, asyncio.Event] = {}

    def show_plan(self, plan: Plan) -> None:
        """Name the flow run by what it brings about, and show the plan."""
        self._tell(lambda: self._publish_plan(plan))

    def show_end(self, pages: Pages) -> None:
        """Show the steps and how the run ended."""
        self._tell(lambda: _publish_end(pages))

    def follow(self, entry: Entry) -> None:
        """Take an entry of the journal: a step that takes long gets a progress artifact."""
        if entry.event is Event.STEP_STARTED:
            ended = self._ended[entry.step] = asyncio.Event()
            self._tell(lambda: self._show_progress(entry, ended), limit=None)
        elif entry.event in STEP_ENDS and entry.step in self._ended:
            self._ended.pop(entry.step).set()

    async def delivered(self) -> None:
        """Wait until everything is told, or given up."""
        for ended in self._ended.values():
            ended.set()
        await asyncio.gather(*self._messages)

    def _tell(
        self, message: Callable[[], Coroutine[Any, Any, None]], *, limit: float | None = MESSENGER_SECONDS
    ) -> None:
        if FlowRunContext.get() is not None:
            self._messages.add(asyncio.create_task(_deliver(message(), limit)))

    async def _publish_plan(self, plan: Plan) -> None:
        context = FlowRunContext.get()
        if context and context.flow_run:
            name = f"{plan.procedure}/{plan.environment} to {plan.goal.rsplit(' ', 1)[-1]}"
            async with get_client() as client:
                await client.update_flow_run(context.flow_run.id, name=name)
        steps = expected(plan.steps(), await self._usual())
        markdown = report.plan_markdown(plan, steps)
        await acreate_markdown_artifact(key="plan", markdown=markdown, description="What will be done")

    async def _usual(self) -> dict[str, float]:
        return await asyncio.to_thread(usual_seconds, self._store, self._header.procedure, self._header.environment)

    async def _show_progress(self, entry: Entry, ended: asyncio.Event) -> None:
        if await _happens(ended, LONG_STEP_SECONDS):
            return
        usual = (await self._usual()).get(entry.step)
        clock = asyncio.get_running_loop().time
        started = clock() - LONG_STEP_SECONDS
        async with asyncio.timeout(MESSENGER_SECONDS):
            artifact = await acreate_progress_artifact(
                progress=_percent(LONG_STEP_SECONDS, usual),
                key="progress",
                description=_so_far(entry.step, LONG_STEP_SECONDS, usual),
            )
        while not await _happens(ended, PROGRESS_SECONDS):
            taken = clock() - started
            async with asyncio.timeout(MESSENGER_SECONDS):
                await aupdate_progress_artifact(
                    artifact, progress=_percent(taken, usual), description=_so_far(entry.step, taken, usual)
                )
        async with asyncio.timeout(MESSENGER_SECONDS):
            await aupdate_progress_artifact(
                artifact, progress=100.0, description=f"{entry.step}: ended after {for_seconds(clock() - started)}"
            )


async def _happens(event: asyncio.Event, within_seconds: float) -> bool:
    try:
        async with asyncio.timeout(within_seconds):
            await event.wait()
    except TimeoutError:
        return False
    return True


def _percent(taken: float, usual: float | None) -> float:
    """Never full before the end; nothing where nobody knows how long it takes."""
    return min(99.0, 100.0 * taken / usual) if usual else 0.0


def _so_far(step: str, taken: float, usual: float | None) -> str:
    expectation = f"expected {for_seconds(usual)}" if usual else "how long it should take is not known"
    return f"{step}: {for_seconds(taken)} so far, {expectation}"


async def _deliver(message: Coroutine[Any, Any, None], limit: float | None) -> None:
    try:
        async with asyncio.timeout(limit):
            await message
    except AWAY as error:
        log.warning("Prefect could not be told: %s", type(error).__name__)


async def _publish_end(pages: Pages) -> None:
    if pages.steps:
        await acreate_markdown_artifact(key="steps", markdown=pages.steps, description="What was done, and when")
    await acreate_markdown_artifact(key="outcome", markdown=pages.outcome, description="How it ended")
