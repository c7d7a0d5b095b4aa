"""What a run looks like while it goes on, wherever it is shown."""

import io
import re
from datetime import UTC, datetime, timedelta

import pytest
from rich.cells import cell_len
from rich.console import Console

from deployments.live_view import LineView, TerminalView, View
from rollback.journal import Entry, Event
from rollback.models import now

AT = datetime(2026, 11, 22, 3, 0, tzinfo=UTC)
LONG = "Swapped: production runs v1.2.2 (sha256:325ac76db5ca…), slot 'staging' runs v1.2.3, last swap 02:59:58 UTC."


def tell(view: View) -> None:
    for seconds, event, text in (
        (0, Event.STEP_STARTED, ""),
        (1, Event.SENDING, "Swapping slot 'staging' with production."),
        (63, Event.CONFIRMED, LONG),
        (64, Event.STEP_FINISHED, ""),
    ):
        azure = 62.0 if event is Event.STEP_FINISHED else None
        at = AT + timedelta(seconds=seconds)
        view(Entry(at=at, event=event, step="Swap slots", change="slot swap", text=text, azure_seconds=azure))


def test_a_line_tells_its_time_and_how_long_the_step_took_of_which_azure() -> None:
    lines: list[str] = []
    tell(LineView(lines.append))
    assert lines[0] == "03:00:00  Swap slots …"
    assert lines[1] == "03:00:01  Swap slots: Swapping slot 'staging' with production."
    assert lines[-1] == "03:01:04  Swap slots done after 64 s, of which Azure 62.0 s"


@pytest.mark.parametrize("width", [20, 40, 200])
def test_a_terminal_of_any_width_shows_every_word_and_no_broken_line(width: int) -> None:
    screen = io.StringIO()
    console = Console(file=screen, width=width, force_terminal=True, color_system=None, highlight=False)
    with TerminalView(console, "roll-back-backend on production") as view:
        view.say("Running in this process, without Prefect: PREFECT_API_URL is not set.")
        tell(view)
    drawn = re.sub(r"\x1b\[[?0-9;]*[A-Za-z]", "", screen.getvalue().rpartition("\x1b[2K")[2]).splitlines()
    assert all(cell_len(line) <= width for line in drawn)
    words = " ".join(line.strip() for line in drawn)
    assert "✓ Swap slots" in words
    assert "".join(LONG.split()) in "".join(words.split())


class GoneTerminal(io.StringIO):
    """As after the window was closed."""

    def write(self, text: str) -> int:
        raise OSError(5, "Input/output error")

    def flush(self) -> None:
        raise OSError(5, "Input/output error")


def test_a_terminal_that_is_gone_does_not_disturb_the_run() -> None:
    gone = GoneTerminal()
    tell(LineView(gone.write))
    with TerminalView(Console(file=gone, width=80, force_terminal=True), "roll-back-backend") as view:
        tell(view)


def drawn_while_running(view: TerminalView, width: int) -> str:
    """The line of a step that has waited for Azure for a minute and more."""
    began = now() - timedelta(seconds=72)
    view(Entry(at=began, event=Event.STEP_STARTED, step="Swap slots"))
    view(Entry(at=began + timedelta(seconds=2), event=Event.SENDING, step="Swap slots", change="slot swap", text="Go."))
    screen = io.StringIO()
    Console(file=screen, width=width).print(view.picture())
    return next(line for line in screen.getvalue().splitlines() if "Swap slots" in line)


@pytest.mark.parametrize(
    ("width", "words"),
    [
        (80, "… Swap slots  72 s, expected 38 s, waiting for Azure 70 s"),
        (50, "… Swap slots  72 s, waiting for Azure 70 s"),
        (36, "… Swap slots  72 s, Azure 70 s"),
        (24, "… Swap slots  72 s"),
    ],
)
def test_a_running_step_tells_what_fits_its_own_time_first_then_azures_then_what_is_expected(
    width: int, words: str
) -> None:
    console = Console(file=io.StringIO(), width=width)
    view = TerminalView(console, "roll-back-backend on production", {"Swap slots": 38.0})
    assert drawn_while_running(view, width).rstrip() == words


def test_nothing_is_said_of_an_expectation_that_nobody_has() -> None:
    view = TerminalView(Console(file=io.StringIO(), width=80), "roll-back-backend on production")
    assert "expected" not in drawn_while_running(view, 80)


def test_a_line_tells_what_is_expected_of_a_step_that_starts() -> None:
    lines: list[str] = []
    tell(LineView(lines.append, {"Swap slots": 38.0}))
    assert lines[0] == "03:00:00  Swap slots … expected 38 s"


def test_no_color_takes_the_colours_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    screen = io.StringIO()
    with TerminalView(Console(file=screen, width=80, force_terminal=True), "roll-back-backend") as view:
        tell(view)
    assert "Swap slots" in screen.getvalue()
    assert not re.search(r"\x1b\[[0-9;]*3[0-9][0-9;]*m", screen.getvalue())
