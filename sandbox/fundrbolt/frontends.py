"""The platform's frontends as they were released: their sources, and what is built of them.

Release v1.2.3 is bad: its pages ask for the donations where the API has none.
"""

from functools import cache
from pathlib import Path

from sandbox.fundrbolt.frontend.build import archive
from sandbox.fundrbolt.releases import RELEASES

FRONTENDS = ("web", "admin")
SOURCES = Path(__file__).parent / "frontend"
SCRIPT, EXECUTABLE, VERSION = "shared/app.js", "deploy.sh", "VERSION"
NOT_RELEASED = ("__init__.py", "__pycache__")
GOOD, BAD = b'"/api/v1/donations"', b'"/api/v2/donations"'
BAD_RELEASES = ("v1.2.3",)


@cache
def sources_of(release: str) -> dict[str, bytes]:
    """What the release has below `frontend`, by path."""
    if release not in RELEASES:
        raise ValueError(f"there is no release {release!r}")
    files = {
        str(file.relative_to(SOURCES)): file.read_bytes()
        for file in sorted(SOURCES.rglob("*"))
        if file.is_file() and not set(file.relative_to(SOURCES).parts) & set(NOT_RELEASED)
    }
    if release in BAD_RELEASES:
        files[SCRIPT] = files[SCRIPT].replace(GOOD, BAD)
    return {**files, VERSION: f"{release}\n".encode()}


@cache
def archive_of(frontend: str, release: str) -> bytes:
    """The zip that the release's own build makes of a frontend: always the same bytes."""
    return archive(sources_of(release), frontend)
