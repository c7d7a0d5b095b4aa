"""What can go wrong with caches."""

from sandbox.faults import TIMES, Kind
from sandbox.redis.resources import FLUSH_FAILS, FLUSH_NEVER_ENDS
from sandbox.world import World


async def _let_flushes_go_on(world: World) -> None:
    for each in world.state.cache_operations:
        each.never_ends = False


KINDS = [
    Kind(FLUSH_FAILS, "Azure's next flush of a cache is accepted, and fails.", TIMES),
    Kind(
        FLUSH_NEVER_ENDS,
        "Azure's next flush of a cache goes on until `repair`.",
        TIMES,
        clean=_let_flushes_go_on,
    ),
]
