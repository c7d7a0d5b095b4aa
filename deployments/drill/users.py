"""The users of the platform in a drill: the traffic generator, and what it has counted so far."""

import json
import time
from collections import Counter
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any

from pydantic import BaseModel

from deployments.local_platform import LocalPlatform
from rollback.errors import Permanent

PUBLIC_URL = "https://api.fundrbolt.com"
INTERVAL_SECONDS = 0.5
GOOD_INTERVALS = 4
"""In a row with answers from the good release only, and none of them an error: users are served by it."""
ENOUGH_ERRORS = 5
"""Seen by users, before anybody would call for a rollback."""
WITHIN_SECONDS = 60.0
LOOK_SECONDS = 0.1
REQUESTS_A_SECOND = 12.0


class Interval(BaseModel):
    """What users got in half a second."""

    t: datetime
    requests: int
    ok: int
    by_version: dict[str, int]

    def is_good(self, release: str) -> bool:
        """Whether all answers were good, and from this release."""
        return self.requests == self.ok and set(self.by_version) == {release}


class Accepted(BaseModel):
    """A donation that a user was told is recorded."""

    id: int
    amount_cents: int
    created_at: datetime


class UsersNotServed(Permanent):
    """Users did not get what they should in time."""


class Users:
    """The traffic generator, and what it has counted so far."""

    def __init__(self, platform: LocalPlatform) -> None:
        self._file = platform.folder / "traffic.jsonl"
        self._file.touch()
        self._accepted = platform.folder / "accepted.jsonl"
        self._accepted.touch()
        options = ["--url", PUBLIC_URL, "--interval", str(INTERVAL_SECONDS), "--rate", str(REQUESTS_A_SECOND)]
        files = ["--out", str(self._file), "--accepted", str(self._accepted)]
        platform.start("traffic", "-m", "sandbox.traffic", *options, *files)

    def intervals(self) -> list[Interval]:
        """Every interval so far."""
        lines = self._file.read_text(encoding="utf-8").splitlines(keepends=True)
        documents: list[dict[str, Any]] = [json.loads(line) for line in lines if line.endswith("\n")]
        return [Interval.model_validate(each) for each in documents if "t" in each]

    def accepted(self) -> list[Accepted]:
        """Every donation so far that a user was told is recorded."""
        lines = self._accepted.read_text(encoding="utf-8").splitlines(keepends=True)
        return [Accepted.model_validate_json(line) for line in lines if line.endswith("\n")]

    def wait(self, condition: Callable[[list[Interval]], bool], what: str) -> None:
        """Return when the intervals so far fulfil the condition; raises `UsersNotServed` when time is over."""
        deadline = time.monotonic() + WITHIN_SECONDS
        while not condition(self.intervals()):
            if time.monotonic() > deadline:
                raise UsersNotServed(f"Within {WITHIN_SECONDS:g} s {what}: {told(self.intervals()[-GOOD_INTERVALS:])}.")
            time.sleep(LOOK_SECONDS)


def fail_enough(seen: list[Interval]) -> bool:
    """Whether users have seen enough errors to call for a rollback."""
    return failed(seen) >= ENOUGH_ERRORS


def failed(seen: Iterable[Interval]) -> int:
    """How many requests failed."""
    return sum(each.requests - each.ok for each in seen)


def all_good(seen: list[Interval], release: str, since: datetime | None = None) -> bool:
    """Whether users are served by a release: the latest intervals (since an instant) are all good."""
    latest = [each for each in seen if since is None or each.t > since][-GOOD_INTERVALS:]
    return len(latest) == GOOD_INTERVALS and all(each.is_good(release) for each in latest)


def told(intervals: Iterable[Interval]) -> str:
    """What users got, in words."""
    seen = list(intervals)
    requests, bad = sum(each.requests for each in seen), failed(seen)
    versions: Counter[str] = Counter()
    for each in seen:
        versions.update(each.by_version)
    share = f"{bad} failed ({bad / requests:.0%})" if bad else "none failed"
    served = ", ".join(f"{number} by {version}" for version, number in sorted(versions.items()))
    return f"{requests} requests, {share}; answered {served or 'by nobody'}"
