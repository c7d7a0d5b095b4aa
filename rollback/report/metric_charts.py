"""Error rate and latency, minute by minute, before, during and after a run."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from statistics import fmean

from rollback.measurements import Measurements, Minute
from rollback.report import charts
from rollback.report.charts import Palette, Spec

MINUTE = timedelta(minutes=1)
TICK_MINUTES = (1, 2, 5, 10, 15, 30, 60, 120, 360)
HEIGHT = 150
UNKNOWN = "not measured"


@dataclass(frozen=True)
class Quantity:
    """One of the two things that are drawn."""

    name: str
    unit: str
    value: Callable[[Minute], float | None]
    least_top: float
    """The axis reaches up to this at least, so that noise near zero does not look like a mountain."""


ERRORS = Quantity("Error rate", "% of requests", lambda minute: error_percent([minute]), least_top=5)
LATENCY = Quantity("Latency", "ms on average", lambda minute: minute.latency_ms, least_top=100)


def error_percent(minutes: Sequence[Minute]) -> float | None:
    """The share of failed requests; none where it is not known or nobody asked."""
    known = [(each.requests, each.failed) for each in minutes if each.requests and each.failed is not None]
    requests = sum(count for count, _ in known)
    return 100 * sum(failed for _, failed in known) / requests if requests else None


def rows(measured: Measurements, start: datetime, end: datetime) -> list[tuple[str, str, str, str]]:
    """Phase, requests, error rate and latency, before, during and after the run."""
    minutes = measured.minutes
    phases = [
        ("Before", [each for each in minutes if each.at + MINUTE <= start]),
        ("During", [each for each in minutes if each.at + MINUTE > start and each.at < end]),
        ("After", [each for each in minutes if each.at >= end]),
    ]
    return [(name, *_figures(found)) for name, found in phases]


def _figures(minutes: Sequence[Minute]) -> tuple[str, str, str]:
    requests = [each.requests for each in minutes if each.requests is not None]
    latencies = [each.latency_ms for each in minutes if each.latency_ms is not None]
    errors = error_percent(minutes)
    return (
        f"{sum(requests):.0f}" if requests else UNKNOWN,
        UNKNOWN if errors is None else f"{errors:.1f} %",
        f"{fmean(latencies):.0f} ms" if latencies else UNKNOWN,
    )


def is_known(measured: Measurements | None, quantity: Quantity) -> bool:
    """Whether there is anything to draw."""
    return measured is not None and any(quantity.value(minute) is not None for minute in measured.minutes)


def draw(
    measured: Measurements,
    quantity: Quantity,
    palette: Palette,
    *,
    start: datetime,
    end: datetime,
    width: int,
    name: str,
) -> str:
    """The picture as an `<svg>` element; raises what `charts.draw` raises."""
    return charts.draw(
        _spec(measured, quantity, palette, start, end, width),
        palette,
        name=name,
        title=f"{quantity.name}, {quantity.unit}",
        description=_description(measured, quantity),
    )


def _description(measured: Measurements, quantity: Quantity) -> str:
    told = [(minute, quantity.value(minute)) for minute in measured.minutes]
    return "; ".join(f"{minute.at:%H:%M} {UNKNOWN if value is None else f'{value:.1f}'}" for minute, value in told)


def _spec(
    measured: Measurements, quantity: Quantity, palette: Palette, start: datetime, end: datetime, width: int
) -> Spec:
    first = min(start, *(minute.at for minute in measured.minutes))
    last = max(end, *(minute.at + MINUTE for minute in measured.minutes))
    known = _every_minute(measured, quantity, last)
    top = max([quantity.least_top, *(1.15 * value for _, value in known if value is not None)])
    across: Spec = {
        "type": "temporal",
        "scale": {"type": "utc", "domain": [_stamp(first), _stamp(last)], "nice": False},
        "axis": {"format": "%H:%M", "title": "UTC", "grid": False, "values": _ticks(first, last, width // 80)},
    }
    upward: Spec = {
        "type": "quantitative",
        "scale": {"domain": [0, top], "nice": False},
        "axis": {"title": None, "tickCount": 4, "domain": False, "ticks": False, "minExtent": 34, "maxExtent": 34},
    }
    colour = palette.bad if quantity is ERRORS else palette.ours
    return {
        "width": width - 40,
        "height": HEIGHT,
        "layer": [
            _unknown(known, palette, across, last),
            _run(palette, across, start, end),
            *_curve(known, colour, {"x": {"field": "at", **across}, "y": {"field": "value", **upward}}),
            *_marks(measured, palette, across, first, last),
        ],
    }


def _curve(known: list[tuple[datetime, float | None]], colour: str, encoding: Spec) -> list[Spec]:
    """What was measured: a line that breaks where nothing is known, and a point a minute with its value in words."""
    line = [
        {
            "at": _stamp(at + MINUTE / 2),
            "value": value,
            "words": f"{at:%H:%M}: {value:.1f}" if value is not None else "",
        }
        for at, value in known
    ]
    drawn = {
        "type": "line",
        "aria": False,
        "invalid": "break-paths-show-domains",
        "color": colour,
        "strokeWidth": 2,
    }
    return [
        {"data": {"values": line}, "mark": drawn, "encoding": encoding},
        {
            "data": {"values": [each for each in line if each["value"] is not None]},
            "mark": {"type": "point", "filled": True, "size": 28, "color": colour},
            "encoding": {**encoding, "description": {"field": "words"}},
        },
    ]


def _ticks(first: datetime, last: datetime, most: int) -> list[str]:
    """Whole minutes, so far apart that their labels do not touch."""
    step = next((each for each in TICK_MINUTES if (last - first) / (each * MINUTE) <= most), TICK_MINUTES[-1])
    at = first.replace(minute=first.minute - first.minute % min(step, 60), second=0, microsecond=0)
    ticks: list[str] = []
    while at <= last:
        ticks += [_stamp(at)] if at >= first else []
        at += step * MINUTE
    return ticks


def _stamp(at: datetime) -> str:
    return f"{at:%Y-%m-%dT%H:%M:%S.%fZ}"


def _band(values: list[Spec], colour: str, across: Spec, opacity: float) -> Spec:
    return {
        "data": {"values": values},
        "mark": {"type": "rect", "color": colour, "opacity": opacity},
        "encoding": {
            "x": {"field": "from", **across},
            "x2": {"field": "to"},
            "y": {"value": 0},
            "y2": {"value": HEIGHT},
            "description": {"field": "words"},
        },
    }


def _run(palette: Palette, across: Spec, start: datetime, end: datetime) -> Spec:
    value = {"from": _stamp(start), "to": _stamp(end), "words": "while the run was at work"}
    return _band([value], palette.azure, across, 0.22)


def _every_minute(measured: Measurements, quantity: Quantity, last: datetime) -> list[tuple[datetime, float | None]]:
    """Each minute with its value; those of which Azure did not tell at all are unknown too."""
    told = {minute.at: quantity.value(minute) for minute in measured.minutes}
    at = measured.minutes[0].at
    found: list[tuple[datetime, float | None]] = []
    while at < last:
        found.append((at, told.get(at)))
        at += MINUTE
    return found


def _unknown(known: Sequence[tuple[datetime, float | None]], palette: Palette, across: Spec, last: datetime) -> Spec:
    values = [
        {"from": _stamp(at), "to": _stamp(min(at + MINUTE, last)), "words": f"{at:%H:%M}: {UNKNOWN}"}
        for at, value in known
        if value is None
    ]
    return _band(values, palette.band, across, 1)


def _marks(measured: Measurements, palette: Palette, across: Spec, first: datetime, last: datetime) -> list[Spec]:
    rule: Spec = {"type": "rule", "color": palette.ink, "strokeDash": [4, 3]}
    text: Spec = {"type": "text", "baseline": "top", "color": palette.ink, "aria": False}
    layers: list[Spec] = []
    for number, mark in enumerate(measured.marks):
        values = [{"at": _stamp(mark.at), "text": mark.text, "words": f"{mark.at:%H:%M:%S}: {mark.text}"}]
        x = {"field": "at", **across}
        # One under the other: instants of one run are close together.
        inwards = (
            {"align": "right", "dx": -4} if (mark.at - first) / (last - first) > 0.8 else {"align": "left", "dx": 4}
        )
        below = {**text, **inwards, "dy": 2 + 14 * number}
        layers += [
            {"data": {"values": values}, "mark": rule, "encoding": {"x": x, "description": {"field": "words"}}},
            {
                "data": {"values": values},
                "mark": below,
                "encoding": {"x": x, "y": {"value": 0}, "text": {"field": "text"}},
            },
        ]
    return layers
