"""The report: one HTML page without a script that needs nothing else, neither network nor fonts."""

import logging
from collections.abc import Callable
from dataclasses import dataclass

from rollback.report import charts, metric_charts, templates, timeline_chart
from rollback.report.charts import NARROW, STYLED, WIDE
from rollback.report.metric_charts import ERRORS, LATENCY, Quantity
from rollback.report.story import Story

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Picture:
    """A chart in its two widths, of which the page shows the one that fits; or why there is none."""

    title: str
    wide: str = ""
    narrow: str = ""
    missing: str = ""


def html(story: Story) -> str:
    """The whole run as one page. A chart that cannot be drawn is said in its place."""
    measured = story.outcome.measurements
    start, end = story.outcome.started_at, story.outcome.ended_at
    return templates.get("report.html.j2").render(
        story=story,
        header=story.header,
        outcome=story.outcome,
        plan=story.plan,
        timeline=_timeline(story),
        critical_path=timeline_chart.critical_path(story.timeline),
        colours=charts.FIXED,
        dark=charts.FIXED_DARK,
        metrics=[_metric(story, ERRORS), _metric(story, LATENCY)],
        measured_after=bool(measured and any(minute.at >= end for minute in measured.minutes)),
        phases=metric_charts.rows(measured, start, end) if measured and measured.minutes else [],
    )


def _timeline(story: Story) -> Picture:
    if not story.timeline.bars:
        return Picture("Timeline", missing="No step was begun.")
    return _picture(
        "Timeline",
        lambda width, name: timeline_chart.draw(story.timeline, STYLED, width=width, name=f"timeline-{name}"),
    )


def _metric(story: Story, quantity: Quantity) -> Picture:
    outcome, measured = story.outcome, story.outcome.measurements
    if measured is None or not metric_charts.is_known(measured, quantity):
        return Picture(quantity.name, missing="Not measured.")

    def draw(width: int, name: str) -> str:
        return metric_charts.draw(
            measured,
            quantity,
            STYLED,
            start=outcome.started_at,
            end=outcome.ended_at,
            width=width,
            name=f"{quantity.name.split()[0].lower()}-{name}",
        )

    return _picture(f"{quantity.name}, {quantity.unit}", draw)


def _picture(title: str, draw: Callable[[int, str], str]) -> Picture:
    from markupsafe import Markup

    try:
        # Drawn by our own library from escaped text.
        wide, narrow = Markup(draw(WIDE, "wide")), Markup(draw(NARROW, "narrow"))  # noqa: S704
    except charts.UNDRAWN as error:
        log.warning("A chart of the report could not be drawn: %s", error)
        return Picture(title, missing=f"This picture could not be drawn ({type(error).__name__}).")
    return Picture(title, wide, narrow)
