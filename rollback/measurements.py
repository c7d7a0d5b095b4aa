"""What users got before, during and after a run, minute by minute, for the report's charts."""

from datetime import datetime

from rollback.models import Model


class Minute(Model):
    """What users did and got in one whole minute. What is `None` is not known: that is not zero."""

    at: datetime
    """The minute's start, UTC."""
    requests: float | None = None
    failed: float | None = None
    latency_ms: float | None = None
    """On average."""

    @property
    def error_percent(self) -> float | None:
        """The share of failed requests; none where it was not measured or nobody asked."""
        if not self.requests or self.failed is None:
            return None
        return 100.0 * self.failed / self.requests


class Mark(Model):
    """An instant that the charts point out, for instance the swap."""

    at: datetime
    text: str
    """A word or two: it stands in the chart."""


class Measurements(Model):
    """Whole minutes, oldest first, and the instants that explain them."""

    source: str
    """Where they come from, for instance `Application Insights fundrbolt-production-insights`."""
    minutes: tuple[Minute, ...] = ()
    marks: tuple[Mark, ...] = ()
