"""A registry's answers that the sandbox's registry does not give."""

import httpx
import pytest

from rollback.errors import AzureUnreachable
from rollback.registry import Registry, parse_repository

IMAGE = "ghcr.io/fundrbolt/fundrbolt-api"


async def test_a_registry_that_sends_us_to_no_address_to_sign_in_is_told() -> None:
    challenge = {"WWW-Authenticate": 'Bearer realm="https://ghcr.io:port/token",service="ghcr.io"'}
    transport = httpx.MockTransport(lambda _: httpx.Response(401, headers=challenge))
    async with httpx.AsyncClient(transport=transport) as client:
        with pytest.raises(AzureUnreachable, match=r"No answer from the registry ghcr\.io"):
            await Registry(client, parse_repository(IMAGE), None).get_digest("v1.2.2")
