"""What alembic's revisions are, and what going down through them would do."""

import re
from enum import StrEnum
from typing import TYPE_CHECKING

from rollback.errors import ChainBroken, NotBelow, RevisionUnknown
from rollback.models import Model

if TYPE_CHECKING:
    from alembic.script.revision import Revision, RevisionMap

BASE = "base"
"""Alembic's name for the empty schema."""
UNNAMED = "*"
"""The table of a loss that cannot be named; `schema.*` is everything of a schema."""

_RELATIVE = re.compile(r"(?P<start>.*?)-(?P<steps>\d+)")
_SHOWN = 10
"""Revisions that an error lists of those that there are."""


class Verdict(StrEnum):
    """What is to be known of a downgrade before it runs; worst first."""

    RAISING = "raising"
    """It refuses to run, or cannot."""
    LOSSY = "lossy"
    """Data that is there before is not there after."""
    EMPTY = "empty"
    """It changes nothing, although its upgrade did: the schema would not be what the revision says."""
    ENVIRONMENT_DEPENDENT = "environment-dependent"
    """What it does depends on where and how it runs."""
    DATA_MOVING = "data-moving"
    """It reads or writes rows: how long it takes and what it does depends on them."""
    NON_TRANSACTIONAL = "non-transactional"
    """It commits in the middle: when it fails, a part of it stays."""
    GOOD = "good"
    """Nothing of the above."""


class Lost(Model):
    """Data that a downgrade loses."""

    table: str
    """With its schema, as in `public.donations`; `UNNAMED` where it cannot be told."""
    column: str | None
    """None: the whole table."""
    partly: bool = False
    """At most these rows or values: some of them may stay, or stay as they are."""


class Down(Model):
    """One revision's downgrade."""

    revision: str
    down_revision: str | None
    """Where it leads; None is the empty schema, and a merge's other ones are in `merged`."""
    title: str
    verdicts: tuple[Verdict, ...]
    """All that hold, worst first."""
    reasons: tuple[str, ...]
    """For people, one for each verdict."""
    losses: tuple[Lost, ...]
    statements: tuple[str, ...]
    """Its SQL, in order; empty where it cannot be told."""
    complete: bool = True
    """Whether losses and statements are all that it does; otherwise there may be more."""
    merged: tuple[str, ...] = ()
    depends_on: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    file: str = ""
    """Relative to the folder that was read."""


class Graph(Model):
    """The revisions of a folder; paths and names in it follow alembic's own rules."""

    heads: tuple[str, ...]
    problems: tuple[str, ...]
    """Why alembic cannot, or must not, work with the folder: names the revision or file and what is missing."""
    history: tuple[str, ...]
    """Newest first."""
    revisions: tuple[Down, ...] = ()
    """As in the history."""

    def resolve(self, target: str, current: str) -> str:
        """The absolute revision of a target: `-1`, `previous`, `base`, a label, a prefix, `PREFIX-2`, or a revision.

        Going back is by `down_revision` and raises `RevisionUnknown` where a merge leaves open which one is meant.
        """
        target = "-1" if target == "previous" else target.strip()
        relative = _RELATIVE.fullmatch(target)
        if relative:
            return self._back(relative["start"] or current, int(relative["steps"]))
        found = self._find(target)
        return found.revision if found else BASE

    def path(self, current: str, target: str) -> tuple[Down, ...]:
        """The downgrades from one revision to another, in the order in which alembic runs them; none if they are one.

        Raises `NotBelow` where the target is not below, `RevisionUnknown`, or `ChainBroken` where alembic would fail.
        """
        from alembic.script.revision import RevisionError

        self._find(current)
        below = self._find(target)
        try:
            steps = [
                step.revision
                for step in self._map().iterate_revisions(
                    current, below.revision if below else BASE, select_for_downgrade=True
                )
            ]
        except RevisionError as error:
            raise NotBelow(
                f"Revision {target} is not below {current}: no downgrade leads there.",
                remedy="Name a revision of its history.",
            ) from error
        known = {each.revision: each for each in self.revisions}
        return tuple(known[step] for step in steps)

    def _back(self, start: str, steps: int) -> str:
        """The revision so many steps below."""
        found = self._find(start)
        for step in range(steps):
            if found is None:
                raise RevisionUnknown(f"There are only {step} revisions from {start} down.", remedy=self._there_is())
            below = found.down_revision
            if isinstance(below, tuple | list):
                raise RevisionUnknown(
                    f"Revision {found.revision} merges {' and '.join(below)}: one step down is not one revision.",
                    remedy="Name the revision.",
                )
            found = self._find(below) if below else None
        return found.revision if found else BASE

    def _find(self, name: str) -> "Revision | None":
        """The revision of a name by alembic's rules; None is the empty schema. Raises `RevisionUnknown`."""
        from alembic.script.revision import RevisionError

        revisions = self._map()
        if not name:
            raise RevisionUnknown("No revision is named.", remedy=self._there_is())
        try:
            return revisions.get_revision(name)
        except RevisionError as error:
            raise RevisionUnknown(f"{str(error).rstrip('.')}.", remedy=self._there_is()) from error

    def _map(self) -> "RevisionMap":
        """Alembic's own graph of the revisions; raises `ChainBroken`."""
        if self.problems:
            raise ChainBroken(
                f"Alembic cannot work with these revisions: {'; '.join(self.problems)}.",
                remedy="Repair the revisions, or restore the database instead.",
            )
        return revision_map(self.revisions)

    def _there_is(self) -> str:
        more = f" and {len(self.history) - _SHOWN} older" if len(self.history) > _SHOWN else ""
        return f"There is: {', '.join(self.history[:_SHOWN]) or 'no revision'}{more}."


def revision_map(revisions: tuple[Down, ...]) -> "RevisionMap":
    """Alembic's own graph of revisions, without their scripts; raises alembic's errors once it is used."""
    from alembic.script.revision import Revision, RevisionMap

    def of(down: Down) -> Revision:
        below = (down.down_revision, *down.merged) if down.down_revision and down.merged else down.down_revision
        return Revision(down.revision, below, down.depends_on, down.labels)

    return RevisionMap(lambda: [of(down) for down in revisions])
