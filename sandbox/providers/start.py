"""Which plain resources the platform has in the beginning: a plan for each app."""

from sandbox.providers.model import PlainResource
from sandbox.state import State

PLAN = "Microsoft.Web/serverfarms"


def furnish(state: State) -> None:
    """Add the apps' plans."""
    plans = dict.fromkeys((site.group, site.plan) for site in state.sites)
    state.plain_resources = [_plan(state, group, name) for group, name in plans]


def _plan(state: State, group: str, name: str) -> PlainResource:
    return PlainResource(
        id=f"/subscriptions/{state.subscription_id}/resourceGroups/{group}/providers/{PLAN}/{name}",
        type=PLAN,
        location=state.location,
        tags={"environment": group.split("-")[1]},
        parts={
            "sku": {"name": "P1v3", "tier": "PremiumV3", "size": "P1v3", "family": "Pv3", "capacity": 1},
            "kind": "linux",
        },
        properties={"reserved": True},
    )
