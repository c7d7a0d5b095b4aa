"""Play the users of the Fundrbolt API, and count what they get.

A request that fails stays failed: nothing is retried, because users would have seen it. That is why this is httpx:
aiohttp's client silently sends an idempotent request again when a pooled connection turns out to be dead.
"""

import argparse
import asyncio
import contextlib
import json
import random
import signal
import sys
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, NoReturn, Self, TextIO

import httpx

VERSION_HEADER = "X-Fundrbolt-Version"
MOST_SECONDS = 600.0
MOST_RATE = 200.0
ANSWER_WITHIN_SECONDS = 10.0
"""A user has left by then: from the click to the last byte, waiting for a connection included."""
GRACE_SECONDS = 1.0
"""How long requests on their way may take at the end; what is still open then is not counted."""
SETTLED_AFTER = 20
"""So many answers in a row from one version mean that users are served by that version only."""


class Sample(NamedTuple):
    """One request and what came of it."""

    started: datetime
    seconds: float
    status: int | None
    """None: no answer."""
    version: str | None
    reason: str | None
    """Why there was no answer: the kind of the error."""


class Accepted(NamedTuple):
    """One donation that a user was told is recorded: it must not be lost."""

    answered: datetime
    id: int
    amount_cents: int
    created_at: str
    """By the clock of the API's database."""


@dataclass(frozen=True)
class Counts:
    """What users got. `ok`, `errors` and `no_answer` add up to `requests`."""

    requests: int
    ok: int
    """Answers below 400."""
    errors: dict[int, int]
    """Answers from 400 on, by status."""
    no_answer: int
    no_answer_reasons: dict[str, int]
    by_version: dict[str, int]
    """All answers that name a version, good and bad ones."""
    latency_ms_p50: float | None
    """Of the answers; None without any."""
    latency_ms_p95: float | None

    @property
    def failed(self) -> int:
        """Requests that a user would call failed."""
        return self.requests - self.ok


def count(samples: Sequence[Sample]) -> Counts:
    """Sum the samples up."""
    answered = [sample for sample in samples if sample.status is not None]
    errors = Counter(sample.status for sample in answered if sample.status is not None and sample.status >= 400)
    latencies = sorted(sample.seconds * 1000 for sample in answered)
    return Counts(
        requests=len(samples),
        ok=len(answered) - errors.total(),
        errors=dict(sorted(errors.items())),
        no_answer=len(samples) - len(answered),
        no_answer_reasons=dict(Counter(sample.reason for sample in samples if sample.reason is not None)),
        by_version=dict(sorted(Counter(sample.version for sample in answered if sample.version is not None).items())),
        latency_ms_p50=percentile(latencies, 50),
        latency_ms_p95=percentile(latencies, 95),
    )


def percentile(values: Sequence[float], percent: int) -> float | None:
    """The nearest-rank percentile of sorted values, to a tenth."""
    return round(values[max(0, -(-len(values) * percent // 100) - 1)], 1) if values else None


class Traffic:
    """Users, as an asynchronous context manager: they come on entry and leave at its end, or after `duration` seconds.

    `rate` is requests a second, whatever the answers take, with at most `concurrency` under way: users beyond that
    do not come, and are counted in `held_back`. Proxy and certificate authorities are those of the environment on
    construction (HTTPS_PROXY, NO_PROXY, SSL_CERT_FILE). Samples stay in memory, which `rate` and `duration` bound.
    """

    def __init__(
        self,
        url: str,
        *,
        rate: float = 20.0,
        concurrency: int = 20,
        duration: float = MOST_SECONDS,
        seed: int | None = None,
    ) -> None:
        check_bounds(url, rate, concurrency, duration)
        self.held_back = 0
        self.samples: list[Sample] = []
        self.accepted: list[Accepted] = []
        self._rate, self._duration, self._concurrency = rate, duration, concurrency
        self._chance = random.Random(seed)
        self._sessions: deque[str] = deque(maxlen=50)
        self._open: set[asyncio.Task[None]] = set()
        self._arrivals: asyncio.Task[None] | None = None
        self._news = asyncio.Condition()
        self._streak_first: Sample | None = None
        self._streak_length = 0
        self._client = httpx.AsyncClient(
            base_url=url,
            timeout=None,  # noqa: S113 - one limit for the whole request, in _request
            limits=httpx.Limits(max_connections=concurrency, max_keepalive_connections=concurrency),
            headers={"User-Agent": "fundrbolt-users"},
        )

    async def __aenter__(self) -> Self:
        self._arrivals = asyncio.create_task(self._arrive())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if self._arrivals is not None:
                await cancel([self._arrivals])
            if self._open:
                await asyncio.wait(self._open, timeout=GRACE_SECONDS)
            await cancel(list(self._open))
        finally:
            await self._client.aclose()

    async def finished(self) -> None:
        """Return when `duration` is over."""
        if self._arrivals is not None:
            await asyncio.wait([self._arrivals])

    def counts(self, since: datetime | None = None) -> Counts:
        """What users got so far; with `since` (aware), of the requests that started from then on."""
        return count([sample for sample in self.samples if since is None or sample.started >= since])

    async def wait_until_served_only_by(self, version: str, timeout: float) -> datetime:  # noqa: ASYNC109 - a caller gets told what users got instead
        """Return when the last `SETTLED_AFTER` requests were all answered by `version`, whatever the status.

        The result is the instant at which the first request of that unbroken row started: from then on users had
        `version`. TimeoutError after `timeout` seconds, with what users got in the meantime.
        """
        begun = datetime.now(UTC)

        def settled() -> datetime | None:
            first = self._streak_first
            enough = first is not None and first.version == version and self._streak_length >= SETTLED_AFTER
            return first.started if first is not None and enough else None

        try:
            async with asyncio.timeout(timeout), self._news:
                while (since := settled()) is None:
                    await self._news.wait()
        except TimeoutError:
            got = sentence(self.counts(begun), timeout)
            raise TimeoutError(f"users are not served only by {version}; meanwhile: {got}") from None
        return since

    async def _arrive(self) -> None:
        clock = asyncio.get_running_loop().time
        end = clock() + self._duration
        due = clock()
        while due < end:
            await asyncio.sleep(max(0.0, due - clock()))
            if len(self._open) < self._concurrency:
                user = asyncio.create_task(self._request())
                self._open.add(user)
                user.add_done_callback(self._open.discard)
            else:
                self.held_back += 1
            # After a stall nobody arrives twice: the rate is a limit too.
            due = max(due + 1 / self._rate, clock() - 1 / self._rate)

    async def _request(self) -> None:
        method, path, body = self._choose()
        started, clock = datetime.now(UTC), asyncio.get_running_loop().time
        begun = clock()
        status, version, reason = None, None, None
        try:
            async with asyncio.timeout(ANSWER_WITHIN_SECONDS):
                answer = await self._client.request(method, path, json=body)
        except (httpx.HTTPError, OSError) as error:
            reason = type(error).__name__
        else:
            status, version = answer.status_code, answer.headers.get(VERSION_HEADER)
            if status == 201:
                self._remember(path, answer)
        await self._record(Sample(started, clock() - begun, status, version, reason))

    def _choose(self) -> tuple[str, str, dict[str, object] | None]:
        """What the next user does. Most of them look; some give."""
        choice = self._chance.random()
        if choice < 0.5:
            return "GET", "/api/v1/donations", None
        if choice < 0.7:
            donation: dict[str, object] = {
                "amount_cents": self._chance.randint(100, 50_000),
                "currency": "USD",
                "donor": "A. Donor",
            }
            return "POST", "/api/v1/donations", donation
        if choice < 0.85 and self._sessions:
            return "GET", f"/api/v1/sessions/{self._chance.choice(self._sessions)}", None
        return "POST", "/api/v1/sessions", {}

    def _remember(self, path: str, answer: httpx.Response) -> None:
        with contextlib.suppress(ValueError, KeyError, TypeError):
            made = answer.json()
            if path == "/api/v1/sessions":
                self._sessions.append(str(made["id"]))
            else:
                accepted = Accepted(datetime.now(UTC), int(made["id"]), int(made["amount_cents"]), made["created_at"])
                self.accepted.append(accepted)

    async def _record(self, sample: Sample) -> None:
        self.samples.append(sample)
        if self._streak_first is None or self._streak_first.version != sample.version:
            self._streak_first, self._streak_length = sample, 0
        self._streak_length += 1
        async with self._news:
            self._news.notify_all()


def check_bounds(url: str, rate: float, concurrency: int, duration: float) -> None:
    """ValueError, naming the value, for what is not a number of users this machine should play."""
    try:
        understood = httpx.URL(url).scheme in ("http", "https") and httpx.URL(url).host
    except httpx.InvalidURL:
        understood = False
    if not understood:
        raise ValueError(f"the URL must look like https://HOST, not {url!r}")
    for name, value, most in (
        ("rate", rate, MOST_RATE),
        ("concurrency", concurrency, 100),
        ("duration", duration, 3600),
    ):
        if not 0 < value <= most:
            raise ValueError(f"the {name} must be above 0 and at most {most:g}, not {value:g}")


async def cancel(tasks: Sequence[asyncio.Task[Any]]) -> None:
    """Cancel the tasks and wait until they have ended."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def sentence(counts: Counts, seconds: float) -> str:
    """The counts as one line for people."""

    def listed(pairs: dict[str, int] | dict[int, int]) -> str:
        return ", ".join(f"{name}: {number}" for name, number in pairs.items())

    failed = f" ({listed(counts.errors)})" if counts.errors else ""
    reasons = f" ({listed(counts.no_answer_reasons)})" if counts.no_answer_reasons else ""
    latency = (
        "" if counts.latency_ms_p50 is None else f"; p50 {counts.latency_ms_p50} ms, p95 {counts.latency_ms_p95} ms"
    )
    return (
        f"{counts.requests} requests in {seconds:.1f} s: {counts.ok} ok, {sum(counts.errors.values())} errors{failed}, "
        f"{counts.no_answer} without an answer{reasons}; served by {listed(counts.by_version) or 'nobody'}{latency}"
    )


async def play(traffic: Traffic, interval: float, out: TextIO, accepted: TextIO | None = None) -> str:
    """Play users until their time is over or SIGTERM or SIGINT comes; every `interval` seconds write a line to `out`.

    The last line of `out` is the summary; the result says the same to people. `accepted` gets a line for each donation
    that was answered 201.
    """
    told_to_end = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told_to_end.set)
    begun, started, written, due = loop.time(), datetime.now(UTC), 0, loop.time()
    given = 0

    def write(line: dict[str, object]) -> None:
        nonlocal given
        out.write(json.dumps(line) + "\n")
        out.flush()
        if accepted is not None:
            news = [{**each._asdict(), "answered": iso(each.answered)} for each in traffic.accepted[given:]]
            accepted.writelines(json.dumps(each) + "\n" for each in news)
            accepted.flush()
            given += len(news)

    async with traffic:
        endings = [asyncio.create_task(told_to_end.wait()), asyncio.create_task(traffic.finished())]
        while not any(ending.done() for ending in endings):
            due += interval
            await asyncio.wait(endings, timeout=max(0.0, due - loop.time()), return_when=asyncio.FIRST_COMPLETED)
            write({"t": iso(datetime.now(UTC)), **asdict(count(traffic.samples[written:]))})
            written = len(traffic.samples)
        await cancel(endings)
    if traffic.samples[written:]:
        write({"t": iso(datetime.now(UTC)), **asdict(count(traffic.samples[written:]))})
    seconds, counts = loop.time() - begun, traffic.counts()
    span = {"from": iso(started), "to": iso(datetime.now(UTC)), "seconds": round(seconds, 1)}
    write({"summary": {**span, **asdict(counts), "held_back": traffic.held_back}})
    return sentence(counts, seconds)


def iso(moment: datetime) -> str:
    """ISO 8601 in UTC, to the millisecond."""
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


class OneLineParser(argparse.ArgumentParser):
    """Says what is wrong in one line, and ends with status 2."""

    def error(self, message: str) -> NoReturn:
        """End."""
        self.exit(2, f"{self.prog}: {message}; --help explains\n")


def read_options(arguments: Sequence[str] | None) -> tuple[OneLineParser, argparse.Namespace]:
    """The command line."""
    parser = OneLineParser(
        prog="python -m sandbox.traffic",
        description="Play the users of the Fundrbolt API: they list and make donations, open and read sessions. "
        "No request is ever retried. Proxy and certificate authorities come from HTTPS_PROXY, NO_PROXY, SSL_CERT_FILE.",
        epilog="FILE gets one JSON object a line and interval: t (end of the interval, UTC), requests, ok, errors (by "
        "status), no_answer, no_answer_reasons, by_version, latency_ms_p50, latency_ms_p95; and at the end one object "
        "whose only key is summary. SIGTERM and Ctrl-C end it early, with the summary.",
    )
    parser.add_argument("--url", required=True, help="for example https://fundrbolt-production-api.azurewebsites.net")
    parser.add_argument("--out", required=True, type=Path, metavar="FILE", help="where the counts go; overwritten")
    parser.add_argument(
        "--accepted",
        type=Path,
        metavar="FILE",
        help="gets one JSON object for each donation that was answered 201: answered (UTC), id, amount_cents, "
        "created_at; overwritten",
    )
    parser.add_argument(
        "--rate", type=float, default=20.0, help=f"requests a second, at most {MOST_RATE:g} (%(default)g)"
    )
    parser.add_argument("--duration", type=float, default=MOST_SECONDS, metavar="S", help="seconds (%(default)g)")
    parser.add_argument("--interval", type=float, default=1.0, metavar="S", help="seconds a line (%(default)g)")
    parser.add_argument("--concurrency", type=int, default=20, help="most requests under way at once (%(default)s)")
    parser.add_argument("--seed", type=int, help="makes the users' choices repeatable")
    return parser, parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run. Failing requests are what is measured: the status is 0 with them too; 2 when nothing could be measured."""
    parser, options = read_options(arguments)
    if not options.interval > 0:
        parser.error("the interval must be above 0")
    try:
        traffic = Traffic(
            options.url,
            rate=options.rate,
            concurrency=options.concurrency,
            duration=options.duration,
            seed=options.seed,
        )
    except ValueError as error:
        parser.error(str(error))
    except OSError as error:
        parser.error(f"cannot load the certificate authorities of SSL_CERT_FILE: {error.strerror}")
    try:
        with contextlib.ExitStack() as files:
            out = files.enter_context(options.out.open("w", encoding="utf-8"))
            accepted = options.accepted and files.enter_context(options.accepted.open("w", encoding="utf-8"))
            sys.stdout.write(asyncio.run(play(traffic, options.interval, out, accepted)) + "\n")
    except OSError as error:
        parser.error(f"cannot write {error.filename}: {error.strerror}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
