"""What clients had deleted, command by command: so that tests can show that nothing was deleted twice."""

from collections import defaultdict
from typing import Literal

from pydantic import BaseModel

from sandbox.clock import now
from sandbox.redis.model import CacheFlush

DELETING = ("DEL", "UNLINK", "GETDEL", "EXPIRE", "PEXPIRE", "EVAL", "EVALSHA", "FCALL", "FLUSHALL", "FLUSHDB")
"""Commands that can take keys away."""
FLUSHES: dict[str, Literal["FLUSHALL", "FLUSHDB"]] = {"FLUSHALL": "FLUSHALL", "FLUSHDB": "FLUSHDB"}


class Calls(BaseModel):
    """How often a command came, and with how many arguments in all."""

    calls: int = 0
    arguments: int = 0


class Deletions:
    """Since the last reset, as far as it came through the front or over Azure Resource Manager."""

    def __init__(self) -> None:
        self.flushes: list[CacheFlush] = []
        self._calls: defaultdict[str, defaultdict[str, Calls]] = defaultdict(lambda: defaultdict(Calls))

    def clear(self) -> None:
        """Begin anew."""
        self.flushes.clear()
        self._calls.clear()

    def note(self, cache: str, name: str, arguments: int) -> None:
        """A client sent a command."""
        if name in FLUSHES:
            self.note_flush(cache, FLUSHES[name])
        if name in DELETING:
            counted = self._calls[cache][name]
            counted.calls += 1
            counted.arguments += arguments

    def note_flush(self, cache: str, how: Literal["FLUSHALL", "FLUSHDB", "azure"]) -> None:
        """Everything goes."""
        self.flushes.append(CacheFlush(time=now(), cache=cache, how=how))

    def calls(self, cache: str) -> dict[str, Calls]:
        """By command."""
        return dict(self._calls[cache])
