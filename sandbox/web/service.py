"""What Microsoft.Web brings to the sandbox: its routes and its faults."""

from sandbox.arm import Route
from sandbox.faults import Kind
from sandbox.web import (
    config,
    deployments,
    faults,
    instance_faults,
    instances,
    lifecycle,
    logs,
    operations,
    publishing,
    resources,
    sites,
    swap,
    swap_faults,
    tags,
)
from sandbox.world import World

ROUTES: list[Route] = [
    *resources.ROUTES,
    *instances.ROUTES,
    *config.ROUTES,
    *deployments.ROUTES,
    *lifecycle.ROUTES,
    *operations.ROUTES,
    *publishing.ROUTES,
    *logs.ROUTES,
    *tags.ROUTES,
    *sites.ROUTES,
]
FAULTS: list[Kind] = [*swap_faults.KINDS, *faults.KINDS, *instance_faults.KINDS]


def resume(world: World) -> None:
    """Go on with the operations and the intruders that were there when the sandbox ended."""
    for site in world.state.sites:
        operation = site.operation()
        if operation is not None:
            swap.resume(world, site, operation)
    world.start(instance_faults.resume(world))
