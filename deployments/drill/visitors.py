"""Visitors of the website in a drill: each opens the page anew and sees whether it can show the donations.

Run as a program (`python -m deployments.drill.visitors FILE`) it goes on until it is ended, one line of JSON a visit.
It asks as users do, for whatever a cache may have, and calls what the script that it was given calls: not what the
platform file says of it.
"""

import json
import re
import ssl
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from http.client import HTTPException
from pathlib import Path
from typing import NamedTuple
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from pydantic import BaseModel

from deployments.drill.users import LOOK_SECONDS, WITHIN_SECONDS, UsersNotServed
from deployments.local_platform import LocalPlatform

PUBLIC_URL = "https://www.fundrbolt.com"
EVERY_SECONDS = 0.4
TIMEOUT_SECONDS = 10.0
GOOD_VISITS = 5
"""In a row, with the good release: users have it."""
ENOUGH_BROKEN = 5
"""Before anybody would call for a rollback."""
_SCRIPT = re.compile(r'<script src="(?P<path>[^"]+)"')
_API = re.compile(r'"(?P<host>https://[\w.-]+)"')
_CALL = re.compile(r'"(?P<path>/api/[^"]+)"')


class Visit(BaseModel):
    """What one visitor got."""

    t: datetime
    version: str = ""
    """Which the site tells; empty where it did not."""
    problem: str = ""
    """Why the page did not work; empty where it did."""

    def is_good(self, release: str) -> bool:
        """Whether the page worked, and is this release's."""
        return not self.problem and self.version == release


class Visitors:
    """The program that visits, and what it has noted so far."""

    def __init__(self, platform: LocalPlatform) -> None:
        self._file = platform.folder / "visits.jsonl"
        self._file.touch()
        platform.start("visitors", "-m", "deployments.drill.visitors", str(self._file))

    def visits(self) -> list[Visit]:
        """Every visit so far."""
        lines = self._file.read_text(encoding="utf-8").splitlines(keepends=True)
        return [Visit.model_validate_json(line) for line in lines if line.endswith("\n")]

    def wait(self, condition: Callable[[list[Visit]], bool], what: str) -> None:
        """Return when the visits so far fulfil the condition; raises `UsersNotServed` when time is over."""
        deadline = time.monotonic() + WITHIN_SECONDS
        while not condition(self.visits()):
            if time.monotonic() > deadline:
                raise UsersNotServed(f"Within {WITHIN_SECONDS:g} s {what}: {told(self.visits()[-GOOD_VISITS:])}.")
            time.sleep(LOOK_SECONDS)


def all_good(seen: list[Visit], release: str, since: datetime) -> bool:
    """Whether the latest visitors since an instant all got a release that works."""
    latest = [each for each in seen if each.t > since][-GOOD_VISITS:]
    return len(latest) == GOOD_VISITS and all(each.is_good(release) for each in latest)


def broken(seen: Iterable[Visit]) -> int:
    """For how many visitors the page did not work."""
    return sum(bool(each.problem) for each in seen)


def told(visits: Iterable[Visit]) -> str:
    """What visitors got, in words."""
    seen = list(visits)
    bad = broken(seen)
    worked = f"{bad} got a page that does not work ({bad / len(seen):.0%})" if bad else "the page worked for all"
    versions = Counter(each.version or "nobody" for each in seen)
    served = ", ".join(f"{number} by {version}" for version, number in sorted(versions.items()))
    return f"{len(seen)} visitors, {worked}; served {served or 'by nobody'}"


def main_problem(visits: Iterable[Visit]) -> str:
    """What most of those met for whom the page did not work."""
    problems = Counter(each.problem for each in visits if each.problem)
    return problems.most_common(1)[0][0] if problems else ""


class _Answer(NamedTuple):
    body: str
    allowed_origin: str


class _BrokenError(Exception):
    """A visitor did not get something; says what."""


def _get(url: str, context: ssl.SSLContext, origin: str = "") -> _Answer:
    request = Request(url, headers={"Origin": origin} if origin else {})  # noqa: S310 - addresses of https only
    place = f"{urlsplit(url).netloc}{urlsplit(url).path}"
    try:
        with urlopen(request, timeout=TIMEOUT_SECONDS, context=context) as response:  # noqa: S310 - the same
            body = response.read().decode(errors="replace")
            return _Answer(body, response.headers.get("Access-Control-Allow-Origin", ""))
    except HTTPError as error:
        with error:
            raise _BrokenError(f"{place} is answered {error.code}") from error
    except (OSError, HTTPException) as error:
        raise _BrokenError(f"{place} gives no answer ({type(error).__name__})") from error


def _found(pattern: re.Pattern[str], text: str, what: str) -> str:
    if found := pattern.search(text):
        return found[1]
    raise _BrokenError(f"there is no {what}")


def visit(url: str, context: ssl.SSLContext) -> Visit:
    """Open the page as a browser does: the page, its version, its script, and what the script calls."""
    at, version = datetime.now(UTC), ""
    try:
        page = _get(f"{url}/", context).body
        version = str(json.loads(_get(f"{url}/version.json", context).body)["version"])
        script = _get(f"{url}{_found(_SCRIPT, page, 'script in its page')}", context).body
        call = _found(_API, script, "API in its script") + _found(_CALL, script, "call in its script")
        answer = _get(f"{call}?limit=5", context, origin=url)
        if answer.allowed_origin not in {url, "*"}:
            raise _BrokenError(f"a browser refuses {call}, which is not for {url} (CORS)")  # noqa: TRY301 - as above
        if not json.loads(answer.body)["donations"]:
            raise _BrokenError(f"{call} has no donations")  # noqa: TRY301 - as above
    except (_BrokenError, ValueError, KeyError) as error:
        return Visit(t=at, version=version, problem=str(error))
    return Visit(t=at, version=version)


def _go_on_visiting(file: Path) -> None:
    context = ssl.create_default_context()
    with file.open("a", encoding="utf-8") as notes:
        while True:
            began = time.monotonic()
            notes.write(f"{visit(PUBLIC_URL, context).model_dump_json()}\n")
            notes.flush()
            time.sleep(max(EVERY_SECONDS - (time.monotonic() - began), 0))


if __name__ == "__main__":
    _go_on_visiting(Path(sys.argv[1]))
