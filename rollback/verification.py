"""Whether users get what they should, seen from outside, within a time limit.

First the health pages until they are right several times in a row (instances may lag behind a swap), then one batch of
real requests, all of which must be good; a second batch, twice as large, is the only second chance: asking until it
happens to look good would prove nothing.
"""

import asyncio
from collections import Counter
from collections.abc import Iterable

from rollback.models import Model
from rollback.probes import Answer, Prober, Tally
from rollback.settings import Probes

PAUSE_SECONDS = 0.3
"""Between two rounds of health pages."""
MOST_TOLD = 3
"""Different problems of one host, in words."""
RULE_OF_THREE = 3
"""n requests without an error: with 95 % confidence fewer than 3/n of all fail."""


class Verified(Model):
    """What was found at one host: evidence in words, and problems in words; no problem means good."""

    host: str
    evidence: tuple[str, ...]
    problems: tuple[str, ...]

    @property
    def good(self) -> bool:
        """Whether users get what they should."""
        return not self.problems


async def verify_host(prober: Prober, probes: Probes, release: str | None, within_seconds: float) -> Verified:
    """Ask one host until it is shown to be right, or the time is over; `release` is what it should say it is."""
    rounds: list[Tally] = []
    try:
        async with asyncio.timeout(within_seconds):
            await _wait_until_healthy(prober, probes, release, rounds)
            return await _ask_batches(prober, probes, release, len(rounds))
    except TimeoutError:
        problems = _problems(rounds[-1:], probes, release) or [f"not shown to be right within {within_seconds:g} s"]
        return Verified(host=prober.host, evidence=(), problems=tuple(problems))


async def _wait_until_healthy(prober: Prober, probes: Probes, release: str | None, rounds: list[Tally]) -> None:
    good_in_a_row = 0
    while True:
        rounds.append(await prober.ask_health())
        good_in_a_row = 0 if _problems(rounds[-1:], probes, release) else good_in_a_row + 1
        if good_in_a_row == probes.in_a_row:
            return
        await asyncio.sleep(PAUSE_SECONDS)


async def _ask_batches(prober: Prober, probes: Probes, release: str | None, rounds: int) -> Verified:
    health = f"health pages right {probes.in_a_row} times in a row (of {rounds})"
    if not probes.requests:
        return Verified(host=prober.host, evidence=(health, "no real requests are configured"), problems=())
    first = await prober.ask_requests(probes.count)
    problems = _problems([first], probes, release)
    told = [health, f"real requests: {first}"]
    if problems:
        second = await prober.ask_requests(probes.count * 2)
        problems = _problems([second], probes, release)
        told.append(f"asked again: {second}")
    if not problems:
        told.append(
            f"{probes.count} without an error: with 95 % confidence under {RULE_OF_THREE / probes.count:.0%} fail"
        )
    return Verified(host=prober.host, evidence=tuple(told), problems=tuple(problems))


def _problems(tallies: Iterable[Tally], probes: Probes, release: str | None) -> list[str]:
    answers = [answer for tally in tallies for answer in tally.answers]
    if cached := [each for each in answers if each.cached]:
        return [f"{cached[0]}: what users get there is not known; purge the cache"]
    failed = Counter(str(each) for each in answers if not each.good)
    problems = [f"{text} ({times} of {len(answers)})" for text, times in failed.most_common(MOST_TOLD)]
    if release is None or problems:
        return problems
    return _wrong_version(answers, probes, release)


def _wrong_version(answers: list[Answer], probes: Probes, release: str) -> list[str]:
    told = {each.version for each in answers if each.version}
    if told - {release}:
        return [f"the app says it is {', '.join(sorted(told))}, not {release}"]
    if probes.version.header or probes.version.path:
        return [] if told else ["the app does not say which release it is, though the platform file tells where"]
    return []
