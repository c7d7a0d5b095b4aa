"""A run that a Prefect worker carries out, started and followed from the command line.

What is shown comes from the run's journal where the worker keeps it on this machine, else from Prefect's task runs.
"""

import asyncio
import socket
import uuid
from uuid import UUID

from deployments import prefect_api
from deployments.live_view import View
from deployments.prefect_api import FlowRun, PrefectApi, PrefectAway
from deployments.procedures import Request, open_store
from deployments.run_tails import JournalTail, TaskRunTail
from deployments.signals import ending_by_signals
from rollback.models import now
from rollback.outcomes import EndState
from rollback.runs import Outcome, Store
from rollback.settings import Settings

TAKEN_WITHIN_SECONDS = 10.0
"""A live worker takes a run in under a second."""
LOOK_SECONDS = 0.25
AWAY_NOTE_SECONDS = 5.0
LOST = "Lost"
"""The state of a run whose heartbeats stopped, as automations.yaml calls it."""
GONE_SECONDS = 10.0
"""For a run whose process is gone: so long Prefect may take to notice, or its last words to arrive."""
MOST_SECONDS = 6000.0
"""More than the longest procedure may take by its own time limit."""


async def run_by_worker(settings: Settings, request: Request, view: View) -> Outcome:
    """Start the run in Prefect, show it as it goes on, and return how it ended.

    Raises `PrefectAway` where it surely does not run there: no server, no worker, or none that took it. Ctrl-C cancels
    the run and goes on watching it to its end.
    """
    async with prefect_api.connect() as api:
        pool = await api.work_pool(settings.prefect.work_pool)
        if pool is None or pool.status != "READY":
            raise PrefectAway(f"no worker is alive on work pool '{settings.prefect.work_pool}' of {api.url}")
        deployment = await api.deployment(request.deployment)
        if deployment is None:
            raise PrefectAway(f"{api.url} has no deployment '{request.deployment}'")
        store = open_store(settings)
        key = f"{socket.gethostname()}-{uuid.uuid4()}"
        journal = JournalTail(store, request.resume) if request.resume else None
        started = await api.start(deployment, request.parameters(), key)
        view.say(f"Started in Prefect: {api.ui_url}/runs/flow-run/{started.id}")
        journal = journal or JournalTail(store, started.id.hex[:8])
        return await Following(api, store, request, view, started.id, journal).to_its_end()


class Following:
    """One run, watched from here."""

    def __init__(
        self, api: PrefectApi, store: Store, request: Request, view: View, flow_run: UUID, journal: JournalTail
    ) -> None:
        self._api = api
        self._store = store
        self._request = request
        self._view = view
        self._flow_run = flow_run
        self._journal = journal
        self._tasks = TaskRunTail(api, flow_run)
        self._clock = asyncio.get_running_loop().time
        self._begun = self._clock()
        self._answered = self._clock()
        self._said_away = False
        self._gone_since: float | None = None
        self._taken_back_at: float | None = None
        self._cancelling: asyncio.Task[None] | None = None

    async def to_its_end(self) -> Outcome:
        """Show the run until it has ended; raises `PrefectAway` where no worker took it."""
        with ending_by_signals(self._cancel):
            while True:
                run = await self._ask()
                await self._show_news(run)
                if (outcome := await self._ended(run)) is not None:
                    return outcome
                await asyncio.sleep(LOOK_SECONDS)

    async def _ask(self) -> FlowRun | None:
        """The run as Prefect tells it; none where it could not be asked now."""
        try:
            run = await self._api.flow_run(self._flow_run)
        except PrefectAway:
            if self._clock() - self._answered > AWAY_NOTE_SECONDS and not self._said_away:
                self._view.say("The Prefect server does not answer any more; the run itself goes on.")
                self._said_away = True
            return None
        self._answered, self._said_away = self._clock(), False
        return run

    async def _show_news(self, run: FlowRun | None) -> None:
        entries = self._journal.new_entries()
        if not self._journal.found and run is not None:
            entries = await self._tasks.new_entries()
        for entry in entries:
            self._view(entry)

    async def _ended(self, run: FlowRun | None) -> Outcome | None:
        if run is None:
            return self._journal.outcome() if self._journal.ended else self._lost("Prefect does not answer")
        if run.state.is_final and not (self._taken_back_at and run.run_count == 0):
            return None if _may_go_on(run) else self._outcome(run)
        if run.run_count == 0 and self._cancelling is None:
            await self._check_taken(run)
        return self._lost("Prefect still calls it running")

    async def _check_taken(self, run: FlowRun) -> None:
        """Take a run back that no worker has begun; from then on Prefect lets none begin it."""
        if self._taken_back_at is None:
            if self._clock() - self._begun > TAKEN_WITHIN_SECONDS:
                await self._api.cancel(self._flow_run)
                self._taken_back_at = self._clock()
        elif run.state.is_final or self._clock() - self._taken_back_at > TAKEN_WITHIN_SECONDS:
            raise PrefectAway(f"no worker took the run within {TAKEN_WITHIN_SECONDS:g} s; it was taken back")

    def _lost(self, told: str) -> Outcome | None:
        """The outcome of a run whose process is gone, or that outlasted every time limit."""
        if self._clock() - self._begun > MOST_SECONDS:
            return self._unknown(f"The run did not end within {MOST_SECONDS:g} s; {told}.")
        if not self._journal.found or self._journal.ended or not self._process_is_gone():
            self._gone_since = None
            return None
        self._gone_since = self._gone_since or self._clock()
        if self._clock() - self._gone_since < GONE_SECONDS:
            return None
        return self._cut_off(f"The run's process is gone; {told}.")

    def _process_is_gone(self) -> bool:
        lease = self._store.leases.read(self._request.environment)
        return lease is not None and lease.run == self._journal.run and lease.is_over()

    def _outcome(self, run: FlowRun) -> Outcome:
        kept = self._journal.outcome()
        if kept is not None:
            return kept
        state, message = run.state, " ".join((run.state.message or "").split())
        if state.type == "CRASHED":
            return self._cut_off(f"The run's process was cut off: {message}")
        if state.type == "CANCELLED":
            return self._make(EndState.CANCELLED, message or "Cancelled.")
        try:
            return self._make(EndState(state.name.lower()), message)
        except ValueError:
            return self._cut_off(message)

    def _cut_off(self, headline: str) -> Outcome:
        """The outcome of a run that could not give itself one, from what it has sent so far."""
        if not self._journal.found or self._journal.may_have_changed():
            return self._unknown(headline)
        return self._make(EndState.NOTHING_CHANGED, f"{headline} Nothing was sent to Azure.")

    def _unknown(self, headline: str) -> Outcome:
        run = self._journal.run
        ways_out = f"Finish it with '--resume {run}', or give it up with '--abandon {run}'."
        return self._make(EndState.OUTCOME_UNKNOWN, headline, ways_out)

    def _make(self, state: EndState, headline: str, *next_steps: str) -> Outcome:
        request, started_at = self._request, self._journal.started_at
        return Outcome(
            run=self._journal.run,
            procedure=request.procedure,
            environment=request.environment,
            end_state=state,
            headline=headline,
            next_steps=next_steps,
            started_at=started_at,
            ended_at=now(),
        )

    def _cancel(self) -> None:
        if self._cancelling is None:
            self._view.say("Cancelling: the run ends by itself and says what state things are in.")
            self._cancelling = asyncio.create_task(self._ask_to_cancel())
        else:
            self._view.say("Already cancelled; it is ending.")

    async def _ask_to_cancel(self) -> None:
        try:
            await self._api.cancel(self._flow_run)
        except PrefectAway as error:
            self._view.say(f"It could not be cancelled, and goes on: {error}. Ctrl-C tries again.")
            self._cancelling = None


def _may_go_on(run: FlowRun) -> bool:
    """Whether a run that is lost may be scheduled again in a moment: an automation does."""
    return run.state.name == LOST and (now() - run.state.timestamp).total_seconds() < GONE_SECONDS
