"""How a run lives: queued, its jobs one after the other, the last one behind a review, then the frontends are deployed.

A run that waits for its review has nothing at work: the review begins what follows.
"""

import asyncio

from sandbox.clock import now
from sandbox.fundrbolt.frontends import archive_of
from sandbox.github.model import Attempt, Conclusion, DeploymentState, GitHubDeployment, Job, Run
from sandbox.github.workflows import DEPLOY, by_file
from sandbox.state import PRODUCTION
from sandbox.static_sites.deployments import BadArchiveError, publish
from sandbox.world import World

TOLD_TO_FAIL = "Deployment Failure Reason: The content server has rejected the request with: BadRequest"


class CutOffError(Exception):
    """The attempt is over, or stuck: nothing follows."""


def begin(world: World, run: Run) -> None:
    """Let the run's last attempt go on from where it is."""
    world.start(_live(world, run))


def resume(world: World) -> None:
    """Go on with what ran when the sandbox ended; a job that was at work begins anew."""
    for run in world.state.github.runs:
        if run.last.status in ("queued", "in_progress"):
            begin(world, run)


def end(world: World, run: Run, conclusion: Conclusion) -> None:
    """The last attempt is over, and so is every job of it."""
    attempt = run.last
    for job in attempt.jobs:
        if job.status != "completed":
            _end_job(world, job, conclusion)
    attempt.status, attempt.conclusion, attempt.updated = "completed", conclusion, now()
    world.save()


def waiting_job(run: Run) -> Job | None:
    """The job that waits for a review."""
    return next((each for each in run.last.jobs if each.status == "waiting"), None)


async def _live(world: World, run: Run) -> None:
    attempt, workflow = run.last, by_file(run.workflow)
    await asyncio.sleep(world.pace.workflow_queue)
    try:
        for name in workflow.jobs:
            _require_going_on(attempt)
            job = _job(world, attempt, name)
            if job.status == "completed":
                continue
            if name == workflow.protected and not _approved(run):
                _wait(world, run, job)
                return
            await _work(world, run, job)
            if job.conclusion == "failure":
                end(world, run, "failure")
                return
        _require_going_on(attempt)
        end(world, run, "success")
    except CutOffError:
        return


def _require_going_on(attempt: Attempt) -> None:
    if attempt.status == "completed":
        raise CutOffError


def _job(world: World, attempt: Attempt, name: str) -> Job:
    """The attempt's job called `name`; one comes into being when those before it are over."""
    for job in attempt.jobs:
        if job.name == name:
            return job
    at = now()
    job = Job(id=world.state.github.new_id(), name=name, attempt=attempt.number, created=at, started=at)
    attempt.jobs.append(job)
    return job


def _approved(run: Run) -> bool:
    return any(each.attempt == run.last.number and each.state == "approved" for each in run.reviews)


def _wait(world: World, run: Run, job: Job) -> None:
    job.status = run.last.status = "waiting"
    github = world.state.github
    made = GitHubDeployment(id=github.new_id(), run=run.id, job=job.id, ref=run.ref, created=now())
    github.deployments.append(made)
    github.move(made, "waiting", now())
    run.last.updated = now()
    world.save()


async def _work(world: World, run: Run, job: Job) -> None:
    attempt = run.last
    attempt.status, job.status = "in_progress", "in_progress"
    attempt.updated = job.started = now()
    _tell_deployment(world, job, "in_progress")
    world.save()
    await asyncio.sleep(world.pace.workflow_job)
    _require_going_on(attempt)
    if attempt.hangs_in == job.name:
        raise CutOffError
    if job.name == DEPLOY:
        job.failure = TOLD_TO_FAIL if attempt.fails else await _deploy(world, run)
    _require_going_on(attempt)
    _end_job(world, job, "failure" if job.failure else "success")
    attempt.updated = now()
    world.save()


def _end_job(world: World, job: Job, conclusion: Conclusion) -> None:
    job.status, job.conclusion, job.completed = "completed", conclusion, now()
    _tell_deployment(world, job, "success" if conclusion == "success" else "failure")


def _tell_deployment(world: World, job: Job, state: DeploymentState) -> None:
    deployment = world.state.github.deployment_of(job)
    if deployment is not None and deployment.steps[-1].state != state:
        world.state.github.move(deployment, state, now())


async def _deploy(world: World, run: Run) -> str:
    """Deploy the run's frontends of its release, built from its commit; why that failed, or nothing."""
    github = world.state.github
    release = run.ref if any(each.tag == run.ref for each in github.releases) else github.releases[-1].tag
    sites = [each for each in world.state.static_sites if each.environment == PRODUCTION]
    for site in [each for each in sites if each.frontend in run.frontends]:
        content = await asyncio.to_thread(archive_of, site.frontend, release)
        try:
            await publish(world, site, content, by=by_file(run.workflow).name)
        except BadArchiveError as error:
            return f"Deployment of frontend-{site.frontend} failed: {error}"
    return ""
