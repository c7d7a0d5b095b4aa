"""One pass over every key of a server: SCAN without MATCH, looked at here, and what is found taken out on the way.

A SCAN that goes from beginning to end returns every key that is there all the while. So what is found afterwards under
a name that was taken out, or was not seen, has been made since: that is how new keys are told from old ones without
remembering a single name. It holds for one process of the server, and as long as no slot moves.

Measured (`benchmarks/cache_clearing.py`): pages of 500, and the UNLINK of one page sent with the SCAN of the next.
"""

from collections import Counter, defaultdict
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field
from typing import Any

from rollback.cache.patterns import Patterns
from rollback.cache.servers import Command, Server
from rollback.cache.topology import Primary

PAGE = 500
BEGINNING = 0

Page = list[bytes]


@dataclass
class Choice:
    """Which keys are meant: those of the patterns, but for those that a guard keeps."""

    wanted: Patterns
    guards: Patterns

    def split(self, page: Page) -> "Chosen":
        """The keys of a page that are meant, and how many each pattern has."""
        chosen = Chosen(scanned=len(page))
        for key in page:
            pattern = self.wanted.find(key)
            if pattern is None:
                continue
            guard = self.guards.find(key)
            if guard is None:
                chosen.meant.append(key)
                chosen.matched[pattern] += 1
            else:
                chosen.spared[guard] += 1
        return chosen


@dataclass
class Chosen:
    """What a choice made of a page."""

    scanned: int = 0
    meant: Page = field(default_factory=list[bytes])
    matched: Counter[int] = field(default_factory=Counter[int])
    """By the number of the pattern."""
    spared: Counter[int] = field(default_factory=Counter[int])
    """By the number of the guard that kept them."""


@dataclass
class Position:
    """How far a pass over one server has come: everything before the cursor is done."""

    cursor: int = BEGINNING
    finished: bool = False


@dataclass
class Tally:
    """What a pass saw and did, on all servers."""

    scanned: int = 0
    deleted: int = 0
    matched: Counter[int] = field(default_factory=Counter[int])
    spared: Counter[int] = field(default_factory=Counter[int])

    def add(self, chosen: Chosen, deleted: int = 0) -> None:
        """Count a page in."""
        self.scanned += chosen.scanned
        self.deleted += deleted
        self.matched += chosen.matched
        self.spared += chosen.spared


async def pages(server: Server) -> AsyncGenerator[Page]:
    """Every page of a server's keys, in its order."""
    cursor = BEGINNING
    while True:
        ((following, page),) = await server.ask(("SCAN", cursor, "COUNT", PAGE))
        yield page
        cursor = int(following)
        if cursor == BEGINNING:
            return


async def unlink(
    primary: Primary, choice: Choice, position: Position, tally: Tally, before_batch: Callable[[], None]
) -> None:
    """Go on with a pass from its position, and take every key out that is meant.

    `before_batch` is called right before each batch is sent. The position moves when the server
    has answered: where an error is raised the pass can be gone on with, and at most one batch is sent again.
    """
    from redis.crc import key_slot

    def commands(keys: Page) -> list[Command]:
        if not primary.slots:
            return [("UNLINK", *keys)] if keys else []
        slots: defaultdict[int, Page] = defaultdict(list)
        for key in keys:
            slots[key_slot(key)].append(key)
        return [("UNLINK", *each) for each in slots.values()]

    cursor, last = position.cursor, position.finished
    pending = Chosen()
    while not position.finished:
        unlinks = commands(pending.meant)
        if unlinks:
            before_batch()
        answers: list[Any] = await primary.server.ask(*unlinks, *([] if last else [("SCAN", cursor, "COUNT", PAGE)]))
        tally.add(pending, sum(answers[: len(unlinks)]))
        position.cursor, position.finished = cursor, last
        if not last:
            following, page = answers[-1]
            pending = choice.split(page)
            cursor = int(following)
            last = cursor == BEGINNING
