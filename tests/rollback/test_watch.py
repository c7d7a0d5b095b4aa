from datetime import UTC, datetime, timedelta

import pytest

from rollback.measurements import Minute
from rollback.metrics import Measured
from rollback.probes import Answer, Tally
from rollback.settings import Watch
from rollback.watch import Verdict, judge_metrics, judge_probes

LIMITS = Watch(most_failing_share=0.02, least_requests=20)
START = datetime(2026, 1, 1, tzinfo=UTC)


def measured(*minutes: tuple[float | None, float | None]) -> Measured:
    told = [
        Minute(at=START + timedelta(minutes=index), requests=requests, failed=failed)
        for index, (requests, failed) in enumerate(minutes)
    ]
    return Measured(source="a test", minutes=tuple(told))


def tally(good: int, bad: int) -> Tally:
    answers = [Answer(url="https://x", status=200)] * good + [Answer(url="https://x", status=500)] * bad
    return Tally(answers)


@pytest.mark.parametrize(
    ("before", "after", "verdict"),
    [
        pytest.param(measured((1000, 1)), measured((1000, 2)), Verdict.GOOD, id="as before"),
        pytest.param(measured((1000, 1)), measured((1000, 300)), Verdict.BAD, id="one in three fails"),
        pytest.param(measured((1000, 300)), measured((1000, 310)), Verdict.GOOD, id="no worse than before"),
        pytest.param(measured((1000, 100)), measured((1000, 200)), Verdict.BAD, id="twice as bad as before"),
        pytest.param(measured(), measured((1000, 300)), Verdict.BAD, id="bad, whatever was before"),
        pytest.param(measured((1000, 1)), measured(), Verdict.UNKNOWN, id="no metrics"),
        pytest.param(measured((1000, 1)), measured((None, None)), Verdict.UNKNOWN, id="a gap is not zero"),
        pytest.param(measured((1000, 1)), measured((1000, None)), Verdict.UNKNOWN, id="failures unknown"),
        pytest.param(measured((1000, 1)), measured((5, 0)), Verdict.UNKNOWN, id="too few requests tell nothing"),
        pytest.param(measured((1000, 1)), measured((30, 2)), Verdict.GOOD, id="two failures may be chance"),
        pytest.param(measured((1000, 1)), measured((0, 0)), Verdict.UNKNOWN, id="nobody asked"),
    ],
)
def test_the_metrics_verdict(before: Measured, after: Measured, verdict: Verdict) -> None:
    assert judge_metrics(before, after, LIMITS).verdict is verdict


@pytest.mark.parametrize(
    ("good", "bad", "verdict"),
    [
        (60, 0, Verdict.GOOD),
        (58, 2, Verdict.GOOD),
        (57, 3, Verdict.BAD),
        (997, 3, Verdict.GOOD),
        (0, 0, Verdict.UNKNOWN),
    ],
)
def test_the_verdict_of_our_own_requests(good: int, bad: int, verdict: Verdict) -> None:
    assert judge_probes(tally(good, bad), LIMITS).verdict is verdict
