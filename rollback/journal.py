"""The journal of a run: what was done and when, one JSON object a line, written before anybody acts on it.

It is what is left after a crash, and what the live view, the artifacts and the report are made of.
"""

import json
import os
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import Path

from pydantic import ValidationError

from rollback.models import Model, now


class Event(StrEnum):
    """What a line of the journal tells."""

    STARTED = "started"
    STEP_STARTED = "step started"
    STEP_FINISHED = "step finished"
    STEP_FAILED = "step failed"
    STEP_CANCELLED = "step cancelled"
    NOTE = "note"
    SENDING = "sending"
    """A change is about to be sent to Azure: from here on it may have happened."""
    CONFIRMED = "confirmed"
    """The change was seen to have happened."""
    NO_EFFECT = "no effect"
    """The change was seen not to have happened, and cannot happen any more."""
    VERDICT = "verdict"
    """What was put in place is bad, and why: a resumed run goes on taking it back."""
    ENDED = "ended"


class Entry(Model):
    """One line of the journal."""

    at: datetime
    event: Event
    step: str = ""
    """The title of the step that it belongs to."""
    change: str = ""
    """For a change: its name, the same in all its lines."""
    text: str = ""
    azure_seconds: float | None = None
    """Of a finished step: how long Azure itself took, apart from us."""
    basis: str = ""
    """Of a confirmed change: what that holds for, where a run that is gone on with has to know."""


class StepRecord(Model):
    """A step with its times, as told by the journal."""

    title: str
    started_at: datetime
    ended_at: datetime | None = None
    state: str = "running"
    azure_seconds: float | None = None
    notes: tuple[str, ...] = ()

    @property
    def duration(self) -> timedelta | None:
        """Time from start to end; none while it runs or where a crash cut it off."""
        return self.ended_at - self.started_at if self.ended_at else None


Listener = Callable[[Entry], None]


class Journal:
    """Appends to a file, durable before the call returns; tells its listeners."""

    def __init__(self, file: Path, listeners: Iterable[Listener] = ()) -> None:
        self._file = file
        self._listeners = list(listeners)
        self.entries = _read(file)
        self._cut_off_torn_line()

    def _cut_off_torn_line(self) -> None:
        """A crash in the middle of a write leaves half a line: the next entry starts on a line of its own."""
        if self._file.exists() and not self._file.read_bytes().endswith(b"\n"):
            with self._file.open("ab") as file:
                file.write(b"\n")

    def write(
        self,
        event: Event,
        *,
        step: str = "",
        change: str = "",
        text: str = "",
        azure_seconds: float | None = None,
        basis: str = "",
    ) -> None:
        """Keep one entry. On return it survives a crash of the machine."""
        step = step or self._running_step()
        entry = Entry(
            at=now(), event=event, step=step, change=change, text=text, azure_seconds=azure_seconds, basis=basis
        )
        with self._file.open("a", encoding="utf-8") as file:
            file.write(entry.model_dump_json(exclude_defaults=True) + "\n")
            file.flush()
            os.fsync(file.fileno())
        self.entries.append(entry)
        for listener in self._listeners:
            listener(entry)

    def _running_step(self) -> str:
        running = [step for step in self.steps() if step.state == "running"]
        return running[-1].title if running else ""

    def is_continued_elsewhere(self) -> bool:
        """Whether another process has gone on with the run since this one began to."""
        return _starts(_read(self._file)) > _starts(self.entries)

    def open_changes(self) -> list[str]:
        """Changes that were sent and of which nobody knows yet whether they happened."""
        latest = self._latest()
        return [change for change, event in latest.items() if event is Event.SENDING]

    def confirmed_changes(self) -> list[str]:
        """Changes that happened, in the order in which they were first sent."""
        latest = self._latest()
        return [change for change, event in latest.items() if event is Event.CONFIRMED]

    def basis(self, change: str) -> str:
        """What a change's confirmation holds for; empty where it does not say."""
        confirmed = (Event.CONFIRMED, change)
        return next((each.basis for each in reversed(self.entries) if (each.event, each.change) == confirmed), "")

    def verdict(self) -> str | None:
        """Why what was put in place is bad; none while it was not found so."""
        return next((entry.text for entry in reversed(self.entries) if entry.event is Event.VERDICT), None)

    def _latest(self) -> dict[str, Event]:
        latest: dict[str, Event] = {}
        for entry in self.entries:
            tells = entry.event in {Event.SENDING, Event.CONFIRMED, Event.NO_EFFECT}
            # What once happened stays happened, whatever a repeated try finds.
            if tells and latest.get(entry.change) is not Event.CONFIRMED:
                latest[entry.change] = entry.event
        return latest

    def steps(self) -> list[StepRecord]:
        """The steps in the order in which they started; a resumed run's steps follow those before the crash."""
        steps: list[StepRecord] = []
        for entry in self.entries:
            if entry.event is Event.STARTED:
                steps = [_cut_off(step) for step in steps]
            elif entry.event is Event.STEP_STARTED:
                steps.append(StepRecord(title=entry.step, started_at=entry.at))
            elif entry.step and steps:
                index = max((i for i, step in enumerate(steps) if step.title == entry.step), default=None)
                if index is not None:
                    steps[index] = _apply(steps[index], entry)
        return steps


def _starts(entries: Iterable[Entry]) -> int:
    return sum(entry.event is Event.STARTED for entry in entries)


_ENDS = {Event.STEP_FINISHED: "done", Event.STEP_FAILED: "failed", Event.STEP_CANCELLED: "cancelled"}


def _cut_off(step: StepRecord) -> StepRecord:
    return step.model_copy(update={"state": "cut off"}) if step.state == "running" else step


def _apply(step: StepRecord, entry: Entry) -> StepRecord:
    notes = (*step.notes, entry.text) if entry.text else step.notes
    if entry.event not in _ENDS:
        return step.model_copy(update={"notes": notes})
    return step.model_copy(
        update={
            "ended_at": entry.at,
            "state": _ENDS[entry.event],
            "azure_seconds": entry.azure_seconds,
            "notes": notes,
        }
    )


def _read(file: Path) -> list[Entry]:
    if not file.exists():
        return []
    entries: list[Entry] = []
    for line in file.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            entries.append(Entry.model_validate(json.loads(line)))
        except (json.JSONDecodeError, ValidationError):
            continue  # a line torn by a crash: the change that it would have told was not sent yet
    return entries
