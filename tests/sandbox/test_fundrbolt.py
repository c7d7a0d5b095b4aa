"""The sample API as slots run it: a real process, asked over HTTP."""

import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path

import httpx
import pytest
from app_processes import AppProcess

from sandbox.fundrbolt.releases import BEHAVIOURS, RELEASES

DONATION = {"amount_cents": 2500, "currency": "USD", "donor": "Ada Lovelace"}


def command(release: str, port: int = 0) -> list[str]:
    return [sys.executable, "-m", "sandbox.fundrbolt", "--release", release, "--port", str(port)]


class Build:
    """One process, and a client for it."""

    def __init__(self, release: str, log: Path, **app_settings: str) -> None:
        self.log = log
        self.process = AppProcess(release, {"PATH": os.environ["PATH"], **app_settings}, log)
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{self.process.read_port()}", trust_env=False)

    def stop(self) -> int | None:
        self.client.close()
        return self.process.stop()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Build]]:
    builds: list[Build] = []

    def started(release: str = "v1.2.2", **app_settings: str) -> Build:
        builds.append(Build(release, tmp_path / f"{len(builds)}.log", **app_settings))
        return builds[-1]

    yield started
    for build in builds:
        build.stop()


def test_a_digest_is_that_of_the_image_reference_with_its_tag() -> None:
    assert RELEASES["v1.2.2"] == "sha256:" + sha256(b"ghcr.io/fundrbolt/fundrbolt-api:v1.2.2").hexdigest()
    assert len(set(RELEASES.values())) == len(BEHAVIOURS) == 3


def test_every_answer_tells_the_version_and_that_it_must_not_be_kept_except_the_listing(
    start: Callable[..., Build],
) -> None:
    client = start("v1.2.1").client
    asked = [client.get(path) for path in ("/", "/health", "/health/detailed", "/nowhere", "/api/v1/sessions/none")]
    asked += [client.delete("/health"), client.post("/api/v1/donations", content=b"{"), client.post("/api/v1/sessions")]
    asked += [client.get("/api/v1/donations?limit=0"), client.head("/health")]
    assert [answer.status_code for answer in asked] == [200, 200, 200, 404, 404, 405, 422, 201, 422, 200]
    assert {answer.headers["Cache-Control"] for answer in asked} == {"no-store"}
    listing = client.get("/api/v1/donations")
    assert listing.headers["Cache-Control"] == "public, max-age=5"
    assert {answer.headers["X-Fundrbolt-Version"] for answer in [*asked, listing]} == {"v1.2.1"}


def test_refusals_are_json(start: Callable[..., Build]) -> None:
    client = start().client
    assert client.get("/nowhere").json() == {"detail": "Not Found"}
    refused = client.delete("/health")
    assert refused.json() == {"detail": "Method Not Allowed"}
    assert refused.headers["Allow"] == "GET,HEAD"


def test_the_detailed_health_names_the_build_and_when_it_started(start: Callable[..., Build]) -> None:
    report = start("v1.2.3").client.get("/health/detailed").json()
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", report.pop("started_at"))
    assert report == {"status": "healthy", "version": "v1.2.3", "checks": {"database": "ok"}}


def test_donations_are_recorded_and_listed_newest_first(start: Callable[..., Build]) -> None:
    client = start().client
    made = [client.post("/api/v1/donations", json={**DONATION, "amount_cents": cents}).json() for cents in (1, 2, 3)]
    listed = client.get("/api/v1/donations", params={"limit": 2}).json()["donations"]
    assert listed == [made[2], made[1]]
    assert {key: made[0][key] for key in DONATION} == {**DONATION, "amount_cents": 1}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("amount_cents", 0),
        ("amount_cents", 25.5),
        ("amount_cents", True),
        ("amount_cents", "2500"),
        ("amount_cents", None),
        ("currency", "usd"),
        ("currency", ["USD"]),
        ("donor", "  "),
        ("donor", "x" * 201),
        ("donor", "two\nlines"),
        ("donor", "\ud800"),
    ],
)
def test_a_donation_that_makes_no_sense_is_refused_by_the_name_of_the_field(
    client_of_one_build: httpx.Client, field: str, value: object
) -> None:
    answer = client_of_one_build.post("/api/v1/donations", content=json.dumps({**DONATION, field: value}))
    assert answer.status_code == 422
    assert [problem["loc"] for problem in answer.json()["detail"]] == [["body", field]]


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xff", b"[" * 100_000])
def test_a_body_that_is_no_json_object_is_refused(client_of_one_build: httpx.Client, body: bytes) -> None:
    assert client_of_one_build.post("/api/v1/donations", content=body).status_code == 422


@pytest.mark.parametrize("limit", ["0", "101", "-1", "ten", "9" * 5000, ""])
def test_a_limit_that_makes_no_sense_is_refused(client_of_one_build: httpx.Client, limit: str) -> None:
    assert client_of_one_build.get("/api/v1/donations", params={"limit": limit}).status_code == 422


@pytest.fixture(scope="module")
def client_of_one_build(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    build = Build("v1.2.2", tmp_path_factory.mktemp("one") / "log")
    yield build.client
    build.stop()


def test_sessions_are_found_again_and_unknown_ones_are_not(start: Callable[..., Build]) -> None:
    client = start().client
    sessions = [client.post("/api/v1/sessions").json() for _ in range(2)]
    assert [client.get(f"/api/v1/sessions/{session['id']}").json() for session in sessions] == sessions
    assert client.get("/api/v1/sessions/unknown").status_code == 404


def test_the_bad_release_fails_about_three_in_ten_requests_while_health_stays_green(
    start: Callable[..., Build],
) -> None:
    client = start("v1.2.3", FAILURE_SEED="7").client
    looks = [client.get("/api/v1/donations") for _ in range(200)]
    gifts = [client.post("/api/v1/donations", json=DONATION) for _ in range(200)]
    for answers, good in ((looks, 200), (gifts, 201)):
        assert {answer.status_code for answer in answers} == {good, 500}
        assert 40 <= sum(answer.status_code == 500 for answer in answers) <= 80
    failed = next(answer for answer in looks if answer.status_code == 500)
    assert failed.json() == {"detail": "Internal Server Error"}
    assert failed.headers["Cache-Control"] == "no-store"
    green = [client.get(path) for _ in range(50) for path in ("/health", "/health/detailed", "/")]
    assert {answer.status_code for answer in green} == {200}


def test_a_request_that_failed_had_no_effect(start: Callable[..., Build], tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/donations.db"
    good, bad = start("v1.2.2", DATABASE_URL=url).client, start("v1.2.3", DATABASE_URL=url, FAILURE_SHARE="0.5").client
    made = [bad.post("/api/v1/donations", json=DONATION).status_code for _ in range(40)].count(201)
    assert 0 < made < 40
    assert len(good.get("/api/v1/donations?limit=100").json()["donations"]) == made


def test_the_same_seed_fails_the_same_requests(start: Callable[..., Build]) -> None:
    clients = [start("v1.2.3", FAILURE_SEED="7").client for _ in range(2)]
    seen = [[client.get("/api/v1/donations").status_code for _ in range(50)] for client in clients]
    assert seen[0] == seen[1]


def test_any_release_can_be_made_bad(start: Callable[..., Build]) -> None:
    client = start("v1.2.2", FAILURE_SHARE="1").client
    assert client.get("/api/v1/donations").status_code == 500
    assert client.get("/health").status_code == 200


def test_two_slots_share_a_database_file(start: Callable[..., Build], tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/shared.db"
    one, other = start("v1.2.2", DATABASE_URL=url).client, start("v1.2.1", DATABASE_URL=url).client
    session = one.post("/api/v1/sessions").json()
    assert other.get(f"/api/v1/sessions/{session['id']}").json() == session


def test_without_its_database_it_starts_and_says_what_is_missing(start: Callable[..., Build], tmp_path: Path) -> None:
    client = start(DATABASE_URL=f"sqlite:///{tmp_path}/no/folder.db").client
    assert client.get("/health").status_code == 200
    detailed = client.get("/health/detailed")
    assert (detailed.status_code, detailed.json()["checks"]) == (503, {"database": "unavailable"})
    assert client.get("/api/v1/donations").status_code == 503


def test_it_answers_503_to_everything_until_it_is_warm(start: Callable[..., Build]) -> None:
    client = start(WARM_UP_SECONDS="3600").client
    assert {client.get(path).status_code for path in ("/", "/health", "/api/v1/donations")} == {503}


def test_in_maintenance_every_page_but_health_asks_users_to_come_back(start: Callable[..., Build]) -> None:
    client = start(MAINTENANCE_MODE="on").client
    asked = [client.get(path) for path in ("/", "/health/detailed", "/api/v1/donations", "/nowhere")]
    asked += [client.post("/api/v1/donations", json=DONATION), client.post("/api/v1/sessions")]
    assert {(answer.status_code, answer.headers["Retry-After"]) for answer in asked} == {(503, "120")}
    assert "back shortly" in asked[0].json()["detail"]
    assert client.get("/health").json() == {"status": "healthy"}


def test_maintenance_that_is_off_changes_nothing(start: Callable[..., Build]) -> None:
    assert start(MAINTENANCE_MODE="off").client.get("/api/v1/donations").status_code == 200


def test_it_gets_warm_by_itself(start: Callable[..., Build]) -> None:
    client = start(WARM_UP_SECONDS="2").client
    answers = [client.get("/")]
    while answers[-1].status_code == 503 and len(answers) < 100_000:
        answers.append(client.get("/"))
    assert answers[0].json() == {"detail": "warming up"}
    assert answers[-1].status_code == 200


def test_it_ends_with_status_0_on_sigterm_even_with_open_connections(start: Callable[..., Build]) -> None:
    build = start()
    assert build.client.get("/health").status_code == 200
    assert build.process.stop(within_seconds=5) == 0


def test_each_request_is_one_line_without_body_query_and_session_id(start: Callable[..., Build]) -> None:
    build = start()
    session = build.client.post("/api/v1/sessions").json()["id"]
    build.client.get(f"/api/v1/sessions/{session}?probe=unique")
    build.client.post("/api/v1/donations", json=DONATION)
    build.client.get("/no%0Awhere")
    build.stop()
    text = build.log.read_text()
    lines = [re.sub(r"^\S+ \S+ | [\d.]+ ms$", "", line) for line in text.splitlines()]
    assert lines == [
        "v1.2.2 POST /api/v1/sessions 201",
        "v1.2.2 GET /api/v1/sessions/{id} 200",
        "v1.2.2 POST /api/v1/donations 201",
        "v1.2.2 GET /no%0Awhere 404",
    ]
    assert session not in text


@pytest.mark.parametrize(
    ("release", "app_settings", "said"),
    [
        ("v9.9.9", {}, "there is no release 'v9.9.9'; known: v1.2.1, v1.2.2, v1.2.3"),
        ("v1.2.2", {"FAILURE_SHARE": "2"}, "FAILURE_SHARE must be a number from 0 to 1, not '2'"),
        ("v1.2.2", {"FAILURE_SHARE": "some"}, "FAILURE_SHARE must be a number from 0 to 1, not 'some'"),
        ("v1.2.2", {"FAILURE_SEED": "x"}, "FAILURE_SEED must be a whole number, not 'x'"),
        ("v1.2.2", {"WARM_UP_SECONDS": "nan"}, "WARM_UP_SECONDS must be a number from 0 to 3600, not 'nan'"),
        ("v1.2.2", {"MAINTENANCE_MODE": "yes"}, "MAINTENANCE_MODE must be on or off, not 'yes'"),
        ("v1.2.2", {"DATABASE_URL": "mysql://u:pass@h/d"}, "DATABASE_URL must look like sqlite:///FILE or postgresql:"),
    ],
)
def test_what_makes_no_sense_is_one_line_and_status_2(release: str, app_settings: dict[str, str], said: str) -> None:
    ended = subprocess.run(command(release), capture_output=True, text=True, env=app_settings, timeout=20, check=False)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert len(ended.stderr.splitlines()) == 1
    assert said in ended.stderr
    assert "pass" not in ended.stderr


def test_a_port_that_is_taken_is_one_line_and_status_1() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = subprocess.run(command("v1.2.2", port), capture_output=True, text=True, env={}, timeout=20, check=False)
    assert ended.returncode == 1
    assert len(ended.stderr.splitlines()) == 1
    assert "cannot listen" in ended.stderr
