"""An event loop in whose time nobody waits: for tests of what waits, without servers."""

import asyncio
import selectors
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")


class LeapingSelector(selectors.DefaultSelector):
    """Waits for nothing: the time that a loop wants to wait is over at once."""

    leapt = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if not ready:
            self.leapt += timeout or 0.0
        return ready


class LeapingLoop(asyncio.SelectorEventLoop):
    """An event loop whose clock leaps from one waiting task to the next."""

    def __init__(self) -> None:
        self._leaping = LeapingSelector()
        super().__init__(self._leaping)

    def time(self) -> float:
        return self._leaping.leapt


def leaping(work: Callable[[], Awaitable[T]]) -> T:
    """Do the work in a loop of its own."""

    async def main() -> T:
        return await work()

    with asyncio.Runner(loop_factory=LeapingLoop) as runner:
        return runner.run(main())
