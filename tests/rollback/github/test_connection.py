"""What is sent to GitHub how often, and what is told of its errors; nobody waits in the time of these tests."""

import asyncio
import functools
import json
import logging
import traceback
from collections.abc import Awaitable, Callable

import githubkit
import httpx
import pytest
from leaping import leaping
from pydantic import SecretStr

from rollback.errors import (
    CredentialRejected,
    GitHubLimited,
    GitHubUnreachable,
    Permanent,
    ResourceMissing,
    RollbackError,
)
from rollback.github.connection import GitHubConnection, connect
from rollback.github.releases import list_releases
from rollback.github.settings import GitHub as Repository
from rollback.github.workflow_runs import rerun

TOKEN = "ghp_0123456789abcdefghijklmnopqrstuvwxyz"  # noqa: S105 - of nobody
REPOSITORY = Repository(repository="fundrbolt/fundrbolt", vault="vault", secret="github-token")  # noqa: S106
SOON, LATE = {"Retry-After": "30"}, {"Retry-After": "61"}
Answer = httpx.Response | Exception


class GitHub:
    """Stands where the network begins: answers in turn, the last one for ever."""

    def __init__(self) -> None:
        self.answers: list[Answer] = []
        self.requests: list[httpx.Request] = []
        self.notes: list[str] = []
        self.waited_seconds = 0.0

    def handle(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return httpx.Response(answer.status_code, headers=answer.headers, content=answer.content)

    def ask(self, work: Callable[[GitHubConnection], Awaitable[object]], *answers: Answer) -> object:
        self.answers = [*answers]

        async def asked() -> object:
            try:
                return await work(connect(REPOSITORY, SecretStr(TOKEN), self.notes.append))
            finally:
                self.waited_seconds = asyncio.get_running_loop().time()

        return leaping(asked)

    def read(self, *answers: Answer) -> object:
        return self.ask(list_releases, *answers)

    def change(self, *answers: Answer) -> object:
        return self.ask(lambda connection: rerun(connection, 7), *answers)


@pytest.fixture
def github(monkeypatch: pytest.MonkeyPatch) -> GitHub:
    stand_in = GitHub()
    transport = httpx.MockTransport(stand_in.handle)
    monkeypatch.setattr(githubkit, "GitHub", functools.partial(githubkit.GitHub, async_transport=transport))
    return stand_in


def answer(status: int, message: str = "", **headers: str) -> httpx.Response:
    return httpx.Response(status, json={"message": message}, headers=headers)


NONE = httpx.Response(200, json=[])
DONE = httpx.Response(201, json={})


def test_a_request_carries_the_token_and_names_us_to_githubs_own_address(github: GitHub) -> None:
    assert github.read(NONE) == ()
    (request,) = github.requests
    assert str(request.url) == "https://api.github.com/repos/fundrbolt/fundrbolt/releases?per_page=100&page=1"
    assert request.headers["Authorization"] == f"token {TOKEN}"
    assert request.headers["User-Agent"] == "fundrbolt-rollback"


@pytest.mark.parametrize(
    "limit",
    [
        answer(429, "You have exceeded a secondary rate limit.", **SOON),
        answer(403, "API rate limit exceeded", **SOON, **{"X-RateLimit-Remaining": "0"}),
    ],
)
def test_a_short_limit_is_told_and_waited_for_also_by_a_change(github: GitHub, limit: httpx.Response) -> None:
    github.change(limit, DONE)
    assert [request.method for request in github.requests] == ["POST", "POST"]
    assert github.notes == ["GitHub's rate limit: waiting 30 s."]
    assert github.waited_seconds == pytest.approx(30, abs=1)


def test_a_secondary_limit_without_any_header_is_waited_for_a_minute(github: GitHub) -> None:
    github.read(answer(403, "You have exceeded a secondary rate limit. Wait a few minutes."), NONE)
    assert len(github.requests) == 2
    assert github.waited_seconds == pytest.approx(60, abs=1)


@pytest.mark.parametrize(
    "limit",
    [
        answer(429, "slow down", **LATE),
        answer(403, "API rate limit exceeded", **{"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "99999999999"}),
    ],
)
def test_a_long_limit_is_told_with_its_end_and_not_waited_for(github: GitHub, limit: httpx.Response) -> None:
    told = (
        r"limit is used up until \d\d:\d\d:\d\d UTC: list of releases of fundrbolt/fundrbolt was not asked for.*Try ag"
    )
    with pytest.raises(GitHubLimited, match=told):
        github.read(limit)
    assert (len(github.requests), github.notes) == (1, [])
    assert github.waited_seconds < 1


def test_a_limit_that_does_not_end_is_told_after_a_few_tries(github: GitHub) -> None:
    with pytest.raises(GitHubLimited):
        github.read(answer(403, "You have exceeded a secondary rate limit."))
    assert len(github.requests) == 4


def test_a_limit_of_no_time_is_no_reason_to_ask_at_once(github: GitHub) -> None:
    github.read(answer(429, "slow down", **{"Retry-After": "0"}), NONE)
    assert github.waited_seconds >= 1


@pytest.mark.parametrize("failing", [answer(500), answer(502), answer(503), httpx.ReadError("dropped"),
                                     httpx.RemoteProtocolError("no answer"), httpx.ReadTimeout("late")])  # fmt: skip
def test_a_reading_is_tried_again_after_githubs_own_errors(github: GitHub, failing: Answer) -> None:
    assert github.read(failing, failing, failing, NONE) == ()
    assert len(github.requests) == 4
    assert github.waited_seconds == pytest.approx(0.5 + 1 + 2, abs=0.1)


@pytest.mark.parametrize("failing", [answer(500), answer(503), httpx.ReadError("dropped"), httpx.ReadTimeout("late")])
def test_a_change_is_sent_once_whatever_becomes_of_its_answer(github: GitHub, failing: Answer) -> None:
    with pytest.raises(GitHubUnreachable, match=r"the re-run of workflow run 7.*githubstatus\.com"):
        github.change(failing)
    assert len(github.requests) == 1


def test_a_github_that_goes_on_failing_is_told(github: GitHub) -> None:
    with pytest.raises(GitHubUnreachable, match="GitHub answers 502 about list of releases of fundrbolt/fundrbolt"):
        github.read(answer(502))
    assert len(github.requests) == 4
    with pytest.raises(GitHubUnreachable, match="No answer from GitHub about list of releases"):
        github.read(httpx.ConnectError("refused"))


@pytest.mark.parametrize(
    ("refusal", "error", "told"),
    [
        (
            answer(401, "Bad credentials"),
            CredentialRejected,
            r"accept the token \(Bad credentials\).*\[github\] of the",
        ),
        (answer(404, "Not Found"), ResourceMissing, "shows no list of releases.*token may read the repository"),
        (
            answer(403, "Resource not accessible"),
            Permanent,
            r"refuses list of.*: 403 Resource not accessible\. .*the token must be able to read contents, and to "
            r"read and write actions, deployments and environments",
        ),
        (httpx.Response(422, text="<html>"), Permanent, "refuses list of.*: 422 without a message"),
        (httpx.Response(422, json=["no"]), Permanent, "422 without a message"),
    ],
)
def test_a_refusal_is_told_with_what_to_do_and_not_tried_again(
    github: GitHub, refusal: httpx.Response, error: type[Exception], told: str
) -> None:
    with pytest.raises(error, match=told):
        github.read(refusal)
    assert len(github.requests) == 1


@pytest.mark.parametrize(
    "strange",
    [
        httpx.Response(200, text="<html>Sign in to this network</html>"),
        httpx.Response(200, json={"message": "fine"}),
        httpx.Response(200, json=[{"id": 1}]),
        answer(429, "slow down", **{"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}),
    ],
)
def test_an_answer_that_github_does_not_give_is_told_and_no_crash(github: GitHub, strange: httpx.Response) -> None:
    with pytest.raises(GitHubUnreachable, match=r"answer about list of releases of .* cannot be read.*proxy"):
        github.read(strange)


def test_the_token_is_in_no_error_note_representation_or_log(github: GitHub, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    shown = list[str]()
    kept = list[GitHubConnection]()

    async def keep(connection: GitHubConnection) -> object:
        kept.append(connection)
        return await list_releases(connection)

    echo = f"Bad credentials: {TOKEN}"
    for each in (answer(401, echo), answer(403, echo), answer(500, echo), answer(429, echo, **SOON),
                 httpx.ConnectError("refused"), httpx.Response(200, json=[{"id": 1}])):  # fmt: skip
        with pytest.raises(RollbackError) as raised:
            github.ask(keep, each)
        shown += [str(raised.value), repr(raised.value), *traceback.format_exception(raised.value)]
    shown += [*github.notes, repr(kept), json.dumps([repr(each) for each in github.requests]), caplog.text]
    shown += [repr(vars(each)) for each in kept]
    assert "api.github.com" in caplog.text
    assert TOKEN not in "\n".join(shown)
