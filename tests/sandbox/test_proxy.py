"""The only way in: Azure's names through CONNECT, with TLS that verifies, and nothing else."""

import asyncio
import ssl
import stat
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from cryptography import x509


async def ask_proxy(environment: dict[str, str], head: str) -> str:
    where = urlsplit(environment["HTTPS_PROXY"])
    reader, writer = await asyncio.open_connection(where.hostname, where.port)
    writer.write(f"{head}\r\n\r\n".encode())
    answer = await reader.readline()
    writer.close()
    await writer.wait_closed()
    return answer.decode().strip()


@pytest.mark.parametrize(
    "target",
    [
        "example.com:443",
        "azure.com:443",
        "management.azure.com.evil.com:443",
        "management.azure.com:80",
        "127.0.0.1:22",
    ],
)
async def test_every_other_host_is_refused(environment, target):
    assert await ask_proxy(environment, f"CONNECT {target} HTTP/1.1") == "HTTP/1.1 403 Forbidden"


async def test_only_connect_is_served(environment):
    assert (
        await ask_proxy(environment, "GET http://management.azure.com/ HTTP/1.1") == "HTTP/1.1 405 Method Not Allowed"
    )


async def test_a_head_without_end_is_refused(environment):
    head = "CONNECT management.azure.com:443 HTTP/1.1\r\nx: " + "x" * 70000
    assert await ask_proxy(environment, head) == "HTTP/1.1 431 Request Header Fields Too Large"


async def test_a_client_that_does_not_know_the_ca_refuses(environment):
    context = ssl.create_default_context(cafile=None)
    async with httpx.AsyncClient(proxy=environment["HTTPS_PROXY"], verify=context) as client:
        with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
            await client.get("https://management.azure.com/")


async def test_a_name_under_which_nothing_is_served_is_misdirected(https):
    answer = await https.get("https://management.azure.com/", headers={"Host": "example.com"})
    assert answer.status_code == 421


def test_the_ca_may_sign_for_azures_names_only(environment):
    authorities = x509.load_pem_x509_certificates(Path(environment["SSL_CERT_FILE"]).read_bytes())
    assert len(authorities) == 1
    constraints = authorities[0].extensions.get_extension_for_class(x509.NameConstraints)
    names = {str(name.value) for name in constraints.value.permitted_subtrees}
    assert constraints.critical
    assert names == {
        "management.azure.com",
        "login.microsoftonline.com",
        "graph.microsoft.com",
        "ghcr.io",
        "vault.azure.net",
        "azurewebsites.net",
        "scm.azurewebsites.net",
        "api.fundrbolt.com",
        "www.fundrbolt.com",
        "azurestaticapps.net",
        "content.infrastructure.azurestaticapps.net",
        "github.com",
        "api.github.com",
        "release-assets.githubusercontent.com",
        "productionresultssa0.blob.core.windows.net",
        "127.0.0.0/8",
    }


def test_the_state_folder_is_private(running_sandbox):
    assert stat.S_IMODE(running_sandbox.folder.stat().st_mode) == 0o700
    for name in ("secrets.json", "ca-key.pem", "leaf.pem", "state.json", "running.json"):
        assert stat.S_IMODE((running_sandbox.folder / name).stat().st_mode) == 0o600
