"""`rollback approve`: shows the plan, takes one's word for exactly that plan, and says what the run made of it."""

from collections.abc import Callable, Generator
from pathlib import Path

import pytest
from approving import ask_for_approval
from rollback_command import RUN, Command, Ended, plain_environment, wait_until
from support import V2, V3, Sandbox, World

from rollback.backend_plans import SwapPlan
from rollback.journal import Event
from rollback.runs import RunFolder, Store
from sandbox.commands import environment
from sandbox.folder import Folder

Approve = Callable[..., Ended]


@pytest.fixture(scope="module")
def people(running_sandbox: Sandbox) -> dict[str, dict[str, str | None]]:
    """How each signs in: environment variables to set, or to unset."""
    found = {who: _sign_in(running_sandbox, who) for who in ("lead", "second", "intern", "rollback")}
    return {**found, "nobody": {**found["lead"], "AZURE_PASSWORD": "wrong"}}


def _sign_in(running: Sandbox, who: str) -> dict[str, str | None]:
    told = environment(Folder(running.folder), who)
    found = {name: value for name, value in told.items() if name.startswith("AZURE_")}
    return {"AZURE_CLIENT_SECRET": None, "AZURE_USERNAME": None, "AZURE_PASSWORD": None, **found}


@pytest.fixture
def waiting(world: World, tmp_path: Path) -> Generator[tuple[Command, RunFolder]]:
    """A run in another process that waits for one signature."""
    ask_for_approval('needs = "signed"')
    command = Command(tmp_path, plain_environment(), *RUN, "production", "--reason", "checkout fails", "--here")
    try:
        command.wait_until_it_says("Waiting until")
        folder = Store(tmp_path / "state").latest(1)[0]
        wait_until((folder.folder / "approve.sock").exists)
        yield command, folder
    finally:
        command.interrupt()
        command.end()


@pytest.fixture
def approve(people: dict[str, dict[str, str | None]], tmp_path: Path) -> Approve:
    def approves(who: str, *arguments: str, typed: str = "", fresh: bool = False) -> Ended:
        changed = plain_environment() | people[who]
        given = {name: value for name, value in changed.items() if value is not None}
        ended = Command(tmp_path, given, "approve", *arguments, typed=typed, fresh=fresh).end()
        assert "Traceback" not in ended.err
        return ended

    return approves


def plan_hash(folder: RunFolder) -> str:
    plan = folder.plan(SwapPlan)
    assert plan is not None
    return plan.hash


def notes(folder: RunFolder) -> list[str]:
    return [entry.text for entry in folder.journal().entries if entry.event is Event.NOTE]


def test_the_plan_is_shown_and_its_hash_typed(
    waiting: tuple[Command, RunFolder], approve: Approve, world: World
) -> None:
    command, folder = waiting
    ended = approve("lead", folder.header.run, "--note", "looks right", typed=f"{plan_hash(folder)[:8]}\n", fresh=True)
    assert ended.status == 0, ended.err
    assert "Swap slots" in ended.out
    assert "signed by one person of the approvers' group, by rule 1" in ended.out
    assert "Accepted: Lead (lead@fundrbolt.com" in ended.out
    run = command.end()
    assert run.status == 0
    assert "rolled back" in run.last_line or "Report" in run.last_line
    assert any("rule 1: looks right" in note for note in notes(folder))
    assert world.serving == V2


def test_status_says_who_waits_and_how_to_approve(waiting: tuple[Command, RunFolder], tmp_path: Path) -> None:
    _, folder = waiting
    ended = Command(tmp_path, plain_environment(), "status", fresh=True).end()
    assert ended.status == 0, ended.err
    (line,) = [each for each in ended.out.splitlines() if "waits for approval until" in each]
    assert line.endswith(f"rollback approve {folder.header.run}")


def test_a_script_names_the_hash(waiting: tuple[Command, RunFolder], approve: Approve) -> None:
    command, folder = waiting
    ended = approve("second", folder.header.run, "--hash", plan_hash(folder)[:8], "--yes")
    assert (ended.status, command.end().status) == (0, 0)


def test_what_is_not_the_plans_hash_is_not_handed_over(
    waiting: tuple[Command, RunFolder], approve: Approve, world: World
) -> None:
    _, folder = waiting
    run, short = folder.header.run, plan_hash(folder)[:8]
    typed = approve("lead", run, typed="deadbeef\n")
    named = approve("lead", run, "--hash", "deadbeef", "--yes")
    unsure = approve("lead", run, "--hash", short, typed="n\n")
    for ended in (typed, named, unsure):
        assert ended.status == 4
        assert "Nothing was handed over" in ended.err
    assert approve("lead", run, "--yes").status == 2
    assert not [note for note in notes(folder) if "does not count" in note or "Approved" in note]
    assert world.serving == V3


@pytest.mark.parametrize(
    ("who", "why"), [("intern", "is not in the approvers' group"), ("rollback", "a person has to approve")]
)
def test_who_may_not_approve_hears_why(
    waiting: tuple[Command, RunFolder], approve: Approve, world: World, who: str, why: str
) -> None:
    _, folder = waiting
    ended = approve(who, folder.header.run, "--hash", plan_hash(folder)[:8], "--yes")
    assert ended.status == 4
    assert why in ended.err
    assert world.serving == V3


def test_whom_entra_id_does_not_let_in_cannot_approve(waiting: tuple[Command, RunFolder], approve: Approve) -> None:
    _, folder = waiting
    ended = approve("nobody", folder.header.run, "--hash", plan_hash(folder)[:8], "--yes")
    assert ended.status == 4
    assert "Entra ID rejects the credential" in ended.err


def test_a_run_that_does_not_wait_cannot_be_approved(
    waiting: tuple[Command, RunFolder], approve: Approve, world: World
) -> None:
    command, folder = waiting
    command.interrupt()
    command.end()
    ended = approve("lead", folder.header.run, "--hash", plan_hash(folder)[:8], "--yes")
    assert ended.status == 4
    assert "does not wait for an approval" in ended.err
    assert "It ended: cancelled" in ended.err
    unknown = approve("lead", "deadbeef")
    assert unknown.status == 4
    assert "There is no run 'deadbeef'" in unknown.err
    assert world.serving == V3
