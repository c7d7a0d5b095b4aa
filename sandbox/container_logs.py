"""What the containers of a slot wrote, and what the platform says about them: one log for each slot."""

import asyncio
from collections import defaultdict, deque
from collections.abc import AsyncGenerator
from pathlib import Path

from sandbox.clock import now

Place = tuple[str, str]
"""Site and slot."""

MOST_LINES = 1000
MOST_BYTES = 2 * 1024 * 1024


class ContainerLogs:
    """The last lines of each slot, kept across restarts of the sandbox, and followed as they come."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lines: dict[Place, deque[str]] = {}
        self._followers: defaultdict[Place, set[asyncio.Queue[str]]] = defaultdict(set)

    def platform(self, place: Place, level: str, message: str) -> None:
        """A line of the platform's own, such as `INFO` and `Pulling image: …`."""
        self._write(place, f"{_stamp()} {level:<5} - {message}")

    def app(self, place: Place, line: str) -> None:
        """A line that the app wrote."""
        self._write(place, f"{_stamp()} {line}")

    def last(self, place: Place) -> list[str]:
        """The newest lines, oldest first."""
        return list(self._of(place))

    async def follow(self, place: Place) -> AsyncGenerator[str]:
        """Each line from now on. Ends when the caller stops to ask."""
        queue = asyncio.Queue[str]()
        self._followers[place].add(queue)
        try:
            while True:
                yield await queue.get()
        finally:
            self._followers[place].discard(queue)

    def clear(self) -> None:
        """Forget everything."""
        for file in self._folder.glob("*.log"):
            file.unlink()
        self._lines.clear()

    def _of(self, place: Place) -> deque[str]:
        if place not in self._lines:
            file = self._file(place)
            kept = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
            self._lines[place] = deque(kept, MOST_LINES)
        return self._lines[place]

    def _write(self, place: Place, line: str) -> None:
        lines, file = self._of(place), self._file(place)
        lines.append(line)
        self._folder.mkdir(mode=0o700, exist_ok=True)
        grown = file.exists() and file.stat().st_size > MOST_BYTES
        with file.open("w" if grown else "a", encoding="utf-8") as output:
            output.writelines(f"{each}\n" for each in (lines if grown else [line]))
        for queue in self._followers[place]:
            queue.put_nowait(line)

    def _file(self, place: Place) -> Path:
        return self._folder / f"{'.'.join(place)}.log"


def _stamp() -> str:
    return f"{now().isoformat(timespec='milliseconds').removesuffix('+00:00')}Z"
