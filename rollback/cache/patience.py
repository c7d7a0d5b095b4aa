"""How long a cache that is away is waited for: a failover takes seconds, as a rule."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from rollback.errors import CacheMoved, CacheUnreachable, RollbackError

T = TypeVar("T")

FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.2, 5.0


@dataclass
class Patience:
    """Some time; where something moves on it begins anew."""

    seconds: float
    _since: float | None = None
    _pauses: int = 0

    async def wait(self, error: RollbackError, *, moved_on: bool) -> None:
        """Wait a while, longer each time; raises the error where the time is over."""
        clock = time.monotonic()
        if moved_on or self._since is None:
            self._since, self._pauses = clock, 0
        if clock - self._since >= self.seconds:
            raise error
        await asyncio.sleep(min(FIRST_PAUSE_SECONDS * 2**self._pauses, LONGEST_PAUSE_SECONDS))
        self._pauses += 1


async def patiently(seconds: float, look: Callable[[], Awaitable[T]]) -> T:
    """What a look at the cache, which changes nothing, comes to; from the beginning where a server is away."""
    patience = Patience(seconds)
    while True:
        try:
            return await look()
        except (CacheUnreachable, CacheMoved) as error:
            await patience.wait(error, moved_on=False)
