"""A flow's function at work, that can be cancelled once and still tells how it ended."""

import asyncio
from collections.abc import Coroutine
from contextvars import copy_context
from typing import Any

from rollback.context import current
from rollback.journal import Listener
from rollback.runs import Outcome


class FlowAtWork:
    """Runs a flow's function as a task of its own, so that only the function is cancelled and not what waits for it."""

    def __init__(self, function: Coroutine[Any, Any, Any], *listeners: Listener) -> None:
        from tasks.runs import watching

        self._context = copy_context()
        if listeners:
            self._context.run(watching.set, listeners)
        self.task: asyncio.Task[Any] = asyncio.create_task(function, context=self._context)
        self.was_cancelled = False

    def cancel(self) -> bool:
        """Cancel it; false where that was done before: a second one would interrupt how it ends."""
        if self.was_cancelled:
            return False
        self.was_cancelled = True
        self.task.cancel()
        return True

    def outcome(self) -> Outcome | None:
        """How its run ended; none where there was no run yet."""
        try:
            return self._context.run(current).folder.outcome()
        except LookupError:
            return None
