"""What `rollback doctor` says of one thing."""

from collections.abc import Awaitable
from dataclasses import dataclass

from rollback.errors import RollbackError

GOOD, MISSING, HINT = "✓", "✗", "–"


@dataclass(frozen=True)
class Check:
    """One line: what was found, and for a lack what to do."""

    mark: str
    text: str
    remedy: str = ""


def lack(error: RollbackError) -> Check:
    """What an error says is missing."""
    return Check(MISSING, error.message, error.remedy)


async def check(work: Awaitable[None], good: str) -> Check:
    """Whether something can be done, by an error of ours or none."""
    try:
        await work
    except RollbackError as error:
        return lack(error)
    return Check(GOOD, good)
