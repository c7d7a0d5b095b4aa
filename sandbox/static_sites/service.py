"""What static sites bring to the sandbox: routes, hosts and faults."""

from sandbox.arm import Route
from sandbox.faults import Kind
from sandbox.fundrbolt.cors import PUBLIC_FRONTEND
from sandbox.static_sites import deployments, faults, operations, resources
from sandbox.static_sites.model import DOMAIN
from sandbox.static_sites.operations import CONTENT_HOST

__all__ = ["CONTENT_HOST", "FAULTS", "HOSTS", "ROUTES", "resume", "serves"]

HOSTS = (CONTENT_HOST, f"*{DOMAIN}", PUBLIC_FRONTEND)
ROUTES: list[Route] = [*resources.ROUTES, *operations.ROUTES]
FAULTS: list[Kind] = faults.KINDS
resume = deployments.resume


def serves(host: str) -> bool:
    """Whether static sites answer under this name; the content service's own name is not one of theirs."""
    return host == PUBLIC_FRONTEND or host.endswith(DOMAIN)
