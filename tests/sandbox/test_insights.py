"""Metrics of real requests, queried through the genuine SDK; the component; what can be wrong with measurements."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError
from azure.mgmt.monitor.aio import MonitorManagementClient
from azure_names import GROUP, PRODUCTION_HOST, SITE, SLOT, STAGING_HOST, SUBSCRIPTION

from sandbox.folder import Folder
from sandbox.insights.book import Book, Tally, platform

COMPONENT = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/{GROUP}/providers/microsoft.insights/components"
INSIGHTS = f"{COMPONENT}/fundrbolt-production-insights"
MINUTE = timedelta(minutes=1)
LONG_AGO = "2026-01-01T00:00:00Z/2026-01-01T00:01:00Z"


@pytest.fixture
async def metrics(credential, environment) -> AsyncIterator[MonitorManagementClient]:
    options = {"connection_verify": environment["SSL_CERT_FILE"], "retry_total": 0}
    async with MonitorManagementClient(credential, SUBSCRIPTION, **options) as client:
        yield client


def span(begin: timedelta, end: timedelta = timedelta()) -> str:
    instant = datetime.now(UTC)
    return f"{instant - begin:%Y-%m-%dT%H:%M:%SZ}/{instant - end:%Y-%m-%dT%H:%M:%SZ}"


async def values(
    client: MonitorManagementClient, resource: str, name: str, aggregation: str, **options
) -> list[float | None]:
    asked = {"timespan": span(5 * MINUTE, -MINUTE), "interval": "PT1M", **options}
    answer = await client.metrics.list(resource, metricnames=name, aggregation=aggregation, **asked)
    [metric] = answer.value
    return [getattr(each, aggregation.lower()) for series in metric.timeseries for each in series.data]


def told(found: list[float | None]) -> list[float]:
    return [each for each in found if each is not None]


async def test_requests_are_counted_where_they_were_answered(metrics, https, control, eventually):
    control.break_("app-error", share=1)
    for _ in range(3):
        assert (await https.get(f"https://{PRODUCTION_HOST}/health")).status_code == 500
    for _ in range(2):
        assert (await https.get(f"https://{STAGING_HOST}/health")).status_code == 200

    async def counted(resource: str, name: str, aggregation: str, expected: float) -> None:
        async def is_so() -> bool:
            return sum(told(await values(metrics, resource, name, aggregation))) == expected

        await eventually(is_so)

    await counted(SITE, "Requests", "Total", 3)
    await counted(SITE, "Http5xx", "Total", 3)
    await counted(SLOT, "Requests", "Total", 2)
    await counted(SLOT, "Http5xx", "Total", 0)
    await counted(INSIGHTS, "requests/count", "Count", 3)
    await counted(INSIGHTS, "requests/failed", "Count", 3)
    [seconds] = told(await values(metrics, SLOT, "HttpResponseTime", "Average"))
    [milliseconds] = told(await values(metrics, INSIGHTS, "requests/duration", "Average"))
    assert 0 < seconds < 10
    assert 0 < milliseconds < 10_000


async def test_the_platforms_own_error_pages_are_no_telemetry_of_the_app(metrics, https, control, eventually):
    control.break_("stop-slot", slot="production")
    assert (await https.get(f"https://{PRODUCTION_HOST}/health")).status_code == 403

    async def counted() -> bool:
        return told(await values(metrics, SITE, "Http4xx", "Total"))[-1:] == [1]

    await eventually(counted)
    control.repair("stop-slot")
    assert (await https.get(f"https://{PRODUCTION_HOST}/health")).status_code == 200

    async def told_by_the_app() -> bool:
        return bool(told(await values(metrics, INSIGHTS, "requests/count", "Count")))

    await eventually(told_by_the_app)
    assert sum(told(await values(metrics, INSIGHTS, "requests/count", "Count"))) == 1


async def test_a_past_can_be_written_and_later_minutes_over_it(metrics, control):
    control.break_("metrics-history", errors=0.3, requests=100, minutes=10, response_ms=200)
    control.break_("metrics-history", errors=0, requests=50, minutes=2)
    asked = {"timespan": span(12 * MINUTE)}
    failures = await values(metrics, SITE, "Http5xx", "Total", **asked)
    # A minute may begin between the two histories: then one minute more of the first is left.
    kept = len([each for each in failures if each])
    assert kept in (8, 9)
    assert [each for each in failures if each] == [30] * kept
    # Nobody counted before the history: no measurement is not a zero.
    assert failures[0] is None
    assert told(await values(metrics, INSIGHTS, "requests/count", "Count", **asked))[:3] == [100, 100, 100]
    milliseconds = told(await values(metrics, INSIGHTS, "requests/duration", "Average", **asked))
    assert 150 <= milliseconds[0] <= 250
    five = {"timespan": span(15 * MINUTE), "interval": "PT5M"}
    assert sum(told(await values(metrics, SITE, "Requests", "Total", **five))) == kept * 100 + 2 * 50
    whole = await values(metrics, SITE, "Requests", "Total", timespan=span(15 * MINUTE), interval="FULL")
    assert whole == [kept * 100 + 2 * 50]


async def test_minutes_begin_where_clocks_say_and_the_grain_is_told(arm):
    query = {"api-version": "2018-01-01", "timespan": "2026-01-01T10:03:20Z/2026-01-01T10:12:00Z", "interval": "PT5M"}
    answer = (await arm.ask("GET", f"{SITE}/providers/microsoft.insights/metrics", query=query)).json()
    stamps = [each["timeStamp"] for each in answer["value"][0]["timeseries"][0]["data"]]
    assert stamps == ["2026-01-01T10:00:00Z", "2026-01-01T10:05:00Z", "2026-01-01T10:10:00Z"]
    assert (answer["interval"], answer["namespace"], answer["resourceregion"]) == (
        "PT5M",
        "Microsoft.Web/sites",
        "eastus",
    )


async def test_the_faults_of_measuring(metrics, control):
    control.break_("metrics-history", requests=100, minutes=4)
    control.break_("metrics-missing", metric="Http5xx")
    assert told(await values(metrics, SITE, "Http5xx", "Total")) == []
    assert sum(told(await values(metrics, SITE, "Requests", "Total"))) > 0
    control.break_("metrics-missing")
    assert told(await values(metrics, SITE, "Requests", "Total")) == []
    control.repair("metrics-missing")
    control.break_("metrics-lag", seconds=150)
    late = await values(metrics, SITE, "Requests", "Total", timespan=span(4 * MINUTE))
    assert late[-1] is None
    assert 100 in late


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"metricnames": "Requests,Nosuch"},
            "Failed to find metric configuration for provider: Microsoft.Web, resource",
        ),
        ({"interval": "PT2M"}, "Detected invalid time grain input: PT2M"),
        ({"timespan": "yesterday"}, "Invalid timespan"),
        ({"timespan": "2026-01-02T00:00:00Z/2026-01-01T00:00:00Z"}, "must be less than the end time"),
        ({"timespan": "2026-01-01T00:00:00Z/2026-02-01T00:00:00Z"}, "too long for the time grain"),
        ({"metricnamespace": "Microsoft.Nosuch/sites"}, "for query parameter: 'metricnamespace'"),
        ({"aggregation": "Sum"}, "does not support requested aggregation: Sum"),
    ],
)
async def test_a_query_that_makes_no_sense_is_told_in_azures_words(metrics, options, message):
    with pytest.raises(HttpResponseError, match=message) as refused:
        await metrics.metrics.list(SITE, **{"metricnames": "Requests", "interval": "PT1M", **options})
    assert refused.value.status_code == 400


async def test_a_component_counts_and_does_not_total(metrics):
    with pytest.raises(HttpResponseError, match="supported ones are: Count"):
        await values(metrics, INSIGHTS, "requests/count", "Total")
    with pytest.raises(ResourceNotFoundError):
        await values(metrics, f"{COMPONENT}/nosuch", "requests/count", "Count")
    assert await values(metrics, INSIGHTS, "requests/count", "Count", timespan=LONG_AGO) == [None]


async def test_metrics_are_described(metrics):
    found = {each.name.value: each async for each in metrics.metric_definitions.list(SLOT)}
    assert {"Requests", "Http5xx", "HttpResponseTime"} <= found.keys()
    assert found["HttpResponseTime"].unit == "Seconds"
    assert found["Requests"].metric_availabilities[0].time_grain == timedelta(minutes=1)
    component = [each async for each in metrics.metric_definitions.list(INSIGHTS)]
    assert [each.name.value for each in component] == ["requests/count", "requests/failed", "requests/duration"]


async def test_the_component_is_shown_and_listed(arm):
    shown = (await arm.ask("GET", INSIGHTS)).json()
    assert shown["properties"]["Application_Type"] == "web"
    assert (await arm.ask("GET", COMPONENT)).json()["value"] == [shown]
    dev = COMPONENT.replace(GROUP, "fundrbolt-dev-rg")
    assert (await arm.ask("GET", dev)).json()["value"] == []
    assert (await arm.ask("GET", f"{dev}/fundrbolt-production-insights")).status_code == 404


def test_the_book_survives_and_old_seconds_become_minutes(tmp_path):
    series, book = platform("app", "production"), Book(Folder(tmp_path))
    instant = int(datetime.now(UTC).timestamp())
    old, very_old = instant - instant % 60 - 3600, instant - 30 * 24 * 3600
    book.count(series, 500, 0.5)
    book.write_minute(series, old + 30, Tally(requests=7))
    book.write_minute(series, very_old, Tally(requests=7))
    book.save()
    again = Book(Folder(tmp_path))
    newest = Tally(requests=1, http5xx=1, seconds=0.5, longest=0.5, shortest=0.5)
    assert again.read(series, instant - 60, instant + 60, instant + 60) == newest
    assert again.read(series, old, old + 1, instant).requests == 7
    assert again.read(series, very_old - 60, very_old + 60, instant).requests == 0
    again.clear()
    assert again.read(series, 0, instant + 60, instant + 60).requests == 0
