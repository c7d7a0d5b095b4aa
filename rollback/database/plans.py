"""The plan of a restore: which server as it was when, under which name, for whom, and what it costs."""

from datetime import datetime
from typing import ClassVar

from rollback.database.bill import Bill
from rollback.database.models import ServerId
from rollback.database.moves import MovePlan
from rollback.database.settings import StopWrites
from rollback.outcomes import EndState
from rollback.plans import PlannedStep

RESTORE, MATCH, COMPARE = "Restore beside", "Match settings", "Compare both servers"
STOP, FENCE, EXPORT = "Stop writers", "Fence the old server", "Export lost rows"
CUT_OVER, FOLLOW, START, PROVE = "Cut over", "Refresh references", "Start on the restored server", "Prove in use"


class RestorePlan(MovePlan):
    """Restore a database to a point in time on a new server, and let everything that uses it follow."""

    success: ClassVar[EndState] = EndState.RESTORED
    unproven: ClassVar[EndState] = EndState.RESTORED_NOT_VERIFIED

    run: str = ""
    """The run that it is the plan of, for the words by which it is undone; not bound."""
    source_system: str | None
    """PostgreSQL's own identifier of the database cluster; none where it may not be read."""
    new: ServerId
    point: datetime
    """The restore point: an instant, UTC."""
    stop_writes: StopWrites
    waived: tuple[str, ...]
    """Differences that need not be gone before the cut-over, by name."""
    estimated: Bill
    """What would be lost, as far as it can be told when the plan is made. It moves while the apps write."""
    measured: Bill | None = None
    """What is lost, counted row by row when nothing was written any more."""

    @property
    def target(self) -> ServerId:
        """The server that is used when it is done."""
        return self.new

    @property
    def title(self) -> str:
        """What it does, in one line."""
        where = f"on new server '{self.new.name}'{self.again}"
        return f"{self.environment}'s database as it was at {self.point_words}, {where}"

    @property
    def point_words(self) -> str:
        """The restore point for people, as exact as it was given."""
        fraction = f"{self.point:.%f}".rstrip("0") if self.point.microsecond else ""
        return f"{self.point:%Y-%m-%d %H:%M:%S}{fraction} UTC"

    @property
    def rto_target_seconds(self) -> float:
        """The runbook's quick reference."""
        return 3600

    @property
    def goal(self) -> str:
        """What is true when it is done, in one line."""
        return f"{self.environment} uses its database as of {self.point_words} on {self.new.name}"

    @property
    def bill(self) -> Bill:
        """The best that is known of what is lost."""
        return self.measured or self.estimated

    def steps(self) -> list[PlannedStep]:
        """What will be done, in order."""
        quiet = [
            PlannedStep(title=STOP, detail=f"{self.quieted}; users get errors from here on"),
            PlannedStep(
                title=FENCE,
                detail=f"'{self.source.name}' becomes read-only and "
                f"{'' if self.private else 'lets the apps in no more; '}every session on it is ended",
            ),
        ]
        restored = [
            PlannedStep(
                title=RESTORE, detail=f"new server '{self.new.name}' from '{self.source.name}', which stays as it is"
            ),
            PlannedStep(title=MATCH, detail=f"{self._settings_words()} on '{self.new.name}', compared and set"),
        ]
        first = [*quiet, *restored] if self.stop_writes is StopWrites.NOW else [*restored, *quiet]
        return [*first, *self._last_steps()]

    def _last_steps(self) -> list[PlannedStep]:
        return [
            PlannedStep(title=COMPARE, detail="row by row, old and restored: the true bill", changes=False),
            PlannedStep(title=EXPORT, detail="into a file that can be loaded; their numbers are not given again"),
            PlannedStep(
                title=CUT_OVER,
                detail=f"new version of secret '{self.secret}' in '{self.vault}': only the host changes",
            ),
            PlannedStep(title=FOLLOW, detail=f"{self.apps}: each has to show the new version"),
            PlannedStep(title=START, detail=self.started),
            PlannedStep(title=PROVE, detail="sessions on both servers, a write, health", changes=False),
        ]

    def _settings_words(self) -> str:
        found = self.settings
        counts = (
            (len(found.firewall_rules), "firewall rules"),
            (len(found.parameters), "parameters"),
            (len(found.administrators), "administrators"),
            (len(found.tags), "tags"),
        )
        return ", ".join(f"{count} {words}" for count, words in counts if count)

    def facts(self) -> list[tuple[str, str]]:
        """The binding facts, for people."""
        when = "before the restore begins" if self.stop_writes is StopWrites.NOW else "when the restored one is ready"
        facts = [
            ("Restore point", self.point_words),
            ("Server now", f"{self.source.name} in {self.source.resource_group} ({self.source_host})"),
            ("New server", f"{self.new.name} in {self.new.resource_group}"),
            ("Writes stop", f"{self.stop_writes.value}: {when}"),
            ("Secret", f"{self.secret} in {self.vault}, now version {self.secret_version}"),
            ("Database", f"{self.database}, used as {self.user}"),
            *self.follower_facts(),
            *self.bill.facts,
        ]
        if self.measured is None:
            facts.append(("Asks again", self.tolerance_words()))
        if self.waived:
            facts.append(("Waived differences", ", ".join(self.waived)))
        return facts

    def afterwards(self) -> tuple[str, ...]:
        """What is left to people when it is done."""
        old, new, group = self.source.name, self.new.name, self.source.resource_group
        return (
            f"In the template, let the server be '{new}' and the secret '{self.secret}' name {new}: the next "
            f"infrastructure deployment would otherwise point back to '{old}'.",
            f"The old server '{old}' is fenced and kept. When nobody misses anything: az postgres flexible-server "
            f"delete --resource-group {group} --name {old}. It is never deleted by us, and costs until then.",
            f"To undo: rollback run undo-restore-database -e {self.environment} --restore {self.run or 'RUN'}. It goes "
            f"back to '{old}', and lists what was written to '{new}' since.",
            "Find what damaged the data, before it does so again.",
        )
