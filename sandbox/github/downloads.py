"""The hosts that links point at: github.com, which wants a session, and two of blob storage, which want a signature.

Source: learn.microsoft.com/rest/api/storageservices/blob-service-error-codes, and
`specifying-the-range-header-for-blob-service-operations` there; docs.github.com/rest/releases/assets.
"""

import re
from xml.sax.saxutils import escape

from aiohttp import web

from sandbox.arm import missing
from sandbox.github import faults, links, logs, releases
from sandbox.github.names import ASSETS_HOST, RESULTS_HOST
from sandbox.state import new_id
from sandbox.world import World

RANGE = re.compile(r"bytes=(\d+)-(\d*)")
NOT_FOUND_PAGE = "<!DOCTYPE html><html><head><title>Page not found · GitHub</title></head><body>404</body></html>"


class Downloads:
    """Everything that is not the API."""

    def __init__(self, world: World) -> None:
        self._world = world

    async def pages(self, request: web.Request) -> web.StreamResponse:
        """github.com: what is private is not there for somebody without a session, whatever token they send."""
        if faults.is_down(self._world):
            return faults.unicorn()
        if request.method not in ("GET", "HEAD"):
            raise missing(request, "nobody can sign in to github.com")
        return web.Response(status=404, text=NOT_FOUND_PAGE, content_type="text/html")

    async def asset(self, request: web.Request) -> web.StreamResponse:
        """release-assets.githubusercontent.com."""
        number = int(request.path.rpartition("/")[2], 16) if re.search("/[0-9a-f]{32}$", request.path) else 0
        found = releases.find_asset(self._world.state, number)
        content = found[2].data if found is not None and request.path == releases.asset_path(found[1]) else None
        return self._blob(request, ASSETS_HOST, content)

    async def log(self, request: web.Request) -> web.StreamResponse:
        """The blob storage of GitHub Actions."""
        return self._blob(request, RESULTS_HOST, logs.at(self._world, request.path))

    def _blob(self, request: web.Request, host: str, content: bytes | None) -> web.Response:
        if request.method not in ("GET", "HEAD"):
            raise missing(request, "blobs are there for reading only")
        if "Authorization" in request.headers:
            told = "Authentication information is not given in the correct format."
            return _error(400, "InvalidAuthenticationInfo", f"{told} Check the value of Authorization header.")
        if not request.query:
            return _error(404, "ResourceNotFound", "The specified resource does not exist.")
        why = links.refusal(self._world.secrets.signing_key, host, request.path, request.query)
        if why:
            told = "Server failed to authenticate the request. Make sure the value of Authorization header is formed "
            return _error(403, "AuthenticationFailed", f"{told}correctly including the signature.", why)
        if content is None:
            return _error(404, "BlobNotFound", "The specified blob does not exist.")
        return _sent(request, content)


def _sent(request: web.Request, content: bytes) -> web.Response:
    headers = {"Content-Type": request.query["rsct"], "Accept-Ranges": "bytes", "x-ms-blob-type": "BlockBlob"}
    if "rscd" in request.query:
        headers["Content-Disposition"] = request.query["rscd"]
    wanted = RANGE.fullmatch(request.headers.get("Range", ""))
    if wanted is None:
        return web.Response(body=content, headers=headers)
    first, last = int(wanted[1]), min(int(wanted[2] or len(content) - 1), len(content) - 1)
    if first > last:
        told = "The range specified is invalid for the current size of the resource."
        return _error(416, "InvalidRange", told)
    headers["Content-Range"] = f"bytes {first}-{last}/{len(content)}"
    return web.Response(status=206, body=content[first : last + 1], headers=headers)


def _error(status: int, code: str, message: str, detail: str = "") -> web.Response:
    more = f"<AuthenticationErrorDetail>{escape(detail)}</AuthenticationErrorDetail>" if detail else ""
    text = f"<Code>{code}</Code><Message>{escape(message)}\nRequestId:{new_id()}</Message>{more}"
    body = f'\ufeff<?xml version="1.0" encoding="utf-8"?><Error>{text}</Error>'
    return web.Response(status=status, text=body, content_type="application/xml", headers={"x-ms-error-code": code})
