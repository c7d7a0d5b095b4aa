"""The plan of taking a schema down: from which revision to which, what goes with it, where alembic runs."""

from typing import Any, ClassVar

from rollback.migrations.certificates import Certificate
from rollback.migrations.counting import words
from rollback.migrations.models import BASE, Down, Lost, Verdict
from rollback.models import Model
from rollback.outcomes import EndState
from rollback.plans import Plan, PlannedStep, Risk

REHEARSE, DOWNGRADE, VERIFY = "Rehearse", "Downgrade", "Verify the schema"


class Counted(Model):
    """What a downgrade takes away, and how much of it there is."""

    lost: Lost
    count: int | None
    """Rows of a table, values of a column; none where it could not be counted."""

    @property
    def name(self) -> str:
        """The table, or the column with its table."""
        return f"{self.lost.table}.{self.lost.column}" if self.lost.column else self.lost.table

    @property
    def words(self) -> str:
        """For people."""
        return words(self.lost, self.count)


class DowngradePlan(Plan):
    """Take the schema of an environment's database down to an earlier revision."""

    rated: ClassVar[Risk] = "high"
    success: ClassVar[EndState] = EndState.DOWNGRADED
    unproven: ClassVar[EndState] = EndState.DOWNGRADED_NOT_VERIFIED

    server: str
    host: str
    system: str | None
    """PostgreSQL's own identifier of the database cluster; none where it may not be read."""
    vault: str
    secret: str
    secret_version: str
    database: str
    user: str
    """The role that alembic signs in as."""
    current: str
    target: str
    path: tuple[Down, ...]
    """In the order in which they run."""
    named: tuple[str, ...]
    """Revisions that are run down although something speaks against it."""
    way: str
    """Where alembic runs, for people."""
    slot: str = ""
    """The slot whose image has the current revision's file, where alembic runs there."""
    release: str = ""
    """The release whose worktree has it, where alembic runs on this machine."""
    scripts: str
    """SHA-256 of the revisions' files: what is run is what was read."""
    schema_now: str
    """SHA-256 over the definitions of all objects, when the plan is made."""
    lock_timeout_seconds: float
    within_seconds: float
    losses: tuple[Counted, ...] = ()
    """As counted when the plan is made. They move while the apps write."""
    rehearse: bool
    certificate: Certificate | None = None
    """The rehearsal's result, for these revisions."""

    def binding(self) -> dict[str, Any]:
        """Targets and facts; counts move, and a rehearsal only tells more."""
        bound = super().binding()
        for name in ("losses", "certificate", "rehearse"):
            bound.pop(name)
        return bound

    @property
    def title(self) -> str:
        """What it does, in one line."""
        return f"{self.environment}'s schema from revision {self.current} down to {self.target}"

    @property
    def rto_target_seconds(self) -> float:
        """The runbook's quick reference."""
        return 120

    @property
    def goal(self) -> str:
        """What is true when it is done, in one line."""
        return f"{self.environment}'s schema is at revision {self.target}"

    def steps(self) -> list[PlannedStep]:
        """What will be done, in order."""
        chain = " → ".join([self.current, *(each.down_revision or BASE for each in self.path)])
        rehearsed = PlannedStep(
            title=REHEARSE,
            detail=f"on a scratch restore of '{self.server}': down, up and down again; deleted afterwards",
        )
        return [
            *([rehearsed] if self.rehearse and self.certificate is None else []),
            PlannedStep(
                title=DOWNGRADE,
                detail=f"{chain}, by alembic in the {self.way}; it waits {self.lock_timeout_seconds:g} s at a time for "
                f"locks, and is tried again for {self.within_seconds:g} s",
            ),
            PlannedStep(title=VERIFY, detail="revision, schema, the app's health", changes=False),
        ]

    def facts(self) -> list[tuple[str, str]]:
        """The binding facts, for people."""
        return [
            ("Revision now", self.current),
            ("Revision afterwards", self.target),
            ("Server", f"{self.server} ({self.host}), system {self.system or 'unknown'}"),
            ("Database", f"{self.database}, as {self.user}"),
            ("Secret", f"{self.secret} in {self.vault}, version {self.secret_version}"),
            ("Alembic runs in", f"the {self.way}"),
            *((f"Down {each.revision}", _judged(each)) for each in self.path),
            ("Data loss", self.loss_words),
            ("Rehearsal", self.certificate.words if self.certificate else self._not_rehearsed()),
        ]

    @property
    def loss_words(self) -> str:
        """What is lost, with its amount, for people."""
        told = [each.words for each in self.losses]
        if not all(each.complete for each in self.path):
            told.append("there may be more than can be told")
        return "; ".join(told) or "none"

    def _not_rehearsed(self) -> str:
        return "none yet: it comes before anybody is asked" if self.rehearse else "none, and none is asked for"

    def afterwards(self) -> tuple[str, ...]:
        """What is left to people when it is done."""
        return (
            f"Let no release serve that needs {self.current} before the schema is up again.",
            f"To go back: python -m alembic upgrade {self.current}, from the release that has it. What was lost does "
            "not come back by that.",
        )


def _judged(down: Down) -> str:
    told = "; ".join(
        str(verdict) if verdict is Verdict.GOOD else f"{verdict}: {reason}"
        for verdict, reason in zip(down.verdicts, down.reasons, strict=True)
    )
    return f"{down.title.rstrip('.')} ({told})"
