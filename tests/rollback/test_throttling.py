from rollback.throttling import READS_LEFT, RESERVE, Throttle, retry_after


def test_a_refused_request_counts_the_wait_that_it_names() -> None:
    throttle = Throttle()
    throttle.learn(429, {"Retry-After": "2.5"})
    throttle.learn(200, {"Retry-After": "30"})
    assert throttle.waited_seconds == 2.5


def test_reads_slow_down_below_the_reserve_and_not_above() -> None:
    throttle = Throttle()
    throttle.learn(200, {READS_LEFT: str(RESERVE)})
    assert throttle.pause_seconds() == 0
    throttle.learn(200, {READS_LEFT: "0"})
    assert throttle.pause_seconds() == 1


def test_an_answer_that_tells_nothing_slows_nothing_down() -> None:
    throttle = Throttle()
    throttle.learn(200, {})
    assert throttle.pause_seconds() == 0


def test_a_retry_after_in_another_form_is_not_taken_for_a_number() -> None:
    assert retry_after("Wed, 21 Oct 2026 07:28:00 GMT", 5) == 5
