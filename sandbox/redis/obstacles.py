"""What faults put in the way of a client's connection and of its commands."""

from sandbox.redis.model import Cache
from sandbox.world import World


def refuses(world: World, cache: Cache) -> bool:
    """Whether a new connection is ended at once."""
    return False
