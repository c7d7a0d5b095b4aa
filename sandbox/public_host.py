"""api.fundrbolt.com: production behind its caching front."""

from aiohttp import web

from sandbox.faults import Kind
from sandbox.front import Answer, PublicFront
from sandbox.start import PUBLIC_SITE
from sandbox.state import PRODUCTION, Fault
from sandbox.web.front_end import FrontEnd
from sandbox.world import World

STALE = "stale-cache"


class PublicHost:
    """Answers for production's public name."""

    def __init__(self, world: World, front_end: FrontEnd) -> None:
        self._world = world
        self._front_end = front_end
        self._front = PublicFront(self._fetch)
        self._resets = world.resets

    async def handle(self, request: web.Request, _host: str) -> web.StreamResponse:
        """Answer from the cache or from production."""
        if self._resets != self._world.resets:
            self._front, self._resets = PublicFront(self._fetch), self._world.resets
        self._front.stale = any(fault.name == STALE for fault in self._world.state.faults)
        return await self._front.handle(request)

    async def _fetch(self, request: web.Request) -> Answer:
        site = next(site for site in self._world.state.sites if site.name == PUBLIC_SITE)
        return await self._front_end.fetch(request, site.slots[PRODUCTION].host)


async def _nothing(_world: World, _fault: Fault) -> None:
    """The front looks for the fault by itself."""


KINDS = [
    Kind(STALE, "The public front ignores the query and goes on answering from its cache.", {}, _nothing, _nothing)
]
