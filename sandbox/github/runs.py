"""Workflows, their runs, the runs' attempts and jobs, and what the jobs wrote.

Source: docs.github.com/rest/actions: workflows, workflow-runs, workflow-jobs.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from aiohttp import web

from sandbox.github import links, logs, workflows
from sandbox.github.frame import Call, Route, not_found, page, stamp, unprocessable
from sandbox.github.model import Attempt, Job, Run
from sandbox.github.names import HTML, REPOSITORY_ID, RESULTS_HOST, URL, node_id
from sandbox.github.people import user
from sandbox.github.repository import head_commit, minimal

RUNNER_GROUP = "GitHub Actions"
RUNS_QUERY = frozenset({"actor", "branch", "event", "status", "head_sha", "created", "exclude_pull_requests"})
CONCLUSIONS = ("success", "failure", "cancelled", "skipped", "neutral", "stale", "timed_out", "action_required")


def shown(call: Call, run: Run, attempt: Attempt | None = None) -> dict[str, Any]:
    """A run as the API tells of it, in its last or in another attempt."""
    attempt, workflow, commit = attempt or run.last, workflows.by_file(run.workflow), call.git.commit_of(run.ref)
    url, suite = f"{URL}/actions/runs/{run.id}", run.id + 7_000_000_000
    previous = f"{url}/attempts/{attempt.number - 1}" if attempt.number > 1 else None
    return {
        "id": run.id,
        "name": workflow.name,
        "node_id": node_id("WFR", REPOSITORY_ID, run.id),
        "head_branch": run.ref,
        "head_sha": commit.sha,
        "path": workflow.path,
        "display_title": run.title,
        "run_number": run.number,
        "event": run.event,
        "status": attempt.status,
        "conclusion": attempt.conclusion,
        "workflow_id": workflow.id,
        "check_suite_id": suite,
        "check_suite_node_id": node_id("CS", REPOSITORY_ID, suite),
        "url": url,
        "html_url": f"{HTML}/actions/runs/{run.id}",
        "pull_requests": [],
        "created_at": stamp(run.created),
        "updated_at": stamp(attempt.updated),
        "actor": user(run.by),
        "run_attempt": attempt.number,
        "referenced_workflows": [],
        "run_started_at": stamp(attempt.started),
        "triggering_actor": user(attempt.by),
        **{f"{word}_url": f"{url}/{word}" for word in ("jobs", "logs", "artifacts", "cancel", "rerun")},
        "check_suite_url": f"{URL}/check-suites/{suite}",
        "previous_attempt_url": previous,
        "workflow_url": f"{URL}/actions/workflows/{workflow.id}",
        "head_commit": head_commit(commit),
        "repository": minimal(),
        "head_repository": minimal(),
    }


def shown_job(call: Call, run: Run, job: Job) -> dict[str, Any]:
    """A job with its steps as the API tells of it."""
    at_work = job.status in ("in_progress", "completed") and job.conclusion != "skipped"
    return {
        "id": job.id,
        "run_id": run.id,
        "workflow_name": workflows.by_file(run.workflow).name,
        "head_branch": run.ref,
        "run_url": f"{URL}/actions/runs/{run.id}",
        "run_attempt": job.attempt,
        "node_id": node_id("CR", REPOSITORY_ID, job.id),
        "head_sha": call.git.commit_of(run.ref).sha,
        "url": f"{URL}/actions/jobs/{job.id}",
        "html_url": f"{HTML}/actions/runs/{run.id}/job/{job.id}",
        "status": job.status,
        "conclusion": job.conclusion,
        "created_at": stamp(job.created),
        "started_at": stamp(job.started),
        "completed_at": stamp(job.completed) if job.completed else None,
        "name": job.name,
        "steps": _steps(run, job) if at_work else [],
        "check_run_url": f"{URL}/check-runs/{job.id}",
        "labels": ["ubuntu-latest"],
        "runner_id": 1_000_000_000 + job.id % 1_000_000 if at_work else None,
        "runner_name": f"GitHub Actions {job.id % 1_000_000}" if at_work else None,
        "runner_group_id": 0 if at_work else None,
        "runner_group_name": RUNNER_GROUP if at_work else None,
    }


def _steps(run: Run, job: Job) -> list[dict[str, Any]]:
    failed, reached, shown_steps = logs.failing_step(job), "", list[dict[str, Any]]()
    for number, name in enumerate(logs.steps_of(run, job), 1):
        began, ended = logs.times_of(run, job, number)
        step = {"name": name, "number": number, "started_at": stamp(began)}
        if job.status == "in_progress":
            step |= {"status": "in_progress" if number == 1 else "queued", "conclusion": None, "completed_at": None}
            step |= {"started_at": stamp(job.started) if number == 1 else None}
        else:
            conclusion = "skipped" if reached else "failure" if name == failed else "success"
            step |= {"status": "completed", "conclusion": conclusion, "completed_at": stamp(ended)}
            reached = reached or (name if name == failed else "")
        shown_steps.append(step)
    return shown_steps


def find_run(call: Call) -> Run:
    """The run in the path."""
    run = call.github.find_run(call.number("run"))
    if run is None:
        raise not_found(call)
    return run


def _find_attempt(call: Call) -> tuple[Run, Attempt]:
    run, number = find_run(call), call.number("attempt")
    found = next((each for each in run.attempts if each.number == number), None)
    if found is None:
        raise not_found(call)
    return run, found


def find_workflow(call: Call) -> workflows.Workflow:
    """The workflow in the path, by id or file name."""
    found = workflows.find(call.names["workflow"])
    if found is None:
        raise not_found(call)
    return found


def _filters(call: Call) -> list[Callable[[Run], bool]]:
    query = call.request.query
    status, created = query.get("status", ""), _created(call)
    checks: dict[str, Callable[[Run], bool]] = {
        "actor": lambda run: run.by.lower() == query["actor"].lower(),
        "branch": lambda run: run.ref == query["branch"],
        "event": lambda run: run.event == query["event"],
        "status": lambda run: status == (run.last.conclusion if status in CONCLUSIONS else run.last.status),
        "head_sha": lambda run: call.git.commit_of(run.ref).sha == query["head_sha"],
        "created": lambda run: created[0] <= run.created < created[1],
    }
    return [check for name, check in checks.items() if query.get(name)]


def _created(call: Call) -> tuple[datetime, datetime]:
    """From when, and before when: `2026-11-01`, `>=…`, `<…`, `…..…`."""
    given = call.request.query.get("created", "")
    first, dots, last = given.partition("..")
    if dots:
        bounds = [("" if each == "*" else each) for each in (first, last)]
        return _instant(call, bounds[0])[0], _instant(call, bounds[1])[1]
    word = given.lstrip("<>=")
    sign = given[: len(given) - len(word)]
    begins, ends = _instant(call, word)
    lowest, highest = _instant(call, "")
    return {
        ">=": (begins, highest),
        ">": (ends, highest),
        "<": (lowest, begins),
        "<=": (lowest, ends),
    }.get(sign, (begins, ends))


def _instant(call: Call, given: str) -> tuple[datetime, datetime]:
    """When a day or a second begins and ends; all of time for nothing."""
    if not given:
        return datetime.fromisoformat("2000-01-01T00:00:00Z"), datetime.fromisoformat("9999-01-01T00:00:00Z")
    try:
        begins = datetime.fromisoformat(given if "T" in given else f"{given}T00:00:00Z")
    except ValueError as error:
        raise unprocessable(call, f"{given!r} is not a recognized date/time format") from error
    if begins.tzinfo is None:
        raise unprocessable(call, f"{given!r} is not a recognized date/time format")
    return begins, begins + (timedelta(seconds=1) if "T" in given else timedelta(days=1))


def _listed(call: Call, runs: list[Run]) -> web.Response:
    filters = _filters(call)
    chosen = [each for each in runs if all(check(each) for check in filters)]
    newest_first = sorted(chosen, key=lambda each: (each.created, each.id), reverse=True)
    return page(call, [shown(call, each) for each in newest_first], "workflow_runs")


async def _runs(call: Call) -> object:
    return _listed(call, call.github.runs)


async def _workflow_runs(call: Call) -> object:
    file = find_workflow(call).file
    return _listed(call, [each for each in call.github.runs if each.workflow == file])


async def _workflows(call: Call) -> object:
    return page(call, [workflows.shown(each) for each in workflows.WORKFLOWS], "workflows")


async def _workflow(call: Call) -> object:
    return workflows.shown(find_workflow(call))


async def _run(call: Call) -> object:
    return shown(call, find_run(call))


async def _attempt(call: Call) -> object:
    return shown(call, *_find_attempt(call))


async def _jobs(call: Call) -> object:
    run = find_run(call)
    wanted = run.attempts if call.request.query.get("filter") == "all" else [run.last]
    found = {job.id: job for attempt in wanted for job in attempt.jobs}
    return page(call, [shown_job(call, run, each) for each in found.values()], "jobs")


async def _attempt_jobs(call: Call) -> object:
    run, attempt = _find_attempt(call)
    return page(call, [shown_job(call, run, each) for each in attempt.jobs], "jobs")


def _find_job(call: Call) -> tuple[Run, Job]:
    number = call.number("job")
    for run in call.github.runs:
        for job in (job for attempt in run.attempts for job in attempt.jobs):
            if job.id == number:
                return run, job
    raise not_found(call)


async def _job(call: Call) -> object:
    return shown_job(call, *_find_job(call))


async def _job_logs(call: Call) -> object:
    _, job = _find_job(call)
    if job.status != "completed" or job.conclusion == "skipped":
        raise not_found(call)
    return _redirect(call, logs.job_path(job), "text/plain; charset=utf-8")


async def _run_logs(call: Call) -> object:
    run = find_run(call)
    return _attempt_zip(call, run, run.last)


async def _attempt_logs(call: Call) -> object:
    return _attempt_zip(call, *_find_attempt(call))


def _attempt_zip(call: Call, run: Run, attempt: Attempt) -> web.Response:
    if attempt.status != "completed":
        raise not_found(call)
    return _redirect(call, logs.run_path(run, attempt), "application/zip", f"logs_{run.id}.zip")


def _redirect(call: Call, path: str, kind: str, name: str = "") -> web.Response:
    where = links.link(call.world.secrets.signing_key, RESULTS_HOST, path, name, kind)
    return web.Response(status=302, headers={"Location": where})


async def _artifacts(call: Call) -> object:
    find_run(call)
    return page(call, [], "artifacts")


async def _annotations(call: Call) -> object:
    _, job = _find_job(call)
    if job.conclusion != "failure":
        return page(call, [])
    place = {"path": ".github", "blob_href": "", "start_line": 1, "end_line": 1, "start_column": None}
    words = {"annotation_level": "failure", "title": "", "message": job.failure, "raw_details": ""}
    return page(call, [{**place, "end_column": None, **words}])


BASE = "/repos/{owner}/{repo}/actions"
RUN = f"{BASE}/runs/{{run}}"
ATTEMPT = f"{RUN}/attempts/{{attempt}}"
WORKFLOW = f"{BASE}/workflows/{{workflow}}"
ATTEMPT_QUERY = frozenset({"exclude_pull_requests"})
DOCS = "actions/workflow-runs#"
ROUTES = [
    Route("GET", f"{BASE}/workflows", _workflows, docs="actions/workflows#list-repository-workflows", paged=True),
    Route("GET", WORKFLOW, _workflow, docs="actions/workflows#get-a-workflow"),
    Route(
        "GET",
        f"{WORKFLOW}/runs",
        _workflow_runs,
        RUNS_QUERY,
        f"{DOCS}list-workflow-runs-for-a-workflow",
        paged=True,
    ),
    Route("GET", f"{BASE}/runs", _runs, RUNS_QUERY, f"{DOCS}list-workflow-runs-for-a-repository", paged=True),
    Route("GET", RUN, _run, ATTEMPT_QUERY, f"{DOCS}get-a-workflow-run"),
    Route("GET", f"{RUN}/logs", _run_logs, docs=f"{DOCS}download-workflow-run-logs"),
    Route("GET", f"{RUN}/artifacts", _artifacts, docs="actions/artifacts#list-workflow-run-artifacts", paged=True),
    Route("GET", ATTEMPT, _attempt, ATTEMPT_QUERY, f"{DOCS}get-a-workflow-run-attempt"),
    Route("GET", f"{ATTEMPT}/logs", _attempt_logs, docs=f"{DOCS}download-workflow-run-attempt-logs"),
    Route(
        "GET",
        f"{ATTEMPT}/jobs",
        _attempt_jobs,
        docs="actions/workflow-jobs#list-jobs-for-a-workflow-run-attempt",
        paged=True,
    ),
    Route(
        "GET",
        f"{RUN}/jobs",
        _jobs,
        frozenset({"filter"}),
        "actions/workflow-jobs#list-jobs-for-a-workflow-run",
        paged=True,
    ),
    Route("GET", f"{BASE}/jobs/{{job}}", _job, docs="actions/workflow-jobs#get-a-job-for-a-workflow-run"),
    Route(
        "GET",
        f"{BASE}/jobs/{{job}}/logs",
        _job_logs,
        docs="actions/workflow-jobs#download-job-logs-for-a-workflow-run",
    ),
    Route(
        "GET",
        "/repos/{owner}/{repo}/check-runs/{job}/annotations",
        _annotations,
        docs="checks/runs#list-check-run-annotations",
        paged=True,
    ),
]
