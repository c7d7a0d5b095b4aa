"""Request counts, failures and latency, minute by minute, from Azure Monitor.

Application Insights' component where the platform file names one, else the app's platform metrics. The newest minute is
still being counted and is left out. A minute of which Azure tells nothing stays unknown; it is never taken for zero.

Source: Azure Monitor metrics, API version 2024-02-01; supported metrics of Microsoft.Web/sites and microsoft.insights.
"""

import asyncio
from datetime import datetime
from typing import TYPE_CHECKING

from rollback.azure import AzureConnection, our_errors
from rollback.measurements import Minute
from rollback.models import Model, now
from rollback.settings import Backend

if TYPE_CHECKING:
    from azure.mgmt.monitor.models import Response

MILLISECONDS = 1000


class Measured(Model):
    """Whole minutes, oldest first, and where they come from."""

    source: str
    minutes: tuple[Minute, ...] = ()

    @property
    def requests(self) -> float | None:
        """All requests of the minutes that are known; none where no minute is."""
        known = [each.requests for each in self.minutes if each.requests is not None]
        return sum(known) if known else None

    @property
    def failing_share(self) -> float | None:
        """Share (0 to 1) of requests that failed; none where it is not known or nobody asked anything."""
        known = [(each.requests, each.failed) for each in self.minutes if each.requests and each.failed is not None]
        requests = sum(each or 0.0 for each, _ in known)
        return sum(failed or 0.0 for _, failed in known) / requests if requests else None

    def since(self, instant: datetime) -> "Measured":
        """Only minutes that began at the instant or later."""
        return Measured(source=self.source, minutes=tuple(each for each in self.minutes if each.at >= instant))

    def __str__(self) -> str:
        share, requests = self.failing_share, self.requests
        if share is None or requests is None:
            return f"not known ({self.source})"
        return f"{share:.1%} of {requests:.0f} requests failed ({self.source}, {len(self.minutes)} whole minutes)"


class _Names(Model):
    requests: str
    failed: str
    counted_by: str
    """The aggregation that Azure offers for the two above: a component's are counts, a site's are totals."""
    latency: str
    latency_to_ms: float


_COMPONENT = _Names(
    requests="requests/count",
    failed="requests/failed",
    counted_by="Count",
    latency="requests/duration",
    latency_to_ms=1.0,
)
_SITE = _Names(
    requests="Requests",
    failed="Http5xx",
    counted_by="Total",
    latency="HttpResponseTime",
    latency_to_ms=MILLISECONDS,
)


async def measure(connection: AzureConnection, backend: Backend, start: datetime) -> Measured:
    """Whole minutes of production from `start` to now."""
    from azure.mgmt.monitor.aio import MonitorManagementClient

    group = f"/subscriptions/{connection.settings.subscription_id}/resourceGroups/{backend.resource_group}/providers"
    if backend.insights:
        names, resource = _COMPONENT, f"{group}/microsoft.insights/components/{backend.insights}"
        source = f"Application Insights {backend.insights}"
    else:
        names, resource = _SITE, f"{group}/Microsoft.Web/sites/{backend.app}"
        source = f"platform metrics of {backend.app}"
    start = start.replace(second=0, microsecond=0)
    newest = now().replace(second=0, microsecond=0)
    if newest <= start:
        return Measured(source=source)
    span = f"{start:%Y-%m-%dT%H:%M:%SZ}/{newest:%Y-%m-%dT%H:%M:%SZ}"
    counted = f"{names.requests},{names.failed}"
    async with connection.client(MonitorManagementClient) as client:
        with our_errors(f"metrics of {source}"):
            counts, latency = await asyncio.gather(
                client.metrics.list(resource, span, "PT1M", counted, names.counted_by),
                client.metrics.list(resource, span, "PT1M", names.latency, "Average"),
            )
    return Measured(source=source, minutes=_minutes(names, counts, latency, newest))


def _minutes(names: _Names, counts: "Response", latency: "Response", newest: datetime) -> tuple[Minute, ...]:
    requests = _series(counts, names.requests, names.counted_by)
    failed = _series(counts, names.failed, names.counted_by)
    averages = _series(latency, names.latency, "Average")
    return tuple(
        Minute(
            at=at,
            requests=requests.get(at),
            failed=failed.get(at),
            latency_ms=None if averages.get(at) is None else averages[at] * names.latency_to_ms,
        )
        for at in sorted({*requests, *failed, *averages})
        if at < newest
    )


def _series(told: "Response", metric: str, aggregation: str) -> dict[datetime, float]:
    """The minutes of which Azure tells a value."""
    values: dict[datetime, float] = {}
    for each in told.value:
        if each.name.value.lower() == metric.lower():
            for element in each.timeseries:
                for minute in element.data or ():
                    value: float | None = getattr(minute, aggregation.lower())
                    if value is not None:
                        values[minute.time_stamp] = value
    return values
