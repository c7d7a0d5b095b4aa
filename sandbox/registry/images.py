"""Which images there are, and why one cannot be pulled."""

import re

from sandbox.fundrbolt.releases import IMAGE, RELEASES
from sandbox.state import State

DOWN, MISSING, BROKEN = "registry-down", "image-missing", "image-broken"
REFERENCE = re.compile(
    r"(?:DOCKER\|)?(?P<name>[^@|]+?)(?::(?P<tag>[\w][\w.-]{0,127}))?(?:@(?P<digest>sha256:[0-9a-f]{64}))?"
)


def is_down(state: State) -> bool:
    """Whether the registry answers nobody."""
    return any(fault.name == DOWN for fault in state.faults)


def is_broken(state: State, linux_fx_version: str) -> bool:
    """Whether a container of this image ends at once."""
    broken = {RELEASES[str(fault.options["tag"])] for fault in state.faults if fault.name == BROKEN}
    return digest_of(linux_fx_version) in broken


def available(state: State) -> dict[str, str]:
    """Tag to digest of every image that is there."""
    gone = {str(fault.options["tag"]) for fault in state.faults if fault.name == MISSING}
    return {tag: digest for tag, digest in RELEASES.items() if tag not in gone}


def find(state: State, reference: str) -> str | None:
    """The tag of the image that a tag or a digest stands for."""
    images = available(state)
    return next((tag for tag, digest in images.items() if reference in (tag, digest)), None)


def shown(linux_fx_version: str) -> str:
    """An image as Docker names it."""
    return linux_fx_version.partition("|")[2]


def digest_of(linux_fx_version: str) -> str | None:
    """The digest of the image that `linuxFxVersion` names, by tag or by digest; None if nobody ever built it."""
    match = REFERENCE.fullmatch(linux_fx_version)
    if match is None or match["name"] != IMAGE:
        return None
    wanted = match["digest"] or RELEASES.get(match["tag"] or "latest")
    return wanted if wanted in RELEASES.values() else None


def pull_error(state: State, linux_fx_version: str) -> str | None:
    """What the registry answers to a pull, in Docker's words; None: the image comes."""
    image = shown(linux_fx_version)
    if is_down(state):
        words = 'Get \\"https://ghcr.io/v2/\\": net/http: request canceled while waiting for connection'
        return f'status code=InternalServerError, response={{"message":"{words}"}}'
    digest = digest_of(linux_fx_version)
    if digest is None or find(state, digest) is None:
        return f'status code=NotFound, response={{"message":"manifest for {image} not found: manifest unknown"}}'
    return None
