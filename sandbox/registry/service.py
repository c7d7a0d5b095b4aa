"""The OCI distribution API of ghcr.io: ping, anonymous tokens, tags and manifests.

Source: github.com/opencontainers/distribution-spec, with what ghcr.io adds: a bearer token even for public images.
"""

import hmac
import json
from hashlib import sha256
from typing import Any

from aiohttp import web

from sandbox.arm import missing
from sandbox.errors import SandboxError
from sandbox.faults import Kind, Option, text
from sandbox.fundrbolt.releases import IMAGE, RELEASES
from sandbox.registry import images
from sandbox.state import Fault
from sandbox.world import World

HOST = "ghcr.io"
REPOSITORY = IMAGE.partition("/")[2]
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
MOST_TAGS = 100


class RegistryError(Exception):
    """An answer that is an error, in the registry's shape."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code = status, code

    def response(self) -> web.Response:
        """The error."""
        body = {"errors": [{"code": self.code, "message": str(self)}]}
        response = web.json_response(body, status=self.status)
        if self.status == 401:
            realm = f'Bearer realm="https://{HOST}/token",service="{HOST}",scope="repository:{REPOSITORY}:pull"'
            response.headers["WWW-Authenticate"] = realm
        return response


class Registry:
    """Answers for ghcr.io."""

    def __init__(self, world: World) -> None:
        self._world = world

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """One request."""
        try:
            response = self._answer(request)
        except RegistryError as error:
            response = error.response()
        response.headers["Docker-Distribution-Api-Version"] = "registry/2.0"
        return response

    def _answer(self, request: web.Request) -> web.Response:
        if images.is_down(self._world.state):
            return web.Response(status=503, text="Service Unavailable")
        path = request.path
        if request.method == "GET" and path == "/token":
            return self._token(request)
        if request.method not in ("GET", "HEAD") or not path.startswith("/v2"):
            raise missing(request, "the registry is there for reading only")
        self._require_token(request)
        if path in ("/v2", "/v2/"):
            return web.json_response({})
        name, _, rest = path.removeprefix("/v2/").rpartition("/manifests/")
        if name:
            return self._manifest(name, rest)
        if path.endswith("/tags/list"):
            return self._tags(request, path.removeprefix("/v2/").removesuffix("/tags/list"))
        raise missing(request, "there are no layers behind the manifests")

    def _token(self, request: web.Request) -> web.Response:
        scope = request.query.get("scope", "")
        if scope and scope != f"repository:{REPOSITORY}:pull":
            raise RegistryError(403, "DENIED", "requested access to the resource is denied")
        return web.json_response({"token": self._anonymous()})

    def _anonymous(self) -> str:
        return sha256(f"pull {self._world.secrets.control_token}".encode()).hexdigest()

    def _require_token(self, request: web.Request) -> None:
        expected = f"Bearer {self._anonymous()}"
        if not hmac.compare_digest(request.headers.get("Authorization", "").encode(), expected.encode()):
            raise RegistryError(401, "UNAUTHORIZED", "authentication required")

    def _tags(self, request: web.Request, name: str) -> web.Response:
        _require_repository(name)
        tags = sorted(images.available(self._world.state))
        last = request.query.get("last", "")
        after = [tag for tag in tags if tag > last]
        count = int(request.query["n"]) if request.query.get("n", "").isdecimal() else MOST_TAGS
        shown = after[:count]
        headers = dict[str, str]()
        if shown and len(shown) < len(after):
            headers["Link"] = f'</v2/{name}/tags/list?last={shown[-1]}&n={count}>; rel="next"'
        return web.json_response({"name": name, "tags": shown}, headers=headers)

    def _manifest(self, name: str, reference: str) -> web.Response:
        _require_repository(name)
        tag = images.find(self._world.state, reference)
        if tag is None:
            raise RegistryError(404, "MANIFEST_UNKNOWN", "manifest unknown")
        return web.Response(
            body=json.dumps(_manifest_json(tag)).encode(),
            headers={"Content-Type": MANIFEST, "Docker-Content-Digest": RELEASES[tag]},
        )


def _require_repository(name: str) -> None:
    if name != REPOSITORY:
        raise RegistryError(404, "NAME_UNKNOWN", "repository name not known to registry")


def _manifest_json(tag: str) -> dict[str, Any]:
    def blob(kind: str, what: str) -> dict[str, Any]:
        return {
            "mediaType": kind,
            "digest": "sha256:" + sha256(f"{IMAGE}:{tag}/{what}".encode()).hexdigest(),
            "size": 512,
        }

    return {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": blob(CONFIG, "config"),
        "layers": [blob("application/vnd.oci.image.layer.v1.tar+gzip", "layer")],
        "annotations": {"org.opencontainers.image.version": tag},
    }


async def _nothing(_world: World, _fault: Fault) -> None:
    """Whoever asks for an image looks for the fault by itself."""


async def _check_tag(_world: World, fault: Fault) -> None:
    if text(fault, "tag") not in RELEASES:
        raise SandboxError(f"There is no image {text(fault, 'tag')!r}; there are {', '.join(RELEASES)}.")


FAULTS = [
    Kind(
        images.MISSING,
        "An image is not in the registry any more. What has it already goes on.",
        {"tag": Option("which", "v1.2.2")},
        _nothing,
        _nothing,
        check=_check_tag,
    ),
    Kind(
        images.BROKEN,
        "Containers of an image that are started from now on end at once.",
        {"tag": Option("which", "v1.2.1")},
        _nothing,
        _nothing,
        check=_check_tag,
    ),
    Kind(
        images.DOWN,
        "The registry answers 503, and nothing can be pulled from it.",
        {},
        _nothing,
        _nothing,
    ),
]
