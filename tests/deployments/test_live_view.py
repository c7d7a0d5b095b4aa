"""What a run looks like while it goes on, wherever it is shown."""

import io
import re
from datetime import UTC, datetime, timedelta

import pytest
from rich.cells import cell_len
from rich.console import Console

from deployments.live_view import LineView, TerminalView, View
from rollback.journal import Entry, Event

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
