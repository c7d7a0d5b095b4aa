"""A run in Prefect's pages, as markdown: there tables are not wrapped and an image artifact shows its whole address."""

from collections.abc import Sequence

from rollback.plans import Plan, PlannedStep
from rollback.report import charts, templates, timeline_chart
from rollback.report.story import Story
from rollback.report.words import MARK


def plan_markdown(plan: Plan, steps: Sequence[PlannedStep] | None = None) -> str:
    """The plan; `steps`: those of the plan, with how long each should take."""
    return templates.get("plan.md.j2").render(plan=plan, steps=plan.steps() if steps is None else steps)


def outcome_markdown(story: Story) -> str:
    """How the run ended."""
    return templates.get("outcome.md.j2").render(story=story, outcome=story.outcome, mark=MARK[story.outcome.end_state])


def steps_markdown(story: Story) -> str:
    """The steps as a picture, a table, and with what was seen in each."""
    return templates.get("steps.md.j2").render(
        story=story, timeline=_timeline(story), critical_path=timeline_chart.critical_path(story.timeline)
    )


def _timeline(story: Story) -> str:
    """The picture as a `data:` address; empty where there is none or it cannot be drawn."""
    if not story.timeline.bars:
        return ""
    try:
        svg = timeline_chart.draw(story.timeline, charts.FIXED, width=charts.WIDE, name="timeline")
    except charts.UNDRAWN:
        return ""
    return charts.as_image(svg)
