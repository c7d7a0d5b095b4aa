"""The plan of a restore: which server as it was when, under which name, for whom, and what it costs."""

from datetime import datetime
from typing import Any, ClassVar

from rollback.database.bill import Bill
from rollback.database.consumers import Consumer
from rollback.database.models import Parameter, ServerId, ServerSettings
from rollback.outcomes import EndState
from rollback.plans import Plan, PlannedStep, Risk
from rollback.settings import StopWrites

RESTORE, MATCH, COMPARE = "Restore beside", "Match settings", "Compare both servers"
STOP, FENCE, EXPORT = "Stop writers", "Fence the old server", "Export lost rows"
CUT_OVER, FOLLOW, START, PROVE = "Cut over", "Refresh references", "Start on the restored server", "Prove in use"


class RestorePlan(Plan):
    """Restore a database to a point in time on a new server, and let everything that uses it follow."""

    risk: ClassVar[Risk] = "high"
    success: ClassVar[EndState] = EndState.RESTORED
    unproven: ClassVar[EndState] = EndState.RESTORED_NOT_VERIFIED

    source: ServerId
    source_host: str
    source_system: str | None
    """PostgreSQL's own identifier of the database cluster; none where it may not be read."""
    private: bool
    new: ServerId
    point: datetime
    """The restore point: an instant, UTC."""
    stop_writes: StopWrites
    vault: str
    secret: str
    secret_version: str
    """The version that holds the source's address when the plan is made."""
    database: str
    user: str
    """The role that the apps sign in as."""
    consumers: tuple[Consumer, ...]
    settings: ServerSettings
    """What the restored server gets as its source had it."""
    read_only: Parameter
    """The fence's parameter on the source, as it was."""
    waived: tuple[str, ...]
    """Differences that need not be gone before the cut-over, by name."""
    tolerance_rows: int
    tolerance_share: float
    estimated: Bill
    """What would be lost, as far as it can be told when the plan is made. It moves while the apps write."""
    measured: Bill | None = None
    """What is lost, counted row by row when nothing was written any more."""
    asks_again: bool = False
    """The measured bill is worse than what was approved: it binds from then on."""

    def binding(self) -> dict[str, Any]:
        """Targets and facts; the bill only once it has been measured and found worse."""
        bound = super().binding()
        for name in ("estimated", *([] if self.asks_again else ["measured", "asks_again"])):
            bound.pop(name, None)
        return bound

    @property
    def title(self) -> str:
        """What it does, in one line."""
        again = " (asked again: more is lost than was approved)" if self.asks_again else ""
        return f"{self.environment}'s database as it was at {self.point_words}, on new server '{self.new.name}'{again}"

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
    def apps(self) -> str:
        """Who uses it, by name."""
        return ", ".join(each.name for each in self.consumers)

    @property
    def bill(self) -> Bill:
        """The best that is known of what is lost."""
        return self.measured or self.estimated

    def steps(self) -> list[PlannedStep]:
        """What will be done, in order."""
        quiet = [
            PlannedStep(title=STOP, detail=f"{self.apps}: stopped; users get errors from here on"),
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
        running = ", ".join(each.name for each in self.consumers if each.was_running) or "nothing, as before"
        return [
            PlannedStep(title=COMPARE, detail="row by row, old and restored: the true bill", changes=False),
            PlannedStep(title=EXPORT, detail="into a file that can be loaded; their numbers are not given again"),
            PlannedStep(
                title=CUT_OVER,
                detail=f"new version of secret '{self.secret}' in '{self.vault}': only the host changes",
            ),
            PlannedStep(title=FOLLOW, detail=f"{self.apps}: each has to show the new version"),
            PlannedStep(title=START, detail=running),
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
            *((f"Follows: {each.name}", self._words_of(each)) for each in self.consumers),
            ("Lost", self.bill.total_words),
            *((f"Lost of {each.table}", each.words) for each in self.bill.tables if each.matters),
            ("How it was found", self.bill.how),
        ]
        if self.measured is None:
            facts.append(("Asks again", self._tolerance_words()))
        if self.waived:
            facts.append(("Waived differences", ", ".join(self.waived)))
        return facts

    @staticmethod
    def _words_of(consumer: Consumer) -> str:
        state = "runs" if consumer.was_running else "is stopped, and stays so"
        return f"{consumer.how}; setting {', '.join(consumer.settings)}; {state}"

    def _tolerance_words(self) -> str:
        share = f" or {self.tolerance_share:.0%} (whichever is more)" if self.tolerance_share else ""
        return f"where a table loses over {self.tolerance_rows} rows{share} more than said here"

    def afterwards(self) -> tuple[str, ...]:
        """What is left to people when it is done."""
        old, new, group = self.source.name, self.new.name, self.source.resource_group
        return (
            f"In the template, let the server be '{new}' and the secret '{self.secret}' name {new}: the next "
            f"infrastructure deployment would otherwise point back to '{old}'.",
            f"The old server '{old}' is fenced and kept. When nobody misses anything: az postgres flexible-server "
            f"delete --resource-group {group} --name {old}. It is never deleted by us, and costs until then.",
            f"To undo: stop the apps, set {old}'s {self._read_only_words()}, put its firewall rules back, give secret "
            f"'{self.secret}' the value of version {self.secret_version} as a new version, refresh the references, "
            f"start the apps. What was written to '{new}' since is then lost: compare first.",
            "Find what damaged the data, before it does so again.",
        )

    def _read_only_words(self) -> str:
        return f"{self.read_only.name} to {self.read_only.value}"
