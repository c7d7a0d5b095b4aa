"""What jobs wrote: a line has the instant and the words; a run's logs are a zip with one file for each job and step."""

import io
import re
import zipfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from sandbox.github.model import Attempt, Job, Run
from sandbox.github.workflows import FAILING_STEP, by_file
from sandbox.world import World

JOB_PATH = re.compile(r"/actions-results/jobs/(\d+)/logs\.txt")
RUN_PATH = re.compile(r"/actions-results/runs/(\d+)/(\d+)/logs\.zip")


def job_path(job: Job) -> str:
    """Where a job's log is in blob storage."""
    return f"/actions-results/jobs/{job.id}/logs.txt"


def run_path(run: Run, attempt: Attempt) -> str:
    """Where the logs of a run's attempt are in blob storage."""
    return f"/actions-results/runs/{run.id}/{attempt.number}/logs.zip"


def at(world: World, path: str) -> bytes | None:
    """The log in blob storage; None where there is none."""
    runs = world.state.github.runs
    if found := JOB_PATH.fullmatch(path):
        pairs = ((run, job) for run in runs for attempt in run.attempts for job in attempt.jobs)
        return next((job_log(run, job).encode() for run, job in pairs if job.id == int(found[1])), None)
    if found := RUN_PATH.fullmatch(path):
        wanted = int(found[1]), int(found[2])
        pairs = ((run, attempt) for run in runs for attempt in run.attempts)
        return next((run_logs(run, attempt) for run, attempt in pairs if (run.id, attempt.number) == wanted), None)
    return None


def failing_step(job: Job) -> str:
    """The step in which a job failed."""
    return FAILING_STEP[job.name] if job.conclusion == "failure" else ""


def steps_of(run: Run, job: Job) -> list[str]:
    """The names of a job's steps."""
    return list(by_file(run.workflow).jobs[job.name])


def times_of(run: Run, job: Job, number: int) -> tuple[datetime, datetime]:
    """When a step (from 1) of a job that is over began and ended."""
    ended = job.completed or job.started
    share = (ended - job.started) / len(steps_of(run, job))
    return job.started + share * (number - 1), job.started + share * number


def step_log(run: Run, job: Job, number: int, name: str) -> Iterator[str]:
    """The lines of one step."""
    began, _ = times_of(run, job, number)
    words = [f"##[group]{name}", *_words(run, job, name), "##[endgroup]"]
    if name == failing_step(job):
        words += [f"##[error]{job.failure}", "##[error]Process completed with exit code 1."]
    for line, word in enumerate(words):
        yield f"{_stamp(began + timedelta(milliseconds=line))} {word}"


def _words(run: Run, job: Job, name: str) -> list[str]:
    if name == "Set up job":
        return ["Current runner version: '2.331.0'", f"Job name: {job.name}", f"Ref: {run.ref}"]
    if name in ("Build", "Deploy"):
        return [f"{name} frontend-{each} of {run.ref}" for each in run.frontends]
    return []


def job_log(run: Run, job: Job) -> str:
    """The whole log of a job that is over."""
    failed, lines = failing_step(job), list[str]()
    for number, name in enumerate(steps_of(run, job), 1):
        lines += step_log(run, job, number, name)
        if name == failed:
            break
    return "\n".join([*lines, ""])


def run_logs(run: Run, attempt: Attempt) -> bytes:
    """The zip of an attempt's logs."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as target:
        for place, job in enumerate(each for each in attempt.jobs if each.status == "completed"):
            if job.conclusion in ("skipped", None):
                continue
            target.writestr(f"{place}_{job.name}.txt", job_log(run, job))
            for number, name in enumerate(steps_of(run, job), 1):
                lines = "\n".join([*step_log(run, job, number, name), ""])
                target.writestr(f"{job.name}/{number}_{name.replace('/', '')}.txt", lines)
                if name == failing_step(job):
                    break
    return made.getvalue()


def _stamp(instant: datetime) -> str:
    return f"{instant.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%f}0Z"
