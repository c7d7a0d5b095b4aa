"""Which metrics there are, what each aggregation of them means, and in which grains they are had.

Source: learn.microsoft.com/azure/azure-monitor/reference/supported-metrics, for microsoft.web/sites, microsoft.web/
sites/slots and microsoft.insights/components.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from sandbox.insights.book import Tally

GRAINS = {
    "PT1M": 60,
    "PT5M": 300,
    "PT15M": 900,
    "PT30M": 1800,
    "PT1H": 3600,
    "PT6H": 21600,
    "PT12H": 43200,
    "P1D": 86400,
}
FULL = "FULL"
AGGREGATIONS = ("None", "Average", "Minimum", "Maximum", "Total", "Count")

Aggregation = Callable[[Tally], float]


@dataclass(frozen=True)
class Metric:
    """One metric."""

    name: str
    title: str
    unit: Literal["Count", "Seconds", "MilliSeconds"]
    primary: str
    aggregations: dict[str, Aggregation]
    without_requests: float | None
    """What a minute without requests shows: a number, or nothing."""


def _counted(name: str, title: str, of: Aggregation) -> Metric:
    """A platform count: each request is a sample of 1 or 0."""
    aggregations: dict[str, Aggregation] = {
        "Total": of,
        "Count": lambda tally: tally.requests,
        "Average": lambda tally: of(tally) / tally.requests if tally.requests else 0.0,
        "Maximum": lambda tally: 1.0 if of(tally) else 0.0,
        "Minimum": lambda tally: 1.0 if tally.requests and of(tally) == tally.requests else 0.0,
    }
    return Metric(name, title, "Count", "Total", aggregations, 0.0)


def _duration(name: str, title: str, unit: Literal["Seconds", "MilliSeconds"], scale: float, *, total: bool) -> Metric:
    aggregations: dict[str, Aggregation] = {
        "Average": lambda tally: scale * tally.seconds / tally.requests,
        "Maximum": lambda tally: scale * tally.longest,
        "Minimum": lambda tally: scale * tally.shortest,
    }
    if total:
        aggregations |= {"Total": lambda tally: scale * tally.seconds, "Count": lambda tally: tally.requests}
    return Metric(name, title, unit, "Average", aggregations, None)


SITE_METRICS = [
    _counted("Requests", "Requests", lambda tally: tally.requests),
    _counted("Http2xx", "Http 2xx", lambda tally: tally.http2xx),
    _counted("Http3xx", "Http 3xx", lambda tally: tally.http3xx),
    _counted("Http4xx", "Http 4xx", lambda tally: tally.http4xx),
    _counted("Http5xx", "Http Server Errors", lambda tally: tally.http5xx),
    _duration("HttpResponseTime", "Response Time", "Seconds", 1.0, total=True),
]
COMPONENT_METRICS = [
    Metric("requests/count", "Server requests", "Count", "Count", {"Count": lambda tally: tally.requests}, None),
    Metric(
        "requests/failed",
        "Failed requests",
        "Count",
        "Count",
        {"Count": lambda tally: tally.http4xx + tally.http5xx},
        None,
    ),
    _duration("requests/duration", "Server response time", "MilliSeconds", 1000.0, total=False),
]


def definition_json(resource: str, namespace: str, metric: Metric) -> dict[str, Any]:
    """Azure's MetricDefinition."""
    return {
        "id": f"{resource}/providers/microsoft.insights/metricdefinitions/{metric.name}",
        "resourceId": resource,
        "namespace": namespace,
        "category": namespace,
        "name": {"value": metric.name, "localizedValue": metric.title},
        "isDimensionRequired": False,
        "unit": metric.unit,
        "primaryAggregationType": metric.primary,
        "supportedAggregationTypes": list(metric.aggregations),
        "metricAvailabilities": [{"timeGrain": grain, "retention": "P93D"} for grain in GRAINS],
    }
