"""Fetching what a client told Azure to fetch. Only what the sandbox itself serves can be reached.

It goes the way of every client: through the sandbox's own proxy, which knows no other host, and its certificates are
verified against the sandbox's own authority. Azure's words for a URL that cannot be read are not known; these are ours.
"""

import re
import ssl

import aiohttp
from yarl import URL

from sandbox.static_sites.archives import BadArchiveError
from sandbox.static_sites.model import MOST_BYTES, Sku
from sandbox.world import World

FETCH_SECONDS = 60
CHUNK_BYTES = 1 << 16


async def fetch(world: World, url: str, sku: Sku) -> bytes:
    """What is at `url`. `BadArchiveError` if it cannot be read, or not in time, or is larger than the site may be.

    Neither the query, which may be a signature, nor the user part is told in errors.
    """
    try:
        if not url.isascii() or re.search(r"[\x00-\x20\x7f]", url):
            raise ValueError(url)  # noqa: TRY301 -- as what yarl says of others
        # A signature holds for the query as it was written.
        asked = URL(url, encoded=True)
        shown = str(asked.with_query(None).with_user(None).with_fragment(None))
    except ValueError as error:
        raise BadArchiveError("The content cannot be read: appZipUrl is not a URL.") from error
    running = world.folder.last_running()
    if running is None or asked.scheme != "https":
        raise BadArchiveError(f"The content at {shown} cannot be read: it must be an https URL.")
    proxy = f"http://127.0.0.1:{running.proxy_port}"
    context = ssl.create_default_context(cafile=world.folder.ca_bundle)
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=FETCH_SECONDS)) as client,
            client.get(asked, proxy=proxy, ssl=context) as response,
        ):
            if response.status != 200:
                raise BadArchiveError(f"The content at {shown} cannot be read: it was answered {response.status}.")
            return await _read(response, shown, MOST_BYTES[sku])
    except (TimeoutError, aiohttp.ClientError, OSError) as error:
        raise BadArchiveError(f"The content at {shown} cannot be read: {type(error).__name__}.") from error


async def _read(response: aiohttp.ClientResponse, shown: str, most_bytes: int) -> bytes:
    parts: list[bytes] = []
    length = 0
    async for chunk in response.content.iter_chunked(CHUNK_BYTES):
        parts.append(chunk)
        length += len(chunk)
        if length > most_bytes:
            raise BadArchiveError(f"The content at {shown} is larger than {most_bytes} bytes.")
    return b"".join(parts)
