"""GitHub in the beginning: three releases a week apart, each tested and deployed, the oldest at the second try."""

import secrets as randomness
import string
from collections.abc import Sequence
from datetime import datetime, timedelta

from sandbox.clock import now
from sandbox.fundrbolt.frontends import FRONTENDS
from sandbox.fundrbolt.releases import RELEASES
from sandbox.github.model import Asset, Attempt, GitHub, GitHubDeployment, Job, Release, Run
from sandbox.github.people import DEVELOPER
from sandbox.github.workflows import CI, DEPLOY, DEPLOY_FRONTEND, Workflow

ASSETS = ("frontend-web.zip", "frontend-admin.zip", "release.toml")
NEWEST_AGE = timedelta(hours=5)
APART = timedelta(days=7)
JOB = timedelta(seconds=48)
TOKEN_LETTERS = string.ascii_letters + string.digits
FAILURE = "Deployment of frontend-web failed: the deployment token was not accepted."


def new_token() -> str:
    """A fine-grained personal access token, as GitHub makes them."""
    first, second = ("".join(randomness.choice(TOKEN_LETTERS) for _ in range(length)) for length in (22, 59))
    return f"github_pat_{first}_{second}"


def begin() -> GitHub:
    """The repository with its releases and its runs."""
    github, newest = GitHub(), now().replace(microsecond=0) - NEWEST_AGE
    for number, tag in enumerate(RELEASES):
        published = newest - (len(RELEASES) - 1 - number) * APART
        assets = [Asset(id=github.new_id(), name=name) for name in ASSETS]
        github.releases.append(Release(id=github.new_id(), tag=tag, published=published, assets=assets))
        _past_run(github, CI, tag, published - timedelta(minutes=9))
        if number == 0:
            _past_run(github, DEPLOY_FRONTEND, tag, published + timedelta(minutes=1), failure=FAILURE)
        _past_run(github, DEPLOY_FRONTEND, tag, published + timedelta(minutes=12))
    return github


def new_run(
    github: GitHub,
    workflow: Workflow,
    ref: str,
    event: str,
    by: str,
    at: datetime,
    frontends: Sequence[str] = FRONTENDS,
) -> Run:
    """A run without jobs yet, added to the repository's."""
    number = 1 + sum(each.workflow == workflow.file for each in github.runs)
    first = Attempt(number=1, by=by, started=at, updated=at, jobs=[])
    title = f"Release {ref}" if event == "push" else workflow.name
    run = Run(
        id=github.new_id(),
        number=number,
        workflow=workflow.file,
        event=event,
        ref=ref,
        frontends=list(frontends) if workflow is DEPLOY_FRONTEND else [],
        title=title,
        by=by,
        created=at,
        attempts=[first],
    )
    github.runs.append(run)
    return run


def _past_run(github: GitHub, workflow: Workflow, tag: str, at: datetime, failure: str = "") -> None:
    run = new_run(github, workflow, tag, "push", DEVELOPER, at)
    attempt = run.last
    for name in workflow.jobs:
        ended, failed = at + JOB, bool(failure) and name == list(workflow.jobs)[-1]
        job = Job(id=github.new_id(), name=name, attempt=1, created=at, started=at, completed=ended, status="completed")
        job.conclusion, job.failure = ("failure", failure) if failed else ("success", "")
        attempt.jobs.append(job)
        attempt.conclusion = job.conclusion
        at = ended + timedelta(seconds=4)
        if name == DEPLOY:
            _past_deployment(github, run, job, ended)
    attempt.status, attempt.updated = "completed", at


def _past_deployment(github: GitHub, run: Run, job: Job, ended: datetime) -> None:
    made = GitHubDeployment(id=github.new_id(), run=run.id, job=job.id, ref=run.ref, created=job.created)
    github.deployments.append(made)
    github.move(made, "success" if job.conclusion == "success" else "failure", ended)
