"""One pass over every key of a server: SCAN without MATCH, looked at here, and what is found taken out on the way.

A SCAN that goes from beginning to end returns every key that is there all the while. So what is found afterwards under
a name that was taken out, or was not seen, has been made since: that is how new keys are told from old ones without
remembering a single name. It holds for one process of the server, and as long as no slot moves.

Measured (`benchmarks/cache_clearing.py`): pages of 500, the next of which is asked for before one is looked at.
"""

from collections import Counter, defaultdict, deque
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field

from rollback.cache.patterns import Patterns, number_of
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
        wanted, guards = self.wanted.match, self.guards.match
        found = [(key, match) for key in page if (match := wanted(key))]
        kept = [match for key, _ in found if (match := guards(key))]
        if kept:
            found = [each for each in found if not guards(each[0])]
        matched, spared = Counter(number_of(match) for _, match in found), Counter(map(number_of, kept))
        return Chosen(len(page), [key for key, _ in found], matched, spared)


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


@dataclass
class Batch:
    """A page's keys that are on their way out, and where the pass is once they are."""

    chosen: Chosen
    commands: int
    after: Position


async def unlink(
    primary: Primary, choice: Choice, position: Position, tally: Tally, before_batch: Callable[[], None]
) -> None:
    """Go on with a pass from its position, and take every key out that is meant.

    `before_batch` is called right before each batch is sent. The position moves when the server has answered: where an
    error is raised the pass can be gone on with, and at most two batches are sent again.
    """
    if position.finished:
        return
    sent = deque[Batch]()
    async with primary.server.exchange() as exchange:

        async def settle() -> None:
            batch = sent.popleft()
            tally.add(batch.chosen, sum([await exchange.read() for _ in range(batch.commands)]))
            position.cursor, position.finished = batch.after.cursor, batch.after.finished

        await exchange.send(("SCAN", position.cursor, "COUNT", PAGE))
        last = False
        while not last:
            # Answers come in order, and the newest batch went out behind the SCAN whose answer is due.
            if len(sent) == 2:
                await settle()
            following, page = await exchange.read()
            last = int(following) == BEGINNING
            if not last:
                await exchange.send(("SCAN", following, "COUNT", PAGE))
            # While the server looks for the next page.
            chosen = choice.split(page)
            commands = _unlinks(chosen.meant, by_slot=bool(primary.slots))
            if commands:
                before_batch()
                await exchange.send(*commands)
            sent.append(Batch(chosen, len(commands), Position(int(following), finished=last)))
        while sent:
            await settle()


def _unlinks(keys: Page, *, by_slot: bool) -> list[Command]:
    """The commands that take keys out: one, or one for each slot."""
    from redis.crc import key_slot

    if not by_slot:
        return [("UNLINK", *keys)] if keys else []
    slots: defaultdict[int, Page] = defaultdict(list)
    for key in keys:
        slots[key_slot(key)].append(key)
    return [("UNLINK", *each) for each in slots.values()]
