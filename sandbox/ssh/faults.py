"""What can be wrong with SSH into a container."""

from pathlib import Path

from sandbox.errors import SandboxError
from sandbox.faults import TIMES, Kind, Option, number, take, text
from sandbox.postgresql.start import STAGING_SERVER, database_url
from sandbox.state import Fault, Site, Slot
from sandbox.web.faults import SLOT, slot_of
from sandbox.world import World

CUT, NO_ALEMBIC, WRONG_DATABASE, NO_SSHD = "ssh-cut", "ssh-no-alembic", "ssh-wrong-database", "ssh-off"
BLOCKED = Path(__file__).parent / "without_alembic"
"""On the path of an interpreter it hides alembic."""


async def _check_slot(world: World, fault: Fault) -> None:
    slot_of(world, fault)


async def _check_cut(world: World, fault: Fault) -> None:
    slot_of(world, fault)
    if number(fault, "kills") not in (0, 1):
        raise SandboxError(f"{CUT}: kills is 0 or 1.")


async def _nothing(_world: World, _fault: Fault) -> None:
    """Whoever opens a session looks for the fault by itself."""


def cut_of(world: World, site: Site, slot: Slot) -> Fault | None:
    """The cut that waits for tunnels like this new one."""
    return next((each for each in world.state.faults if each.name == CUT and _is_at(each, site, slot)), None)


def cuts(world: World, fault: Fault) -> bool:
    """Whether the cut happens, now that a tunnel has come to it: it counts those that it has cut."""
    return take(world, CUT, matches=lambda each: each is fault) is not None


def is_on(world: World, name: str, site: Site, slot: Slot) -> bool:
    """Whether a lasting fault is on at this slot."""
    return any(each.name == name and _is_at(each, site, slot) for each in world.state.faults)


def environment_of(world: World, site: Site, slot: Slot) -> dict[str, str]:
    """What faults bring into a session's environment."""
    brought: dict[str, str] = {}
    if is_on(world, NO_ALEMBIC, site, slot):
        brought["PYTHONPATH"] = str(BLOCKED)
    if is_on(world, WRONG_DATABASE, site, slot) and (server := world.state.find_database_server(STAGING_SERVER)):
        brought["DATABASE_URL"] = database_url(server, world.secrets.signing_key)
    return brought


def _is_at(fault: Fault, site: Site, slot: Slot) -> bool:
    return (text(fault, "environment"), text(fault, "slot")) == (site.environment, slot.name)


KINDS = [
    Kind(
        CUT,
        "A tunnel to the slot's container is cut: at once, or as soon as one of the given things has happened in one.",
        {
            "seconds": Option("so long after it was opened; 0: whenever", 0.0),
            "bytes": Option("once so many bytes came through to the client; 0: however many", 0),
            "after": Option("once the remote process has written this, which does not get through any more", ""),
            "kills": Option("1: the remote process is killed at that moment; 0: it goes on to its end", 0),
            **SLOT,
            **TIMES,
        },
        check=_check_cut,
    ),
    Kind(NO_ALEMBIC, "In the slot's SSH sessions there is no module alembic.", SLOT, _check_slot, _nothing),
    Kind(
        WRONG_DATABASE,
        "In the slot's SSH sessions DATABASE_URL is that of the staging environment's database.",
        SLOT,
        _check_slot,
        _nothing,
    ),
    Kind(NO_SSHD, "The slot's image has no sshd: its port cannot be reached.", SLOT, _check_slot, _nothing),
]
