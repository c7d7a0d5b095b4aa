"""A run as its operator watches it: steps with state, time and what was seen, fed by the run's journal.

On a terminal it is drawn in place; elsewhere every entry is a line with its time. A view never stops a rollback: when
its terminal is gone, it falls silent.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, suppress
from datetime import datetime
from types import TracebackType
from typing import Protocol, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.padding import Padding
from rich.text import Text

from rollback.journal import Entry, Event
from rollback.models import now
from rollback.report import seconds
from rollback.report.words import for_seconds

MOST_NOTES = 4
"""Under the step that is running, so that the view fits a small terminal; all of them are shown at the end."""
NARROW = 20
MARKS = {"running": ("…", "cyan"), "done": ("✓", "green"), "failed": ("✗", "red"), "cancelled": ("⏹", "yellow")}
ENDS = {Event.STEP_FINISHED: "done", Event.STEP_FAILED: "failed", Event.STEP_CANCELLED: "cancelled"}


class View(AbstractContextManager["View"], Protocol):
    """Takes the journal's entries, and words about the run from outside of it."""

    def __call__(self, entry: Entry) -> None:
        """Show one entry."""
        ...

    def say(self, text: str) -> None:
        """Show a line that is not in the journal."""
        ...


class SilentView:
    """Shows nothing; for scripts."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def __call__(self, entry: Entry) -> None:
        """Nothing."""

    def say(self, text: str) -> None:
        """Nothing."""


class LineView(SilentView):
    """One line an entry, with its time in UTC: for logs and pipes."""

    def __init__(self, write: Callable[[str], None], expected: Mapping[str, float] | None = None) -> None:
        self._write = write
        self._expected = expected or {}
        self._started: dict[str, datetime] = {}

    def __call__(self, entry: Entry) -> None:
        """Show one entry."""
        text = self._words(entry)
        if text:
            self._tell(entry.at, text)

    def say(self, text: str) -> None:
        """Show a line that is not in the journal."""
        self._tell(now(), text)

    def _words(self, entry: Entry) -> str:
        if entry.event is Event.STEP_STARTED:
            self._started[entry.step] = entry.at
            expected = self._expected.get(entry.step)
            return f"{entry.step} …" if expected is None else f"{entry.step} … expected {for_seconds(expected)}"
        if entry.event in ENDS:
            took = entry.at - self._started[entry.step] if entry.step in self._started else None
            azure = f", of which Azure {entry.azure_seconds:.1f} s" if entry.azure_seconds else ""
            told = f": {entry.text}" if entry.text else ""
            return f"{entry.step} {ENDS[entry.event]} after {seconds(took)}{azure}{told}"
        if entry.event in {Event.STARTED, Event.ENDED}:
            return ""
        return f"{entry.step}: {entry.text}" if entry.step else entry.text

    def _tell(self, at: datetime, text: str) -> None:
        with suppress(OSError):
            self._write(f"{at:%H:%M:%S}  {_one_line(text)}")


class _Step:
    """A step as it is drawn."""

    def __init__(self, title: str, started_at: datetime, expected_seconds: float | None) -> None:
        self.title = title
        self.started_at = started_at
        self.expected_seconds = expected_seconds
        self.ended_at: datetime | None = None
        self.state = "running"
        self.azure_seconds: float | None = None
        self.asked_azure_at: datetime | None = None
        """When the change was sent whose effect is waited for."""
        self.notes: list[str] = []

    def take(self, entry: Entry) -> None:
        if entry.text:
            self.notes.append(_one_line(entry.text))
        if entry.event is Event.SENDING:
            self.asked_azure_at = entry.at
        elif entry.event in {Event.CONFIRMED, Event.NO_EFFECT}:
            self.asked_azure_at = None
        elif entry.event in ENDS:
            self.state, self.ended_at, self.azure_seconds = ENDS[entry.event], entry.at, entry.azure_seconds

    def headline(self, width: int) -> Text:
        """One line: on a narrow terminal with fewer words."""
        mark, colour = MARKS[self.state]
        taken = seconds((self.ended_at or now()) - self.started_at)
        times = list(self._times())
        fitting = (each for each in times if len(f"{mark} {self.title}  {taken}{each}") <= width)
        line = Text(no_wrap=True, overflow="ellipsis")
        line.append(f"{mark} ", style=colour)
        line.append(self.title, style="bold" if self.state == "running" else "")
        line.append(f"  {taken}", style="dim")
        line.append(next(fitting, times[-1]), style="cyan" if self.state == "running" else "dim")
        return line

    def _times(self) -> Iterator[str]:
        """What else there is to say about its time, from the most words to the fewest."""
        expected = f", expected {for_seconds(self.expected_seconds)}" if self.expected_seconds is not None else ""
        if self.state == "running" and self.asked_azure_at:
            waiting = seconds(now() - self.asked_azure_at)
            yield f"{expected}, waiting for Azure {waiting}"
            yield f", waiting for Azure {waiting}"
            yield f", Azure {waiting}"
        elif self.azure_seconds:
            yield f"{expected}, Azure {for_seconds(self.azure_seconds)}"
            yield f", Azure {for_seconds(self.azure_seconds)}"
        else:
            yield expected
        yield ""


class TerminalView:
    """Draws the steps in place, several times a second."""

    def __init__(self, console: Console, title: str, expected: Mapping[str, float] | None = None) -> None:
        self._console = console
        self._title = title
        self._expected = expected or {}
        self._steps: list[_Step] = []
        self._said: list[str] = []
        self._ended = False
        self._live = Live(console=console, get_renderable=self.picture, refresh_per_second=5)

    def __enter__(self) -> Self:
        with suppress(OSError):
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended = True
        with suppress(OSError):
            self._live.stop()

    def __call__(self, entry: Entry) -> None:
        """Show one entry."""
        if entry.event is Event.STEP_STARTED:
            self._steps.append(_Step(entry.step, entry.at, self._expected.get(entry.step)))
            return
        step = next((each for each in reversed(self._steps) if each.title == entry.step), None)
        if step is not None:
            step.take(entry)

    def say(self, text: str) -> None:
        """Show a line that is not in the journal."""
        self._said.append(_one_line(text))

    def picture(self) -> RenderableType:
        """Everything as it stands now."""
        lines: list[RenderableType] = [Text(self._title, style="bold", no_wrap=True, overflow="ellipsis")]
        lines += [Text(text, style="dim") for text in self._said]
        for step in self._steps:
            lines.append(step.headline(self._console.width))
            lines += [Padding(Text(note, style="dim"), (0, 0, 0, 4)) for note in self._notes_of(step)]
        return Group(*lines)

    def _notes_of(self, step: _Step) -> list[str]:
        if self._ended:
            return step.notes
        return step.notes[-MOST_NOTES:] if step.state == "running" else []


def make_view(title: str, *, quiet: bool, to_stderr: bool, expected: Mapping[str, float] | None = None) -> View:
    """The view that suits where it is shown; `expected`: how many seconds a step of that title should take."""
    if quiet:
        return SilentView()
    console = Console(stderr=to_stderr, highlight=False, markup=False, emoji=False)
    if console.is_terminal and not console.is_dumb_terminal and console.width >= NARROW:
        return TerminalView(console, title, expected)

    def write(line: str) -> None:
        console.file.write(line + "\n")
        console.file.flush()

    write(f"{title} (times are UTC)")
    return LineView(write, expected)


def _one_line(text: str) -> str:
    return " ".join(text.split())
