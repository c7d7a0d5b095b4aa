"""Probes: what users get, asked from outside. Nothing here changes anything."""

import asyncio

from rollback import probes
from rollback.backend_plans import SwapPlan
from rollback.context import current
from rollback.errors import NotVerified, SomebodyElseSwapped
from rollback.probes import Prober, Tally
from rollback.slots import PRODUCTION
from rollback.swap_planning import check_slot_answers
from rollback.verification import Verified, verify_host
from tasks import step


@step("Probe the slot", timeout_seconds=700)
async def probe_slot(plan: SwapPlan) -> SwapPlan:
    """Make sure that the slot is warm and answers as it must, and see what production's users get now.

    Nothing is probed where the target left the slot, or may be leaving it. The plan comes back with what was seen.
    Raises `SlotUnhealthy`.
    """
    run = current()
    settings = run.backend.probes
    app = await run.app_service()
    production, slot = await app.get_pair()
    if plan.already_there or run.journal.open_changes() or production.build.digest == plan.target.digest:
        return plan
    async with probes.connect(settings) as client:
        here = Prober(client, f"https://{slot.host}", settings)
        there = Prober(client, run.backend.public_url or f"https://{production.host}", settings)
        found, before = await asyncio.gather(
            verify_host(here, settings, plan.target.release, settings.verify_within_seconds),
            there.ask_requests(settings.count),
        )
    check_slot_answers(plan.slot, found.problems)
    seen = (*(f"slot '{plan.slot}': {each}" for each in found.evidence), f"production before: {_told(before)}")
    for each in seen:
        run.note(each)
    return plan.model_copy(update={"observations": seen})


@step("Verify from outside", timeout_seconds=700)
async def verify(plan: SwapPlan) -> None:
    """Show that users get the target: by digest, by what the app says, and by what real requests get.

    Raises `NotVerified` with what is missing, `SomebodyElseSwapped` where production runs something else again.
    """
    run = current()
    settings = run.backend.probes
    app = await run.app_service()
    production = await app.get_slot(PRODUCTION)
    if production.build.digest != plan.target.digest:
        raise SomebodyElseSwapped(
            f"Production runs {production.build}, not {plan.target}: somebody else changed it.",
            remedy="Nothing more is sent. Find out who it was, then plan again.",
        )
    hosts = [f"https://{production.host}", *([run.backend.public_url] if run.backend.public_url else [])]
    async with probes.connect(settings) as client:
        found = await asyncio.gather(
            *(
                verify_host(
                    Prober(client, host, settings), settings, plan.target.release, settings.verify_within_seconds
                )
                for host in hosts
            )
        )
    _keep_evidence([f"production runs image {production.build.digest}"], found)
    if problems := [f"{each.host}: {problem}" for each in found for problem in each.problems]:
        raise NotVerified("; ".join(problems) + ".", remedy="Look at it as a user would; the build itself is in place.")


def _keep_evidence(told: list[str], found: list[Verified]) -> None:
    run = current()
    run.evidence = told + [f"{each.host}: {evidence}" for each in found for evidence in each.evidence]
    for each in run.evidence:
        run.note(each)


def _told(tally: Tally) -> str:
    releases = f", by {', '.join(sorted(tally.versions))}" if tally.versions else ""
    return f"{tally.good} of {len(tally.answers)} real requests good{releases}"
