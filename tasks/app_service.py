"""App Service: plan a swap, swap the slots, remove routing rules.

Blast radius: the production app of one environment. Everything that changes something reads first, does nothing where
the goal is reached, checks the lease right before it sends, and confirms by reading.
"""

import asyncio
import logging

from rollback.backend_plans import SwapPlan
from rollback.context import current
from rollback.errors import CredentialRejected, OperationInProgress, PermissionMissing, Transient
from rollback.journal import Event
from rollback.slot_swap import Reading, SlotSwap
from rollback.slots import PRODUCTION
from rollback.swap_planning import SwapPlanner
from tasks import step

log = logging.getLogger(__name__)

ROUTING = "ramp-up rules"
"""The change's name in the journal."""
ROUTING_TRIES = 30
"""Two seconds apart: the tail of Azure's swap refuses changes with 409."""
ROUTING_PAUSE_SECONDS = 2.0


@step("Plan", timeout_seconds=180)
async def plan_swap_back(release: str | None, reason: str) -> SwapPlan:
    """Decide which build comes back, as absolute values; on resuming, the plan as it was made."""
    run = current()
    made = run.folder.plan(SwapPlan)
    if made is not None:
        run.note(f"The plan of {made.made_at:%Y-%m-%d %H:%M:%S} UTC: {made.title}.")
        return made
    app = await run.app_service()
    planner = SwapPlanner(app, run.store.served(run.header.environment), run.manifest)
    plan = await planner.plan(run.header.environment, run.backend.resource_group, release, reason)
    run.note(f"{plan.title}. {plan.evidence}.")
    return plan


@step("Swap slots", timeout_seconds=4000)
async def swap_slots(plan: SwapPlan) -> None:
    """Bring the plan's target into production; on return it is there, after exactly one swap of ours at the most.

    Source: Microsoft.Web `slotsswap`, 2025-05-01. Azure's own time is kept apart.
    """
    run = current()
    app = await run.app_service()
    swap = SlotSwap(app, plan.basis, run.journal, run.check_lease, run.backend.settle_seconds)

    async def describe() -> str:
        return str(Reading(plan.basis, *await app.get_pair()))

    run.where_things_stand = describe
    swapped = await swap.converge(run.backend.swap_timeout_seconds)
    if swapped.by_us:
        run.azure_seconds = swapped.azure_seconds
    else:
        run.note(swapped.note)


@step("Remove ramp-up rules", timeout_seconds=600)
async def remove_ramp_up_rules(plan: SwapPlan) -> None:
    """Stop sending a share of users to the slot, which holds the bad build now.

    After the swap, not before it: until then the rules send users to the good build.
    """
    run = current()
    app = await run.app_service()
    for _ in range(ROUTING_TRIES):
        if not (await app.get_slot(PRODUCTION)).ramp_up:
            if ROUTING in run.journal.open_changes():
                run.journal.write(Event.CONFIRMED, change=ROUTING, text="No user is sent to the slot any more.")
            return
        run.check_lease()
        run.journal.write(Event.SENDING, change=ROUTING, text="Removing the ramp-up rules.")
        try:
            await app.remove_ramp_up_rules()
        except (PermissionMissing, CredentialRejected):
            run.journal.write(Event.NO_EFFECT, change=ROUTING, text="Azure refused it; nothing was done.")
            raise
        except (Transient, OperationInProgress) as error:
            run.note(f"Trying again: {error.message}")
            await asyncio.sleep(ROUTING_PAUSE_SECONDS)
    raise OperationInProgress(
        f"The ramp-up rules of '{plan.app}' could not be removed: users are still sent to slot '{plan.slot}'.",
        remedy="Remove them in the portal (Deployment slots, Traffic %), or resume this run.",
    )
