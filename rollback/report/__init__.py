"""A run told to people: markdown for Prefect's artifacts, and one HTML file that needs nothing else."""

from collections.abc import Sequence
from datetime import timedelta
from functools import cache
from typing import TYPE_CHECKING, Any

from rollback.journal import Journal, StepRecord
from rollback.outcomes import EndState
from rollback.plans import Plan
from rollback.runs import Outcome, RunHeader

if TYPE_CHECKING:
    from jinja2 import Environment

MARK = {
    EndState.PLANNED: "📋",
    EndState.ROLLED_BACK: "✅",
    EndState.ALREADY_THERE: "✅",
    EndState.NOT_VERIFIED: "⚠️",
    EndState.REFUSED: "⛔",
    EndState.NOTHING_CHANGED: "❌",
    EndState.PART_WAY: "❌",
    EndState.OUTCOME_UNKNOWN: "❓",
    EndState.DEPLOYED: "✅",
    EndState.DEPLOYED_NOT_VERIFIED: "⚠️",
    EndState.TAKEN_BACK: "❌",
    EndState.CANCELLED: "⏹️",
}


def seconds(duration: timedelta | None) -> str:
    """A duration for people: `0.4 s`, `41 s`, `3 min 05 s`."""
    if duration is None:
        return "–"
    total = duration.total_seconds()
    if total < 10:
        return f"{total:.1f} s"
    return f"{total:.0f} s" if total < 120 else f"{total // 60:.0f} min {total % 60:02.0f} s"


def step_rows(journal: Journal) -> list[dict[str, str]]:
    """The steps as rows of a table."""
    return [
        {
            "Step": step.title,
            "State": step.state,
            "Started (UTC)": f"{step.started_at:%H:%M:%S}",
            "Took": seconds(step.duration),
            "of which Azure": seconds(timedelta(seconds=step.azure_seconds)) if step.azure_seconds else "",
            "Evidence": " · ".join(step.notes),
        }
        for step in journal.steps()
    ]


def azure_seconds(steps: Sequence[StepRecord]) -> float:
    """How much of all steps' time Azure itself took."""
    return sum(step.azure_seconds or 0.0 for step in steps)


def plan_markdown(plan: Plan) -> str:
    """The plan as an artifact."""
    return _templates().get_template("plan.md.j2").render(plan=plan)


def outcome_markdown(outcome: Outcome) -> str:
    """The outcome as an artifact."""
    return _templates().get_template("outcome.md.j2").render(outcome=outcome, mark=MARK[outcome.end_state])


def html(header: RunHeader, plan: Plan | None, journal: Journal, outcome: Outcome) -> str:
    """The whole run as one HTML page, without a script and without the network."""
    context: dict[str, Any] = {
        "header": header,
        "plan": plan,
        "steps": journal.steps(),
        "outcome": outcome,
    }
    return _templates().get_template("report.html.j2").render(**context)


@cache
def _templates() -> "Environment":
    from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

    templates = Environment(
        loader=PackageLoader("rollback"),
        autoescape=select_autoescape(enabled_extensions=("html.j2",)),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters["seconds"] = seconds
    return templates
