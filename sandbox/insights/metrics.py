"""Queries for metrics: one entry for each grain of the time span; without a value where there is no measurement."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import unquote

from aiohttp import web

from sandbox.arm import ArmError, Call, Route
from sandbox.clock import now
from sandbox.insights import components
from sandbox.insights.book import platform, telemetry
from sandbox.insights.catalogue import (
    AGGREGATIONS,
    COMPONENT_METRICS,
    FULL,
    GRAINS,
    SITE_METRICS,
    Metric,
    definition_json,
)
from sandbox.state import PRODUCTION
from sandbox.web.resources import SITE, SLOT, find, resource_id
from sandbox.world import World

LAG, MISSING = "metrics-lag", "metrics-missing"
MOST_POINTS = 1440
DEFAULT_SPAN = timedelta(hours=1)


class MetricsError(ArmError):
    """An error as this provider words it: without the frame that others put around it."""

    def __init__(self, message: str) -> None:
        super().__init__(400, "BadRequest", message)

    def response(self) -> web.Response:
        """The error."""
        return web.json_response({"code": self.code, "message": str(self)}, status=self.status)


@dataclass(frozen=True)
class Measured:
    """A resource of which something is measured."""

    id: str
    namespace: str
    series: str
    metrics: list[Metric]
    lag_seconds: float


def _site(call: Call) -> Measured:
    site, slot = find(call)
    namespace = "Microsoft.Web/sites" if slot.name == PRODUCTION else "Microsoft.Web/sites/slots"
    lag = call.world.pace.metrics_lag
    return Measured(resource_id(call.world, site, slot), namespace, platform(site.name, slot.name), SITE_METRICS, lag)


def _component(call: Call) -> Measured:
    resource = components.require(call)
    site = next(site for site in call.world.state.sites if site.environment == components.ENVIRONMENT)
    lag = call.world.pace.component_lag
    return Measured(resource, components.KIND, telemetry(site.name, PRODUCTION), COMPONENT_METRICS, lag)


@dataclass(frozen=True)
class Query:
    """What is asked, checked."""

    metrics: list[Metric]
    begin: datetime
    end: datetime
    interval: str
    aggregations: list[str]

    @property
    def grain(self) -> timedelta:
        """How long one entry is."""
        return timedelta(seconds=GRAINS[self.interval]) if self.interval != FULL else self.end - self.begin

    def points(self) -> list[datetime]:
        """When each entry begins."""
        made, instant = list[datetime](), self.begin
        while instant < self.end:
            made.append(instant)
            instant += self.grain
        return made


def _query(call: Call, measured: Measured) -> Query:
    asked = call.request.query
    namespace = asked.get("metricnamespace", measured.namespace)
    if namespace.lower() != measured.namespace.lower():
        raise MetricsError(f"Detect invalid value: {namespace} for query parameter: 'metricnamespace'")
    metrics = _metrics(asked.get("metricnames", ""), measured)
    interval = asked.get("interval", "PT1M")
    grain = next((each for each in (*GRAINS, FULL) if each.lower() == interval.lower()), None)
    if grain is None:
        known = ",".join(timedelta_text(seconds) for seconds in GRAINS.values())
        raise MetricsError(f"Detected invalid time grain input: {interval}, supported ones are: {known}")
    begin, end = _span(asked.get("timespan"))
    if grain != FULL:
        begin = datetime.fromtimestamp(begin.timestamp() // GRAINS[grain] * GRAINS[grain], UTC)
    if (end - begin) / timedelta(seconds=GRAINS.get(grain, 86400)) > MOST_POINTS:
        raise MetricsError(f"The time span is too long for the time grain {grain}: at most {MOST_POINTS} entries.")
    return Query(metrics, begin, end, grain, _aggregations(asked.get("aggregation", ""), metrics))


def timedelta_text(seconds: int) -> str:
    """`00:05:00`: how this provider writes a grain in its messages."""
    days, rest = divmod(seconds, 86400)
    clock = f"{rest // 3600:02}:{rest // 60 % 60:02}:{rest % 60:02}"
    return f"{days}.{clock}" if days else clock


def _metrics(names: str, measured: Measured) -> list[Metric]:
    known = {metric.name.lower(): metric for metric in measured.metrics}
    if not names:
        return measured.metrics[:1]
    for name in names.split(","):
        if name.lower() not in known:
            provider, _, kind = measured.namespace.partition("/")
            valid = ",".join(metric.name for metric in measured.metrics)
            raise MetricsError(
                f"Failed to find metric configuration for provider: {provider}, resource Type: {kind}, metric: {name}, "
                f"Valid metrics: {valid}"
            )
    return [known[name.lower()] for name in names.split(",")]


def _aggregations(text: str, metrics: list[Metric]) -> list[str]:
    by_name = {each.lower(): each for each in AGGREGATIONS}
    asked = [by_name.get(each.strip().lower()) for each in text.split(",") if each.strip()]
    asked = asked or [metrics[0].primary]
    for metric in metrics:
        if unknown := [each for each in asked if each not in metric.aggregations]:
            supported = ",".join(metric.aggregations)
            raise MetricsError(
                f"Metric: {metric.name} does not support requested aggregation: {unknown[0] or text}, supported ones "
                f"are: {supported}"
            )
    return [each for each in asked if each is not None]


def _span(text: str | None) -> tuple[datetime, datetime]:
    if text is None:
        return now() - DEFAULT_SPAN, now()
    try:
        # The Azure CLI quotes the time span twice, and Azure takes it.
        begin, end = (_instant(each) for each in unquote(text).split("/"))
    except ValueError as error:
        raise MetricsError(f"Invalid timespan: {text}. It must be start/end, both as ISO 8601 instants.") from error
    if begin >= end:
        raise MetricsError(f"Start time: {begin.isoformat()} must be less than the end time: {end.isoformat()}")
    return begin, end


def _instant(text: str) -> datetime:
    # Some clients write a space for the + of an offset; some write more digits than Python reads.
    instant = datetime.fromisoformat(re.sub(r"(\.\d{6})\d+", r"\1", text.replace(" ", "+")))
    return instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant.astimezone(UTC)


def _entry(
    world: World, measured: Measured, query: Query, metric: Metric, begin: datetime, until: float
) -> dict[str, Any]:
    first, last = begin.timestamp(), min(begin + query.grain, query.end).timestamp()
    entry: dict[str, Any] = {"timeStamp": f"{begin:%Y-%m-%dT%H:%M:%SZ}"}
    tally = world.book.read(measured.series, first, last, until)
    for name in query.aggregations:
        if tally.requests:
            entry[name.lower()] = float(metric.aggregations[name](tally))
        elif metric.without_requests is not None and first <= until and world.book.is_watched(first, last):
            entry[name.lower()] = metric.without_requests
    return entry


def _metric_json(call: Call, measured: Measured, query: Query, metric: Metric) -> dict[str, Any]:
    world = call.world
    lags = [float(fault.options["seconds"]) for fault in world.state.faults if fault.name == LAG]
    until = now().timestamp() - measured.lag_seconds - sum(lags)
    missing = {str(fault.options["metric"]).lower() for fault in world.state.faults if fault.name == MISSING}
    if missing & {"", metric.name.lower()}:
        data: list[dict[str, Any]] = []
    else:
        data = [_entry(world, measured, query, metric, begin, until) for begin in query.points()]
    return {
        "id": f"{measured.id}/providers/Microsoft.Insights/metrics/{metric.name}",
        "type": "Microsoft.Insights/metrics",
        "name": {"value": metric.name, "localizedValue": metric.title},
        "displayDescription": metric.title,
        "unit": metric.unit,
        "timeseries": [{"metadatavalues": [], "data": data}] if data else [],
        "errorCode": "Success",
    }


def _list_values(measured_by: Callable[[Call], Measured]) -> Any:
    async def handle(call: Call) -> web.Response:
        measured = measured_by(call)
        query = _query(call, measured)
        minutes = (query.end - query.begin) / timedelta(minutes=1)
        return web.json_response(
            {
                "cost": round(minutes) * len(query.metrics),
                "timespan": f"{query.begin:%Y-%m-%dT%H:%M:%SZ}/{query.end:%Y-%m-%dT%H:%M:%SZ}",
                "interval": query.interval,
                "value": [_metric_json(call, measured, query, metric) for metric in query.metrics],
                "namespace": measured.namespace,
                "resourceregion": call.world.state.location,
            }
        )

    return handle


def _list_definitions(measured_by: Callable[[Call], Measured]) -> Any:
    async def handle(call: Call) -> web.Response:
        measured = measured_by(call)
        values = [definition_json(measured.id, measured.namespace, metric) for metric in measured.metrics]
        return web.json_response(
            {"id": f"{measured.id}/providers/microsoft.insights/metricdefinitions", "value": values}
        )

    return handle


MEASURED = ((SITE, _site), (SLOT, _site), (components.COMPONENT, _component))
# `top` is about time series by a filter; without one it changes nothing, and some clients always send it.
QUERY = frozenset({"metricnames", "metricnamespace", "timespan", "interval", "aggregation", "top"})
INSIGHTS = "/providers/microsoft.insights"

ROUTES = [
    route
    for path, measured_by in MEASURED
    for route in (
        Route("GET", path + INSIGHTS + "/metrics", "Microsoft.Insights/metrics/read", _list_values(measured_by), QUERY),
        Route(
            "GET",
            path + INSIGHTS + "/metricDefinitions",
            "Microsoft.Insights/metricDefinitions/read",
            _list_definitions(measured_by),
            frozenset({"metricnamespace"}),
        ),
    )
]
