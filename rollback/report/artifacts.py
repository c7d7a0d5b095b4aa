"""A run in Prefect's pages: markdown, a table and a picture."""

from collections.abc import Sequence

from rollback.plans import Plan, PlannedStep
from rollback.report import charts, templates, timeline_chart
from rollback.report.story import Story
from rollback.report.words import MARK, for_seconds, seconds


def plan_markdown(plan: Plan, steps: Sequence[PlannedStep] | None = None) -> str:
    """The plan; `steps`: those of the plan, with how long each should take."""
    return templates.get("plan.md.j2").render(plan=plan, steps=plan.steps() if steps is None else steps)


def outcome_markdown(story: Story) -> str:
    """How the run ended."""
    return templates.get("outcome.md.j2").render(story=story, outcome=story.outcome, mark=MARK[story.outcome.end_state])


def step_rows(story: Story) -> list[dict[str, str]]:
    """The steps as rows of a table."""
    return [
        {
            "Step": bar.title,
            "State": bar.state,
            "Started (UTC)": f"{bar.start:%H:%M:%S}",
            "Took": seconds(bar.end - bar.start),
            "Expected": for_seconds(bar.expected_seconds),
            "Waiting for Azure": for_seconds(bar.azure_seconds or None),
            "What was seen": " · ".join(entry.text for entry in story.lines_of(bar)),
        }
        for bar in story.timeline.bars
    ] + [
        {
            "Step": step.title,
            "State": "not done",
            "Started (UTC)": "–",
            "Took": "–",
            "Expected": for_seconds(step.expected_seconds),
            "Waiting for Azure": "–",
            "What was seen": step.detail,
        }
        for step in story.timeline.not_done
    ]


def timeline_image(story: Story) -> str:
    """The timeline as a `data:` address of an SVG; empty where there is none or it cannot be drawn."""
    if not story.timeline.bars:
        return ""
    try:
        svg = timeline_chart.draw(story.timeline, charts.FIXED, width=charts.WIDE, name="timeline")
    except charts.UNDRAWN:
        return ""
    return charts.as_image(svg)
