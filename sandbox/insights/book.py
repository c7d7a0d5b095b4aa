"""The book of requests: how many, how they ended, how long they took, by second and later by minute."""

import time
from pathlib import Path

from pydantic import BaseModel

from sandbox.folder import Folder

SAVE_SECONDS = 5
RECENT_SECONDS = 15 * 60
"""Younger than this, requests are kept by the second, so that what is not yet published can be left out."""
KEPT_SECONDS = 4 * 24 * 3600
MINUTE = 60


class Tally(BaseModel):
    """Requests of one second, minute or longer."""

    requests: int = 0
    http2xx: int = 0
    http3xx: int = 0
    http4xx: int = 0
    http5xx: int = 0
    seconds: float = 0.0
    """Response times, added up."""
    longest: float = 0.0
    shortest: float = 0.0

    def add(self, other: "Tally") -> None:
        """Both together."""
        self.shortest = (
            min(self.shortest, other.shortest)
            if self.requests and other.requests
            else max(self.shortest, other.shortest)
        )
        self.requests += other.requests
        self.http2xx += other.http2xx
        self.http3xx += other.http3xx
        self.http4xx += other.http4xx
        self.http5xx += other.http5xx
        self.seconds += other.seconds
        self.longest = max(self.longest, other.longest)


def one(status: int, seconds: float) -> Tally:
    """A single request."""
    return Tally(
        requests=1,
        http2xx=int(200 <= status < 300),
        http3xx=int(300 <= status < 400),
        http4xx=int(400 <= status < 500),
        http5xx=int(status >= 500),
        seconds=seconds,
        longest=seconds,
        shortest=seconds,
    )


class Pages(BaseModel):
    """What is written down."""

    series: dict[str, dict[int, Tally]] = {}
    """By series and by second since 1970, of a minute's first second once that is a while ago."""
    watched: list[tuple[float, float]] = []
    """From when till when anybody counted: outside of that, no requests are no measurement."""


def platform(site: str, slot: str) -> str:
    """The series of what the front ends answered."""
    return f"{site}/{slot}"


def telemetry(site: str, slot: str) -> str:
    """The series of what the app itself says it answered."""
    return f"{site}/{slot}#app"


class Book:
    """Counts requests and keeps the counts in one file of the state folder."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder
        self._file: Path = folder.root / "requests.json"
        self._pages = Pages.model_validate_json(self._file.read_text()) if self._file.exists() else Pages()
        self._begun = time.time()
        self._saved = time.time()

    def clear(self) -> None:
        """Begin anew."""
        self._pages, self._begun = Pages(), time.time()
        self.save()

    def count(self, series: str, status: int, seconds: float) -> None:
        """One request has been answered now."""
        self._entry(series, int(time.time())).add(one(status, seconds))
        if time.time() - self._saved > SAVE_SECONDS:
            self.save()

    def write_minute(self, series: str, minute: int, tally: Tally) -> None:
        """Replace what is known of the minute that begins `minute` seconds after 1970."""
        entries = self._pages.series.setdefault(series, {})
        for second in [each for each in entries if minute <= each < minute + MINUTE]:
            del entries[second]
        entries[minute] = tally

    def read(self, series: str, begin: float, end: float, until: float) -> Tally:
        """Requests from `begin` to `end` (without it), as far as they were published at `until`."""
        total = Tally()
        for second, tally in self._pages.series.get(series, {}).items():
            if begin <= second < end and second <= until:
                total.add(tally)
        return total

    def is_watched(self, begin: float, end: float) -> bool:
        """Whether anybody counted within that time."""
        watched = [*self._pages.watched, (self._begun, time.time())]
        return any(first < end and last >= begin for first, last in watched)

    def save(self) -> None:
        """Write the book down."""
        self._saved = time.time()
        for entries in self._pages.series.values():
            _shrink(entries, self._saved)
        watched = [*self._pages.watched, (self._begun, self._saved)]
        pages = Pages(
            series=self._pages.series, watched=[each for each in watched if each[1] > self._saved - KEPT_SECONDS]
        )
        self._folder.write(self._file, pages.model_dump_json())

    def _entry(self, series: str, second: int) -> Tally:
        return self._pages.series.setdefault(series, {}).setdefault(second, Tally())


def _shrink(entries: dict[int, Tally], instant: float) -> None:
    """Old seconds become minutes, very old minutes are forgotten."""
    for second in [each for each in entries if each < instant - RECENT_SECONDS]:
        tally = entries.pop(second)
        if second > instant - KEPT_SECONDS:
            entries.setdefault(second - second % MINUTE, Tally()).add(tally)
