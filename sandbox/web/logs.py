"""What a slot's containers wrote: the last lines by Azure Resource Manager, a stream of them by Kudu."""

import hmac
from base64 import b64decode
from contextlib import aclosing, suppress

from aiohttp import web

from sandbox import rbac
from sandbox.arm import Call, missing
from sandbox.clock import now
from sandbox.entra import Entra, TokenRefusedError
from sandbox.ssh.tunnel import PATH as TUNNEL_PATH
from sandbox.ssh.tunnel import Tunnel
from sandbox.state import Site, Slot
from sandbox.web.publishing import publishing_user
from sandbox.web.resources import find, for_site_and_slot, resource_id
from sandbox.world import World

DOMAIN = ".scm.azurewebsites.net"
SETTINGS = {
    "deployment_branch": "master",
    "SCM_COMMAND_IDLE_TIMEOUT": "60",
    "SCM_LOGSTREAM_TIMEOUT": "7200",
    "SCM_TRACE_LEVEL": "1",
}
"""Kudu's own. On Azure the app settings are among them; nobody here needs to be shown their secrets."""
PUBLISH = "Microsoft.Web/sites/publish/action"


async def _container_logs(call: Call) -> web.Response:
    site, slot = find(call)
    lines = call.world.logs.last((site.name, slot.name))
    if not lines:
        return web.Response(status=204)
    return web.Response(text="".join(f"{line}\n" for line in lines), content_type="text/plain")


class Kudu:
    """Answers under *.scm.azurewebsites.net, to whoever may publish: the log stream, and the tunnel for SSH."""

    def __init__(self, world: World, entra: Entra) -> None:
        self._world = world
        self._entra = entra
        self._tunnel = Tunnel(world)

    async def handle(self, request: web.Request, host: str) -> web.StreamResponse:
        """One request."""
        found = self._world.state.find_host(host.replace(DOMAIN, ".azurewebsites.net"))
        if found is None:
            return web.Response(status=404, text="404 Web Site not found.")
        if not self._may(request, *found):
            return web.Response(status=401, headers={"WWW-Authenticate": 'Basic realm="site"'})
        if request.method == "GET" and request.path.rstrip("/").lower() in ("/logstream", "/api/logstream"):
            return await self._stream(request, *found)
        if request.method == "GET" and request.path.rstrip("/").lower() == "/api/settings":
            return web.json_response(SETTINGS)
        if request.method == "GET" and request.path.lower() == TUNNEL_PATH:
            return await self._tunnel.handle(request, *found)
        raise missing(request, "of Kudu there are the log stream, the settings and the tunnel only")

    def _may(self, request: web.Request, site: Site, slot: Slot) -> bool:
        scheme, _, given = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() == "basic":
            user, password = publishing_user(site, slot), self._world.secrets.publishing_password
            return hmac.compare_digest(_decoded(given), f"{user}:{password}".encode())
        try:
            principal = self._entra.verify(request.headers.get("Authorization"))
        except TokenRefusedError:
            return False
        request["principal"] = principal.name
        return rbac.allows(self._world.state, principal, PUBLISH, resource_id(self._world, site, slot))

    async def _stream(self, request: web.Request, site: Site, slot: Slot) -> web.StreamResponse:
        place = (site.name, slot.name)
        response = web.StreamResponse(headers={"Content-Type": "text/plain; charset=utf-8"})
        await response.prepare(request)
        greeting = f"{now():%Y-%m-%dT%H:%M:%S}  Welcome, you are now connected to log-streaming service."
        lines = [greeting, *self._world.logs.last(place)]
        await response.write("".join(f"{line}\n" for line in lines).encode())
        # Who listens comes and goes; that is not news.
        with suppress(ConnectionError):
            async with aclosing(self._world.logs.follow(place)) as coming:
                async for line in coming:
                    await response.write(f"{line}\n".encode())
        return response


def _decoded(text: str) -> bytes:
    try:
        return b64decode(text, validate=True)
    except ValueError:
        return b""


ROUTES = for_site_and_slot("POST", "/containerlogs", "{sites}/containerlogs/action", _container_logs)
