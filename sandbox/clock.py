"""Instants, and how Azure writes them."""

from datetime import UTC, datetime


def now() -> datetime:
    """The current instant, UTC."""
    return datetime.now(UTC)


def american(instant: datetime) -> str:
    """`11/22/2026 2:05:09 PM`: how Azure's messages tell the time."""
    hour = instant.hour % 12 or 12
    return f"{instant.month}/{instant.day}/{instant.year} {hour}:{instant:%M:%S} {'AM' if instant.hour < 12 else 'PM'}"


def iso(instant: datetime) -> str:
    """An instant as App Service writes it: UTC, without an offset."""
    return instant.replace(tzinfo=None).isoformat(timespec="microseconds")
