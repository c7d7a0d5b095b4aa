"""Approval: wait until somebody who may has agreed to exactly this plan. Nothing here changes anything in Azure.

`require` is a plain function and no task: Prefect pauses flows only.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, Coroutine
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import httpx
from prefect.artifacts import acreate_markdown_artifact
from prefect.client.orchestration import get_client
from prefect.context import FlowRunContext
from prefect.exceptions import PrefectException
from prefect.flow_runs import apause_flow_run
from prefect.input import RunInput
from prefect.states import Running
from pydantic import Field, ValidationError

from rollback.approvals.handover import Offer, Wanted, listening
from rollback.approvals.policy import SHORT_HASH, Need, Requirement
from rollback.context import Run, current
from rollback.errors import ApprovalRefused
from rollback.plans import Plan
from rollback.report import plan_markdown
from tasks import telling

if TYPE_CHECKING:
    from rollback.approvals.waiting import Waiting

log = logging.getLogger(__name__)

TITLE = "Approval"
PREFECT_SECONDS = 5.0
"""For telling Prefect: it never holds an approved run up."""
PAUSE_ROOM_SECONDS = 60
"""Prefect's own limit on the pause comes after ours: a run that it fails would not say `refused`."""
AWAY = (httpx.HTTPError, PrefectException, RuntimeError, TimeoutError)
"""What Prefect's client raises when the server is away, or when the run cannot be paused."""


class Click(RunInput):
    """The form of a plan that a click approves."""

    plan_hash: str = Field(description=f"To approve, type the {SHORT_HASH} digits that are named above.")
    note: str = Field(default="", description="For the record: why, and who you are.")


class Signed(RunInput):
    """The form of a plan that a click does not approve: shows the plan, and asks for nothing."""


async def require(plan: Plan) -> bool:
    """Return as soon as this very plan is approved as the platform file asks; at once where nobody has to.

    Returns whether people were waited for: what was seen before may have changed. Raises `ApprovalExpired` when the
    time is over: nothing was touched.
    """
    run = current()
    requirement = run.settings.approval.requirement(plan)
    async with telling(TITLE):
        if requirement.rule.needs is Need.NONE:
            _tell(run, f"{requirement.words[0].upper()}{requirement.words[1:]}.")
            _note_approvals(run, [requirement.words])
            return False
        waiting = await _begin(run, plan, requirement)
        waited = bool(waiting.missing)
        try:
            await _wait(run, waiting)
        finally:
            _note_approvals(run, [str(each) for each in waiting.approvals])
        await _in_time(_publish(plan, run.approvals))
    return waited


def _note_approvals(run: Run, told: list[str]) -> None:
    """Beside earlier ones: a plan that turned out worse is approved anew."""
    run.approvals += [each for each in told if each not in run.approvals]


def _tell(run: Run, text: str) -> None:
    """In the journal, and in the log, which is what Prefect's page shows of a run that waits."""
    run.note(text)
    log.info("%s", text)


async def _begin(run: Run, plan: Plan, requirement: Requirement) -> "Waiting":
    from rollback.approvals import tokens
    from rollback.approvals.waiting import Waiting

    rule = requirement.rule
    verifier = None
    if rule.needs is Need.SIGNED:
        verifier = tokens.TokenVerifier(run.settings.approval.signers(), apps=rule.apps)
    starter = None
    if rule.people == 2 and FlowRunContext.get() is None:
        # Prefect knows no users: who started a run there is not known, whatever credential its worker has.
        starter = await tokens.own_identity(run.settings.azure)
        _tell(
            run,
            f"Started by {starter.name or starter.oid} ({starter.upn})." if starter else "Who started it is unknown.",
        )
    name, books = run.header.run, run.store.approvals
    record = books.record(run.folder.folder, name)
    waiting = Waiting(
        plan, name, requirement, books, record, verifier=verifier, starter=starter, tell=lambda text: _tell(run, text)
    )
    waiting.take_kept()
    return waiting


async def _wait(run: Run, waiting: "Waiting") -> None:
    if not waiting.missing:
        return
    _tell(run, _how_to(waiting))
    scope = run.settings.approval.signers().scope if waiting.requirement.rule.needs is Need.SIGNED else ""

    def wanted() -> Wanted:
        return Wanted(
            plan_hash=waiting.plan.hash,
            needs=waiting.requirement.rule.needs,
            scope=scope,
            words=waiting.requirement.words,
            until=waiting.until,
        )

    async def take(offer: Offer) -> str:
        via = "rollback approve"
        try:
            if offer.token is None or not scope:
                return waiting.take_click(offer.plan_hash, offer.note, via)
            return await waiting.take_token(offer.plan_hash, offer.token.get_secret_value(), offer.note, via)
        except ApprovalRefused as error:
            _tell(run, f"An approval was handed over and does not count: {error.message}")
            raise

    async with listening(run.folder.folder, wanted, take), _paused_in_prefect(run, waiting):
        await waiting.until_approved()


def _how_to(waiting: "Waiting") -> str:
    return (
        f"Waiting until {waiting.until:%H:%M:%S} UTC, {waiting.missing} missing: {waiting.requirement.words}. "
        f"Read the plan and approve it with 'rollback approve {waiting.run}' "
        f"(plan {waiting.plan.hash[:SHORT_HASH]}), on the machine and as the user that run it."
    )


@asynccontextmanager
async def _paused_in_prefect(run: Run, waiting: "Waiting") -> AsyncGenerator[None]:
    """Inside the block Prefect shows the run as paused, with the plan; outside of it as running."""
    if FlowRunContext.get() is None:
        yield
        return
    asking = asyncio.create_task(_ask_in_prefect(run, waiting))
    try:
        yield
    finally:
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        await _in_time(_go_on_in_prefect())


async def _ask_in_prefect(run: Run, waiting: "Waiting") -> None:
    """Show the plan and take what is typed there, again and again: a click that does not count leaves it waiting."""
    said = ""
    while waiting.missing:
        try:
            typed = await _pause(waiting, said)
        except AWAY as error:
            _tell(run, f"Prefect cannot show that this run waits ({type(error).__name__}); 'rollback approve' works.")
            return
        try:
            waiting.take_click(typed.plan_hash if typed else "", typed.note if typed else "", "Prefect UI")
        except ApprovalRefused as error:
            said = str(error)
            _tell(run, f"Resumed in Prefect, which does not count: {error.message}")


async def _pause(waiting: "Waiting", said: str) -> Click | None:
    """Pause until somebody resumes; what they typed, if there was a form to fill in."""
    signed = waiting.requirement.rule.needs is Need.SIGNED
    kind: type[Click | Signed] = Signed if signed else Click
    description = _description(waiting, said)
    seconds = int(waiting.seconds_left) + PAUSE_ROOM_SECONDS
    try:
        given: Any = await apause_flow_run(
            wait_for_input=kind.with_initial_data(description=description),
            timeout=seconds,
            poll_interval=1,
            # A key of its own each time: Prefect pauses only once for a key, also in a run that is tried again.
            key=uuid4().hex,
        )
    except ValidationError:
        return None
    return given if isinstance(given, Click) else None


def _description(waiting: "Waiting", said: str) -> str:
    short = waiting.plan.hash[:SHORT_HASH]
    if waiting.requirement.rule.needs is Need.SIGNED:
        how = (
            f"**Resuming here does not approve it.** It has to be signed: `rollback approve {waiting.run}` "
            f"(plan `{short}`). Missing: {waiting.missing}."
        )
    else:
        how = f"To approve exactly this plan, type `{short}`. Who you are is not known here, and not recorded."
    given = "".join(f"\n- {each}" for each in waiting.approvals)
    parts = [
        f"⚠️ **{said}**" if said else "",
        f"**Approval**: {waiting.requirement.words}, until {waiting.until:%H:%M:%S} UTC. {how}",
        given,
        plan_markdown(waiting.plan),
    ]
    return "\n\n".join(part for part in parts if part)


async def _go_on_in_prefect() -> None:
    context = FlowRunContext.get()
    if context is None or context.flow_run is None:
        return
    async with get_client() as client:
        now = await client.read_flow_run(context.flow_run.id)
        if now.state is not None and now.state.is_paused():
            await client.set_flow_run_state(context.flow_run.id, Running(), force=True)


async def _publish(plan: Plan, approvals: list[str]) -> None:
    if FlowRunContext.get() is not None:
        lines = "\n".join(f"- {each}" for each in approvals)
        markdown = f"# Approved: {plan.title}\n\nPlan `{plan.hash}`\n\n{lines}\n"
        await acreate_markdown_artifact(key="approval", markdown=markdown, description="Who approved the plan")


async def _in_time(message: Coroutine[Any, Any, None]) -> None:
    try:
        async with asyncio.timeout(PREFECT_SECONDS):
            await message
    except AWAY as error:
        log.warning("Prefect could not be told: %s", type(error).__name__)
