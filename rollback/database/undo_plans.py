"""The plan of undoing a restore: back to the server from before it, and what was written meanwhile."""

from datetime import datetime
from typing import ClassVar

from rollback.database.bill import WrittenBill
from rollback.database.models import Fence, ServerId
from rollback.database.moves import MovePlan
from rollback.database.plans import COMPARE, CUT_OVER, EXPORT, FOLLOW, PROVE, STOP
from rollback.outcomes import EndState
from rollback.plans import PlannedStep
from rollback.postgres.proof import WriteMark

FENCE_RESTORED, OPEN, START_ON_OLD = "Fence the restored server", "Open the old server", "Start on the old server"


class UndoRestorePlan(MovePlan):
    """Let everything that follows a restored server use the one from before the restore again."""

    success: ClassVar[EndState] = EndState.ROLLED_BACK
    unproven: ClassVar[EndState] = EndState.NOT_VERIFIED

    restore: str
    """The run whose restore is undone."""
    point: datetime
    """What it had restored to: an instant, UTC."""
    cut_over_at: datetime
    old: ServerId
    """The server from before the restore."""
    old_host: str
    old_fence: Fence
    """What the restore turned there: put back."""
    mark: WriteMark
    """The restored server right before the cut-over; what is later was written by its users."""
    estimated: WrittenBill
    """What was written since, when the plan is made. It moves while the apps write."""
    measured: WrittenBill | None = None
    """The same, when nothing was written any more."""

    @property
    def target(self) -> ServerId:
        """The server that is used when it is done."""
        return self.old

    @property
    def bill(self) -> WrittenBill:
        """The best that is known of what is lost."""
        return self.measured or self.estimated

    @property
    def title(self) -> str:
        """What it does, in one line."""
        return f"{self.environment}'s database back on '{self.old.name}', as before restore {self.restore}{self.again}"

    @property
    def rto_target_seconds(self) -> float:
        """Half of what a restore may take: nothing is restored."""
        return 1800

    @property
    def goal(self) -> str:
        """What is true when it is done, in one line."""
        return f"{self.environment} uses its database on {self.old.name}"

    def steps(self) -> list[PlannedStep]:
        """What will be done, in order."""
        new, old = self.source.name, self.old.name
        closed = "" if self.private else "lets the apps in no more; "
        return [
            PlannedStep(title=STOP, detail=f"{self.quieted}; users get errors from here on"),
            PlannedStep(
                title=FENCE_RESTORED, detail=f"'{new}' becomes read-only and {closed}every session on it is ended"
            ),
            PlannedStep(
                title=COMPARE, detail=f"row by row, '{new}' and '{old}', and what was written since", changes=False
            ),
            PlannedStep(title=EXPORT, detail=f"what only '{new}' has, into a file that can be loaded"),
            PlannedStep(
                title=OPEN, detail=f"'{old}': {self._opened_words()}; numbers of lost rows are not given again"
            ),
            PlannedStep(
                title=CUT_OVER,
                detail=f"new version of secret '{self.secret}' in '{self.vault}': only the host changes",
            ),
            PlannedStep(title=FOLLOW, detail=f"{self.apps}: each has to show the new version"),
            PlannedStep(title=START_ON_OLD, detail=self.started),
            PlannedStep(title=PROVE, detail="sessions on both servers, a write, health", changes=False),
        ]

    def _opened_words(self) -> str:
        fence = self.old_fence
        told = [f"{fence.read_only.name} {fence.read_only.value}"] if fence.read_only else []
        told += [f"firewall rule {each} back" for each in fence.rules]
        told += [f"role {fence.role} may sign in"] if fence.bars_role else []
        return ", ".join(told) or "nothing to put back"

    def facts(self) -> list[tuple[str, str]]:
        """The binding facts, for people."""
        facts = [
            ("Undoes", f"restore {self.restore}, as of {self.point:%Y-%m-%d %H:%M:%S} UTC"),
            ("Cut over", f"{self.cut_over_at:%Y-%m-%d %H:%M:%S} UTC"),
            ("Server now", f"{self.source.name} in {self.source.resource_group} ({self.source_host})"),
            ("Goes back to", f"{self.old.name} in {self.old.resource_group} ({self.old_host})"),
            ("Put back there", self._opened_words()),
            ("Secret", f"{self.secret} in {self.vault}, now version {self.secret_version}"),
            ("Database", f"{self.database}, used as {self.user}"),
            *self.follower_facts(),
            *self.bill.facts,
        ]
        if self.measured is None:
            facts.append(("Asks again", self.tolerance_words()))
        return facts

    def afterwards(self) -> tuple[str, ...]:
        """What is left to people when it is done."""
        old, new, group = self.old.name, self.source.name, self.source.resource_group
        return (
            f"In the template, let the server be '{old}' and the secret '{self.secret}' name {old}, where it was "
            f"changed for the restore: the next infrastructure deployment would otherwise point to '{new}'.",
            "Look at the file with the lost rows: load what users wrote since the cut-over.",
            f"The damage that the restore had mended is in '{old}' again: mend it in place.",
            f"The restored server '{new}' is fenced and kept. When nobody misses anything: az postgres "
            f"flexible-server delete --resource-group {group} --name {new}. It is never deleted by us, and costs until "
            "then.",
        )
