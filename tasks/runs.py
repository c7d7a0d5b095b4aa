"""A procedure's run from start to its named end state: lease, journal, report, and Prefect's artifacts."""

import asyncio
import getpass
import logging
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from contextvars import ContextVar
from dataclasses import replace

from prefect.client.schemas.objects import State, StateType
from prefect.context import FlowRunContext

from rollback import lease as leases
from rollback import report
from rollback.context import Run, enter
from rollback.endings import Ending, ending_after, holds_environment
from rollback.errors import RollbackError, RunAtWork, RunUnknown
from rollback.expectations import usual_seconds
from rollback.journal import Event, Listener
from rollback.models import now
from rollback.outcomes import EndState
from rollback.plans import Plan
from rollback.releases import load_manifest
from rollback.runs import Outcome, RunFolder, RunHeader, Store, new_run_id
from rollback.settings import load_settings
from tasks.artifacts import Artifacts, Pages

log = logging.getLogger(__name__)

DESCRIBE_SECONDS = 10.0
"""For reading what state things are in, when a run is cancelled."""

watching: ContextVar[tuple[Listener, ...]] = ContextVar("watching", default=())
"""Who is told each entry of the journal as it is written, for instance a live view."""


class Conducted:
    """A run in the hands of its flow."""

    def __init__(self, run: Run, artifacts: Artifacts, *, dry_run: bool) -> None:
        self._run = run
        self._dry_run = dry_run
        self._plan: Plan | None = None
        self._artifacts = artifacts
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
        self._artifacts.show_plan(plan)

    async def revise(self, plan: Plan) -> None:
        """Keep and show what the plan has become: it found out more on its way."""
        if plan != self._plan:
            self._run.folder.keep_plan(plan)
            self._plan = plan
            self._artifacts.show_plan(plan)

    def result(self) -> Outcome | State[Outcome]:
        """What the flow returns: under Prefect a state with the end state's name."""
        outcome = self.outcome
        if outcome is None:
            raise AssertionError("a run is asked for its result before its end")
        return outcome if FlowRunContext.get() is None else state_of(outcome)

    async def finish(self, error: BaseException | None) -> None:
        """Give the run its end state: journal, lease, outcome, report, artifacts.

        Raises `RunAtWork` where another process has gone on with it meanwhile: then it is that one's to end.
        """
        run, plan = self._run, self._plan
        await self._holding.aclose()
        if run.journal.is_continued_elsewhere():
            raise RunAtWork(f"Run {run.header.run} was gone on with by another process. It is left alone.") from error
        ending = ending_after(error, run.journal, plan, run.header.run) if error else self._good_ending(plan)
        if isinstance(error, asyncio.CancelledError):
            ending = await self._with_state_of_things(ending)
        if run.lease is not None:
            run.lease.release(unfinished=holds_environment(ending, run.journal))
        run.journal.write(Event.ENDED, text=f"{ending.state.value}: {ending.headline}")
        self.outcome = _outcome(run, plan, ending)
        run.folder.keep_outcome(self.outcome)
        measured = self.outcome.model_copy(update={"measurements": await run.measure()})
        self.outcome, pages = await _report(run, plan, measured)
        self._artifacts.show_end(pages)
        await self._artifacts.delivered()

    def _good_ending(self, plan: Plan | None) -> Ending:
        if plan is None:
            raise AssertionError("a procedure ended well without a plan")
        if self._dry_run:
            return Ending(EndState.PLANNED, f"{plan.title}. Nothing was touched.")
        if not plan.already_there and not self._run.journal.confirmed_changes():
            return Ending(
                EndState.ALREADY_THERE,
                f"{plan.goal}, {plan.proof}. {plan.overtaken}; this run changed nothing.",
                plan.afterwards(),
            )
        if plan.already_there:
            return Ending(EndState.ALREADY_THERE, f"{plan.goal} already, {plan.proof}. Nothing was touched.")
        again = " again" if plan.success is EndState.ROLLED_BACK else ""
        return Ending(plan.success, f"{plan.goal}{again}, {plan.proof}.", plan.afterwards())

    async def _with_state_of_things(self, ending: Ending) -> Ending:
        """A cancelled run says what state things are in, if Azure tells in time."""
        describe = self._run.where_things_stand
        if describe is None:
            return Ending(ending.state, f"{ending.headline} Nothing was sent to Azure.", ending.next_steps)
        try:
            async with asyncio.timeout(DESCRIBE_SECONDS):
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
    release: str = "",
    reason: str = "",
    dry_run: bool = False,
    resume: str = "",
    asked: dict[str, str] | None = None,
) -> AsyncGenerator[Conducted]:
    """Hold everything that a procedure needs, and give it its named end, whatever happens inside.

    Our own errors end here, as the outcome that they mean; others are recorded and raised on.
    """
    settings = load_settings()
    store = Store(settings.state.directory)
    manifest = load_manifest(settings.releases.manifest)
    folder = _open_folder(store, resume, procedure, environment, release, reason, asked or {})
    await leases.until_left(store.leases, environment, folder.header.run)
    folder.forget_outcome()
    artifacts = Artifacts(folder.header, store)
    run = Run(settings, store, folder, folder.journal((*watching.get(), artifacts.follow)), manifest)
    run.journal.write(Event.STARTED, text=f"{procedure} on {environment}")
    enter(run)
    conducted = Conducted(run, artifacts, dry_run=dry_run)
    try:
        yield conducted
        await conducted.finish(None)
    except RunAtWork:
        raise
    except RollbackError as error:
        log.error("%s", error)  # noqa: TRY400 - the text is for people; the traceback would only bury it
        await conducted.finish(error)
    except BaseException as error:
        await conducted.finish(error)
        raise
    finally:
        await run.close()


def state_of(outcome: Outcome) -> State[Outcome]:
    """How a run ended, as a state of Prefect's with the end state's name."""
    if outcome.end_state is EndState.CANCELLED:
        kind = StateType.CANCELLED
    else:
        kind = StateType.COMPLETED if outcome.end_state.succeeded else StateType.FAILED
    return State(type=kind, name=outcome.end_state.value.capitalize(), message=outcome.headline)


def _open_folder(
    store: Store, resume: str, procedure: str, environment: str, release: str, reason: str, asked: dict[str, str]
) -> RunFolder:
    """The run that is named, the one of this Prefect run if it is tried again, or a new one."""
    if resume:
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
            release=release or None,
            asked=asked,
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
        results=tuple(run.results),
        next_steps=ending.next_steps,
        started_at=header.started_at,
        ended_at=now(),
        throttled_seconds=run.throttled_seconds,
        azure_seconds=sum(step.azure_seconds or 0.0 for step in steps),
    )


async def _report(run: Run, plan: Plan | None, outcome: Outcome) -> tuple[Outcome, Pages]:
    """Write the report; returns the outcome with it, and what Prefect shows.

    Whatever goes wrong with the report, a full disk or a defect of it, does not change how the run ended.
    """
    (found,) = await asyncio.gather(asyncio.to_thread(_write_report, run, plan, outcome), return_exceptions=True)
    if not isinstance(found, BaseException):
        return found
    why = found.strerror if isinstance(found, OSError) and found.strerror else f"{type(found).__name__}: {found}"
    log.warning("There is no report of run %s: %s", outcome.run, why, exc_info=not isinstance(found, OSError) and found)
    without = outcome.model_copy(update={"report_failure": why})
    with suppress(OSError):
        run.folder.keep_outcome(without)
    words = f"# {outcome.end_state.value.capitalize()}\n\n**{outcome.headline}**\n\nThere is no report: {why}."
    return without, Pages(words)


def _write_report(run: Run, plan: Plan | None, outcome: Outcome) -> tuple[Outcome, Pages]:
    usual = usual_seconds(run.store, outcome.procedure, outcome.environment, other_than=outcome.run)
    told = report.tell(run.header, plan, run.journal, outcome, usual)
    run.folder.keep_report(report.html(told))
    outcome = outcome.model_copy(update={"report": run.folder.report_file})
    run.folder.keep_outcome(outcome)
    told = replace(told, outcome=outcome)
    return outcome, Pages(report.outcome_markdown(told), report.steps_markdown(told))
