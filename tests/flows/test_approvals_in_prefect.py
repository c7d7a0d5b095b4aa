"""An approval in Prefect: shown with the plan, asked again when it does not count, and never more than a click."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from approving import SCOPE, ask_for_approval
from support import ROOT, V2, V3, World

from deployments.local_platform import LocalPlatform
from rollback.approvals.handover import Offer, Verdict, ask, hand_over
from rollback.outcomes import EndState
from rollback.runs import RunFolder, Store

WAIT_SECONDS = 60.0
CLICK, SIGNED = 'needs = "click"', 'needs = "signed"'


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Generator[LocalPlatform]:
    with LocalPlatform(tmp_path_factory.mktemp("prefect")) as platform:
        platform.start_server()
        platform.wait_for_server()
        yield platform


def wait_until(found: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + WAIT_SECONDS
    while not (value := found()):
        assert time.monotonic() < deadline, "the condition was never met"
        time.sleep(0.2)
    return value


class Patient(httpx.HTTPTransport):
    """Asks again where the server is too busy for an answer, as Prefect's own client does: nothing was done then."""

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        return wait_until(lambda: self._unless_busy(super(Patient, self).handle_request(request)))

    def _unless_busy(self, answer: httpx.Response) -> httpx.Response | None:
        if answer.status_code != httpx.codes.SERVICE_UNAVAILABLE:
            return answer
        answer.close()
        return None


def signed_in(server: LocalPlatform) -> httpx.Client:
    """The server's API, as its UI uses it."""
    name, _, password = server.environment["PREFECT_API_AUTH_STRING"].partition(":")
    client = httpx.Client(base_url=server.api_url, auth=(name, password), transport=Patient())
    client.headers["Prefect-Csrf-Client"] = uuid4().hex
    csrf = client.get("/csrf-token", params={"client": client.headers["Prefect-Csrf-Client"]}).raise_for_status()
    client.headers["Prefect-Csrf-Token"] = csrf.json()["token"]
    return client


class PrefectRun:
    """One run of the flow under Prefect, as its API shows it."""

    def __init__(self, server: LocalPlatform, state: Path, log: Path) -> None:
        self._api = signed_in(server)
        self._server, self._state, self._log = server, state, log
        self._begin()
        self.id = wait_until(lambda: self._newest(log))

    def _begin(self, *arguments: str) -> None:
        prefect = {name: value for name, value in self._server.environment.items() if name.startswith("PREFECT_")}
        with self._log.open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "tests/prefect_run.py", *arguments],
                cwd=ROOT,
                env={**os.environ, **prefect, "PREFECT_LOGGING_EXTRA_LOGGERS": "flows,tasks,rollback"},
                stdout=output,
                stderr=output,
            )

    def _newest(self, log: Path) -> str | None:
        found = re.search(r"/runs/flow-run/([0-9a-f-]{36})", log.read_text(encoding="utf-8"))
        return found[1] if found else None

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        self._api.close()

    def kill_and_try_again(self) -> None:
        """As it goes when a worker's machine is lost: the run is retried under its own id."""
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()
        state = {"state": {"type": "SCHEDULED", "name": "AwaitingRetry"}, "force": True}
        self._api.post(f"/flow_runs/{self.id}/set_state", json=state).raise_for_status()
        self._begin(self.id)

    @property
    def folder(self) -> RunFolder:
        return Store(self._state).get(self.id.replace("-", "")[:8])

    @property
    def prefect_state(self) -> dict[str, Any]:
        return self._api.get(f"/flow_runs/{self.id}").raise_for_status().json()["state"]

    def pause(self, after: str = "") -> tuple[str, str]:
        """The key of the pause after this one, and what is shown there."""

        def found() -> tuple[str, str] | None:
            details = self.prefect_state["state_details"]
            key = details["pause_key"]
            if not key or key == after:
                return None
            shown = self._api.get(f"/flow_runs/{self.id}/input/{details['run_input_keyset']['description']}")
            return (key, shown.json()) if shown.status_code == 200 else None

        return wait_until(found)

    def resume(self, **typed: str) -> str:
        """Click in the UI with these fields filled in; whether Prefect took them."""
        return (
            self._api.post(f"/flow_runs/{self.id}/resume", json={"run_input": typed})
            .raise_for_status()
            .json()["status"]
        )

    def hand_over(self, token: str) -> Verdict:
        folder = self.folder.folder
        return hand_over(folder, Offer.model_validate({"plan_hash": ask(folder).plan_hash, "token": token}))

    def end(self) -> dict[str, Any]:
        assert self._process.wait(WAIT_SECONDS) == 0
        return self.prefect_state

    def artifacts(self) -> dict[str, str]:
        wanted = {"artifacts": {"flow_run_id": {"any_": [self.id]}}}
        return {each["key"]: str(each["data"]) for each in self._api.post("/artifacts/filter", json=wanted).json()}

    def logs(self) -> str:
        wanted = {"logs": {"flow_run_id": {"any_": [self.id]}}, "limit": 200}
        return str(self._api.post("/logs/filter", json=wanted).json())


@pytest.fixture
def start(server: LocalPlatform, world: World, tmp_path: Path) -> Generator[Callable[[str], PrefectRun]]:
    runs: list[PrefectRun] = []

    def starts(rule: str) -> PrefectRun:
        ask_for_approval(rule)
        runs.append(PrefectRun(server, tmp_path / "state", tmp_path / "run.log"))
        return runs[-1]

    yield starts
    for each in runs:
        each.close()


def test_a_click_with_the_plans_hash_approves_it_and_a_wrong_hash_is_asked_again(
    start: Callable[[str], PrefectRun], world: World
) -> None:
    run = start(CLICK)
    key, shown = run.pause()
    plan = ask(run.folder.folder).plan_hash
    assert plan[:8] in shown
    assert "Swap slots" in shown
    assert run.resume() == "REJECT", "the hash is a field that must be filled in"
    assert run.resume(plan_hash="deadbeef") == "ACCEPT"
    _, shown = run.pause(after=key)
    assert "'deadbeef' is not how this plan's hash begins" in shown
    assert (world.serving, world.swaps) == (V3, [])
    run.resume(plan_hash=plan[:8], note="Lea, at the desk")
    state = run.end()
    assert (state["type"], state["name"]) == ("COMPLETED", "Rolled back")
    outcome = run.folder.outcome()
    assert outcome is not None
    assert outcome.approvals[0].startswith("click by identity unknown (Prefect UI) at ")
    assert outcome.approvals[0].endswith("rule 1: Lea, at the desk")
    assert outcome.approvals[0] in run.artifacts()["approval"]
    assert world.serving == V2


def test_a_signature_lets_a_paused_run_go_on_and_a_click_does_not(
    start: Callable[[str], PrefectRun], world: World, server: LocalPlatform
) -> None:
    run = start(SIGNED)
    key, shown = run.pause()
    assert "Resuming here does not approve it" in shown
    assert f"rollback approve {run.id.replace('-', '')[:8]}" in shown
    run.resume()
    key, shown = run.pause(after=key)
    assert "A click does not approve this plan" in shown
    given = [world.control.token("intern", SCOPE), world.control.token("lead", SCOPE)]
    assert [run.hand_over(each).accepted for each in given] == [False, True]
    assert run.end()["name"] == "Rolled back"
    assert world.swaps == ["client"]
    database = b"".join(file.read_bytes() for file in server.folder.rglob("*") if file.is_file())
    told = database.decode("utf-8", "replace") + run.logs() + str(run.artifacts())
    assert "lead@fundrbolt.com" in told, "this is where it would be"
    assert not [part for token in given for part in token.split(".")[1:] if part in told]


def test_a_run_that_nobody_approves_ends_refused(start: Callable[[str], PrefectRun], world: World) -> None:
    run = start(f"{SIGNED}\nexpires_after_minutes = 0.05")
    state = run.end()
    assert (state["type"], state["name"]) == ("FAILED", "Refused")
    outcome = run.folder.outcome()
    assert outcome is not None
    assert outcome.end_state is EndState.REFUSED
    assert (world.serving, world.swaps) == (V3, [])


def test_a_paused_run_that_is_killed_and_retried_waits_again_and_keeps_what_it_was_given(
    start: Callable[[str], PrefectRun], world: World
) -> None:
    run = start(f"{SIGNED}\npeople = 2")
    key, _ = run.pause()
    assert run.hand_over(world.control.token("lead", SCOPE)).accepted
    run.kill_and_try_again()
    _, shown = run.pause(after=key)
    assert "signed by Lead" in shown
    assert "Missing: 1" in shown
    assert run.hand_over(world.control.token("second", SCOPE)).accepted
    assert run.end()["name"] == "Rolled back"
    assert world.swaps == ["client"]
