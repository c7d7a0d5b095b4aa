"""What Microsoft.KeyVault brings to the sandbox: its routes and its faults."""

from sandbox.arm import Route
from sandbox.faults import Kind
from sandbox.keyvault import faults, reference_routes, secret_resources, vaults

ROUTES: list[Route] = [*vaults.ROUTES, *secret_resources.ROUTES, *reference_routes.ROUTES]
FAULTS: list[Kind] = faults.KINDS
