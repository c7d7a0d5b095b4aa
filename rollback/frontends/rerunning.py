"""A workflow run, run again once, approved, and followed to its end, whatever happens to the requests."""

import asyncio
from collections.abc import Callable
from typing import NamedTuple

from rollback.context import Run
from rollback.convergence import Change, converge
from rollback.errors import DeploymentFailed, OutcomeUnknown, RollbackError, SomebodyElseChanged, Transient
from rollback.frontends.pages import Look
from rollback.frontends.rerun_plans import RerunWorkflowPlan
from rollback.github import workflow_runs
from rollback.github.connection import GitHubConnection
from rollback.github.settings import Workflow
from rollback.github.workflow_runs import COMPLETED, Job, PendingDeployment, WorkflowRun
from rollback.journal import Event

FIRST_POLL_SECONDS, LONGEST_POLL_SECONDS = 1.0, 10.0
LOG_LINES = 20
SAYS = ": "
"""Between a job and how it is, in the run's notes."""


class Followed(NamedTuple):
    """A workflow run at one moment."""

    run: WorkflowRun
    pending: PendingDeployment | None
    """The deployment that waits for the plan's approval."""


class Rerunner:
    """Carries out one plan."""

    def __init__(self, run: Run, github: GitHubConnection, workflow: Workflow, plan: RerunWorkflowPlan) -> None:
        self._run = run
        self._github = github
        self._workflow = workflow
        self._plan = plan
        self._states: dict[str, str] = {}
        """What the last look showed: each job, and the environment that waits."""

    @property
    def change(self) -> str:
        """The change's name in the journal: open until the run has ended."""
        return f"workflow run {self._plan.workflow_run}, attempt {self._plan.attempt}"

    async def start(self) -> None:
        """Ask for all jobs again; on return GitHub has the plan's attempt."""
        plan = self._plan
        change = Change(
            name=self.change,
            doing=f"Running workflow run {plan.workflow_run} again, as attempt {plan.attempt}.",
            done="",
            is_done=self._is_there,
            send=lambda: workflow_runs.rerun(self._github, plan.workflow_run),
            confirms=False,
        )
        if not await converge(self._run, change, self._workflow.timeout_seconds, self._workflow.settle_seconds):
            self._run.note(f"Attempt {plan.attempt} is there already.")

    async def approve(self, comment: str) -> None:
        """Approve the deployment when it waits for that; nothing where the run ends without waiting.

        Where the token's user is no reviewer, whoever is has to do it on GitHub: that is waited for.
        """
        await self._until(lambda seen: seen.pending is not None and seen.pending.may_approve)
        seen = await self._look()
        if seen.pending is None:
            return
        pending = seen.pending

        async def is_approved() -> bool:
            return (await self._look()).pending is None

        change = Change(
            name=f"approval of '{pending.environment}'",
            doing=f"Approving the deployment to '{pending.environment}'.",
            done="",
            is_done=is_approved,
            send=lambda: workflow_runs.approve(self._github, self._plan.workflow_run, pending, comment),
            confirms=False,
        )
        await converge(self._run, change, self._workflow.timeout_seconds, self._workflow.settle_seconds)
        self._run.note(f"The deployment to '{pending.environment}' is approved.")

    async def finish(self) -> None:
        """Wait for the run's end; raises `DeploymentFailed` with the failing job's last lines.

        Raises `OutcomeUnknown` where it failed and what users get now, or got before, could not be read.
        """
        ended = (await self._until(lambda _: False)).run
        if ended.succeeded:
            self._tell_end(Event.CONFIRMED, f"Workflow run {ended.id}, attempt {ended.attempt}, succeeded.")
            return
        failed = [each for each in await self._jobs() if each.failed]
        lines = [line for job in failed for line in await self._log_tail(job)]
        for line in lines:
            self._run.note(line)
        looks = await self._looks()
        changed = [str(look) for before, look in looks if before and look.known and look.version != before]
        unknown = [str(look) for before, look in looks if not (before and look.known)]
        if unknown and not changed:
            raise OutcomeUnknown(
                f"Workflow run {ended.id} ended as {ended.conclusion}. What users get is not known: "
                f"{'; '.join(unknown)}.",
                remedy=f"Look at the site and at {ended.url}; resume this run once the site can be read.",
            )
        now = f"Users get something else than before: {'; '.join(changed)}." if changed else "Users get what they got."
        event = Event.CONFIRMED if changed else Event.NO_EFFECT
        self._tell_end(event, f"Workflow run {ended.id} ended as {ended.conclusion}. {now}")
        jobs = ", ".join(map(str, failed)) or "no job failed"
        last = f" Its last lines: {' | '.join(lines[-5:])}" if lines else ""
        raise DeploymentFailed(
            f"Workflow run {ended.id} ended as {ended.conclusion} ({jobs}). {now}{last}",
            remedy=f"Look at {ended.url}. redeploy-frontend needs no workflow.",
        )

    async def describe(self) -> str:
        """How far it is, for people."""
        run = (await self._look()).run
        return f"workflow run {run.id}, attempt {run.attempt}, is {run.conclusion or run.status}: {run.url}"

    async def _is_there(self) -> bool:
        found = await workflow_runs.get_run(self._github, self._plan.workflow_run)
        if found.attempt > self._plan.attempt:
            raise SomebodyElseChanged(
                f"Workflow run {found.id} is at attempt {found.attempt}: somebody else ran it again.",
                remedy=f"Nothing more is sent. Look at {found.url}, then plan again.",
            )
        return found.attempt == self._plan.attempt

    async def _look(self) -> Followed:
        found = await workflow_runs.get_run(self._github, self._plan.workflow_run)
        waiting: tuple[PendingDeployment, ...] = ()
        if found.status != COMPLETED and self._plan.approves:
            waiting = await workflow_runs.list_pending(self._github, self._plan.workflow_run)
        pending = next((each for each in waiting if each.environment == self._plan.approves), None)
        return Followed(found, pending)

    async def _until(self, enough: Callable[[Followed], bool]) -> Followed:
        """Follow the run, telling each job's progress, until it has ended or that is true."""
        pause = FIRST_POLL_SECONDS
        try:
            async with asyncio.timeout(self._workflow.timeout_seconds):
                while True:
                    seen = await self._look_patiently()
                    if seen and (enough(seen) or seen.run.status == COMPLETED):
                        return seen
                    await asyncio.sleep(pause)
                    pause = min(1.5 * pause, LONGEST_POLL_SECONDS)
        except TimeoutError as error:
            raise OutcomeUnknown(
                f"Workflow run {self._plan.workflow_run} has not ended within {self._workflow.timeout_seconds:g} s: "
                f"{', '.join(f'{name}{SAYS}{state}' for name, state in self._states.items()) or 'nothing was seen'}.",
                remedy=f"Look at {self._plan.url}; cancel it there, or resume this run to wait on.",
            ) from error

    async def _look_patiently(self) -> Followed | None:
        """One look, and each job's news told; none where GitHub does not answer just now."""
        try:
            seen = await self._look()
            if seen.run.attempt != self._plan.attempt:
                await self._is_there()
            states = {job.name: job.conclusion or job.status for job in await self._jobs()}
        except Transient as error:
            self._tell(self._states | {"GitHub": error.message})
            return None
        if seen.pending is not None:
            by = "" if seen.pending.may_approve else f" by a reviewer, on {self._plan.url}"
            states[f"environment '{seen.pending.environment}'"] = f"waits for its approval{by}"
        self._tell(states)
        return seen

    def _tell(self, states: dict[str, str]) -> None:
        """Tell what is new: an earlier step may have told it."""
        told = self._told()
        for name, state in states.items():
            if told.get(name) != state:
                self._run.note(f"{name}{SAYS}{state}")
        self._states = states

    def _told(self) -> dict[str, str]:
        notes = (each.text.partition(SAYS) for each in self._run.journal.entries if each.event is Event.NOTE)
        return {name: state for name, says, state in notes if says}

    def _tell_end(self, event: Event, text: str) -> None:
        """The re-run and its approval brought about what the run came to."""
        for change in self._run.journal.open_changes():
            self._run.journal.write(event, change=change, text=text)

    async def _jobs(self) -> tuple[Job, ...]:
        return await workflow_runs.list_jobs(self._github, self._plan.workflow_run, self._plan.attempt)

    async def _log_tail(self, job: Job) -> tuple[str, ...]:
        try:
            return await workflow_runs.get_log_tail(self._github, job, LOG_LINES)
        except RollbackError as error:
            return (f"The log of job '{job.name}' could not be read: {error.message}",)

    async def _looks(self) -> list[tuple[str | None, Look]]:
        """What each frontend served when the plan was made, and what it serves now."""
        browser = await self._run.browser()
        known = self._run.settings.frontends(self._plan.environment)
        goals = self._plan.frontends
        looks = await asyncio.gather(
            *(browser.look(f"https://{each.host}", known[each.name].version) for each in goals)
        )
        return [(goal.serving, look) for goal, look in zip(goals, looks, strict=True)]
