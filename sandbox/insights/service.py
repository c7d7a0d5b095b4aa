"""What Microsoft.Insights brings to the sandbox."""

from sandbox.arm import Route
from sandbox.faults import Kind
from sandbox.insights import components, faults, metrics

ROUTES: list[Route] = [*components.ROUTES, *metrics.ROUTES]
FAULTS: list[Kind] = faults.KINDS
