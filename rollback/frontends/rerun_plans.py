"""The plan of running the deployment workflow again for an earlier release."""

from datetime import datetime

from rollback.frontends.goals import FrontendGoal, FrontendsPlan
from rollback.plans import PlannedStep

RERUN, APPROVE, WAIT = "Run the workflow again", "Approve its deployment", "Wait for the workflow"


class RerunWorkflowPlan(FrontendsPlan):
    """Run all jobs of the last good workflow run of a release's commit again."""

    commit: str
    repository: str
    workflow: str
    workflow_run: int
    """GitHub's number of the run."""
    attempt: int
    """The one that the run is to have: one more than it has now."""
    first_started_at: datetime
    url: str
    approves: str
    """The GitHub environment whose deployment is approved; empty where it waits for none."""
    frontends: tuple[FrontendGoal, ...]

    @property
    def goals(self) -> tuple[FrontendGoal, ...]:
        """Each frontend and what it is to serve."""
        return self.frontends

    @property
    def title(self) -> str:
        """What it does, in one line."""
        if self.already_there:
            return f"{self.environment}'s {self.names} already serve {self.release}: nothing to run"
        how = f"by running workflow run {self.workflow_run} again"
        return f"{self.environment}'s {self.names} {self.way}, {how}"

    @property
    def rto_target_seconds(self) -> float:
        """The runbook's quick reference."""
        return 300.0

    def steps(self) -> list[PlannedStep]:
        """What will be done, in order."""
        if self.already_there:
            return [self.verifying]
        again = f"all jobs of run {self.workflow_run} of {self.workflow} ({self.repository}), as attempt {self.attempt}"
        steps = [PlannedStep(title=RERUN, detail=again)]
        if self.approves:
            comment = f"environment '{self.approves}', with a comment that names this run and who agreed to it"
            steps.append(PlannedStep(title=APPROVE, detail=comment))
        waits = PlannedStep(title=WAIT, detail="until all of its jobs have ended", changes=False)
        return [*steps, waits, self.verifying]

    def facts(self) -> list[tuple[str, str]]:
        """The binding facts, for people."""
        return [
            ("Release", f"{self.release}, commit {self.commit[:12]}"),
            ("Workflow", f"{self.workflow} of {self.repository}"),
            ("Run", f"{self.workflow_run}, first on {self.first_started_at:%Y-%m-%d %H:%M} UTC: {self.url}"),
            ("Attempt", str(self.attempt)),
            *((f"{each.name} now", f"{each.app} serves {each.before}") for each in self.frontends),
        ]
