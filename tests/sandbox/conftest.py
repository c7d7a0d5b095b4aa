"""The genuine SDK, a plain HTTPS client and the control object, all on one sandbox at its starting state."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable

import httpx
import pytest
from azure.identity.aio import ClientSecretCredential
from azure.keyvault.secrets.aio import SecretClient
from azure.mgmt.postgresqlflexibleservers.aio import PostgreSQLManagementClient
from azure.mgmt.redis.aio import RedisManagementClient
from azure.mgmt.redisenterprise.aio import RedisEnterpriseManagementClient
from azure.mgmt.web.aio import WebSiteManagementClient
from azure_names import SITE, SUBSCRIPTION
from caches import Caches
from database_servers import Database, Servers
from githubkit import GitHub
from support import Sandbox, connections, until_closed

from sandbox.control import Control

WAIT_SECONDS = 20


@pytest.fixture
def control(running_sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Control:
    running_sandbox.control.reset()
    for name, value in running_sandbox.environment.items():
        monkeypatch.setenv(name, value)
    return running_sandbox.control


@pytest.fixture
def environment(running_sandbox: Sandbox) -> dict[str, str]:
    return running_sandbox.environment


@pytest.fixture
async def all_closed(control: Control) -> AsyncIterator[None]:
    """What every client needs: it is closed before this ends, and none may be left to garbage collection."""
    before = connections()
    yield
    await until_closed(before)


@pytest.fixture
async def credential(all_closed: None, environment: dict[str, str]) -> AsyncIterator[ClientSecretCredential]:
    names = ("AZURE_TENANT_ID", "AZURE_CLIENT_ID", "AZURE_CLIENT_SECRET")
    who, ca = [environment[name] for name in names], environment["SSL_CERT_FILE"]
    # aiohttp reads SSL_CERT_FILE once, when it is imported: for this process that is before there is a sandbox.
    async with ClientSecretCredential(*who, connection_verify=ca) as made:
        yield made


@pytest.fixture
async def sdk(
    credential: ClientSecretCredential, environment: dict[str, str]
) -> AsyncIterator[WebSiteManagementClient]:
    """Without retries: a test must see what the sandbox answered."""
    options = {"polling_interval": 0.1, "retry_total": 0, "connection_verify": environment["SSL_CERT_FILE"]}
    async with WebSiteManagementClient(credential, SUBSCRIPTION, **options) as client:
        yield client


@pytest.fixture
async def servers(credential: ClientSecretCredential, environment: dict[str, str]) -> AsyncIterator[Servers]:
    """Without retries: a test must see what the sandbox answered."""
    options = {"polling_interval": 0.05, "retry_total": 0, "connection_verify": environment["SSL_CERT_FILE"]}
    async with PostgreSQLManagementClient(credential, SUBSCRIPTION, **options) as client:
        yield Servers(client)


@pytest.fixture
def database(control: Control, environment: dict[str, str]) -> Database:
    return Database(control, environment["SSL_CERT_FILE"])


@pytest.fixture
async def https(all_closed: None) -> AsyncIterator[httpx.AsyncClient]:
    """Finds proxy and CA in the environment, like every client."""
    async with httpx.AsyncClient(timeout=30) as client:
        yield client


class Arm:
    """Requests to management.azure.com with a token."""

    def __init__(self, https: httpx.AsyncClient, token: str) -> None:
        self.https, self.token = https, token

    async def ask(self, method: str, path: str, **options: object) -> httpx.Response:
        query = {"api-version": "2025-05-01", **options.pop("query", {})}
        headers = {"Authorization": f"Bearer {self.token}", **options.pop("headers", {})}
        url = f"https://management.azure.com{path}"
        return await self.https.request(method, url, params=query, headers=headers, **options)

    async def swap(self, path: str = SITE + "/slots/staging", target: str = "production") -> httpx.Response:
        return await self.ask("POST", f"{path}/slotsswap", json={"targetSlot": target, "preserveVnet": True})


@pytest.fixture
async def arm(https: httpx.AsyncClient, credential: ClientSecretCredential) -> Arm:
    token = await credential.get_token("https://management.azure.com/.default")
    return Arm(https, token.token)


@pytest.fixture
async def github_token(credential: ClientSecretCredential, environment: dict[str, str]) -> str:
    """As the product gets it: out of the vault."""
    vault, ca = "https://fundrbolt-production-kv.vault.azure.net", environment["SSL_CERT_FILE"]
    async with SecretClient(vault, credential, retry_total=0, connection_verify=ca) as client:
        return str((await client.get_secret("github-token")).value)


@pytest.fixture
async def github(github_token: str) -> AsyncIterator[GitHub]:
    """Without retries and cache: a test must see what the sandbox answered."""
    async with GitHub(github_token, auto_retry=False, http_cache=False) as client:
        yield client


@pytest.fixture
def eventually() -> Callable[[Callable[[], object | Awaitable[object]]], Awaitable[None]]:
    async def wait(condition: Callable[[], object | Awaitable[object]]) -> None:
        end = time.monotonic() + WAIT_SECONDS
        while True:
            held = condition()
            if await held if isinstance(held, Awaitable) else held:
                return
            assert time.monotonic() < end, "the condition never held"
            await asyncio.sleep(0.02)

    return wait


@pytest.fixture
def swapped(control: Control, eventually) -> Callable[[int], Awaitable[None]]:
    """Waits until so many swaps were executed and nothing is in progress."""

    async def wait(swaps: int) -> None:
        await eventually(
            lambda: len(control.swaps()) == swaps and control.status().sites["production"].operation is None
        )

    return wait


@pytest.fixture
async def caches(credential: ClientSecretCredential, environment: dict[str, str]) -> AsyncIterator[Caches]:
    """Without retries: a test must see what the sandbox answered."""
    options = {"polling_interval": 0.05, "retry_total": 0, "connection_verify": environment["SSL_CERT_FILE"]}
    async with (
        RedisManagementClient(credential, SUBSCRIPTION, **options) as one,
        RedisEnterpriseManagementClient(credential, SUBSCRIPTION, **options) as other,
    ):
        yield Caches(one, other, environment["SSL_CERT_FILE"])
