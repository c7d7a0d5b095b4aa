"""How durations, instants and end states are written for people."""

from datetime import datetime, timedelta

from rollback.outcomes import EndState

_MARKS_BY_STATUS = {0: "✓", 3: "!", 7: "?", 130: "■"}

MARK = {state: _MARKS_BY_STATUS.get(state.exit_status, "✗") for state in EndState}
"""One plain character a state: servers and old terminals have no emoji."""


def seconds(duration: timedelta | None) -> str:
    """A duration for people: `0.4 s`, `41 s`, `3 min 05 s`, `2 h 13 min`, `3 d 04 h`."""
    if duration is None:
        return "–"
    total = duration.total_seconds()
    if total < 9.95:
        return f"{total:.1f} s"
    whole = round(total)
    if whole < 120:
        return f"{whole} s"
    if whole < 7200:
        return f"{whole // 60} min {whole % 60:02} s"
    if whole < 172_800:
        return f"{whole // 3600} h {whole % 3600 // 60:02} min"
    return f"{whole // 86_400} d {whole % 86_400 // 3600:02} h"


def for_seconds(count: float | None) -> str:
    """The same for a number of seconds."""
    return seconds(None if count is None else timedelta(seconds=count))


def instant(at: datetime) -> str:
    """An instant with its day: `2026-03-01 10:02:13 UTC`."""
    return f"{at:%Y-%m-%d %H:%M:%S} UTC"


def elapsed(count: float, longest: float, step: float) -> str:
    """A time since the start for an axis: `20 s` where all is within two minutes, else `1:20` or `2:01:20`."""
    if longest < 120:
        return f"{count:.{0 if step >= 1 else 1}f} s"
    whole = round(count)
    if whole < 3600:
        return f"{whole // 60}:{whole % 60:02}"
    return f"{whole // 3600}:{whole % 3600 // 60:02}:{whole % 60:02}"


def sentence(text: str) -> str:
    """Text that begins with a capital letter."""
    return text[:1].upper() + text[1:]


def cell(text: str) -> str:
    """Text for a cell of a markdown table."""
    return " ".join(text.split()).replace("|", "\\|")
