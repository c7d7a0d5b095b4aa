"""A container registry: does an image exist, and which digest is a tag.

Source: OCI Distribution Specification 1.1; token flow as ghcr.io and Azure Container Registry have it.
"""

import re
import ssl
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit

import httpx

from rollback.errors import AzureUnreachable, CredentialRejected, ImageMissing

ACCEPT = ", ".join(
    (
        "application/vnd.oci.image.index.v1+json",
        "application/vnd.oci.image.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
        "application/vnd.docker.distribution.manifest.v2+json",
    )
)
TIMEOUT_SECONDS = 10
MOST_TAGS = 1000


@dataclass(frozen=True)
class Repository:
    """A place of images, for instance `ghcr.io/fundrbolt/fundrbolt-api`."""

    host: str
    path: str

    def __str__(self) -> str:
        return f"{self.host}/{self.path}"


def parse_repository(image: str) -> Repository:
    """The repository of an image reference with or without tag and digest."""
    name = re.sub(r"(@sha256:[0-9a-f]{64})$", "", image)
    name = re.sub(r":[\w][\w.-]{0,127}$", "", name)
    host, _, path = name.partition("/")
    return Repository(host, path)


class Registry:
    """Asks one registry about one repository."""

    def __init__(self, client: httpx.AsyncClient, repository: Repository, password: str | None) -> None:
        self._client = client
        self._repository = repository
        self._password = password
        self._token: str | None = None

    async def get_digest(self, reference: str) -> str:
        """The digest behind a tag or digest; raises `ImageMissing`."""
        response = await self._ask("HEAD", f"manifests/{reference}", {"Accept": ACCEPT})
        if response.status_code == 404:
            raise ImageMissing(
                f"There is no image {reference} in {self._repository}.",
                remedy="Build and push it, or name another release.",
            )
        self._check(response)
        return response.headers.get("Docker-Content-Digest", reference)

    async def list_tags(self) -> list[str]:
        """Every tag, as the registry orders them; at most a thousand."""
        response = await self._ask("GET", f"tags/list?n={MOST_TAGS}", {})
        if response.status_code == 404:
            return []
        self._check(response)
        return list(response.json().get("tags") or [])

    def _check(self, response: httpx.Response) -> None:
        if response.status_code in {401, 403}:
            raise CredentialRejected(
                f"The registry does not show {self._repository} ({response.status_code}).",
                remedy="Set ROLLBACK_REGISTRY_TOKEN to a token that may read packages.",
            )
        if response.status_code >= 400:
            raise AzureUnreachable(
                f"The registry {self._repository.host} answers {response.status_code}.",
                remedy="Try again; the image must be known to exist before anything is touched.",
            )

    async def _ask(self, method: str, path: str, headers: dict[str, str]) -> httpx.Response:
        url = f"https://{self._repository.host}/v2/{self._repository.path}/{path}"
        try:
            response = await self._client.request(method, url, headers={**headers, **self._bearer()})
            challenge = response.headers.get("WWW-Authenticate", "")
            if response.status_code == 401 and challenge.lower().startswith("bearer "):
                await self._sign_in(challenge)
                response = await self._client.request(method, url, headers={**headers, **self._bearer()})
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise AzureUnreachable(
                f"No answer from the registry {self._repository.host}.", remedy="Check the network and HTTPS_PROXY."
            ) from error
        return response

    def _bearer(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._token}"} if self._token else {}

    async def _sign_in(self, challenge: str) -> None:
        told = {found[1]: found[2] for found in re.finditer(r'(\w+)="([^"]*)"', challenge)}
        realm = told.get("realm", "")
        if urlsplit(realm).scheme != "https":
            raise CredentialRejected(
                f"The registry {self._repository.host} asks to sign in at an address that is not https.",
                remedy="Check the registry's name.",
            )
        query = {name: told[name] for name in ("service", "scope") if name in told}
        sign_in = httpx.BasicAuth("token", self._password) if self._password else None
        response = await self._client.get(realm, params=query, auth=sign_in)
        if response.status_code == 200:
            body = response.json()
            self._token = body.get("token") or body.get("access_token")


@asynccontextmanager
async def connect(image: str, password: str | None) -> AsyncGenerator[Registry]:
    """The registry of an image; `password` is a token that may read packages, none for public images."""
    async with httpx.AsyncClient(timeout=TIMEOUT_SECONDS, verify=ssl.create_default_context()) as client:
        yield Registry(client, parse_repository(image), password)
