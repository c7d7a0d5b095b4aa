"""When approvals are enough: how many people, who of them counts, and until when."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from approving import LEAD, SECOND, SIGNERS, Restart, Tenant

from rollback.approvals.policy import Need, Requirement, Rule
from rollback.approvals.records import ApprovalBooks
from rollback.approvals.tokens import Identity, TokenVerifier
from rollback.approvals.waiting import Waiting
from rollback.errors import ApprovalExpired, ApprovalRefused

PLAN = Restart(procedure="clear-cache", environment="production", reason="a test")
RUN = "1f6c20ab"
STARTER = Identity(oid=LEAD, name="Lead", upn="lead@fundrbolt.com", is_app=False)
SECONDS = 0.2
"""Short, for what has to expire; whatever else is waited for is over long before."""


class Approvers:
    """A tenant, and runs that wait for its people."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._books = ApprovalBooks(folder / "approvals")
        self.tenant = Tenant()
        self.told: list[str] = []

    def waiting(self, run: str = RUN, plan: Restart = PLAN, starter: Identity | None = None, **rule: Any) -> Waiting:
        folder = self._folder / run
        folder.mkdir(exist_ok=True)
        waiting = Waiting(
            plan,
            run,
            Requirement(Rule(**{"needs": Need.SIGNED, **rule}), "rule 1"),
            self._books,
            self._books.record(folder, run),
            verifier=TokenVerifier(SIGNERS, transport=self.tenant.transport),
            starter=starter,
            tell=self.told.append,
        )
        waiting.take_kept()
        return waiting

    async def sign(self, waiting: Waiting, oid: str = LEAD, **claims: Any) -> str:
        token = self.tenant.token(oid=oid, **claims)
        return await waiting.take_token(waiting.plan.hash, token, "", "rollback approve")


@pytest.fixture
def approvers(tmp_path: Path) -> Approvers:
    return Approvers(tmp_path)


async def test_one_signature_is_enough_where_one_is_asked_for(approvers: Approvers) -> None:
    waiting = approvers.waiting()
    assert "the run goes on" in await approvers.sign(waiting)
    await waiting.until_approved()
    assert [each.oid for each in waiting.approvals] == [LEAD]


async def test_where_two_are_asked_for_and_nobody_knows_who_started_two_have_to_sign(approvers: Approvers) -> None:
    waiting = approvers.waiting(people=2)
    assert "1 more person" in await approvers.sign(waiting)
    with pytest.raises(ApprovalRefused, match="another person has to"):
        await approvers.sign(waiting)
    assert "the run goes on" in await approvers.sign(waiting, SECOND)
    await waiting.until_approved()


async def test_who_started_the_run_is_one_of_the_two_and_cannot_approve(approvers: Approvers) -> None:
    waiting = approvers.waiting(people=2, starter=STARTER)
    with pytest.raises(ApprovalRefused, match="You started this run"):
        await approvers.sign(waiting)
    assert waiting.missing == 1
    await approvers.sign(waiting, SECOND)
    await waiting.until_approved()


async def test_who_started_the_run_may_approve_where_one_person_is_enough(approvers: Approvers) -> None:
    await approvers.sign(approvers.waiting(starter=STARTER))


async def test_two_who_sign_at_once_both_count(approvers: Approvers) -> None:
    waiting = approvers.waiting(people=2)
    await asyncio.gather(approvers.sign(waiting), approvers.sign(waiting, SECOND))
    assert sorted(str(each.oid) for each in waiting.approvals) == [LEAD, SECOND]


async def test_of_two_who_sign_at_once_one_is_enough_and_the_other_hears_so(approvers: Approvers) -> None:
    waiting = approvers.waiting()
    signed = await asyncio.gather(approvers.sign(waiting), approvers.sign(waiting, SECOND), return_exceptions=True)
    refused = [each for each in signed if isinstance(each, ApprovalRefused)]
    assert [each.message for each in refused] == [f"Run {RUN} is approved already, and goes on."]
    assert len(waiting.approvals) == 1


async def test_an_approval_of_another_plan_does_not_count(approvers: Approvers) -> None:
    waiting = approvers.waiting()
    with pytest.raises(ApprovalRefused, match="another plan than the one that was shown"):
        await waiting.take_token("a" * 64, approvers.tenant.token(), "", "rollback approve")
    assert waiting.missing == 1


async def test_a_token_that_approved_one_run_does_not_approve_another(approvers: Approvers) -> None:
    await approvers.sign(approvers.waiting(), uti="the same")
    other = approvers.waiting(run="2f6c20ab")
    with pytest.raises(ApprovalRefused, match=f"already approved another plan \\(run {RUN}\\)"):
        await approvers.sign(other, uti="the same")
    assert other.missing == 1


async def test_a_token_that_approved_a_plan_does_not_approve_the_next_plan_of_the_same_run(
    approvers: Approvers,
) -> None:
    await approvers.sign(approvers.waiting(), uti="the same")
    replanned = approvers.waiting(plan=PLAN.model_copy(update={"app": "another-app"}))
    assert replanned.missing == 1, "an approval is over exactly one plan"
    with pytest.raises(ApprovalRefused, match="already approved another plan"):
        await approvers.sign(replanned, uti="the same")


async def test_a_refused_token_is_not_used_up(approvers: Approvers) -> None:
    waiting = approvers.waiting(people=2, starter=STARTER)
    with pytest.raises(ApprovalRefused):
        await approvers.sign(waiting, uti="the same")
    await approvers.sign(approvers.waiting(run="2f6c20ab"), uti="the same")


async def test_what_was_signed_before_a_crash_still_holds(approvers: Approvers) -> None:
    await approvers.sign(approvers.waiting(people=2))
    again = approvers.waiting(people=2)
    assert again.missing == 1
    assert any("Approved before: signed by Lead" in each for each in approvers.told)
    await approvers.sign(again, SECOND)
    await approvers.waiting(people=2).until_approved()


async def test_what_was_signed_does_not_hold_for_ever(approvers: Approvers) -> None:
    await approvers.sign(approvers.waiting())
    again = approvers.waiting(expires_after_minutes=1e-9)
    assert again.missing == 1


async def test_a_forged_approval_is_told_and_does_not_count(approvers: Approvers, tmp_path: Path) -> None:
    await approvers.sign(approvers.waiting())
    file = tmp_path / RUN / "approvals.jsonl"
    file.write_text(file.read_text(encoding="utf-8").replace(LEAD, SECOND), encoding="utf-8")
    assert approvers.waiting().missing == 1
    assert approvers.told[-1] == "1 kept approvals do not bear our seal: they count for nothing."


async def test_an_approval_that_is_written_down_twice_counts_once(approvers: Approvers, tmp_path: Path) -> None:
    await approvers.sign(approvers.waiting(people=2))
    file = tmp_path / RUN / "approvals.jsonl"
    file.write_text(file.read_text(encoding="utf-8") * 2, encoding="utf-8")
    assert approvers.waiting(people=2).missing == 1


async def test_a_click_before_the_file_asked_for_signatures_does_not_count(approvers: Approvers) -> None:
    approvers.waiting(needs=Need.CLICK).take_click(PLAN.hash, "", "Prefect UI")
    assert approvers.waiting(needs=Need.CLICK).missing == 0
    assert approvers.waiting().missing == 1


def test_a_click_counts_by_the_first_digits_of_the_hash(approvers: Approvers) -> None:
    waiting = approvers.waiting(needs=Need.CLICK)
    for typed in ("", PLAN.hash[:7], "deadbeef", PLAN.hash[1:9], f"{PLAN.hash}0"):
        with pytest.raises(ApprovalRefused, match="not how this plan's hash begins"):
            waiting.take_click(typed, "", "Prefect UI")
    told = waiting.take_click(f" {PLAN.hash[:8].upper()} ", "", "Prefect UI")
    assert "identity unknown (Prefect UI)" in told
    assert waiting.missing == 0


def test_a_click_does_not_count_where_a_signature_is_asked_for(approvers: Approvers) -> None:
    waiting = approvers.waiting()
    with pytest.raises(ApprovalRefused, match=f"rollback approve {RUN}"):
        waiting.take_click(PLAN.hash, "", "Prefect UI")
    assert waiting.missing == 1


async def test_when_the_time_is_over_nothing_counts_any_more(approvers: Approvers) -> None:
    waiting = approvers.waiting(people=2, expires_after_minutes=SECONDS / 60)
    await approvers.sign(waiting)
    with pytest.raises(ApprovalExpired, match=r"The plan was not approved within .* It has: signed by Lead"):
        await waiting.until_approved()
    with pytest.raises(ApprovalRefused, match="time for approving run 1f6c20ab is over"):
        await approvers.sign(waiting, SECOND)


async def test_a_signature_that_is_verified_too_late_does_not_count(approvers: Approvers) -> None:
    async def until_it_is_over() -> None:
        with pytest.raises(ApprovalExpired):
            await waiting.until_approved()

    approvers.tenant.before_answering = until_it_is_over
    waiting = approvers.waiting(expires_after_minutes=SECONDS / 60)
    with pytest.raises(ApprovalRefused, match="time for approving run 1f6c20ab is over"):
        await approvers.sign(waiting)
    assert waiting.approvals == []
