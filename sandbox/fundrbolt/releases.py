"""The releases of the sample API: their images' digests, and how each of them behaves."""

from dataclasses import dataclass
from hashlib import sha256

IMAGE = "ghcr.io/fundrbolt/fundrbolt-api"


@dataclass(frozen=True)
class Behaviour:
    """What tells one release from another, as users see it."""

    failure_share: float
    """Share (0 to 1) of the requests under /api/ that are answered 500. /health never fails."""
    damage_share: float
    """Share (0 to 1) of the accepted donations that set another, older donation's amount to 0."""
    caches_dollars: bool = False
    """Whether amounts in the cache are dollars. Releases that know nothing of it take them for cents."""


BEHAVIOURS = {
    "v1.2.1": Behaviour(failure_share=0.0, damage_share=0.0),
    "v1.2.2": Behaviour(failure_share=0.0, damage_share=0.0),
    "v1.2.3": Behaviour(failure_share=0.3, damage_share=0.3, caches_dollars=True),
}

RELEASES: dict[str, str] = {
    release: "sha256:" + sha256(f"{IMAGE}:{release}".encode()).hexdigest() for release in BEHAVIOURS
}
"""Release to image digest (`sha256:` and 64 hexadecimal digits). There is no real image behind a digest."""

HEADS: dict[str, str] = {"v1.2.1": "b7d04e9f6c21", "v1.2.2": "d95a3b1e7f08", "v1.2.3": "e2a8c40b7f15"}
"""Release to the newest of alembic's revisions in its image. The database is where v1.2.3's is."""
