"""The users: what they do, and that what they got is counted exactly."""

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from sandbox import traffic
from sandbox.certificates import tls_context
from sandbox.folder import Folder
from sandbox.proxy import ConnectProxy
from sandbox.traffic import Sample, Traffic, count

BARE = {"PATH": os.environ["PATH"]}


@contextlib.contextmanager
def build(release: str, **app_settings: str) -> Iterator[str]:
    """The address of one running build."""
    process = subprocess.Popen(
        [sys.executable, "-m", "sandbox.fundrbolt", "--release", release],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**BARE, **app_settings},
    )
    assert process.stdout is not None
    try:
        yield f"http://127.0.0.1:{process.stdout.readline().split()[-1]}"
    finally:
        process.terminate()
        process.wait(10)
        process.stdout.close()


class Origin:
    """A server in this process, that answers as the test decides."""

    def __init__(self) -> None:
        self.requests: list[web.Request] = []
        self.version = "v1.2.3"
        self.status = 200
        self.drop = False
        self.drop_reused_connections = False
        self.hold: asyncio.Event | None = None
        self.connections: set[asyncio.BaseTransport] = set()

    async def handle(self, request: web.Request) -> web.Response:
        self.requests.append(request)
        assert request.transport is not None
        reused = request.transport in self.connections
        self.connections.add(request.transport)
        if self.hold:
            await self.hold.wait()
        if self.drop or (self.drop_reused_connections and reused):
            request.transport.close()
        return web.json_response({"id": "abc"}, status=self.status, headers={"X-Fundrbolt-Version": self.version})


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "NO_PROXY", "SSL_CERT_FILE"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture
def origin() -> Origin:
    return Origin()


def application(origin: Origin) -> web.Application:
    made = web.Application()
    made.router.add_route("*", "/{path:.*}", origin.handle)
    return made


@pytest.fixture
async def url(origin: Origin) -> AsyncIterator[str]:
    async with TestServer(application(origin)) as server:
        yield str(server.make_url(""))


async def until(reached: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not reached():  # noqa: ASYNC110 - counters, at the pace of requests
            await asyncio.sleep(0.01)


async def until_asked(users: Traffic, requests: int) -> None:
    await until(lambda: len(users.samples) >= requests)


async def test_users_of_a_good_build_get_what_they_ask_for() -> None:
    with build("v1.2.2") as url:
        async with Traffic(url, rate=100, seed=1) as users:
            await until_asked(users, 100)
    counts = users.counts()
    assert (counts.ok, counts.failed, counts.errors, counts.no_answer) == (counts.requests, 0, {}, 0)
    assert counts.by_version == {"v1.2.2": counts.requests}
    assert counts.latency_ms_p50 is not None
    assert counts.latency_ms_p95 is not None
    assert 0 < counts.latency_ms_p50 <= counts.latency_ms_p95


async def test_users_of_the_bad_build_get_its_errors() -> None:
    with build("v1.2.3", FAILURE_SEED="1") as url:
        async with Traffic(url, rate=100, seed=1) as users:
            await until_asked(users, 100)
    counts = users.counts()
    assert list(counts.errors) == [500]
    assert 15 <= counts.errors[500] <= 45
    assert counts.ok + counts.errors[500] == counts.requests == counts.by_version["v1.2.3"]


async def test_users_look_give_and_keep_sessions(url: str, origin: Origin) -> None:
    origin.status = 201
    async with Traffic(url, rate=200, seed=1) as users:
        await until_asked(users, 100)
    asked = {f"{request.method} {request.path}" for request in origin.requests}
    donations = {f"{method} /api/v1/donations" for method in ("GET", "POST")}
    assert asked == donations | {"POST /api/v1/sessions", "GET /api/v1/sessions/abc"}


async def test_connections_are_kept(url: str, origin: Origin) -> None:
    async with Traffic(url, rate=200, concurrency=2) as users:
        await until_asked(users, 50)
    assert len(origin.connections) <= 2


async def test_a_request_whose_kept_connection_breaks_is_counted_and_not_sent_again(url: str, origin: Origin) -> None:
    origin.drop_reused_connections = True
    async with Traffic(url, rate=200, concurrency=1, seed=1) as users:
        await until_asked(users, 20)
    counts = users.counts()
    assert len(origin.requests) == counts.requests
    assert counts.no_answer == counts.requests // 2
    assert counts.no_answer_reasons == {"RemoteProtocolError": counts.no_answer}


async def test_users_come_through_the_proxy_and_trust_the_authorities_of_the_environment(
    origin: Origin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = "fundrbolt-production-api.azurewebsites.net"
    folder = Folder(tmp_path)
    folder.make()
    async with contextlib.AsyncExitStack() as stack:
        server = TestServer(application(origin), scheme="https")
        stack.push_async_callback(server.close)
        await server.start_server(ssl=tls_context(folder, [host]))
        assert server.port is not None
        proxy = ConnectProxy(lambda asked: asked == host, server.port)
        stack.push_async_callback(proxy.stop)
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{await proxy.start(0)}")
        async with Traffic(f"https://{host}", rate=200) as strangers:
            await until_asked(strangers, 3)
        monkeypatch.setenv("SSL_CERT_FILE", str(folder.ca_bundle))
        async with Traffic(f"https://{host}", rate=200) as users:
            await until_asked(users, 10)
        async with Traffic("https://example.com", rate=200) as lost:
            await until_asked(lost, 3)
    assert strangers.counts().no_answer_reasons == {"ConnectError": strangers.counts().requests}
    assert users.counts().ok == users.counts().requests
    assert lost.counts().no_answer_reasons == {"ProxyError": lost.counts().requests}


async def test_nobody_there_is_no_answer_and_no_crash() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        async with Traffic(f"http://127.0.0.1:{silent.getsockname()[1]}", rate=200) as users:
            await until_asked(users, 5)
    counts = users.counts()
    assert (counts.requests, counts.ok) == (counts.no_answer, 0)
    assert counts.no_answer_reasons == {"ConnectError": counts.no_answer}
    assert counts.latency_ms_p50 is None


async def test_an_answer_that_takes_too_long_is_none(url: str, origin: Origin, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(traffic, "ANSWER_WITHIN_SECONDS", 0.05)
    origin.hold = asyncio.Event()
    async with Traffic(url, rate=200, concurrency=1) as users:
        await until_asked(users, 1)
        origin.hold.set()
    assert users.samples[0].status is None
    assert "Timeout" in str(users.samples[0].reason)


async def test_no_more_than_the_agreed_number_is_under_way_and_who_stays_away_is_counted(
    url: str, origin: Origin
) -> None:
    origin.hold = asyncio.Event()
    async with Traffic(url, rate=200, concurrency=3) as users:
        await until(lambda: users.held_back >= 10)
        assert len(origin.requests) == 3
        origin.hold.set()


async def test_users_come_at_the_rate_and_leave_when_the_duration_is_over(url: str) -> None:
    async with asyncio.timeout(10), Traffic(url, rate=100, duration=0.2) as users:
        await users.finished()
    # 20 in 0.2 s at 100 a second; one may be caught up.
    assert 0 < len(users.samples) <= 21


async def test_counts_since_a_moment_leave_out_what_was_asked_before(url: str, origin: Origin) -> None:
    async with Traffic(url, rate=100) as users:
        await until_asked(users, 5)
        moment = datetime.now(UTC)
        await until_asked(users, 15)
        # Now, and not at that moment: some that were asked before it were answered after it.
        before = len([sample for sample in users.samples if sample.started < moment])
        assert before >= 5
        assert users.counts(moment).requests == users.counts().requests - before


async def test_users_are_served_by_one_version_once_a_whole_row_of_them_is(url: str, origin: Origin) -> None:
    async with Traffic(url, rate=200, concurrency=1) as users:
        await until_asked(users, 5)
        waiting = asyncio.create_task(users.wait_until_served_only_by("v1.2.2", 20))
        origin.version = "v1.2.2"
        switched = len(users.samples)
        since = await waiting
        row = [sample for sample in users.samples if sample.started >= since]
        assert {sample.version for sample in row} == {"v1.2.2"}
        assert len(users.samples) - switched >= traffic.SETTLED_AFTER
        first = next(sample for sample in users.samples if sample.version == "v1.2.2")
        assert since == first.started


async def test_one_answer_of_another_version_or_none_begins_the_row_anew(url: str) -> None:
    users = Traffic(url)
    moment = datetime.now(UTC)
    good = Sample(moment, 0.01, 200, "v1.2.2", None)
    for spoiler in (good._replace(version="v1.2.3"), good._replace(status=None, version=None, reason="ReadError")):
        for sample in [good] * (traffic.SETTLED_AFTER - 1) + [spoiler] + [good] * (traffic.SETTLED_AFTER - 1):
            await users._record(sample)
        with pytest.raises(TimeoutError):
            await users.wait_until_served_only_by("v1.2.2", 0.01)
    await users._record(good)
    assert await users.wait_until_served_only_by("v1.2.2", 0.01) == moment
    async with users:
        pass


async def test_users_still_on_the_old_version_are_told_when_the_time_is_over(url: str) -> None:
    async with Traffic(url, rate=100) as users:
        with pytest.raises(TimeoutError, match=r"not served only by v1\.2\.2; meanwhile: .*served by v1\.2\.3: \d+"):
            await users.wait_until_served_only_by("v1.2.2", 0.3)


def test_percentiles_are_those_of_the_nearest_rank() -> None:
    moment = datetime.now(UTC)
    counts = count([Sample(moment, number / 1000, 200, None, None) for number in range(100, 0, -1)])
    assert (counts.latency_ms_p50, counts.latency_ms_p95) == (50.0, 95.0)
    assert count([]).latency_ms_p95 is None


def command(out: Path, url: str, *options: str) -> list[str]:
    return [sys.executable, "-m", "sandbox.traffic", "--url", url, "--out", str(out), "--rate", "100", *options]


def listing(url: str) -> list[dict[str, Any]]:
    """The newest donations; the bad release is asked until it answers."""
    with httpx.Client(base_url=url) as client:
        while (answer := client.get("/api/v1/donations", params={"limit": 100})).status_code != 200:
            pass
    return answer.json()["donations"]


def lines(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.read_text().splitlines()]


def test_the_command_writes_a_line_an_interval_and_a_summary_that_adds_up(tmp_path: Path) -> None:
    out = tmp_path / "users.jsonl"
    with build("v1.2.3", FAILURE_SEED="1") as url:
        ended = subprocess.run(
            command(out, url, "--duration", "1", "--interval", "0.3", "--seed", "1"),
            capture_output=True,
            text=True,
            env=BARE,
            timeout=30,
            check=False,
        )
    assert (ended.returncode, ended.stderr) == (0, "")
    *intervals, last = lines(out)
    summary = last["summary"]
    assert len(intervals) >= 4
    for total in ("requests", "ok", "no_answer"):
        assert sum(line[total] for line in intervals) == summary[total]
    assert sum(line["errors"].get("500", 0) for line in intervals) == summary["errors"]["500"] > 0
    assert summary["by_version"] == {"v1.2.3": summary["requests"]}
    assert all(datetime.fromisoformat(line["t"]).utcoffset() is not None for line in intervals)
    assert ended.stdout.count("\n") == 1
    assert ended.stdout.startswith(f"{summary['requests']} requests in ")


def test_each_donation_that_was_accepted_is_written_down_as_the_api_has_it(tmp_path: Path) -> None:
    out, accepted = tmp_path / "users.jsonl", tmp_path / "accepted.jsonl"
    with build("v1.2.3", FAILURE_SEED="1", DAMAGE_SHARE="0") as url:
        options = ["--duration", "1", "--interval", "0.3", "--seed", "1", "--accepted", str(accepted)]
        subprocess.run(command(out, url, *options), capture_output=True, env=BARE, timeout=30, check=True)
        kept = listing(url)
    told = lines(accepted)
    assert 0 < len(told) < lines(out)[-1]["summary"]["requests"]
    keys = ("id", "amount_cents", "created_at")
    assert sorted([each[key] for key in keys] for each in told) == sorted([each[key] for key in keys] for each in kept)
    assert all(datetime.fromisoformat(each["answered"]).utcoffset() is not None for each in told)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_with_its_summary(tmp_path: Path, number: signal.Signals) -> None:
    out = tmp_path / "users.jsonl"
    with build("v1.2.2") as url:
        process = subprocess.Popen(
            command(out, url, "--interval", "0.05"),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=BARE,
        )
        while process.poll() is None and not (out.exists() and out.read_text()):
            pass
        process.send_signal(number)
        said, _ = process.communicate(timeout=20)
    assert process.returncode == 0
    assert " requests in " in said
    assert "summary" in lines(out)[-1]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--url", "ftp://host"], "the URL must look like https://HOST, not 'ftp://host'"),
        (["--url", "https://host:port"], "the URL must look like https://HOST"),
        (["--rate", "201"], "the rate must be above 0 and at most 200, not 201"),
        (["--rate", "nan"], "the rate must be above 0"),
        (["--duration", "0"], "the duration must be above 0"),
        (["--interval", "0"], "the interval must be above 0"),
        (["--out", "/nowhere/users.jsonl"], "cannot write /nowhere/users.jsonl: No such file or directory"),
    ],
)
def test_what_makes_no_sense_is_one_line_and_status_2(tmp_path: Path, options: list[str], said: str) -> None:
    ended = subprocess.run(
        command(tmp_path / "out", "http://127.0.0.1:1", *options),
        capture_output=True,
        text=True,
        env=BARE,
        timeout=30,
        check=False,
    )
    assert (ended.returncode, ended.stdout) == (2, "")
    assert len(ended.stderr.splitlines()) == 1
    assert said in ended.stderr


def test_certificate_authorities_that_are_not_there_are_named(tmp_path: Path) -> None:
    ended = subprocess.run(
        command(tmp_path / "out", "https://127.0.0.1:1"),
        capture_output=True,
        text=True,
        env={**BARE, "SSL_CERT_FILE": str(tmp_path / "none.pem")},
        timeout=30,
        check=False,
    )
    assert ended.returncode == 2
    assert "SSL_CERT_FILE: No such file or directory" in ended.stderr


def test_help_explains_the_file() -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "sandbox.traffic", "--help"], capture_output=True, text=True, env=BARE, check=True
    )
    assert "latency_ms_p95" in ended.stdout
