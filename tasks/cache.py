"""Redis: plan what is deleted, delete it, and see that it is gone.

Blast radius: the cache of one environment. Users may be logged out and pages be slower, by what the plan says. Queues
and whatever else is declared are never deleted by a pattern that reaches them.
"""

from rollback.cache import planning, verification
from rollback.cache.choosing import Asked
from rollback.cache.clearing import Clearing
from rollback.cache.plans import CLEAR, VERIFY_KEYS, ClearCachePlan
from rollback.context import current
from tasks import step


@step("Plan", timeout_seconds=900)
async def plan_clear_cache(asked: Asked, reason: str) -> ClearCachePlan:
    """Decide which keys go, and count them; on resuming, the plan as it was made."""
    run = current()
    made = run.folder.plan(ClearCachePlan)
    if made is None:
        if kept := run.header.asked.get("cache"):
            asked = Asked.model_validate_json(kept)
        made = await planning.plan(run, asked, reason)
    run.note(f"{made.title}, by {made.counted}.")
    return made


@step(CLEAR, timeout_seconds=7200)
async def clear(plan: ClearCachePlan) -> Clearing:
    """Delete the plan's keys; on return none is left that was there when this began."""
    run = current()
    clearing = Clearing(run, plan)
    run.where_things_stand = clearing.describe
    if not clearing.is_done:
        await planning.check_still_holds(run, plan)
    await clearing.clear()
    return clearing


@step(VERIFY_KEYS, timeout_seconds=3600)
async def verify_keys(plan: ClearCachePlan, clearing: Clearing | None) -> None:
    """See that no old key is left, and count new ones; raises `NotVerified`."""
    await verification.verify_keys(current(), plan, clearing)
