"""Whether production turned bad after a deployment: our own probes and Azure's metrics against what was before."""

from enum import Enum, auto

from rollback.metrics import Measured
from rollback.models import Model
from rollback.probes import Tally
from rollback.settings import Watch

LEAST_FAILURES = 3
"""Fewer may be chance."""
WORSE_THAN_BEFORE = 1.5
"""A share of failures that much above the one before is worse, not noise."""


class Verdict(Enum):
    """What the measurements say."""

    GOOD = auto()
    BAD = auto()
    UNKNOWN = auto()


class Judgement(Model):
    """A verdict and why, in words."""

    verdict: Verdict
    why: str


def judge_probes(tally: Tally, limits: Watch) -> Judgement:
    """The verdict of our own requests."""
    failed, asked = len(tally.bad), len(tally.answers)
    if failed >= LEAST_FAILURES and failed / asked > limits.most_failing_share:
        return Judgement(verdict=Verdict.BAD, why=f"{failed} of {asked} requests of ours failed: {tally.bad[0]}")
    if asked == 0:
        return Judgement(verdict=Verdict.UNKNOWN, why="no requests of ours are configured")
    return Judgement(verdict=Verdict.GOOD, why=f"{tally.good} of {asked} requests of ours were good")


def judge_metrics(before: Measured, after: Measured, limits: Watch) -> Judgement:
    """The verdict of Azure's metrics: bad above the limit and clearly above what was before."""
    share, requests = after.failing_share, after.requests
    if share is None or requests is None or requests < limits.least_requests:
        return Judgement(verdict=Verdict.UNKNOWN, why=f"the metrics since the swap are not known enough: {after}")
    limit = max(limits.most_failing_share, (before.failing_share or 0.0) * WORSE_THAN_BEFORE)
    if share > limit and share * requests >= LEAST_FAILURES:
        return Judgement(verdict=Verdict.BAD, why=f"{after}; before: {before}")
    return Judgement(verdict=Verdict.GOOD, why=f"{after}; before: {before}")
