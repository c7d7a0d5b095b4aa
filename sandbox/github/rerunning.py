"""Re-run, cancel and start workflow runs.

Source: docs.github.com/rest/actions: workflow-runs, workflows; the limits of 30 days and 50 re-runs are from
docs.github.com/actions/how-tos/manage-workflow-runs/re-run-workflows-and-jobs. The words of the refusals are those that
people have reported; for the limit of 50 nobody has, and they are made after the others.
"""

import json
from collections.abc import Mapping
from datetime import timedelta

from aiohttp import web
from pydantic import BaseModel, ConfigDict

from sandbox.clock import now
from sandbox.github import faults, running
from sandbox.github.frame import Call, GitHubError, Route, answer, unprocessable
from sandbox.github.model import Attempt, Run
from sandbox.github.names import HTML, URL
from sandbox.github.runs import RUN, WORKFLOW, find_run, find_workflow
from sandbox.github.start import new_run
from sandbox.github.workflows import Workflow

MOST_AGE = timedelta(days=30)
MOST_RERUNS = 50


class Rerun(BaseModel):
    """What a re-run is asked with."""

    model_config = ConfigDict(extra="forbid")

    enable_debug_logging: bool = False


class Dispatch(BaseModel):
    """What a run is started with."""

    model_config = ConfigDict(extra="forbid")

    ref: str
    inputs: dict[str, str] = {}
    return_run_details: bool = False


def _require_rerunnable(call: Call, run: Run, verb: str) -> None:
    if run.last.status != "completed":
        raise GitHubError(403, "This workflow is already running", call.route.docs)
    if run.created < now() - MOST_AGE:
        told = f"Unable to {verb} this workflow run because it was created over a month ago"
        raise GitHubError(403, told, call.route.docs)
    if run.last.number > MOST_RERUNS:
        told = f"Unable to {verb} this workflow run because it has reached the maximum of {MOST_RERUNS} re-runs"
        raise GitHubError(403, told, call.route.docs)


async def _rerun(call: Call) -> object:
    faults.before_rerun(call.world)
    run = find_run(call)
    call.parse(Rerun)
    _require_rerunnable(call, run, "re-run")
    return _again(call, run, Attempt(number=run.last.number + 1, by=call.user, started=now(), updated=now(), jobs=[]))


async def _rerun_failed(call: Call) -> object:
    faults.before_rerun(call.world)
    run = find_run(call)
    call.parse(Rerun)
    _require_rerunnable(call, run, "retry")
    kept = [each for each in run.last.jobs if each.conclusion == "success"]
    if len(kept) == len(run.last.jobs):
        raise GitHubError(403, "This workflow run cannot be retried", call.route.docs)
    return _again(call, run, Attempt(number=run.last.number + 1, by=call.user, started=now(), updated=now(), jobs=kept))


def _again(call: Call, run: Run, attempt: Attempt) -> web.Response:
    run.attempts.append(attempt)
    faults.shape(call.world, attempt)
    call.world.save()
    running.begin(call.world, run)
    faults.after_rerun(call.world)
    return answer({}, status=201)


async def _cancel(call: Call) -> object:
    run = find_run(call)
    if run.last.status == "completed":
        raise GitHubError(409, "Cannot cancel a workflow run that is completed.", call.route.docs)
    running.end(call.world, run, "cancelled")
    return answer({}, status=202)


def _choices(call: Call, workflow: Workflow, given: Mapping[str, str]) -> list[str]:
    """The inputs' values, checked as GitHub checks them."""
    if workflow.inputs is None:
        raise unprocessable(call, "Workflow does not have 'workflow_dispatch' trigger")
    if unknown := [name for name in given if name not in workflow.inputs]:
        raise unprocessable(call, f"Unexpected inputs provided: {json.dumps(unknown)}")
    for name, choices in workflow.inputs.items():
        if given.get(name, choices[0]) not in choices:
            told = f"Provided value '{given[name]}' for input '{name}' not in the list of allowed values"
            raise unprocessable(call, told)
    return [given.get(name, choices[0]) for name, choices in workflow.inputs.items()]


async def _dispatch(call: Call) -> object:
    workflow, wanted = find_workflow(call), call.parse(Dispatch)
    ref = wanted.ref.removeprefix("refs/").removeprefix("heads/").removeprefix("tags/")
    if ref != "main" and ref not in call.git.tags:
        raise unprocessable(call, f"No ref found for: {wanted.ref}")
    chosen = _choices(call, workflow, wanted.inputs)
    run = new_run(call.github, workflow, ref, "workflow_dispatch", call.user, now(), chosen)
    faults.shape(call.world, run.last)
    call.world.save()
    running.begin(call.world, run)
    if call.version < "2026" and not wanted.return_run_details:
        return web.Response(status=204)
    urls = {"run_url": f"{URL}/actions/runs/{run.id}", "html_url": f"{HTML}/actions/runs/{run.id}"}
    return {"workflow_run_id": run.id, **urls}


DOCS = "actions/workflow-runs#"
ROUTES = [
    Route("POST", f"{RUN}/rerun", _rerun, docs=f"{DOCS}re-run-a-workflow"),
    Route("POST", f"{RUN}/rerun-failed-jobs", _rerun_failed, docs=f"{DOCS}re-run-failed-jobs-from-a-workflow-run"),
    Route("POST", f"{RUN}/cancel", _cancel, docs=f"{DOCS}cancel-a-workflow-run"),
    Route("POST", f"{WORKFLOW}/dispatches", _dispatch, docs="actions/workflows#create-a-workflow-dispatch-event"),
]
