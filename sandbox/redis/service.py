"""What Microsoft.Cache brings to the sandbox: its routes and its faults."""

from sandbox.arm import Route
from sandbox.faults import Kind
from sandbox.redis import faults, managed, operations, resources

ROUTES: list[Route] = [*operations.ROUTES, *resources.ROUTES, *managed.ROUTES]
FAULTS: list[Kind] = faults.KINDS

resume = operations.resume
