"""What deployments bring to the sandbox: their routes and their faults."""

from sandbox.arm import Route
from sandbox.deployments import faults, routes, running
from sandbox.faults import Kind

ROUTES: list[Route] = routes.ROUTES
FAULTS: list[Kind] = faults.KINDS
resume = running.resume
