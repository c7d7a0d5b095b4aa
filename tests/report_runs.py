"""Runs as their journals tell them, one for each way to end: what reports are made of."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from rollback.backend_plans import SwapPlan
from rollback.journal import Entry, Event, Journal
from rollback.measurements import Mark, Measurements, Minute
from rollback.outcomes import EndState
from rollback.releases import Build
from rollback.report import tell
from rollback.report.story import Story
from rollback.runs import Outcome, RunHeader

START = datetime(2026, 3, 1, 2, 58, 4, tzinfo=UTC)
USUAL = {"Plan": 1.6, "Probe the slot": 1.2, "Swap slots": 38.0, "Verify from outside": 2.4, "Record what served": 0.6}
IMAGE = "DOCKER|ghcr.io/fundrbolt/fundrbolt-api@sha256:"
GOOD = Build(image=IMAGE + "4a" * 32, digest="4a" * 32, release="v1.2.2")
BAD = Build(image=IMAGE + "b7" * 32, digest="b7" * 32, release="v1.2.3")
PLAN = SwapPlan(
    procedure="roll-back-backend",
    environment="production",
    reason="checkout fails since v1.2.3 <b>now</b> | see the alert",
    made_at=START + timedelta(seconds=2),
    resource_group="fundrbolt-production-rg",
    app="fundrbolt-production-api",
    slot="staging",
    serving=BAD,
    target=GOOD,
    evidence="Azure tells that it served production until the swap of 2026-03-01 02:38:00 UTC",
    last_swap_at=START - timedelta(minutes=20),
    slot_modified_at=START - timedelta(minutes=20),
    ramp_up=(),
    warnings=("Setting DATABASE_POOL is sticky and differs: 20 in production, 5 in slot 'staging'.",),
    observations=(
        "slot 'staging': 30 of 30 real requests good, by v1.2.2",
        "production before: 21 of 30 real requests good",
    ),
)


class Script:
    """Writes a journal, second by second."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._at = START
        self._step = ""

    @property
    def at(self) -> datetime:
        return self._at

    def write(
        self, event: Event, text: str = "", *, step: str = "", change: str = "", azure: float | None = None
    ) -> None:
        entry = Entry(at=self._at, event=event, step=step or self._step, text=text, change=change, azure_seconds=azure)
        with self._file.open("a", encoding="utf-8") as file:
            file.write(entry.model_dump_json(exclude_defaults=True) + "\n")

    def wait(self, seconds: float) -> None:
        self._at += timedelta(seconds=seconds)

    def started(self) -> None:
        self._step = ""
        self.write(Event.STARTED, "roll-back-backend on production")

    def step(
        self, title: str, seconds: float, *notes: str, end: Event | None = Event.STEP_FINISHED, why: str = ""
    ) -> None:
        self.write(Event.STEP_STARTED, step=title)
        self._step = title
        for note in notes:
            self.wait(seconds / (len(notes) + 1))
            self.write(Event.NOTE, note)
        self.wait(seconds / (len(notes) + 1))
        if end is not None:
            self.write(end, why)
            self._step = ""

    def planning(self) -> None:
        self.started()
        self.step("Plan", 1.8, f"{PLAN.title}. {PLAN.evidence}.")
        self.step("Probe the slot", 1.3, *PLAN.observations)

    def approval(self, seconds: float) -> None:
        self.step(
            "Approval", seconds, "Waiting until 03:28:00 UTC, 1 missing.", "Approved by Lead (lead@fundrbolt.com)."
        )

    def swap(self, seconds: float, *, end: Event | None = Event.STEP_FINISHED, confirmed: bool = True) -> None:
        self.write(Event.STEP_STARTED, step="Swap slots")
        self._step = "Swap slots"
        self.wait(0.8)
        self.write(Event.SENDING, "Swapping slot 'staging' with production.", change="slot swap")
        self.wait(seconds)
        if confirmed:
            self.write(Event.CONFIRMED, "Swapped: production runs v1.2.2.", change="slot swap")
        self.wait(0.2)
        if end is not None:
            self.write(end, azure=seconds if end is Event.STEP_FINISHED else None)
            self._step = ""

    def verifying(self) -> None:
        self.step("Verify from outside", 2.6, *EVIDENCE)
        self.step("Record what served", 0.5)


EVIDENCE = (
    f"production runs image {'4a' * 32}",
    "https://fundrbolt-production-api.azurewebsites.net: 30 of 30 real requests good, three rounds in a row",
    "https://api.fundrbolt.com: 30 of 30 real requests good, all by v1.2.2, none from a cache",
)


def _rolled_back(script: Script) -> None:
    script.planning()
    script.swap(33)
    script.verifying()


def _approved(script: Script) -> None:
    script.planning()
    script.approval(22 * 60)
    script.swap(41)
    script.verifying()


def _approved_twice(script: Script) -> None:
    script.planning()
    script.approval(22 * 60)
    script.step("Compare both servers", 4)
    script.approval(15 * 60)
    script.swap(41)
    script.verifying()


def _refused(script: Script) -> None:
    script.started()
    why = "Slot 'staging' was redeployed after the last swap: it holds the next candidate. Name the release."
    script.step("Plan", 1.4, end=Event.STEP_FAILED, why=why)


def _part_way(script: Script) -> None:
    script.planning()
    script.swap(33)
    why = "The ramp-up rules of 'fundrbolt-production-api' could not be removed."
    script.step("Remove ramp-up rules", 20, "Trying again: 409 Conflict", end=Event.STEP_FAILED, why=why)


def _unknown(script: Script) -> None:
    script.planning()
    script.swap(90, end=Event.STEP_FAILED, confirmed=False)


def _resumed(script: Script) -> None:
    script.planning()
    script.swap(12, end=None, confirmed=False)
    script.wait(2 * 3600)
    script.started()
    script.step("Plan", 0.4, f"The plan of {PLAN.made_at:%H:%M:%S} UTC.")
    script.step("Probe the slot", 0.3)
    script.swap(0.6)
    script.verifying()


def _cancelled(script: Script) -> None:
    script.planning()
    script.swap(7, end=Event.STEP_CANCELLED, confirmed=False)


def _not_verified(script: Script) -> None:
    script.planning()
    script.swap(33)
    script.step(
        "Verify from outside", 25, *EVIDENCE[:1], end=Event.STEP_FAILED, why="api.fundrbolt.com still shows v1.2.3."
    )


def _failed(script: Script) -> None:
    script.planning()
    script.step(
        "Swap slots", 12, "Azure did not take the swap: 409 Conflict", end=Event.STEP_FAILED, why="No swap in 10 tries."
    )


def _planned(script: Script) -> None:
    script.planning()


def _nothing(_: Script) -> None:
    pass


RUNS: dict[str, tuple[EndState, Callable[[Script], None], str]] = {
    "good": (EndState.ROLLED_BACK, _rolled_back, "production serves v1.2.2 again, verified from outside."),
    "approved": (EndState.ROLLED_BACK, _approved, "production serves v1.2.2 again, verified from outside."),
    "approved-twice": (EndState.ROLLED_BACK, _approved_twice, "production serves v1.2.2 again."),
    "refused": (EndState.REFUSED, _refused, "Slot 'staging' was redeployed after the last swap."),
    "part-way": (EndState.PART_WAY, _part_way, "The ramp-up rules could not be removed: users still get v1.2.3."),
    "unknown": (
        EndState.OUTCOME_UNKNOWN,
        _unknown,
        "The swap was sent, and Azure shows neither its effect nor its end.",
    ),
    "resumed": (EndState.ROLLED_BACK, _resumed, "production serves v1.2.2 again, verified from outside."),
    "cancelled": (EndState.CANCELLED, _cancelled, "Cancelled. Sent and not seen to have happened yet: slot swap."),
    "not-verified": (
        EndState.NOT_VERIFIED,
        _not_verified,
        "Done, but not verified: api.fundrbolt.com still shows v1.2.3.",
    ),
    "nothing-changed": (EndState.NOTHING_CHANGED, _failed, "Azure did not swap the slots in 10 tries."),
    "planned": (EndState.PLANNED, _planned, f"{PLAN.title}. Nothing was touched."),
    "already-there": (EndState.ALREADY_THERE, _planned, "production serves v1.2.2 already."),
    "no-step": (EndState.REFUSED, _nothing, "'production' is unfinished: 1f6c20ab."),
    "deployed": (EndState.DEPLOYED, _rolled_back, "production serves v1.2.4, verified from outside."),
    "deployed-not-verified": (EndState.DEPLOYED_NOT_VERIFIED, _not_verified, "Deployed, but not verified."),
    "restored": (EndState.RESTORED, _rolled_back, "production uses its database as of 10:02:13 UTC."),
    "restored-not-verified": (EndState.RESTORED_NOT_VERIFIED, _not_verified, "Restored, but not verified."),
    "downgraded": (EndState.DOWNGRADED, _rolled_back, "production's schema is at revision d95a3b1e7f08."),
    "downgraded-not-verified": (EndState.DOWNGRADED_NOT_VERIFIED, _not_verified, "Downgraded, but not verified."),
    "cleared": (EndState.CLEARED, _rolled_back, "The keys of cache:* that there were are gone."),
    "cleared-not-verified": (EndState.CLEARED_NOT_VERIFIED, _not_verified, "Cleared, but not verified."),
    "archived": (EndState.ARCHIVED, _planned, "production's 20 resources are archived."),
    "archived-not-all": (EndState.ARCHIVED_NOT_ALL, _planned, "Done, but not of all: 2 could not be read."),
    "taken-back": (EndState.TAKEN_BACK, _rolled_back, "v1.2.4 turned bad; production serves v1.2.2 again."),
}


def measurements(run_start: datetime, swapped: datetime) -> Measurements:
    """Ten minutes before the run, two of them unknown, and eight after the swap."""
    first = run_start.replace(second=0) - timedelta(minutes=10)
    minutes: list[Minute] = []
    for number in range((swapped - first) // timedelta(minutes=1) + 8):
        at = first + timedelta(minutes=number)
        requests = 380.0 + 17 * (number % 4)
        bad = at < swapped
        failed = requests * (0.27 + 0.02 * (number % 3)) if bad else float(number % 2)
        latency = 410.0 + 30 * (number % 3) if bad else 96.0 + 5 * (number % 3)
        unknown = number in {4, 5}
        minutes.append(
            Minute(at=at) if unknown else Minute(at=at, requests=requests, failed=round(failed), latency_ms=latency)
        )
    return Measurements(
        source="Application Insights fundrbolt-production-insights",
        minutes=tuple(minutes),
        marks=(Mark(at=swapped, text="swap"),),
    )


def outcome_of(end_state: EndState, end: datetime, plan: SwapPlan | None, journal: Journal, **more: object) -> Outcome:
    steps = journal.steps()
    begun = {step.title for step in steps if step.state == "done"}
    return Outcome.model_validate(
        {
            "run": "1f6c20ab",
            "procedure": "roll-back-backend",
            "environment": "production",
            "end_state": end_state,
            "done": [entry.text for entry in journal.entries if entry.event is Event.CONFIRMED],
            "not_done": [step.title for step in (plan.steps() if plan else ()) if step.title not in begun],
            "next_steps": PLAN.afterwards() if end_state.succeeded else ("Resume it with '--resume 1f6c20ab'.",),
            "started_at": START,
            "ended_at": end,
            "azure_seconds": sum(step.azure_seconds or 0 for step in steps),
            **more,
        }
    )


def story(name: str, folder: Path, *, usual: dict[str, float] | None = None, **more: object) -> Story:
    """The run of that name, told; `more`: further fields of its outcome."""
    end_state, play, headline = RUNS[name]
    file = folder / f"{name}.jsonl"
    script = Script(file)
    play(script)
    journal = Journal(file)
    header = RunHeader(
        run="1f6c20ab",
        procedure="roll-back-backend",
        environment="production",
        started_at=START,
        reason=PLAN.reason,
        started_by="oncall@fundrbolt.com",
    )
    plan = None if name in {"refused", "no-step"} else PLAN
    told = {"headline": headline, "evidence": EVIDENCE if end_state.succeeded else (), **more}
    outcome = outcome_of(end_state, script.at + timedelta(seconds=0.2), plan, journal, **told)
    return tell(header, plan, journal, outcome, usual)
