"""A procedure's run from start to its named end state: lease, journal, report, and Prefect's artifacts."""

import asyncio
import getpass
import logging
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from contextvars import ContextVar
from typing import Any

import httpx
from prefect.artifacts import acreate_markdown_artifact, acreate_table_artifact
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import State, StateType
from prefect.context import FlowRunContext
from prefect.exceptions import PrefectException

from rollback import lease as leases
from rollback import report
from rollback.context import Run, enter
from rollback.endings import Ending, ending_after, holds_environment
from rollback.errors import RollbackError, RunUnknown
from rollback.journal import Event, Listener
from rollback.models import now
from rollback.outcomes import EndState
from rollback.plans import Plan
from rollback.releases import load_manifest
from rollback.runs import Outcome, RunFolder, RunHeader, Store, new_run_id
from rollback.settings import load_settings

log = logging.getLogger(__name__)

MESSENGER_SECONDS = 10.0
"""For Prefect's artifacts, beside the work and at its end: a broken messenger never stops a rollback."""

watching: ContextVar[tuple[Listener, ...]] = ContextVar("watching", default=())
"""Who is told each entry of the journal as it is written, for instance a live view."""


class Conducted:
    """A run in the hands of its flow."""

    def __init__(self, run: Run, *, dry_run: bool) -> None:
        self._run = run
        self._dry_run = dry_run
        self._plan: Plan | None = None
        self._messages: set[asyncio.Task[None]] = set()
        self._holding = AsyncExitStack()
        self.outcome: Outcome | None = None

    async def claim(self) -> None:
        """Hold the environment until the run ends; a dry run only looks, beside whoever holds it.

        Raises `UnknownEnvironment` or `EnvironmentLocked`.
        """
        run, header = self._run, self._run.header
        run.settings.backend(header.environment)
        if not self._dry_run:
            held = leases.held(run.store.leases, header.environment, header.run, header.procedure)
            run.lease = await self._holding.enter_async_context(held)

    async def show(self, plan: Plan, kind: type[Plan]) -> None:
        """Keep the plan, unless this run has one already, and show it."""
        if self._run.folder.plan(kind) is None:
            self._run.folder.keep_plan(plan)
        self._plan = plan
        name = f"{plan.procedure}/{plan.environment} to {plan.goal.rsplit(' ', 1)[-1]}"
        self._tell(lambda: _publish_plan(name, report.plan_markdown(plan)))

    def result(self) -> Outcome | State[Outcome]:
        """What the flow returns: under Prefect a state with the end state's name."""
        outcome = self.outcome
        if outcome is None:
            raise AssertionError("a run is asked for its result before its end")
        if FlowRunContext.get() is None:
            return outcome
        kind = StateType.COMPLETED if outcome.end_state.succeeded else StateType.FAILED
        return State(type=kind, name=outcome.end_state.value.capitalize(), message=outcome.headline)

    def _tell(self, message: Callable[[], Coroutine[Any, Any, None]]) -> None:
        if FlowRunContext.get() is not None:
            self._messages.add(asyncio.create_task(_deliver(message())))

    async def finish(self, error: BaseException | None) -> None:
        """Give the run its end state: journal, lease, outcome, report, artifacts."""
        run, plan = self._run, self._plan
        await self._holding.aclose()
        ending = ending_after(error, run.journal, plan, run.header.run) if error else self._good_ending(plan)
        if isinstance(error, asyncio.CancelledError):
            ending = await self._with_state_of_things(ending)
        if run.lease is not None:
            run.lease.release(unfinished=holds_environment(ending, run.journal))
        run.journal.write(Event.ENDED, text=f"{ending.state.value}: {ending.headline}")
        self.outcome = _outcome(run, plan, ending)
        run.folder.keep_outcome(self.outcome)
        run.folder.report_file.write_text(report.html(run.header, plan, run.journal, self.outcome), encoding="utf-8")
        outcome, rows = self.outcome, report.step_rows(run.journal)
        self._tell(lambda: _publish_end(report.outcome_markdown(outcome), rows))
        await asyncio.gather(*self._messages)

    def _good_ending(self, plan: Plan | None) -> Ending:
        if plan is None:
            raise AssertionError("a procedure ended well without a plan")
        if self._dry_run:
            return Ending(EndState.PLANNED, f"{plan.title}. Nothing was touched.")
        if not plan.already_there and not self._run.journal.confirmed_changes():
            return Ending(
                EndState.ALREADY_THERE,
                f"{plan.goal}, verified from outside. Somebody else got there first; this run swapped nothing.",
                plan.afterwards(),
            )
        if plan.already_there:
            return Ending(EndState.ALREADY_THERE, f"{plan.goal} already, verified from outside. Nothing was touched.")
        again = " again" if plan.success is EndState.ROLLED_BACK else ""
        return Ending(plan.success, f"{plan.goal}{again}, verified from outside.", plan.afterwards())

    async def _with_state_of_things(self, ending: Ending) -> Ending:
        """A cancelled run says what state things are in, if Azure tells in time."""
        describe = self._run.where_things_stand
        if describe is None:
            return Ending(ending.state, f"{ending.headline} Nothing was sent to Azure.", ending.next_steps)
        try:
            async with asyncio.timeout(MESSENGER_SECONDS):
                told = f"Now {await describe()}."
        except (RollbackError, TimeoutError):
            told = "What state things are in could not be read."
        opened = self._run.journal.open_changes()
        sent = f"Sent and not seen to have happened yet: {', '.join(opened)}. " if opened else ""
        return Ending(ending.state, f"{ending.headline} {sent}{told}", ending.next_steps)


@asynccontextmanager
async def conduct(
    procedure: str,
    *,
    environment: str,
    release: str | None = None,
    reason: str = "",
    dry_run: bool = False,
    resume: str | None = None,
) -> AsyncGenerator[Conducted]:
    """Hold everything that a procedure needs, and give it its named end, whatever happens inside.

    Our own errors end here, as the outcome that they mean; others are recorded and raised on.
    """
    settings = load_settings()
    store = Store(settings.state.directory)
    manifest = load_manifest(settings.releases.manifest)
    folder = _open_folder(store, resume, procedure, environment, release, reason)
    folder.forget_outcome()
    run = Run(settings, store, folder, folder.journal(watching.get()), manifest)
    run.journal.write(Event.STARTED, text=f"{procedure} on {environment}")
    enter(run)
    conducted = Conducted(run, dry_run=dry_run)
    try:
        yield conducted
        await conducted.finish(None)
    except RollbackError as error:
        log.error("%s", error)  # noqa: TRY400 - the text is for people; the traceback would only bury it
        await conducted.finish(error)
    except BaseException as error:
        await conducted.finish(error)
        raise
    finally:
        await run.close()


def _open_folder(
    store: Store, resume: str | None, procedure: str, environment: str, release: str | None, reason: str
) -> RunFolder:
    """The run that is named, the one of this Prefect run if it is tried again, or a new one."""
    if resume is not None:
        return _check_same(store.get(resume), procedure, environment)
    context = FlowRunContext.get()
    name = context.flow_run.id.hex[:8] if context and context.flow_run else new_run_id()
    again = store.find(name)
    if again is not None:
        return _check_same(again, procedure, environment)
    started_by = "Prefect (identity unknown)" if context else getpass.getuser()
    return store.create(
        RunHeader(
            run=name,
            procedure=procedure,
            environment=environment,
            started_at=now(),
            reason=reason,
            release=release,
            started_by=started_by,
        )
    )


def _check_same(found: RunFolder, procedure: str, environment: str) -> RunFolder:
    header = found.header
    if (header.procedure, header.environment) != (procedure, environment):
        raise RunUnknown(
            f"Run {header.run} is {header.procedure} on '{header.environment}', not {procedure} on '{environment}'.",
            remedy="Name the run's own procedure and environment.",
        )
    return found


def _outcome(run: Run, plan: Plan | None, ending: Ending) -> Outcome:
    journal, header = run.journal, run.header
    steps = journal.steps()
    finished = {step.title for step in steps if step.state == "done"}
    planned = [step.title for step in plan.steps()] if plan and ending.state is not EndState.PLANNED else []
    return Outcome(
        run=header.run,
        procedure=header.procedure,
        environment=header.environment,
        end_state=ending.state,
        headline=ending.headline,
        done=tuple(entry.text for entry in journal.entries if entry.event is Event.CONFIRMED),
        not_done=tuple(title for title in dict.fromkeys(planned) if title not in finished),
        approvals=tuple(run.approvals),
        evidence=tuple(run.evidence),
        next_steps=ending.next_steps,
        started_at=header.started_at,
        ended_at=now(),
        azure_seconds=report.azure_seconds(steps),
        report=run.folder.report_file,
    )


async def _deliver(message: Coroutine[Any, Any, None]) -> None:
    try:
        async with asyncio.timeout(MESSENGER_SECONDS):
            await message
    except (httpx.HTTPError, PrefectException, TimeoutError) as error:
        log.warning("Prefect could not be told: %s", type(error).__name__)


async def _publish_plan(name: str, markdown: str) -> None:
    context = FlowRunContext.get()
    if context and context.flow_run:
        async with get_client() as client:
            await client.update_flow_run(context.flow_run.id, name=name)
    await acreate_markdown_artifact(key="plan", markdown=markdown, description="What will be done")


async def _publish_end(markdown: str, rows: list[dict[str, str]]) -> None:
    await acreate_table_artifact(key="steps", table=rows, description="What was done, and when")
    await acreate_markdown_artifact(key="outcome", markdown=markdown, description="How it ended")
