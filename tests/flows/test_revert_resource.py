"""One resource goes back to what it was, by one PATCH of what differs."""

from reverting import Things, archive, revert

from rollback.outcomes import EndState
from rollback.resources.revert_plans import RevertResourcePlan


async def test_what_somebody_changed_by_hand_comes_back_and_nothing_else_is_sent(things: Things) -> None:
    await archive()
    things.change(alwaysOn=False, http20Enabled=True)
    outcome = await revert()
    assert outcome.end_state is EndState.ROLLED_BACK, outcome
    config = things.config()
    assert (config["alwaysOn"], config["http20Enabled"]) == (True, False)
    assert things.sent("PATCH", "/config/web") == 2
    plan = things.store.get(outcome.run).plan(RevertResourcePlan)
    assert plan is not None
    assert plan.body == {"properties": {"alwaysOn": True, "http20Enabled": False}}
    assert plan.risk == "high"
