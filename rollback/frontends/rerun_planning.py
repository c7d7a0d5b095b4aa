"""Which workflow run brings an earlier release of the frontends back: the last good one of its commit."""

from collections.abc import Mapping

from rollback.context import Run
from rollback.errors import RerunRefused
from rollback.frontends.goals import FrontendGoal
from rollback.frontends.planning import goal_of, goes_back, version_of
from rollback.frontends.rerun_plans import RerunWorkflowPlan
from rollback.frontends.settings import Frontend
from rollback.github import workflow_runs
from rollback.github.releases import list_releases
from rollback.github.settings import Workflow
from rollback.github.workflow_runs import COMPLETED, WorkflowRun
from rollback.permissions import READ_STATIC_SITE
from rollback.side_by_side import side_by_side

OTHER_WAY = "Use redeploy-frontend, which needs no workflow run."


class RerunPlanner:
    """Makes the plan of running a workflow again."""

    def __init__(self, run: Run, workflow: Workflow, frontends: Mapping[str, Frontend]) -> None:
        self._run = run
        self._workflow = workflow
        self._frontends = frontends

    async def plan(self, release: str, reason: str) -> RerunWorkflowPlan:
        """The plan for a release; raises `RerunRefused` with the reason where GitHub would not run it again."""
        # Opened once, before they are used side by side.
        github = await self._run.github()
        await self._run.static_sites()
        await self._run.browser()
        commit = await workflow_runs.get_commit(github, release)
        releases = await list_releases(github)
        goals = await side_by_side(self._goal(name, each, release) for name, each in self._frontends.items())
        already_there = all(each.already_there for each in goals)
        found = self._last_good(await workflow_runs.list_runs(github, self._workflow.file, commit), release, commit)
        if found.why_not_again and not already_there:
            raise RerunRefused(f"Workflow run {found.id} {found.why_not_again}.", remedy=OTHER_WAY)
        return RerunWorkflowPlan(
            procedure=self._run.header.procedure,
            environment=self._run.header.environment,
            reason=reason,
            release=release,
            commit=commit,
            repository=github.repository.repository,
            workflow=self._workflow.file,
            workflow_run=found.id,
            attempt=found.attempt + 1,
            first_started_at=found.first_started_at,
            url=found.url,
            approves=self._workflow.environment,
            frontends=tuple(goals),
            already_there=already_there,
            goes_back=goes_back(releases, release, {each.serving for each in goals}, self._run),
        )

    async def _goal(self, name: str, frontend: Frontend, release: str) -> FrontendGoal:
        sites, browser = await self._run.static_sites(), await self._run.browser()
        await sites.check_permissions(frontend, READ_STATIC_SITE)
        site = await sites.get(frontend)
        look = await browser.look(f"https://{site.host}", frontend.version)
        return goal_of(name, frontend, site, look, version_of(release, self._run))

    def _last_good(self, runs: tuple[WorkflowRun, ...], release: str, commit: str) -> WorkflowRun:
        what = f"run of '{self._workflow.file}' for {release} (commit {commit[:12]})"
        if at_work := [each for each in runs if each.status != COMPLETED]:
            raise RerunRefused(
                f"A {what} is going on: {at_work[0].id}, {at_work[0].status}.",
                remedy=f"Wait for it, or cancel it: {at_work[0].url}",
            )
        good = next((each for each in runs if each.succeeded), None)
        if good is None:
            seen = ", ".join(f"{each.id} {each.conclusion}" for each in runs[:5]) or "none at all"
            raise RerunRefused(f"There is no successful {what}: {seen}.", remedy=OTHER_WAY)
        if good.workflow != self._workflow.file or good.commit != commit:
            raise RerunRefused(
                f"Run {good.id} is of workflow '{good.workflow}' and commit {good.commit[:12]}, not a {what}.",
                remedy="Look at workflow.file in the platform file.",
            )
        return good
