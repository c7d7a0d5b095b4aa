"""The plan of archiving an environment's resources."""

from datetime import datetime
from typing import ClassVar

from rollback.outcomes import EndState
from rollback.plans import Plan, PlannedStep, Risk
from rollback.resources.archives import name_of

KEEP = "Read and keep"
MOST_NAMED = 5
NOT_KEPT = (
    "apps' sign-in, connection strings and backups, caches' firewall rules, database servers' administrators, "
    "roles and locks"
)
"""What belongs to a resource, is configuration, and is in no archive."""


class ArchivePlan(Plan):
    """Keep the configuration of everything in an environment's resource groups, without secrets."""

    rated: ClassVar[Risk] = "low"
    success: ClassVar[EndState] = EndState.ARCHIVED
    unproven: ClassVar[EndState] = EndState.ARCHIVED_NOT_ALL
    groups: tuple[str, ...]
    at: datetime
    """The archive's instant: its name."""
    keeps: int
    """How many archives there are at most."""
    unseen: tuple[str, ...] = ()
    """Why what is listed may not be all."""
    kept: int | None = None
    """How many resources the archive has, once it is written."""
    changed: tuple[str, ...] | None = None
    """What is not as in the archive before, once that is known; none where there was no archive."""

    damaged: str = ""
    """Name of the archive before, where it cannot be read to be compared with."""

    @property
    def name(self) -> str:
        """The archive's name."""
        return name_of(self.at)

    @property
    def title(self) -> str:
        """What it does, in one line."""
        return f"{self.environment}'s resources archived as {self.name}"

    @property
    def goal(self) -> str:
        """What is true when it is done, in one line."""
        return f"{self.environment}'s {self.kept or 0} resources are archived as {self.name}; {self.change_words}"

    @property
    def change_words(self) -> str:
        """What is not as in the archive before."""
        if self.damaged:
            return f"what changed is not known: archive {self.damaged} is damaged"
        if self.changed is None:
            return "there was no archive before"
        if not self.changed:
            return "nothing changed since the last archive"
        more = f" and {len(self.changed) - MOST_NAMED} more" if len(self.changed) > MOST_NAMED else ""
        return f"{len(self.changed)} changed since the last archive: {', '.join(self.changed[:MOST_NAMED])}{more}"

    @property
    def proof(self) -> str:
        """How it is shown that the goal is reached."""
        return "verified by reading the archive back"

    @property
    def doubt(self) -> str:
        """What is said where not everything could be read."""
        return "done, but not of all"

    @property
    def rto_target_seconds(self) -> float:
        """Nobody waits for it."""
        return 900.0

    def steps(self) -> list[PlannedStep]:
        """What will be done, in order."""
        groups = ", ".join(self.groups)
        detail = f"every resource of {groups}, without secrets, into the state folder; nothing in Azure is changed"
        return [PlannedStep(title=KEEP, detail=detail)]

    def facts(self) -> list[tuple[str, str]]:
        """The binding facts, for people."""
        facts = [("Resource groups", ", ".join(self.groups)), ("Archive", self.name)]
        facts += [("Archives kept", str(self.keeps)), ("In no archive", NOT_KEPT)]
        return [*facts, ("Changed", self.change_words)] if self.kept is not None else facts
