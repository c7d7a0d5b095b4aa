"""The command line without a Prefect server: what is refused, how a run is watched, cancelled, resumed and given up."""

import json
import os
import re
import signal
import socket
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from rollback_command import RUN, Command, Ended, plain_environment
from support import V2, V3, World

REASON = ("--reason", "checkout fails")
EXIT_STATUSES = ((0, "rolled back"), (4, "refused"), (6, "failed part-way"), (130, "cancelled"))


@pytest.fixture
def start(world: World, tmp_path: Path) -> Callable[..., Command]:
    def starts(*arguments: str, fresh: bool = False, **changes: str) -> Command:
        return Command(tmp_path, plain_environment(**changes), *arguments, fresh=fresh)

    return starts


@pytest.fixture
def rollback(start: Callable[..., Command]) -> Callable[..., Ended]:
    def runs(*arguments: str, fresh: bool = False, **changes: str) -> Ended:
        return start(*arguments, fresh=fresh, **changes).end()

    return runs


@pytest.fixture
def nobody_listens() -> str:
    """A proxy that is not there."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{unused.getsockname()[1]}"


def changed_file(tmp_path: Path, old: str, new: str) -> str:
    content = Path(os.environ["ROLLBACK_CONFIG"]).read_text(encoding="utf-8")
    assert old in content
    file = tmp_path / "changed.toml"
    file.write_text(content.replace(old, new), encoding="utf-8")
    return str(file)


def assert_refused_untouched(ended: Ended, world: World, since: datetime, *words: str) -> None:
    """A clear message, no traceback, and nothing was touched."""
    told = f"{ended.out}{ended.err}"
    assert "Traceback" not in told
    for word in words:
        assert word in told
    asked = [f"{entry.method} {entry.path.split('?')[0]}" for entry in world.control.audit(since)]
    assert not [each for each in asked if each.startswith(("PUT", "PATCH", "DELETE")) or each.endswith("slotsswap")]
    assert world.swaps == []
    assert world.serving == V3


def test_help_names_each_command_and_exit_status(tmp_path: Path) -> None:
    ended = Command(tmp_path, plain_environment(), "--help", fresh=True).end()
    assert (ended.status, ended.err) == (0, "")
    for command in ("approve", "completion", "doctor", "plan", "run", "status", "versions"):
        assert f"\n  {command} " in ended.out
    for number, state in EXIT_STATUSES:
        assert re.search(rf"^ +{number}  .*{state}", ended.out, re.MULTILINE)


@pytest.mark.parametrize("command", ["plan", "run"])
def test_an_unknown_environment_is_refused_with_those_that_there_are(
    rollback: Callable[..., Ended], world: World, command: str
) -> None:
    since = datetime.now(UTC)
    ended = rollback(command, "roll-back-backend", "-e", "produktion", *REASON)
    assert ended.status == 4
    assert_refused_untouched(ended, world, since, "no environment 'produktion'", "dev, production, staging")


def test_an_unknown_release_is_refused_with_those_that_there_are(rollback: Callable[..., Ended], world: World) -> None:
    since = datetime.now(UTC)
    ended = rollback(*RUN, "production", "--release", "v9", *REASON)
    assert ended.status == 4
    assert_refused_untouched(ended, world, since, "There is no release 'v9'", "v1.2.1, v1.2.2, v1.2.3")


def test_a_platform_file_that_is_not_toml_is_named_with_the_place(
    rollback: Callable[..., Ended], world: World, tmp_path: Path
) -> None:
    file = changed_file(tmp_path, 'slot = "staging"', "slot = staging")
    ended = rollback(*RUN, "production", *REASON, "--config", file)
    assert ended.status == 4
    assert_refused_untouched(ended, world, datetime.now(UTC), file, "cannot be read", "line")


def test_a_wrong_field_is_named_without_its_value(rollback: Callable[..., Ended], world: World, tmp_path: Path) -> None:
    file = changed_file(tmp_path, 'slot = "staging"', 'slot = "staging"\npasword = "hunter2"')
    ended = rollback(*RUN, "production", *REASON, "--config", file)
    assert ended.status == 4
    assert_refused_untouched(ended, world, datetime.now(UTC), "environments.production.backend.pasword")
    assert "hunter2" not in ended.out + ended.err


def test_without_a_subscription_it_says_where_to_set_one(rollback: Callable[..., Ended], world: World) -> None:
    ended = rollback(*RUN, "production", *REASON, AZURE_SUBSCRIPTION_ID="")
    assert ended.status == 4
    assert_refused_untouched(ended, world, datetime.now(UTC), "No subscription is set", "AZURE_SUBSCRIPTION_ID")


def test_a_wrong_credential_is_refused_with_entra_ids_code(rollback: Callable[..., Ended], world: World) -> None:
    since = datetime.now(UTC)
    wrong = {"AZURE_CLIENT_SECRET": "not-the-secret"}
    ended = rollback(*RUN, "production", *REASON, **wrong)
    assert ended.status == 4
    assert_refused_untouched(ended, world, since, "AADSTS7000215", "AZURE_CLIENT_SECRET")
    assert "not-the-secret" not in ended.out + ended.err
    assert ended.err == "", "nothing is told twice"


def test_an_unreachable_azure_ends_with_nothing_changed(
    rollback: Callable[..., Ended], world: World, tmp_path: Path, nobody_listens: str
) -> None:
    file = changed_file(tmp_path, 'platform = "Fundrbolt"', 'platform = "Fundrbolt"\nazure.read_retries = 0')
    proxies = dict.fromkeys(("HTTPS_PROXY", "https_proxy"), nobody_listens)
    ended = rollback(*RUN, "production", *REASON, ROLLBACK_CONFIG=file, **proxies)
    assert ended.status == 5
    assert "Traceback" not in ended.err
    assert "HTTPS_PROXY" in ended.out
    assert world.serving == V3


def test_an_environment_without_slots_is_refused_with_the_other_way(
    rollback: Callable[..., Ended], world: World
) -> None:
    since = datetime.now(UTC)
    ended = rollback(*RUN, "dev", *REASON)
    assert ended.status == 4
    assert_refused_untouched(ended, world, since, "'fundrbolt-dev-api' has no slot", "redeployed")


def test_a_state_folder_that_cannot_be_written_is_named(
    rollback: Callable[..., Ended], world: World, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    ended = rollback(*RUN, "production", *REASON, ROLLBACK_STATE=str(tmp_path / "file" / "state"))
    assert ended.status == 4
    assert_refused_untouched(ended, world, datetime.now(UTC), "The state folder", "ROLLBACK_STATE")


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("--reason", " "),
        ("--resume", "1f6c20ab", "--abandon", "1f6c20ab"),
        ("--resume", "1f6c20ab", "--release", V2),
        ("--abandon", "1f6c20ab", "--dry-run"),
    ],
)
def test_wrong_usage_ends_with_2_and_starts_nothing(
    rollback: Callable[..., Ended], arguments: tuple[str, ...], tmp_path: Path
) -> None:
    ended = rollback(*RUN, "production", *arguments)
    assert ended.status == 2
    assert "Error: " in ended.err
    assert not (tmp_path / "state").exists()


@pytest.mark.parametrize("arguments", [(), ("--release", V2, "--archived", "1f6c20ab")])
def test_infrastructure_goes_back_to_a_release_or_to_what_a_run_archived(
    rollback: Callable[..., Ended], arguments: tuple[str, ...], tmp_path: Path
) -> None:
    ended = rollback("run", "roll-back-infrastructure", "-e", "production", *REASON, *arguments)
    assert ended.status == 2
    assert "needs either '--release' or '--archived'" in ended.err
    assert not (tmp_path / "state").exists()


def test_without_a_server_it_says_so_and_does_the_same_by_itself(rollback: Callable[..., Ended], world: World) -> None:
    ended = rollback(*RUN, "production", *REASON, fresh=True)
    assert ended.status == 0, ended.err
    assert ended.out.count("Running in this process, without Prefect: PREFECT_API_URL is not set.") == 1
    assert "rolled back: production serves v1.2.2 again, verified from outside." in ended.out
    assert ended.last_line.startswith("Report: ")
    assert Path(ended.last_line.removeprefix("Report: ")).is_file()
    assert ended.err == "", "nothing is told twice"
    assert (world.serving, world.swaps) == (V2, ["client"])


def test_a_server_that_does_not_answer_is_named_and_not_waited_for(
    rollback: Callable[..., Ended], world: World, nobody_listens: str
) -> None:
    ended = rollback(*RUN, "production", *REASON, PREFECT_API_URL=f"{nobody_listens}/api")
    assert ended.status == 0, ended.err
    assert f"the Prefect server at {nobody_listens}/api does not answer" in ended.out
    assert world.serving == V2


def test_a_plan_tells_steps_facts_and_warnings_and_touches_nothing(
    rollback: Callable[..., Ended], world: World
) -> None:
    world.control.break_("sticky-differs")
    since = datetime.now(UTC)
    ended = rollback("plan", "roll-back-backend", "--environment", "production", fresh=True)
    assert ended.status == 0, ended.err
    order = [
        ended.out.index(text) for text in ("1. Swap slots", "Production now: v1.2.3", "Good to know", " planned: ")
    ]
    assert order == sorted(order)
    assert "EMAIL_SENDER" in ended.out
    assert "real requests" in ended.out
    assert_refused_untouched(ended, world, since, "Comes back: v1.2.2")


def test_json_is_one_document_with_the_exit_status(rollback: Callable[..., Ended], world: World) -> None:
    planned = json.loads(rollback("plan", "roll-back-backend", "-e", "production", "--json").out)
    assert planned["plan"]["target"]["release"] == V2
    ended = rollback(*RUN, "production", *REASON, "--json", "--here")
    document = json.loads(ended.out)
    assert (document["end_state"], document["exit_status"], ended.status) == ("rolled back", 0, 0)
    assert "Swap slots" in ended.err


def test_quiet_prints_only_how_it_ended(rollback: Callable[..., Ended]) -> None:
    ended = rollback(*RUN, "production", *REASON, "--quiet", "--here")
    assert len(ended.out.splitlines()) == 1
    assert "rolled back: production serves v1.2.2 again" in ended.out


def test_a_closed_terminal_does_not_stop_a_rollback(start: Callable[..., Command], world: World) -> None:
    world.control.break_("swap-accepted-late", seconds=1)
    command = start(*RUN, "production", *REASON, "--here")
    command.wait_until_it_says("Swapping slot")
    command.interrupt(signal.SIGHUP)
    assert command.end().status == 0
    assert world.serving == V2


def test_a_cancelled_run_is_unfinished_until_it_is_resumed_by_its_name(
    start: Callable[..., Command], rollback: Callable[..., Ended], world: World
) -> None:
    run = cancelled_in_the_middle(start, world)
    status = rollback("status")
    assert f"production: unfinished: {run}" in status.out
    assert f"--resume {run}" in status.out
    assert f"--abandon {run}" in status.out
    assert rollback(*RUN, "production", *REASON).status == 4, "nobody else may start"
    world.control.repair()
    resumed = rollback(*RUN, "production", "--resume", run)
    assert resumed.status == 0, resumed.out
    assert (world.serving, len(world.swaps)) == (V2, 1)
    after = rollback("status").out
    assert "production: free" in after
    assert f"{run} " in after


def test_an_abandoned_run_says_what_is_known_of_it_and_frees_the_environment(
    start: Callable[..., Command], rollback: Callable[..., Ended], world: World
) -> None:
    run = cancelled_in_the_middle(start, world)
    since = datetime.now(UTC)
    abandoned = rollback(*RUN, "production", "--abandon", run)
    assert abandoned.status == 0
    assert "slot swap: sent, and not known whether it happened" in abandoned.out
    assert world.control.audit(since) == [], "giving up touches nothing"
    document = json.loads(rollback("status", "--json").out)
    assert document["environments"]["production"]["state"] == "free"
    assert rollback(*RUN, "production", "--abandon", run).status == 4, "it is given up once"


def cancelled_in_the_middle(start: Callable[..., Command], world: World) -> str:
    """Ctrl-C, twice, while Azure swaps; the run's name."""
    world.control.break_("swap-never-ends")
    command = start(*RUN, "production", *REASON, "--here")
    command.wait_until_it_says("Swapping slot")
    command.interrupt()
    command.wait_until_it_says("Cancelling")
    command.interrupt()
    ended = command.end()
    assert ended.status == 130, ended.out
    assert "Sent and not seen to have happened yet: slot swap" in ended.out
    assert "production runs v1.2.3" in ended.out
    return Path(ended.last_line.removeprefix("Report: ")).parent.name
