"""Whether any key is left that was there when the deletion began; what is new since is counted, and said.

A second pass, which only looks. What a whole pass took out, or did not see, has been made since (see `scanning.py`), as
long as the same server processes have the same slots. Beside that proof each server is asked how long a key was idle: a
key idle for longer than since the beginning is an old one, wherever it came from. It says nothing of keys in use, and
nothing at all where the server evicts by frequency of use.
"""

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime

from rollback.cache.clearing import Clearing
from rollback.cache.patience import Patience
from rollback.cache.planning import choice_of
from rollback.cache.plans import CLEAR, ClearCachePlan
from rollback.cache.scanning import Choice, Page, pages
from rollback.cache.topology import Primary, Topology
from rollback.context import Run
from rollback.errors import CacheMoved, CacheUnreachable, NotVerified
from rollback.journal import Event
from rollback.models import now
from rollback.side_by_side import side_by_side

SLACK_SECONDS = 3
"""A server counts idle time in whole seconds, by a clock of its own that it renews ten times a second."""
AGAIN = "Run clear-cache again: it is safe to repeat."


@dataclass
class Seen:
    """What a look found."""

    new: Counter[str] = field(default_factory=Counter[str])
    """Keys that match, by pattern."""
    old: int = 0
    """Of these, idle since before the beginning."""
    asked: int = 0
    """Of how many keys the server told."""


async def verify_keys(run: Run, plan: ClearCachePlan, clearing: Clearing | None) -> None:
    """Raise `NotVerified` where a key is left that was there, or where that cannot be known."""
    began = _began(run)
    topology, seen = await _look_patiently(run, plan, began)
    if clearing is not None and clearing.identity != topology.identity:
        raise NotVerified(
            "The cache failed over after the keys were deleted: what its replica had not heard of may be there again.",
            remedy=AGAIN,
        )
    if seen.old:
        raise NotVerified(f"{seen.old:,} keys are left that were there before.", remedy=AGAIN)
    fresh = sum(seen.new.values())
    told = ", ".join(f"{keys:,} of {pattern}" for pattern, keys in seen.new.items())
    run.results.append(("New keys since", f"{fresh:,}" + (f": {told}" if told else "")))
    since = f"{began:%H:%M:%S} UTC"
    run.evidence.append(f"no key is left that was there at {since}{plan.but_kept}, by another look at every key")
    if fresh:
        how = f"; none of the {seen.asked:,} that the server told of was idle for longer" if seen.asked else ""
        run.evidence.append(f"{fresh:,} keys are new since then, as users come back{how}")
    for each in run.evidence:
        run.note(each)


async def _look_patiently(run: Run, plan: ClearCachePlan, began: datetime) -> tuple[Topology, Seen]:
    """Look at every key; where a server is away it is waited for, and all is looked at again."""
    cache = await run.cache()
    patience = Patience(run.settings.cache(plan.environment).away_seconds)
    while True:
        seen, choice = Seen(), choice_of(plan)
        try:
            topology = await cache.find()
            await side_by_side(_look(each, choice, seen, began) for each in topology.primaries)
        except (CacheUnreachable, CacheMoved) as error:
            try:
                await patience.wait(error, moved_on=False)
            except (CacheUnreachable, CacheMoved) as lasting:
                raise NotVerified(f"What is left is not known: {lasting.message}", remedy=AGAIN) from lasting
        else:
            return topology, seen


def _began(run: Run) -> datetime:
    """When this run, by its first try, began to delete."""
    starts = (each.at for each in run.journal.entries if (each.event, each.step) == (Event.STEP_STARTED, CLEAR))
    return next(starts, now())


async def _look(primary: Primary, choice: Choice, seen: Seen, began: datetime) -> None:
    async for page in pages(primary.server):
        chosen = choice.split(page)
        for number, keys in chosen.matched.items():
            seen.new[choice.wanted.patterns[number]] += keys
        for idle in await _idle_seconds(primary, chosen.meant):
            seen.asked += 1
            seen.old += idle > (now() - began).total_seconds() + SLACK_SECONDS


async def _idle_seconds(primary: Primary, keys: Page) -> list[int]:
    """How long each key was not used, for those that the server tells of."""
    if not keys:
        return []
    answers = await primary.server.ask_each([("OBJECT", "IDLETIME", key) for key in keys])
    return [each for each in answers if each is not None]
