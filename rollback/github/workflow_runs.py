"""Runs of GitHub Actions workflows: found, run again, approved, followed.

Source: docs.github.com, REST API, "Workflow runs", "Workflow jobs" and "Re-running workflows and jobs": one can be run
again for 30 days after its first start and at most 50 times, always on the same commit.
"""

import ssl
from datetime import datetime, timedelta
from typing import Any

import httpx

from rollback.github.connection import TIMEOUT_SECONDS, GitHubConnection, github_errors
from rollback.models import Model, now
from rollback.redaction import blacken

RERUN_DAYS = timedelta(days=30)
MOST_ATTEMPTS = 50
PAGE = 100
COMPLETED, SUCCESS = "completed", "success"


class WorkflowRun(Model):
    """One run of a workflow, as it is in its latest attempt."""

    id: int
    attempt: int
    """1 for the first."""
    workflow: str
    """Its file's name below `.github/workflows`."""
    commit: str
    status: str
    """`queued`, `in_progress`, `waiting`, `completed`, …"""
    conclusion: str
    """Empty until it is completed."""
    first_started_at: datetime
    url: str
    """Where people look at it."""

    @property
    def succeeded(self) -> bool:
        """Whether its latest attempt ended well."""
        return self.status == COMPLETED and self.conclusion == SUCCESS

    @property
    def why_not_again(self) -> str:
        """Why GitHub would not run it again, in words; empty where it would."""
        age = now() - self.first_started_at
        if age > RERUN_DAYS:
            return f"is {age.days} days old; GitHub runs again what is at most {RERUN_DAYS.days} old"
        if self.attempt > MOST_ATTEMPTS:
            return f"was run again {self.attempt - 1} times; GitHub allows {MOST_ATTEMPTS}"
        return ""


class Job(Model):
    """One job of an attempt."""

    id: int
    name: str
    status: str
    conclusion: str

    @property
    def failed(self) -> bool:
        """Whether it ended, and not well."""
        return self.status == COMPLETED and self.conclusion not in {SUCCESS, "skipped", "neutral"}

    def __str__(self) -> str:
        return f"{self.name}: {self.conclusion or self.status}"


class PendingDeployment(Model):
    """A deployment to a GitHub environment that waits for an approval."""

    environment_id: int
    environment: str
    may_approve: bool
    """Whether the token's user is one of its reviewers."""


async def get_commit(connection: GitHubConnection, tag: str) -> str:
    """The commit of a tag, 40 hex digits; raises `ResourceMissing`."""
    with github_errors(f"tag '{tag}' in {connection.repository.repository}"):
        response = await connection.api.rest.repos.async_get_commit(*connection.place, f"tags/{tag}")
        return response.parsed_data.sha


async def list_runs(connection: GitHubConnection, workflow: str, commit: str) -> tuple[WorkflowRun, ...]:
    """The runs of a workflow for a commit, newest first; raises `ResourceMissing` where there is no such workflow."""
    with github_errors(f"workflow '{workflow}' in {connection.repository.repository}"):
        response = await connection.api.rest.actions.async_list_workflow_runs(
            *connection.place, workflow, head_sha=commit, per_page=PAGE
        )
        return tuple(_to_run(each) for each in response.parsed_data.workflow_runs)


async def get_run(connection: GitHubConnection, run: int) -> WorkflowRun:
    """A run as it is now."""
    with github_errors(f"workflow run {run}"):
        response = await connection.api.rest.actions.async_get_workflow_run(*connection.place, run)
        return _to_run(response.parsed_data)


async def rerun(connection: GitHubConnection, run: int) -> None:
    """Ask for all jobs of a run to be run again; sent once."""
    with github_errors(f"the re-run of workflow run {run}"):
        await connection.api.rest.actions.async_re_run_workflow(*connection.place, run)


async def list_pending(connection: GitHubConnection, run: int) -> tuple[PendingDeployment, ...]:
    """The deployments of a run that wait for an approval."""
    with github_errors(f"pending deployments of workflow run {run}"):
        response = await connection.api.rest.actions.async_get_pending_deployments_for_run(*connection.place, run)
        return tuple(
            PendingDeployment(
                environment_id=each.environment.id or 0,
                environment=each.environment.name or "",
                may_approve=each.current_user_can_approve,
            )
            for each in response.parsed_data
        )


async def approve(connection: GitHubConnection, run: int, pending: PendingDeployment, comment: str) -> None:
    """Approve a deployment that waits; sent once."""
    with github_errors(f"the approval of environment '{pending.environment}' for workflow run {run}"):
        await connection.api.rest.actions.async_review_pending_deployments_for_run(
            *connection.place, run, environment_ids=[pending.environment_id], state="approved", comment=comment
        )


async def list_jobs(connection: GitHubConnection, run: int, attempt: int) -> tuple[Job, ...]:
    """The jobs of one attempt, in their order."""
    with github_errors(f"jobs of workflow run {run}"):
        response = await connection.api.rest.actions.async_list_jobs_for_workflow_run_attempt(
            *connection.place, run, attempt, per_page=PAGE
        )
        return tuple(
            Job(id=each.id, name=each.name, status=each.status, conclusion=each.conclusion or "")
            for each in response.parsed_data.jobs
        )


async def get_log_tail(connection: GitHubConnection, job: Job, lines: int) -> tuple[str, ...]:
    """The last lines of a job's log, with what looks like a secret blackened, without their time stamps."""
    with github_errors(f"log of job '{job.name}'"):
        response = await connection.api.rest.actions.async_download_job_logs_for_workflow_run(*connection.place, job.id)
    try:
        async with httpx.AsyncClient(timeout=TIMEOUT_SECONDS, verify=ssl.create_default_context()) as client:
            log = await client.get(response.headers.get("location", ""))
            log.raise_for_status()
    except (httpx.HTTPError, httpx.InvalidURL):
        return (f"The log of job '{job.name}' could not be read.",)
    told = [line.partition(" ")[2] or line for line in blacken(log.text).splitlines() if line.strip()]
    return tuple(told[-lines:])


def _to_run(told: Any) -> WorkflowRun:
    return WorkflowRun(
        id=told.id,
        attempt=told.run_attempt or 1,
        workflow=told.path.partition("@")[0].rpartition("/")[2],
        commit=told.head_sha,
        status=told.status or "",
        conclusion=told.conclusion or "",
        first_started_at=told.created_at,
        url=told.html_url,
    )
