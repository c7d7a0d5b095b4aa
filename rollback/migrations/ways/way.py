"""What every way of running alembic has in common."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from rollback.errors import Refused
from rollback.models import Model
from rollback.postgres.url import DatabaseUrl
from rollback.programs.output import OnLine


class WayUnfit(Refused):
    """Alembic cannot be run there: a folder, a file, a program or the container itself is missing; names it."""


class Ended(Model):
    """How alembic ended."""

    status: int | None
    """Its exit status; none where it was killed or the tunnel was cut, and nobody knows what it had done by then."""
    tail: tuple[str, ...]
    """The last lines that it wrote, without secrets."""


class Way(Protocol):
    """A place where alembic can be run."""

    @property
    def name(self) -> str:
        """For people, as in "worktree of v1.2.3"."""
        ...

    async def check(self) -> None:
        """Raise `WayUnfit` unless alembic is there, with the file of the revision that it must know."""
        ...

    async def run(
        self, arguments: Sequence[str], url: DatabaseUrl, environment: Mapping[str, str], on_line: OnLine
    ) -> Ended:
        """Run alembic with these arguments on the database of the URL.

        `environment` is not secret: it may show in the list of processes. A cancelled run interrupts alembic and
        gives it a moment, no more: look for its session in the database before the revision there is believed.
        """
        ...
