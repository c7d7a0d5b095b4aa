"""`rollback approve`: see the plan of a waiting run, and hand over one's word for exactly that plan."""

import logging

import click

from deployments.procedures import open_store, plan_of
from deployments.run_command import print_plan
from rollback.approvals.handover import Offer, Wanted, ask, hand_over
from rollback.approvals.policy import SHORT_HASH
from rollback.errors import ApprovalRefused, NotWaiting
from rollback.plans import Plan
from rollback.runs import RunFolder
from rollback.settings import Settings


def approve_run(settings: Settings, run: str, *, typed: str | None, sure: bool, note: str) -> None:
    """Show the plan, have its hash typed, and hand the approval over; on return the run has accepted it.

    Raises `NotWaiting`, or `ApprovalRefused` with the run's own reason. Where the run needs a signature, the caller's
    token for it goes to the run, and nowhere else.
    """
    folder = open_store(settings).get(run)
    wanted, plan = _wanted(folder), plan_of(folder)
    if plan is None or plan.hash != wanted.plan_hash:
        raise NotWaiting(f"Run {run} waits with a plan that is not the one in {folder.folder}.")
    print_plan(plan)
    click.echo(f"Run {run} waits until {wanted.until:%H:%M:%S} UTC. Approval: {wanted.words}.")
    _confirm(plan, typed, sure=sure)
    offer = Offer.model_validate({"plan_hash": plan.hash, "token": _token(wanted), "note": note})
    verdict = hand_over(folder.folder, offer)
    if not verdict.accepted:
        raise ApprovalRefused(verdict.text)
    click.echo(f"Accepted: {verdict.text}")


def _wanted(folder: RunFolder) -> Wanted:
    try:
        return ask(folder.folder)
    except NotWaiting as error:
        outcome = folder.outcome()
        if outcome is None:
            raise
        told = f"It ended: {outcome.end_state.value}: {outcome.headline}"
        raise NotWaiting(f"{error.message} {told}", remedy=error.remedy) from error


def _confirm(plan: Plan, typed: str | None, *, sure: bool) -> None:
    """Make sure that it is this plan that is meant."""
    if typed is None:
        sure = True
        typed = click.prompt(f"To approve exactly this plan, type the first {SHORT_HASH} digits of its hash", type=str)
    short = (typed or "").strip().lower()
    if len(short) < SHORT_HASH or not plan.hash.startswith(short):
        raise ApprovalRefused(
            f"'{short}' is not how the hash of this plan begins: {plan.hash[:SHORT_HASH]}.",
            remedy="Nothing was handed over. Look at the plan again.",
        )
    if not sure and not click.confirm("Approve it?"):
        raise ApprovalRefused("Not approved.", remedy="Nothing was handed over.")


def _token(wanted: Wanted) -> str | None:
    if not wanted.scope:
        return None
    from rollback.approvals.tokens import callers_token

    # The SDK tells at length which credentials it has tried; what is wrong is in our error.
    logging.getLogger().addHandler(logging.NullHandler())
    return callers_token(wanted.scope)
