"""Reviews of the environment `production`, and the deployments to it.

Source: docs.github.com/rest: actions/workflow-runs (pending deployments, approvals), deployments/deployments,
deployments/statuses, deployments/environments.
"""

from typing import Any, Literal

from aiohttp import web
from pydantic import BaseModel, ConfigDict

from sandbox.clock import now
from sandbox.github import faults, running
from sandbox.github.frame import Call, Route, not_found, page, stamp, unprocessable
from sandbox.github.model import DeploymentStep, GitHubDeployment, Job, Review, Run
from sandbox.github.names import HTML, URL, node_id
from sandbox.github.people import BOT, OPERATOR, user
from sandbox.github.runs import RUN, find_run
from sandbox.github.workflows import ENVIRONMENT, ENVIRONMENT_ID

CREATED = "2025-03-11T09:58:02Z"


class Decision(BaseModel):
    """What a review says."""

    model_config = ConfigDict(extra="forbid")

    environment_ids: list[int]
    state: Literal["approved", "rejected"]
    comment: str


def environment() -> dict[str, Any]:
    """The protected environment as it stands inside of other answers."""
    return {
        "id": ENVIRONMENT_ID,
        "node_id": node_id("EN", ENVIRONMENT_ID),
        "name": ENVIRONMENT,
        "url": f"{URL}/environments/{ENVIRONMENT}",
        "html_url": f"{HTML}/deployments/activity_log?environments_filter={ENVIRONMENT}",
    }


def _dates() -> dict[str, str]:
    return {"created_at": CREATED, "updated_at": CREATED}


def _reviewers() -> list[dict[str, Any]]:
    return [{"type": "User", "reviewer": user(OPERATOR)}]


async def _environment(call: Call) -> object:
    if call.names["environment"].lower() != ENVIRONMENT:
        raise not_found(call)
    rule_id = ENVIRONMENT_ID + 1
    rule = {"id": rule_id, "node_id": node_id("GA", rule_id), "type": "required_reviewers"}
    rule |= {"prevent_self_review": False, "reviewers": _reviewers()}
    return {**environment(), **_dates(), "protection_rules": [rule], "deployment_branch_policy": None}


async def _pending(call: Call) -> object:
    if running.waiting_job(find_run(call)) is None:
        return []
    pending = {"environment": environment(), "wait_timer": 0, "wait_timer_started_at": None}
    return [{**pending, "current_user_can_approve": call.user == OPERATOR, "reviewers": _reviewers()}]


async def _review(call: Call) -> object:
    run, wanted = find_run(call), call.parse(Decision)
    job = running.waiting_job(run)
    if job is None or ENVIRONMENT_ID not in wanted.environment_ids:
        raise unprocessable(call, "No pending deployment requests to approve or reject")
    answer = [shown(call, each) for each in call.github.deployments if each.job == job.id]
    decide(call, run, job, wanted)
    faults.after_review(call.world)
    return answer


def decide(call: Call, run: Run, job: Job, wanted: Decision) -> None:
    """Enter the review; what it lets go on goes on, what it rejects has failed."""
    review = Review(by=call.user, state=wanted.state, comment=wanted.comment, attempt=run.last.number, time=now())
    run.reviews.append(review)
    if wanted.state == "rejected":
        running.end(call.world, run, "failure")
        return
    job.status, run.last.status = "queued", "queued"
    call.world.save()
    running.begin(call.world, run)


async def _approvals(call: Call) -> object:
    return [
        {
            "state": each.state,
            "comment": each.comment,
            "environments": [{**environment(), **_dates()}],
            "user": user(each.by),
        }
        for each in reversed(find_run(call).reviews)
    ]


def shown(call: Call, deployment: GitHubDeployment) -> dict[str, Any]:
    """A deployment as the API tells of it."""
    url = f"{URL}/deployments/{deployment.id}"
    updated = deployment.steps[-1].time if deployment.steps else deployment.created
    return {
        "url": url,
        "id": deployment.id,
        "node_id": node_id("DE", deployment.id),
        "task": "deploy",
        "original_environment": ENVIRONMENT,
        "environment": ENVIRONMENT,
        "description": None,
        "created_at": stamp(deployment.created),
        "updated_at": stamp(updated),
        "statuses_url": f"{url}/statuses",
        "repository_url": URL,
        "creator": user(BOT),
        "sha": call.git.commit_of(deployment.ref).sha,
        "ref": deployment.ref,
        "payload": {},
        "transient_environment": False,
        "production_environment": True,
        "performed_via_github_app": None,
    }


async def _list(call: Call) -> object:
    query = call.request.query
    shown_all = [shown(call, each) for each in reversed(call.github.deployments)]
    wanted = [
        each
        for each in shown_all
        if all(each[key] == query[key] for key in ("environment", "ref", "sha", "task") if key in query)
    ]
    return page(call, wanted)


def _find(call: Call) -> GitHubDeployment:
    number = call.number("deployment")
    found = next((each for each in call.github.deployments if each.id == number), None)
    if found is None:
        raise not_found(call)
    return found


async def _get(call: Call) -> object:
    return shown(call, _find(call))


async def _statuses(call: Call) -> web.Response:
    deployment = _find(call)
    return page(call, [_status(deployment, each) for each in reversed(deployment.steps)])


def _status(deployment: GitHubDeployment, step: DeploymentStep) -> dict[str, Any]:
    log = f"{HTML}/actions/runs/{deployment.run}/job/{deployment.job}"
    url = f"{URL}/deployments/{deployment.id}"
    return {
        "url": f"{url}/statuses/{step.id}",
        "id": step.id,
        "node_id": node_id("DES", step.id),
        "state": "pending" if step.state == "waiting" else step.state,
        "creator": user(BOT),
        "description": "",
        "environment": ENVIRONMENT,
        "target_url": log,
        "created_at": stamp(step.time),
        "updated_at": stamp(step.time),
        "deployment_url": url,
        "repository_url": URL,
        "environment_url": "",
        "log_url": log,
        "performed_via_github_app": None,
    }


BASE = "/repos/{owner}/{repo}"
DOCS = "actions/workflow-runs#"
ROUTES = [
    Route("GET", f"{RUN}/pending_deployments", _pending, docs=f"{DOCS}get-pending-deployments-for-a-workflow-run"),
    Route("POST", f"{RUN}/pending_deployments", _review, docs=f"{DOCS}review-pending-deployments-for-a-workflow-run"),
    Route("GET", f"{RUN}/approvals", _approvals, docs=f"{DOCS}get-the-review-history-for-a-workflow-run"),
    Route("GET", f"{BASE}/environments/{{environment}}", _environment, docs="deployments/environments"),
    Route(
        "GET",
        f"{BASE}/deployments",
        _list,
        frozenset({"environment", "ref", "sha", "task"}),
        "deployments/deployments#list-deployments",
        paged=True,
    ),
    Route("GET", f"{BASE}/deployments/{{deployment}}", _get, docs="deployments/deployments#get-a-deployment"),
    Route(
        "GET",
        f"{BASE}/deployments/{{deployment}}/statuses",
        _statuses,
        docs="deployments/statuses#list-deployment-statuses",
        paged=True,
    ),
]
