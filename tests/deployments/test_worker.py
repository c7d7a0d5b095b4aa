"""Runs through a real Prefect server and our worker: started, shown, cancelled, killed, and waited for."""

import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import psutil
import pytest
from prefect_headers import prefect_headers
from rollback_command import RUN, Command, wait_until
from support import V2, V3, Sandbox, World, quick_platform_file

from deployments.local_platform import ROOT, LocalPlatform
from rollback.journal import Event
from rollback.runs import Store

REASON = ("--reason", "checkout fails")
ASK_SECONDS = 0.3
"""Between two questions to the server, which works for each answer."""
FINAL = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}


class Prefect:
    """The server, asked as its UI asks it."""

    def __init__(self, platform: LocalPlatform) -> None:
        self.platform = platform
        self._headers = prefect_headers(platform)

    def ask(self, method: str, path: str, body: object = None) -> Any:
        """The answer; asked again while SQLite is busy."""
        answers: list[Any] = []
        wait_until(lambda: self._ask_once(method, path, body, answers))
        return answers[0]

    def _ask_once(self, method: str, path: str, body: object, answers: list[Any]) -> bool:
        content = json.dumps(body).encode() if body is not None else None
        headers = {"Content-Type": "application/json", **self._headers}
        url = f"{self.platform.api_url}{path}"
        request = urllib.request.Request(url, content, headers, method=method)  # noqa: S310 - our own server
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:  # noqa: S310 - our own server
                answers.append(json.loads(answer.read() or b"null"))
        except urllib.error.HTTPError as error:
            if error.code != 503:
                raise
            error.close()
            return False
        return True

    def deployment(self) -> Any:
        return self.ask("GET", "/deployments/name/roll-back-backend/roll-back-backend")

    def start(self, **parameters: object) -> str:
        body = {"parameters": {"environment": "production", "reason": "a test", **parameters}}
        return str(self.ask("POST", f"/deployments/{self.deployment()['id']}/create_flow_run", body)["id"])

    def run(self, run: str) -> Any:
        return self.ask("GET", f"/flow_runs/{run}")

    def state_at_end(self, run: str) -> tuple[str, str, str]:
        wait_until(lambda: self.run(run)["state"]["type"] in FINAL, ASK_SECONDS)
        state = self.run(run)["state"]
        return state["type"], state["name"], state["message"] or ""

    def states(self, run: str) -> list[str]:
        return [state["type"] for state in self.ask("GET", f"/flow_run_states/?flow_run_id={run}")]

    def cancel(self, run: str) -> None:
        """As the UI does."""
        self.ask("POST", f"/flow_runs/{run}/set_state", {"state": {"type": "CANCELLING", "name": "Cancelling"}})

    def latest(self) -> str:
        found = self.ask("POST", "/flow_runs/filter", {"sort": "EXPECTED_START_TIME_DESC", "limit": 1})
        return str(found[0]["id"])


@pytest.fixture(scope="module")
def platform(running_sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Generator[LocalPlatform]:
    folder = tmp_path_factory.mktemp("platform")
    file = quick_platform_file(folder)
    with LocalPlatform(folder, sandbox=running_sandbox.folder, environment={"ROLLBACK_CONFIG": str(file)}) as made:
        made.start_server()
        made.start_sandbox()
        made.wait_for_server()
        made.start_worker()
        yield made


@pytest.fixture
def prefect(platform: LocalPlatform, world: World) -> Prefect:
    """The server and worker, with Azure at its starting state and no run before."""
    state = Path(platform.environment["ROLLBACK_STATE"])
    for file in (state / "environments").glob("*"):
        file.unlink()
    assert world.serving == V3
    return Prefect(platform)


@pytest.fixture
def start(prefect: Prefect, tmp_path: Path) -> Callable[..., Command]:
    def starts(*arguments: str, fresh: bool = False, **changes: str) -> Command:
        return Command(tmp_path, prefect.platform.environment | changes, *arguments, fresh=fresh)

    return starts


@pytest.fixture
def store(prefect: Prefect) -> Store:
    return Store(Path(prefect.platform.environment["ROLLBACK_STATE"]))


def swap_is_sent(store: Store, run: str) -> bool:
    folder = store.find(run.replace("-", "")[:8])
    file = folder.folder / "journal.jsonl" if folder else None
    return file is not None and file.exists() and "sending" in file.read_text(encoding="utf-8")


def test_the_deployment_has_a_form_with_help_and_refuses_what_does_not_fit(prefect: Prefect) -> None:
    deployment = prefect.deployment()
    assert deployment["entrypoint"] == "flows.roll_back_backend:roll_back_backend"
    assert deployment["enforce_parameter_schema"] is True
    assert "rollback" in deployment["tags"]
    assert "Production serves the previous build again" in deployment["description"]
    fields = deployment["parameter_openapi_schema"]["properties"]
    assert all(field["description"] for field in fields.values())
    with pytest.raises(urllib.error.HTTPError) as refused:
        prefect.start(dry_run="perhaps")
    assert refused.value.code == 409
    refused.value.close()


def test_deploying_twice_makes_each_automation_once(prefect: Prefect) -> None:
    command = [sys.executable, "-m", "deployments.deploy"]
    subprocess.run(command, cwd=ROOT, env=prefect.platform.environment, check=True, capture_output=True)
    found = prefect.ask("POST", "/automations/filter", {})
    assert sorted(each["name"] for each in found) == ["rollback-run-lost", "rollback-run-lost-goes-on"]
    assert all(each["enabled"] for each in found)


def test_deploying_again_leaves_the_archives_schedules_as_somebody_switched_them(prefect: Prefect) -> None:
    def schedules() -> dict[str, Any]:
        found = prefect.ask("GET", "/deployments/name/archive/archive")
        return {each["slug"]: each for each in found["schedules"]} | {"of": found["id"]}

    before = schedules()
    of = before.pop("of")
    assert {name: each["active"] for name, each in before.items()} == dict.fromkeys(
        ("production", "staging", "dev"), False
    )
    prefect.ask("PATCH", f"/deployments/{of}/schedules/{before['staging']['id']}", {"active": True})
    command = [sys.executable, "-m", "deployments.deploy"]
    subprocess.run(command, cwd=ROOT, env=prefect.platform.environment, check=True, capture_output=True)
    after = schedules()
    assert after.pop("of") == of
    assert {name for name, each in after.items() if each["active"]} == {"staging"}
    crons = [{name: each["schedule"]["cron"] for name, each in found.items()} for found in (before, after)]
    assert crons[0] == crons[1]


def test_a_run_shows_what_it_did_under_its_own_name(prefect: Prefect, world: World) -> None:
    run = prefect.start()
    assert prefect.state_at_end(run)[:2] == ("COMPLETED", "Rolled back")
    assert prefect.run(run)["name"] == "roll-back-backend/production to v1.2.2"
    found = prefect.ask("POST", "/artifacts/filter", {"flow_runs": {"id": {"any_": [run]}}})
    assert {"plan", "steps", "outcome"} <= {artifact["key"] for artifact in found}
    wait_until(lambda: "Swap slots" in logs_of(prefect, run), ASK_SECONDS)
    assert (world.serving, world.swaps) == (V2, ["client"])


def test_a_long_wait_for_azure_has_a_progress_artifact_that_ends_with_it(prefect: Prefect, world: World) -> None:
    world.control.break_("swap-accepted-late", seconds=6)
    run = prefect.start()
    assert prefect.state_at_end(run)[:2] == ("COMPLETED", "Rolled back")
    kind = {"flow_runs": {"id": {"any_": [run]}}, "artifacts": {"type": {"any_": ["progress"]}}}
    found = prefect.ask("POST", "/artifacts/filter", kind)
    (swap,) = (artifact for artifact in found if artifact["description"].startswith("Swap slots: "))
    assert swap["data"] == 100
    assert swap["description"].startswith("Swap slots: ended after ")
    assert world.swaps == ["client"]


def logs_of(prefect: Prefect, run: str) -> str:
    found = prefect.ask("POST", "/logs/filter", {"logs": {"flow_run_id": {"any_": [run]}}})
    return "\n".join(line["message"] for line in found)


def test_the_command_starts_the_run_there_and_follows_it_to_its_end(
    start: Callable[..., Command], prefect: Prefect, world: World, store: Store
) -> None:
    ended = start(*RUN, "production", *REASON, fresh=True).end()
    assert ended.status == 0, ended.out
    assert f"Started in Prefect: {prefect.platform.ui_url}/runs/flow-run/{prefect.latest()}" in ended.out
    assert "Swap slots done" in ended.out
    assert "rolled back: production serves v1.2.2 again" in ended.out
    assert ended.last_line == f"Report: {store.latest(1)[0].report_file}"
    assert world.swaps == ["client"]


def test_a_run_whose_journal_is_on_another_machine_is_followed_by_what_prefect_tells(
    start: Callable[..., Command], tmp_path: Path, world: World
) -> None:
    ended = start(*RUN, "production", *REASON, ROLLBACK_STATE=str(tmp_path / "elsewhere")).end()
    assert ended.status == 0, ended.out
    assert "Swap slots done" in ended.out
    assert "rolled back: production serves v1.2.2 again" in ended.out
    assert world.serving == V2


def test_a_run_that_is_cancelled_in_the_ui_ends_by_itself_and_says_what_state_things_are_in(
    prefect: Prefect, store: Store, world: World
) -> None:
    world.control.break_("swap-never-ends")
    run = prefect.start()
    wait_until(lambda: swap_is_sent(store, run))
    prefect.cancel(run)
    kind, _, message = prefect.state_at_end(run)
    assert kind == "CANCELLED"
    assert "Sent and not seen to have happened yet: slot swap" in message
    assert "production runs v1.2.3" in message
    assert "CRASHED" not in prefect.states(run), "an automation would start it again"
    lease = store.leases.read("production")
    assert lease is not None
    assert lease.changed
    assert lease.is_over()


def test_ctrl_c_cancels_the_run_that_the_command_follows(
    start: Callable[..., Command], prefect: Prefect, world: World
) -> None:
    world.control.break_("swap-never-ends")
    command = start(*RUN, "production", *REASON)
    command.wait_until_it_says("Swapping slot")
    command.interrupt()
    ended = command.end()
    assert ended.status == 130, ended.out
    assert "cancelled: Cancelled. Sent and not seen to have happened yet: slot swap" in ended.out
    assert prefect.state_at_end(prefect.latest())[0] == "CANCELLED"


def started_in(store: Store, run: str) -> int:
    """How often the run was begun, by its journal."""
    folder = store.find(run.replace("-", "")[:8])
    return sum(entry.event is Event.STARTED for entry in folder.journal().entries) if folder else 0


def kill_the_process_of(prefect: Prefect, run: str) -> None:
    os.kill(int(prefect.run(run)["infrastructure_pid"]), signal.SIGKILL)


def retry_in_the_ui(prefect: Prefect, run: str) -> None:
    body = {"state": {"type": "SCHEDULED", "name": "AwaitingRetry"}, "force": True}
    prefect.ask("POST", f"/flow_runs/{run}/set_state", body)


def test_a_killed_run_goes_on_by_itself_and_swaps_once(
    start: Callable[..., Command], prefect: Prefect, store: Store, world: World
) -> None:
    world.control.break_("swap-accepted-late", seconds=2)
    command = start(*RUN, "production", *REASON)
    command.wait_until_it_says("Swapping slot")
    run = prefect.latest()
    kill_the_process_of(prefect, run)
    assert prefect.state_at_end(run)[:2] == ("COMPLETED", "Rolled back")
    assert command.end().status == 0
    assert prefect.run(run)["run_count"] == 2
    assert started_in(store, run) == 2
    assert (world.serving, world.swaps) == (V2, ["client"])


def test_a_run_that_dies_again_and_again_stays_crashed_until_somebody_retries_it(
    start: Callable[..., Command], prefect: Prefect, store: Store, world: World
) -> None:
    world.control.break_("swap-never-ends")
    command = start(*RUN, "production", *REASON)
    command.wait_until_it_says("Swapping slot")
    run = prefect.latest()
    name = run.replace("-", "")[:8]
    for tries in (1, 2, 3):
        wait_until(lambda tries=tries: started_in(store, run) == tries)
        wait_until(lambda tries=tries: prefect.states(run).count("RUNNING") == tries, ASK_SECONDS)
        kill_the_process_of(prefect, run)
    kind, _, message = prefect.state_at_end(run)
    assert kind == "CRASHED"
    assert "killed by signal 9. It was tried 3 times" in message
    ended = command.end()
    assert ended.status == 7, ended.out
    assert f"--resume {name}" in ended.out
    world.control.repair()
    retry_in_the_ui(prefect, run)
    wait_until(lambda: started_in(store, run) == 4)
    assert prefect.state_at_end(run)[:2] == ("COMPLETED", "Rolled back")
    assert (world.serving, len(world.swaps)) == (V2, 1)


def test_a_run_that_was_killed_with_its_worker_goes_on_under_the_next_one(
    prefect: Prefect, store: Store, world: World
) -> None:
    world.control.break_("swap-accepted-late", seconds=2)
    run = prefect.start()
    wait_until(lambda: swap_is_sent(store, run))
    worker = psutil.Process(prefect.platform.pid_of("worker"))
    worker.kill()
    kill_the_process_of(prefect, run)
    prefect.platform.start("worker", "-m", "deployments.worker")
    assert prefect.state_at_end(run)[:2] == ("COMPLETED", "Rolled back")
    assert started_in(store, run) == 2
    assert world.swaps == ["client"]


def test_a_run_that_is_at_work_is_not_started_twice(prefect: Prefect, store: Store, world: World) -> None:
    world.control.break_("swap-accepted-late", seconds=5)
    run = prefect.start()
    wait_until(lambda: swap_is_sent(store, run))
    pid = prefect.run(run)["infrastructure_pid"]
    retry_in_the_ui(prefect, run)
    wait_until(lambda: "not started twice" in (prefect.run(run)["state"]["message"] or ""), ASK_SECONDS)
    assert prefect.state_at_end(run)[:2] == ("COMPLETED", "Rolled back")
    assert prefect.run(run)["infrastructure_pid"] == pid
    assert started_in(store, run) == 1
    assert world.swaps == ["client"]


def test_going_on_with_a_run_that_is_at_work_is_refused_and_disturbs_nothing(
    prefect: Prefect, store: Store, start: Callable[..., Command], world: World
) -> None:
    world.control.break_("swap-accepted-late", seconds=6)
    run = prefect.start()
    wait_until(lambda: swap_is_sent(store, run))
    name = run.replace("-", "")[:8]
    second = prefect.start(resume=name)
    kind, state, message = prefect.state_at_end(second)
    assert (kind, state) == ("FAILED", "Refused")
    assert f"Run {name} is at work" in message
    here = start(*RUN, "production", "--resume", name, "--here").end()
    assert here.status == 4, here.out
    assert f"Run {name} is at work" in here.out + here.err
    assert prefect.state_at_end(run)[:2] == ("COMPLETED", "Rolled back")
    assert started_in(store, run) == 1
    assert world.swaps == ["client"]


def test_two_runs_are_two_processes_and_one_of_them_is_refused(prefect: Prefect, world: World) -> None:
    runs = [prefect.start() for _ in range(2)]
    ends = sorted(prefect.state_at_end(run)[1] for run in runs)
    assert ends == ["Refused", "Rolled back"]
    assert len({prefect.run(run)["infrastructure_pid"] for run in runs}) == 2
    assert world.swaps == ["client"]


def test_a_worker_that_is_ended_waits_for_the_run_that_goes_on_and_takes_no_more(
    start: Callable[..., Command], prefect: Prefect, store: Store, world: World
) -> None:
    world.control.break_("swap-accepted-late", seconds=2)
    run = prefect.start()
    wait_until(lambda: swap_is_sent(store, run))
    worker = psutil.Process(prefect.platform.pid_of("worker"))
    worker.terminate()
    assert prefect.state_at_end(run)[:2] == ("COMPLETED", "Rolled back")
    wait_until(lambda: not worker.is_running() or worker.status() == psutil.STATUS_ZOMBIE)

    world.control.reset()
    ended = start(*RUN, "production", *REASON).end()
    assert ended.status == 0, ended.out
    assert "Running in this process, without Prefect: no worker took the run within 10 s" in ended.out
    assert (world.serving, world.swaps) == (V2, ["client"])
    assert prefect.run(prefect.latest())["state"]["type"] == "CANCELLED"
