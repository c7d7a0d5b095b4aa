"""App Service: plan, put images in place, swap slots, take back, remove routing rules.

Blast radius: the production app of one environment. Everything that changes something reads first, does nothing where
the goal is reached, checks the lease right before it sends, and confirms by reading.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from rollback import compatibility, restarting
from rollback.backend_plans import DeployPlan, ImagePlan, RedeployPlan, SwapPlan
from rollback.cache.plans import RESTART, ClearCachePlan
from rollback.context import current
from rollback.errors import (
    CredentialRejected,
    OperationInProgress,
    PermissionMissing,
    PlanIsStale,
    RollbackError,
    Transient,
)
from rollback.image_planning import ImagePlanner
from rollback.journal import Event
from rollback.migrations.current import reading
from rollback.releases import Build
from rollback.runs import PlanType
from rollback.slot_swap import SWAP, Reading, SlotSwap, SwapBasis
from rollback.slots import PRODUCTION
from rollback.swap_planning import SwapPlanner
from tasks import step

log = logging.getLogger(__name__)

ROUTING = "ramp-up rules"
"""The change's name in the journal."""
SWAP_BACK = "swap back"
TRIES = 30
"""Two seconds apart: the tail of Azure's swap refuses changes with 409."""
PAUSE_SECONDS = 2.0
LOG_LINES = 20


@step("Plan", timeout_seconds=180)
async def plan_swap_back(release: str | None, reason: str) -> SwapPlan:
    """Decide which build comes back, as absolute values; on resuming, the plan as it was made."""
    run = current()
    if made := _made(SwapPlan):
        return made
    app = await run.app_service()
    async with reading(run) as read_schema:
        planner = SwapPlanner(app, run.store.served(run.header.environment), run.manifest, read_schema)
        plan = await planner.plan(run.header.environment, run.backend.resource_group, release, reason)
    run.note(f"{plan.title}. {plan.evidence}.")
    return plan


@step("Plan", timeout_seconds=180)
async def plan_redeploy(release: str, reason: str) -> RedeployPlan:
    """Decide how a named release comes back; on resuming, the plan as it was made."""
    if made := _made(RedeployPlan):
        return made
    async with _image_planner() as planner:
        return await planner.plan_redeploy(release, reason)


@step("Plan", timeout_seconds=180)
async def plan_deploy(release: str, reason: str, watch_minutes: float | None) -> DeployPlan:
    """Decide how a new release comes into production; on resuming, the plan as it was made."""
    if made := _made(DeployPlan):
        return made
    async with _image_planner() as planner:
        return await planner.plan_deploy(release, reason, watch_minutes)


@asynccontextmanager
async def _image_planner() -> AsyncGenerator[ImagePlanner]:
    run = current()
    environment = run.header.environment
    app = await run.app_service()
    async with reading(run) as read_schema:
        yield ImagePlanner(app, run.store.served(environment), run.manifest, read_schema, run.settings, environment)


def _made(kind: type[PlanType]) -> PlanType | None:
    run = current()
    made = run.folder.plan(kind)
    if made is not None:
        run.note(f"The plan of {made.made_at:%Y-%m-%d %H:%M:%S} UTC: {made.title}.")
    return made


@step("Put the image in place", timeout_seconds=600)
async def put_image(plan: ImagePlan) -> None:
    """Let the plan's place run the target's image; on return Azure is told, and the image is about to start.

    Nothing is sent where it is there already, serves already, or may be on its way into production.
    """
    run = current()
    run.stop_if_found_bad()
    app = await run.app_service()
    await _check_schema(plan)
    production = await app.get_slot(PRODUCTION)
    if production.build.digest == plan.target.digest or SWAP in run.journal.open_changes():
        return
    if production.build.digest != plan.serving.digest:
        raise PlanIsStale(f"Production runs {production.build}, not {plan.serving} as planned.", remedy="Plan again.")
    await _set_image(plan, plan.target, f"image on {plan.place}")


@step("Swap slots", timeout_seconds=4000)
async def swap_in(plan: ImagePlan) -> None:
    """Bring the probed image into production, after exactly one swap of ours at the most."""
    run = current()
    run.stop_if_found_bad()
    app = await run.app_service()
    slot = await app.get_slot(plan.place)
    basis = SwapBasis(
        app=plan.app,
        slot=plan.place,
        serving=plan.serving,
        target=plan.target,
        last_swap_at=plan.last_swap_at,
        slot_modified_at=slot.last_modified,
    )
    await _swap(basis, SWAP)


@step("Take it back", timeout_seconds=4600)
async def take_back(plan: ImagePlan) -> None:
    """Undo: users get what they got before, by the way in which the image came.

    After the swap: swapped back, once. Before it, or without slots: the image before is put back in its place.
    """
    run = current()
    app = await run.app_service()
    if plan.slot and SWAP in (*run.journal.confirmed_changes(), *run.journal.open_changes()):
        production, slot = await app.get_pair()
        basis = SwapBasis(
            app=plan.app,
            slot=plan.place,
            serving=plan.target,
            target=plan.serving,
            last_swap_at=production.last_swap.at if production.last_swap else None,
            slot_modified_at=slot.last_modified,
        )
        await _swap(basis, SWAP_BACK)
    else:
        await _set_image(plan, plan.before, f"image before on {plan.place}")


@step("Read the log", timeout_seconds=60)
async def show_log_tail(plan: ImagePlan) -> None:
    """Keep the last lines of the log in the report, from where the image runs; where Azure gives none, that is said."""
    run = current()
    try:
        app = await run.app_service()
        production = await app.get_slot(PRODUCTION)
        swapped = production.build.digest == plan.target.digest
        lines = await app.get_log_tail(PRODUCTION if swapped else plan.place, LOG_LINES)
    except RollbackError as error:
        lines = [f"The log could not be read: {error.message}"]
    for line in lines:
        run.note(line)


async def _set_image(plan: ImagePlan, build: Build, change: str) -> None:
    """Bring a place to run an image; a request whose answer is lost is simply read after, and repeated if need be."""
    run = current()
    app = await run.app_service()
    for _ in range(TRIES):
        if (await app.get_slot(plan.place)).build.digest == build.digest:
            if change in run.journal.open_changes():
                run.journal.write(Event.CONFIRMED, change=change, text=f"{plan.place} is set to run {build}.")
            return
        run.check_lease()
        run.journal.write(Event.SENDING, change=change, text=f"Setting {plan.place} to run {build}.")
        try:
            await app.set_image(plan.place, f"DOCKER|{build.image}")
        except (PermissionMissing, CredentialRejected):
            run.journal.write(Event.NO_EFFECT, change=change, text="Azure refused it; nothing was done.")
            raise
        except (Transient, OperationInProgress) as error:
            run.note(f"Trying again: {error.message}")
            await asyncio.sleep(PAUSE_SECONDS)
    raise OperationInProgress(
        f"{plan.place} of '{plan.app}' could not be set to run {build}.",
        remedy="Find out what keeps Azure busy, then resume this run.",
    )


@step("Swap slots", timeout_seconds=4000)
async def swap_slots(plan: SwapPlan) -> None:
    """Bring the plan's target into production; on return it is there, after exactly one swap of ours at the most."""
    await _check_schema(plan)
    await _swap(plan.basis, SWAP)


async def _check_schema(plan: SwapPlan | ImagePlan) -> None:
    """Read again where the database is, before the first change; raises `PlanIsStale` where it moved."""
    run = current()
    if plan.schema_fit is None or run.journal.open_changes() or run.journal.confirmed_changes():
        return
    async with reading(run) as read_schema:
        now = await read_schema()
    judged = compatibility.judge(run.manifest, plan.environment, plan.serving, plan.target, now)
    if unknown := compatibility.check_still_holds(plan.schema_fit, judged):
        run.note(unknown)


async def _swap(basis: SwapBasis, change: str) -> None:
    """Source: Microsoft.Web `slotsswap`, 2025-05-01. Azure's own time is kept apart."""
    run = current()
    app = await run.app_service()
    swap = SlotSwap(app, basis, run.journal, run.check_lease, run.backend.settle_seconds, change)

    async def describe() -> str:
        return str(Reading(basis, *await app.get_pair()))

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
    for _ in range(TRIES):
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
            await asyncio.sleep(PAUSE_SECONDS)
    raise OperationInProgress(
        f"The ramp-up rules of '{plan.app}' could not be removed: users are still sent to slot '{plan.slot}'.",
        remedy="Remove them in the portal (Deployment slots, Traffic %), or resume this run.",
    )


@step(RESTART, timeout_seconds=4000)
async def restart_app(_: ClearCachePlan) -> None:
    """Restart production, once; on return its new container has started, or that it did is not told."""
    await restarting.restart_app(current())
