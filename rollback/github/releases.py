"""Releases on GitHub and their files.

Source: docs.github.com, REST API, "Releases" and "Release assets"; `digest` is GitHub's own SHA-256 of a file.
"""

import hashlib
import ssl
from collections.abc import AsyncGenerator
from contextlib import aclosing
from datetime import datetime
from typing import IO

import httpx
from pydantic import SecretStr

from rollback.errors import ArtifactUnfit, GitHubUnreachable, Permanent, UnknownRelease
from rollback.github.connection import TIMEOUT_SECONDS, GitHubConnection, github_errors
from rollback.models import Model

PAGE = 100
MOST_PAGES = 5
"""Five hundred releases: what is older is named by hand."""


class Asset(Model):
    """A file of a release. A file that is replaced gets another id."""

    id: int
    name: str
    size_bytes: int
    digest: str | None
    """`sha256:` and 64 hex digits; none where GitHub does not tell it."""


class Published(Model):
    """A release as GitHub has it."""

    tag: str
    published_at: datetime
    preliminary: bool
    """A draft or pre-release: never chosen by itself."""
    assets: tuple[Asset, ...]

    def asset(self, name: str) -> Asset:
        """The file of this name; raises `ArtifactUnfit` with the names that there are."""
        for each in self.assets:
            if each.name == name:
                return each
        there = ", ".join(each.name for each in self.assets) or "none"
        raise ArtifactUnfit(
            f"Release {self.tag} on GitHub has no file '{name}'.",
            remedy=f"It has: {there}. Upload it ('gh release upload {self.tag} {name}'), or name another release.",
        )


async def list_releases(connection: GitHubConnection) -> tuple[Published, ...]:
    """Every release with a date, newest first."""
    found: list[Published] = []
    for page in range(1, MOST_PAGES + 1):
        with github_errors(f"list of releases of {connection.repository.repository}"):
            response = await connection.api.rest.repos.async_list_releases(*connection.place, per_page=PAGE, page=page)
            releases = response.parsed_data
        for each in releases:
            assets = [Asset(id=one.id, name=one.name, size_bytes=one.size, digest=one.digest) for one in each.assets]
            if each.published_at is not None:
                found.append(
                    Published(
                        tag=each.tag_name,
                        published_at=each.published_at,
                        preliminary=each.draft or each.prerelease,
                        assets=tuple(assets),
                    )
                )
        if len(releases) < PAGE:
            break
    return tuple(sorted(found, key=lambda each: each.published_at, reverse=True))


def find(releases: tuple[Published, ...], tag: str) -> Published:
    """The release of a tag; raises `UnknownRelease` with the newest that there are."""
    for each in releases:
        if each.tag == tag:
            return each
    known = ", ".join(each.tag for each in releases[:10]) or "none"
    raise UnknownRelease(f"GitHub has no release '{tag}'.", remedy=f"The newest are: {known}.")


async def get_signed_url(connection: GitHubConnection, asset: Asset) -> SecretStr:
    """An address from which anybody can fetch the file, for some minutes: treated as a secret."""
    with github_errors(f"file '{asset.name}'"):
        response = await connection.api.rest.repos.async_get_release_asset(
            *connection.place, asset.id, headers={"Accept": "application/octet-stream"}
        )
    location = response.headers.get("location")
    if response.status_code not in {302, 307} or not location:
        raise Permanent(
            f"GitHub gives no address for the file '{asset.name}' ({response.status_code}).",
            remedy="Use way 'script' in the platform file.",
        )
    return SecretStr(location)


async def download(url: SecretStr, asset: Asset, target: IO[bytes], most_bytes: int) -> str:
    """Fetch the file as Azure would: without our token, from the signed address.

    Returns its digest (`sha256:…`). Raises `ArtifactUnfit` where it is not what GitHub says, `GitHubUnreachable`.
    """
    seen, length = hashlib.sha256(), 0
    try:
        async with aclosing(_pieces(url, asset)) as pieces:
            async for piece in pieces:
                length += len(piece)
                if length > most_bytes:
                    raise ArtifactUnfit(
                        f"File '{asset.name}' is larger than {most_bytes / 1e6:.0f} MB.",
                        remedy="Static Web Apps takes no larger one.",
                    )
                seen.update(piece)
                target.write(piece)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise GitHubUnreachable(
            f"File '{asset.name}' could not be fetched: {type(error).__name__}.",
            remedy="Check the network and https://www.githubstatus.com.",
        ) from error
    digest = f"sha256:{seen.hexdigest()}"
    if length != asset.size_bytes or (asset.digest and digest != asset.digest):
        raise ArtifactUnfit(
            f"File '{asset.name}' is corrupt: {length} bytes with {digest[:19]}…, GitHub says {asset.size_bytes} bytes "
            f"with {(asset.digest or 'no digest')[:19]}….",
            remedy="Upload it again from a build of the tag, or use way 'script'.",
        )
    return digest


async def _pieces(url: SecretStr, asset: Asset) -> AsyncGenerator[bytes]:
    async with (
        httpx.AsyncClient(timeout=TIMEOUT_SECONDS, verify=ssl.create_default_context()) as client,
        client.stream("GET", url.get_secret_value()) as response,
    ):
        if response.status_code != 200:
            raise GitHubUnreachable(
                f"File '{asset.name}' cannot be read from where GitHub keeps it: {response.status_code}.",
                remedy="See https://www.githubstatus.com.",
            )
        async for piece in response.aiter_bytes():
            yield piece
