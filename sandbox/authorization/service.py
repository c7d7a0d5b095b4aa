"""What Microsoft.Authorization brings to the sandbox."""

from sandbox.arm import Route
from sandbox.authorization import assignments, definitions, locks, permissions

ROUTES: list[Route] = [*permissions.ROUTES, *definitions.ROUTES, *assignments.ROUTES, *locks.ROUTES]
