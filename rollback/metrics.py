"""Request counts, failures and latency, minute by minute, from Azure Monitor.

Application Insights' component where the platform file names one, else the app's platform metrics. The newest minute is
still being counted and is left out. A minute of which Azure tells nothing stays unknown; it is never taken for zero.

Source: Azure Monitor metrics, API version 2024-02-01; supported metrics of Microsoft.Web/sites and microsoft.insights.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from rollback.azure import AzureConnection, our_errors
from rollback.measurements import Minute
from rollback.models import Model, now
from rollback.settings import Backend

if TYPE_CHECKING:
    from azure.mgmt.monitor.models import Response, TimeSeriesElement

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
    latency: str
    latency_to_ms: float


_COMPONENT = _Names(requests="requests/count", failed="requests/failed", latency="requests/duration", latency_to_ms=1.0)
_SITE = _Names(requests="Requests", failed="Http5xx", latency="HttpResponseTime", latency_to_ms=MILLISECONDS)


async def measure(connection: AzureConnection, backend: Backend, start: datetime, slot: str | None = None) -> Measured:
    """Whole minutes from `start` to now of production, or of a slot (platform metrics only)."""
    from azure.mgmt.monitor.aio import MonitorManagementClient

    group = f"/subscriptions/{connection.settings.subscription_id}/resourceGroups/{backend.resource_group}/providers"
    if backend.insights and slot is None:
        names, resource = _COMPONENT, f"{group}/microsoft.insights/components/{backend.insights}"
        source = f"Application Insights {backend.insights}"
    else:
        path = f"sites/{backend.app}" + (f"/slots/{slot}" if slot else "")
        names, resource = _SITE, f"{group}/Microsoft.Web/{path}"
        source = f"platform metrics of {backend.app}" + (f", slot {slot}" if slot else "")
    start = start.replace(second=0, microsecond=0)
    newest = now().replace(second=0, microsecond=0)
    if newest <= start:
        return Measured(source=source)
    async with connection.client(MonitorManagementClient) as client:
        with our_errors(f"metrics of {source}"):
            told = await client.metrics.list(
                resource,
                timespan=f"{start:%Y-%m-%dT%H:%M:%SZ}/{newest:%Y-%m-%dT%H:%M:%SZ}",
                interval="PT1M",
                metricnames=",".join((names.requests, names.failed, names.latency)),
                aggregation="Total,Average",
            )
    return Measured(source=source, minutes=_minutes(told, names, newest))


def _minutes(told: "Response", names: _Names, newest: datetime) -> tuple[Minute, ...]:
    by_metric = {metric.name.value.lower(): _series(metric.timeseries) for metric in told.value}
    requests = by_metric.get(names.requests.lower(), {})
    failed = by_metric.get(names.failed.lower(), {})
    latency = by_metric.get(names.latency.lower(), {})
    return tuple(
        Minute(
            at=at,
            requests=requests.get(at, (None, None))[0],
            failed=failed.get(at, (None, None))[0],
            latency_ms=_scaled(latency.get(at, (None, None))[1], names.latency_to_ms),
        )
        for at in sorted({*requests, *failed, *latency})
        if at < newest
    )


def _series(timeseries: "Sequence[TimeSeriesElement]") -> dict[datetime, tuple[float | None, float | None]]:
    return {each.time_stamp: (each.total, each.average) for element in timeseries for each in element.data or ()}


def _scaled(value: float | None, factor: float) -> float | None:
    return None if value is None else value * factor
