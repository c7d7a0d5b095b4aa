"""A run told to people: artifacts for Prefect's pages, and one HTML file that needs nothing else."""

from rollback.report.artifacts import outcome_markdown, plan_markdown, steps_markdown
from rollback.report.page import html
from rollback.report.story import Story, tell
from rollback.report.words import MARK, seconds

__all__ = ["MARK", "Story", "html", "outcome_markdown", "plan_markdown", "seconds", "steps_markdown", "tell"]
