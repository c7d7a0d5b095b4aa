"""What Microsoft.DBforPostgreSQL brings to the sandbox: its routes and its faults."""

from sandbox.arm import Route
from sandbox.faults import Kind
from sandbox.postgresql import administrators, children, configurations, faults, operations, restores, servers

ROUTES: list[Route] = [
    *operations.ROUTES,
    *servers.ROUTES,
    *restores.ROUTES,
    *configurations.ROUTES,
    *administrators.ROUTES,
    *children.ROUTES,
]
FAULTS: list[Kind] = faults.KINDS

resume = operations.resume
