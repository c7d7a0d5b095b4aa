"""What Microsoft.Web brings to the sandbox: its routes and its faults."""

from sandbox.arm import Route
from sandbox.faults import Kind
from sandbox.web import (
    config,
    deployments,
    faults,
    lifecycle,
    logs,
    operations,
    publishing,
    resources,
    swap,
    swap_faults,
    tags,
)
from sandbox.world import World

ROUTES: list[Route] = [
    *resources.ROUTES,
    *config.ROUTES,
    *deployments.ROUTES,
    *lifecycle.ROUTES,
    *operations.ROUTES,
    *publishing.ROUTES,
    *logs.ROUTES,
    *tags.ROUTES,
]
FAULTS: list[Kind] = [*swap_faults.KINDS, *faults.KINDS]


def resume(world: World) -> None:
    """Go on with the operations that were in progress when the sandbox ended."""
    for site in world.state.sites:
        operation = site.operation()
        if operation is not None:
            swap.resume(world, site, operation)
