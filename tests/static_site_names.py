"""Names of the platform's static sites, and what tests put on them."""

import io
import zipfile
from collections.abc import Mapping

import httpx

from sandbox.fundrbolt.frontends import archive_of

GROUP, SITE, SHELF = "fundrbolt-production-rg", "fundrbolt-production-web", "fundrbolt-staging-web"
PATH = f"/subscriptions/11111111-1111-4111-8111-111111111111/resourceGroups/{GROUP}/providers/Microsoft.Web/staticSites"
HOST = f"{SITE}.azurestaticapps.net"
UPLOADS = "https://content.infrastructure.azurestaticapps.net/deployments"


def zipped(files: Mapping[str, str | bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as made:
        for path, content in files.items():
            made.writestr(path, content)
    return buffer.getvalue()


class Shelf:
    """Files under an https address that Azure can read: those of another static site."""

    def __init__(self, https: httpx.AsyncClient, token: str) -> None:
        self.https, self.token = https, token

    async def put(self, archive: bytes) -> str:
        """The address of `archive`."""
        content = zipped({"index.html": "a shelf", "it.zip": archive})
        answer = await upload(self.https, content, self.token, site=SHELF)
        assert answer.status_code == 200, answer.text
        return f"https://{SHELF}.azurestaticapps.net/it.zip"

    async def release(self, release: str) -> str:
        """The address of the web frontend as `release` has it."""
        return await self.put(archive_of("web", release))


async def upload(https: httpx.AsyncClient, archive: bytes, token: str, *, site: str = SITE) -> httpx.Response:
    """Deploy with a deployment token."""
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/zip"}
    return await https.post(UPLOADS, params={"app": site}, content=archive, headers=headers)
