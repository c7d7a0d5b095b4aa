"""A procedure that waits for its approval: goes on when it is enough, and otherwise touches nothing."""

import asyncio
import os
import sys
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from uuid import uuid4

import httpx
import pytest
from approving import LEAD, SCOPE, WaitingRun, ask_for_approval
from azure_names import GROUP, SUBSCRIPTION
from dying import begin
from support import ROOT, V2, V3, Sandbox, World, run_flow

from rollback.approvals.handover import Offer, ask, hand_over
from rollback.errors import NotWaiting
from rollback.outcomes import EndState
from rollback.runs import Outcome, RunFolder, Store

SIGNED, CLICK, TWO = 'needs = "signed"', 'needs = "click"', 'needs = "signed"\npeople = 2'


@pytest.fixture
def state(world: World, tmp_path: Path) -> Path:
    return tmp_path / "state"


@asynccontextmanager
async def waiting_run(world: World, state: Path, **parameters: object) -> AsyncGenerator[WaitingRun]:
    run = WaitingRun(world, state, **parameters)
    try:
        yield await run.waits()
    finally:
        await run.cancel()


async def ended(run: WaitingRun) -> Outcome:
    async with asyncio.timeout(60):
        return await run.task


def assert_untouched(world: World, outcome: Outcome) -> None:
    assert outcome.end_state is EndState.REFUSED
    assert (world.serving, world.swaps) == (V3, [])


@pytest.fixture
def signed_in_as_lead(world: World, running_sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """This process acts as a person who has signed in with the Azure CLI: here a stand-in for the CLI's one command."""
    cli = tmp_path / "bin" / "az"
    cli.parent.mkdir()
    get_token = f"-m sandbox token --state {running_sandbox.folder} --as lead"
    cli.write_text(
        f"#!/bin/sh\ncd {ROOT}\ntoken=$({sys.executable} {get_token}) || exit 1\n{AZ_ANSWER}\n", encoding="utf-8"
    )
    cli.chmod(0o700)
    may_change(world, LEAD)
    monkeypatch.setenv("PATH", str(cli.parent), prepend=os.pathsep)
    monkeypatch.setenv("AZURE_TOKEN_CREDENTIALS", "AzureCliCredential")
    monkeypatch.delenv("AZURE_CLIENT_SECRET")


def may_change(world: World, oid: str) -> None:
    """Let a person change production: Contributor, until the sandbox is reset."""
    group = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/{GROUP}"
    role = f"/subscriptions/{SUBSCRIPTION}/providers/Microsoft.Authorization/roleDefinitions/{CONTRIBUTOR}"
    token = world.control.token("rollback", "https://management.azure.com/.default")
    httpx.put(
        f"https://management.azure.com{group}/providers/Microsoft.Authorization/roleAssignments/{uuid4()}",
        params={"api-version": "2022-04-01"},
        headers={"Authorization": f"Bearer {token}"},
        json={"properties": {"roleDefinitionId": role, "principalId": oid, "principalType": "User"}},
    ).raise_for_status()


CONTRIBUTOR = "b24988ac-6180-42a0-ab88-20f7382dd24c"
AZ_ANSWER = """echo '{"accessToken": "'$token'", "expires_on": '$(($(date +%s) + 3600))', "tokenType": "Bearer"}'"""


async def test_a_plan_that_needs_no_approval_says_by_which_rule(world: World) -> None:
    outcome = await run_flow()
    assert outcome.end_state is EndState.ROLLED_BACK
    assert outcome.approvals == ("not needed, by rule 1",)


async def test_a_signed_approval_lets_the_run_go_on(world: World, state: Path) -> None:
    ask_for_approval(SIGNED)
    async with waiting_run(world, state) as run:
        assert (world.serving, world.swaps) == (V3, [])
        assert (await run.offer("lead")).accepted
        outcome = await ended(run)
    assert outcome.end_state is EndState.ROLLED_BACK
    (approval,) = outcome.approvals
    assert approval.startswith("signed by Lead (lead@fundrbolt.com, 66666666-")
    assert "rule 1" in approval
    assert (world.serving, world.swaps) == (V2, ["client"])


async def test_a_slot_that_turned_bad_while_people_read_is_not_swapped_in(world: World, state: Path) -> None:
    ask_for_approval(SIGNED)
    async with waiting_run(world, state) as run:
        world.control.break_("app-error", share=1.0, follows="build", environment="production", slot="staging")
        assert (await run.offer("lead")).accepted
        outcome = await ended(run)
    assert_untouched(world, outcome)
    assert "Slot 'staging' does not answer as it must" in outcome.headline


@pytest.mark.parametrize(
    ("who", "flaws", "why"),
    [
        ("intern", {}, "intern@fundrbolt.com is not in the approvers' group"),
        ("deployer", {}, "a person has to approve"),
        ("lead", {"expired": True}, "has expired"),
        ("lead", {"wrong_issuer": True}, "not issued by"),
        ("lead", {"wrong_key": True}, "signature that does not hold"),
        ("lead", {"audience": "https://management.azure.com"}, "not for 77777777-7777-4777-8777-777777777777"),
    ],
)
async def test_who_may_not_approve_hears_why_and_the_run_goes_on_waiting(
    world: World, state: Path, who: str, flaws: dict[str, object], why: str
) -> None:
    ask_for_approval(SIGNED)
    async with waiting_run(world, state) as run:
        verdict = await run.offer(who, **flaws)
        assert not verdict.accepted
        assert why in verdict.text
        assert any("does not count" in note and why in note for note in run.notes)
        unsigned = await run.offer_token(None)
        assert "A click does not approve this plan" in unsigned.text
        assert not run.task.done()
    assert world.swaps == []


async def test_two_people_approve_where_nobody_knows_who_started(world: World, state: Path) -> None:
    ask_for_approval(TWO)
    async with waiting_run(world, state) as run:
        assert any("Who started it is unknown" in note for note in run.notes), "it acts as a service principal"
        verdicts = await asyncio.gather(run.offer("lead"), run.offer("second"))
        assert all(each.accepted for each in verdicts)
        outcome = await ended(run)
    assert len(outcome.approvals) == 2
    assert outcome.end_state is EndState.ROLLED_BACK


@pytest.mark.usefixtures("signed_in_as_lead")
async def test_the_starter_cannot_be_the_second_person(world: World, state: Path) -> None:
    ask_for_approval(TWO)
    async with waiting_run(world, state) as run:
        assert any("Started by" in note and "lead@fundrbolt.com" in note for note in run.notes)
        assert "You started this run" in (await run.offer("lead")).text
        assert "the run goes on" in (await run.offer("second")).text
        await ended(run)


async def test_nobody_approves_in_time(world: World, state: Path) -> None:
    ask_for_approval(f"{SIGNED}\nexpires_after_minutes = 0.01")
    outcome = await run_flow()
    assert_untouched(world, outcome)
    assert "was not approved within 0.01 min" in outcome.headline
    assert outcome.approvals == ()
    assert Store(state).leases.read("production") is None
    with pytest.raises(NotWaiting):
        ask(Store(state).latest(1)[0].folder)


async def test_a_token_of_one_run_does_not_approve_another(world: World, state: Path) -> None:
    ask_for_approval(SIGNED)
    token = world.control.token("lead", SCOPE)
    async with waiting_run(world, state) as first:
        assert (await first.offer_token(token)).accepted
        await ended(first)
    world.control.reset()
    async with waiting_run(world, state, release=V2) as second:
        assert "already approved another plan" in (await second.offer_token(token)).text


async def test_a_slot_that_changes_while_the_run_waits_makes_the_approved_plan_stale(world: World, state: Path) -> None:
    ask_for_approval(SIGNED)
    async with waiting_run(world, state) as run:
        world.control.break_("redeploy", release="v1.2.1")
        assert (await run.offer("lead")).accepted
        outcome = await ended(run)
    assert_untouched(world, outcome)
    assert "changed since the plan was made" in outcome.headline


async def test_a_run_that_is_cancelled_while_it_waits_has_touched_nothing(world: World, state: Path) -> None:
    ask_for_approval(SIGNED)
    async with waiting_run(world, state) as run:
        await run.cancel()
    outcome = run.folder.outcome()
    assert outcome is not None
    assert outcome.end_state is EndState.CANCELLED
    assert "Nothing was sent to Azure" in outcome.headline
    assert Store(state).leases.read("production") is None


def wait_until_it_waits(state: Path, child: ForkServerProcess) -> RunFolder:
    deadline = time.monotonic() + 40
    while True:
        assert child.is_alive()
        assert time.monotonic() < deadline, "it never waited"
        with suppress(NotWaiting, IndexError, OSError):
            folder = Store(state).latest(1)[0]
            ask(folder.folder)
            return folder
        time.sleep(0.05)


def kill_while_it_waits(state: Path, *tokens: str) -> str:
    """A run in a process of its own, killed as hard as it gets after it was given these approvals; its name."""
    child = begin(None)
    try:
        folder = wait_until_it_waits(state, child)
        for token in tokens:
            offer = Offer.model_validate({"plan_hash": ask(folder.folder).plan_hash, "token": token})
            assert hand_over(folder.folder, offer).accepted
    finally:
        child.kill()
        child.join()
    return folder.header.run


async def test_a_run_killed_while_it_waits_waits_again_and_keeps_what_it_was_given(world: World, state: Path) -> None:
    ask_for_approval(TWO)
    killed = await asyncio.to_thread(kill_while_it_waits, state, world.control.token("lead", SCOPE))
    async with waiting_run(world, state, resume=killed) as run:
        assert any("Approved before: signed by Lead" in note for note in run.notes)
        assert any("1 missing" in note for note in run.notes)
        assert "You approved this plan already" in (await run.offer("lead")).text
        assert (await run.offer("second")).accepted
        outcome = await ended(run)
    assert (outcome.run, outcome.end_state) == (killed, EndState.ROLLED_BACK)
    assert len(outcome.approvals) == 2


async def test_a_line_written_into_the_record_approves_nothing(world: World, state: Path) -> None:
    ask_for_approval(TWO)
    killed = await asyncio.to_thread(kill_while_it_waits, state, world.control.token("lead", SCOPE))
    file = Store(state).get(killed).folder / "approvals.jsonl"
    line = file.read_text(encoding="utf-8")
    file.write_text(line + line.replace("000000000002", "000000000003"), encoding="utf-8")
    async with waiting_run(world, state, resume=killed) as run:
        assert any("1 kept approvals do not bear our seal" in note for note in run.notes)
        assert any("1 missing" in note for note in run.notes)
    assert world.swaps == []


async def test_a_click_on_the_command_line_is_by_nobody_known(world: World, state: Path) -> None:
    ask_for_approval(CLICK)
    async with waiting_run(world, state) as run:
        assert (await run.offer_token(None)).accepted
        outcome = await ended(run)
    assert outcome.approvals[0].startswith("click by identity unknown (rollback approve)")
    assert outcome.end_state is EndState.ROLLED_BACK


def everything_in(folder: Path) -> dict[str, str]:
    return {str(file): file.read_bytes().decode("utf-8", "replace") for file in folder.rglob("*") if file.is_file()}


async def test_no_token_is_left_anywhere(world: World, state: Path, caplog: pytest.LogCaptureFixture) -> None:
    ask_for_approval(TWO)
    caplog.set_level("DEBUG")
    given = [world.control.token(who, SCOPE, **flaws) for who, flaws in OFFERED]
    async with waiting_run(world, state) as run:
        for each in given:
            await run.offer_token(each)
        await ended(run)
    secret = [part for token in given for part in token.split(".")[1:]]
    kept = await asyncio.to_thread(everything_in, state)
    assert any(name.endswith("approvals.jsonl") for name in kept)
    for place, text in {**kept, "log": caplog.text}.items():
        assert not any(part in text for part in secret), place


OFFERED = [("intern", {}), ("lead", {"wrong_key": True}), ("lead", {"expired": True}), ("lead", {}), ("second", {})]
