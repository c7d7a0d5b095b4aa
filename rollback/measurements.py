"""What users got before, during and after a run, minute by minute, for the report's charts."""

from datetime import datetime

from rollback.models import Model


class MetricPoint(Model):
    """One minute. What is `None` was not measured: that is not zero."""

    at: datetime
    """The minute's beginning."""
    requests: int | None = None
    failed: int | None = None
    latency_ms: float | None = None

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
    """Per-minute points in the order of time, and the instants that explain them."""

    source: str
    """Where the points come from, for instance `Application Insights fundrbolt-production-insights`."""
    points: tuple[MetricPoint, ...] = ()
    marks: tuple[Mark, ...] = ()
