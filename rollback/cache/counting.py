"""How many keys would go: counted one by one, or from a sample, and which of the two is said.

A server's SCAN goes through its hash table, whose order is keyed at random when it starts: the keys that it returns
first are a sample by chance. In a cluster it goes slot by slot, where they are none: there every key is looked at.
"""

import math
from collections import Counter
from dataclasses import dataclass, field

from rollback.cache.patterns import Patterns
from rollback.cache.scanning import Choice, Page, pages
from rollback.cache.topology import Primary, Topology
from rollback.models import Model
from rollback.side_by_side import side_by_side

SAMPLE_KEYS = 20_000
SIGMAS = 1.96
"""Of a normal distribution, for 95 %."""
RULE_OF_THREE = 3
"""None among n: with 95 % confidence fewer than 3/n of all."""


class Count(Model):
    """How many keys there are of a kind."""

    what: str
    """A pattern."""
    number: int
    """Of keys."""
    margin: int | None = None
    """With 95 % confidence it is so many more or fewer; none where each was counted."""

    @property
    def words(self) -> str:
        """For people."""
        return f"{self.number:,}" if self.margin is None else f"about {self.number:,} ± {self.margin:,}"


@dataclass
class Counted:
    """What was seen of the keys."""

    total: int
    """By DBSIZE."""
    scanned: int = 0
    sampled: bool = False
    """Whether there were more, which were not looked at."""
    matched: Counter[str] = field(default_factory=Counter[str])
    """To be deleted, by pattern."""
    spared: Counter[str] = field(default_factory=Counter[str])
    """Kept from the patterns, by what is declared."""
    noticed: Counter[str] = field(default_factory=Counter[str])
    """To be deleted, by pattern of the effects."""
    unnoticed: Counter[str] = field(default_factory=Counter[str])
    """To be deleted and in none of these, by pattern."""

    def estimate(self, what: str, seen: int) -> Count:
        """How many there are in all."""
        if not self.sampled:
            return Count(what=what, number=seen)
        share = seen / self.scanned
        spread = SIGMAS * math.sqrt(share * (1 - share) / self.scanned) if seen else RULE_OF_THREE / self.scanned
        return Count(what=what, number=round(share * self.total), margin=math.ceil(spread * self.total))

    @property
    def words(self) -> str:
        """How it was counted, for people."""
        if self.sampled:
            return f"a sample of {self.scanned:,} of {self.total:,} keys, ± with 95 % confidence"
        return f"a full scan of {self.scanned:,} keys"


async def count(topology: Topology, choice: Choice, effects: Patterns, sample_above: int) -> Counted:
    """Look at the keys, all primaries side by side; nothing is changed."""
    counted = Counted(total=topology.keys)
    may_stop = counted.total > sample_above and not topology.clustered

    def see(page: Page) -> None:
        chosen = choice.split(page)
        counted.scanned += chosen.scanned
        for number, keys in chosen.matched.items():
            counted.matched[choice.wanted.patterns[number]] += keys
        for number, keys in chosen.spared.items():
            counted.spared[choice.guards.patterns[number]] += keys
        for key in chosen.meant:
            effect = effects.find(key)
            if effect is None:
                counted.unnoticed[choice.wanted.patterns[choice.wanted.find(key) or 0]] += 1
            else:
                counted.noticed[effects.patterns[effect]] += 1

    async def look(primary: Primary) -> None:
        async for page in pages(primary.server):
            if may_stop and counted.scanned >= SAMPLE_KEYS:
                counted.sampled = True
                return
            see(page)

    await side_by_side(look(each) for each in topology.primaries)
    return counted
