"""Workflow runs on GitHub: found, read, re-run, reviewed, cancelled and started; what they deploy is served."""

import io
import json
import re
import subprocess
import sys
import zipfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from github_names import API, DEPLOY, OWNER, PATH, REPO, V1, V2, V3, good_run
from githubkit import GitHub
from githubkit.exception import RequestFailed
from support import ROOT

from sandbox.control import Control
from sandbox.folder import Folder
from sandbox.fundrbolt.repository import commit_of

ENVIRONMENT = 3_300_417_221
SITES = ("fundrbolt-production-web", "fundrbolt-production-admin")


@pytest.fixture
def actions(github):
    return github.rest.actions


@pytest.fixture
def is_at(actions, eventually):
    """Waits until a run has a status."""

    async def wait(run: int, status: str) -> None:
        async def reached() -> bool:
            return (await actions.async_get_workflow_run(OWNER, REPO, run)).parsed_data.status == status

        await eventually(reached)

    return wait


async def review(actions, run: int, state: str = "approved", comment: str = "seen"):
    wanted = {"environment_ids": [ENVIRONMENT], "state": state, "comment": comment}
    return await actions.async_review_pending_deployments_for_run(OWNER, REPO, run, **wanted)


def served(control: Control) -> list[str | None]:
    return [control.status().static_sites[name].version for name in SITES]


async def refusal(request) -> tuple[int, str]:
    with pytest.raises(RequestFailed) as refused:
        await request
    return refused.value.response.status_code, refused.value.response.json()["message"]


async def test_each_release_was_tested_and_deployed(actions):
    workflows = (await actions.async_list_repo_workflows(OWNER, REPO)).parsed_data.workflows
    assert [(each.name, each.path) for each in workflows] == [
        ("CI", ".github/workflows/ci.yml"),
        ("Deploy frontend", f".github/workflows/{DEPLOY}"),
    ]
    assert (await actions.async_get_workflow(OWNER, REPO, DEPLOY)).parsed_data == workflows[1]
    runs = (await actions.async_list_workflow_runs(OWNER, REPO, DEPLOY)).parsed_data
    assert runs.total_count == 4
    assert [(run.head_branch, run.conclusion) for run in runs.workflow_runs] == [
        (V3, "success"),
        (V2, "success"),
        (V1, "success"),
        (V1, "failure"),
    ]
    for run in runs.workflow_runs:
        assert (run.event, run.status, run.run_attempt) == ("push", "completed", 1)
        assert run.head_sha == commit_of(run.head_branch) == run.head_commit.id
        assert datetime.now(UTC) - run.created_at < timedelta(days=30)
    assert (await actions.async_list_workflow_runs_for_repo(OWNER, REPO)).parsed_data.total_count == 7


@pytest.mark.parametrize(
    ("filters", "count"),
    [
        ({"branch": V1}, 3),
        ({"status": "failure"}, 1),
        ({"status": "in_progress"}, 0),
        ({"event": "workflow_dispatch"}, 0),
        ({"head_sha": commit_of(V2)}, 2),
        ({"head_sha": commit_of(V2), "status": "success", "actor": "hkarlsen"}, 2),
        ({"created": ">={3:%Y-%m-%dT%H:%M:%SZ}"}, 2),
        ({"created": "*..{3:%Y-%m-%d}"}, 5),
        ({"created": "{10:%Y-%m-%d}..{3:%Y-%m-%d}"}, 2),
        ({"created": "<{10:%Y-%m-%d}"}, 3),
    ],
    ids=str,
)
async def test_runs_are_found_by_what_is_known_of_them(actions, filters, count):
    days = [datetime.now(UTC) - timedelta(days=number) for number in range(11)]
    filters = {name: value.format(*days) for name, value in filters.items()}
    found = (await actions.async_list_workflow_runs_for_repo(OWNER, REPO, per_page=1, **filters)).parsed_data
    assert (found.total_count, len(found.workflow_runs)) == (count, min(count, 1))


async def test_a_rerun_deploys_its_release_after_the_review(actions, github, control, is_at):
    assert served(control) == [V3, V3]
    run = await good_run(github)
    asked = await actions.async_re_run_workflow(OWNER, REPO, run.id)
    assert (asked.status_code, asked.json()) == (201, {})
    await is_at(run.id, "waiting")
    now = (await actions.async_get_workflow_run(OWNER, REPO, run.id)).parsed_data
    assert (now.run_attempt, now.conclusion, now.head_sha) == (2, None, run.head_sha)
    assert (now.actor.login, now.triggering_actor.login) == ("hkarlsen", "fundrbolt-operator")
    jobs = (await actions.async_list_jobs_for_workflow_run(OWNER, REPO, run.id)).parsed_data.jobs
    assert [(job.name, job.status, job.conclusion) for job in jobs] == [
        ("build", "completed", "success"),
        ("deploy", "waiting", None),
    ]
    [pending] = (await actions.async_get_pending_deployments_for_run(OWNER, REPO, run.id)).parsed_data
    assert (pending.environment.name, pending.environment.id) == ("production", ENVIRONMENT)
    assert pending.current_user_can_approve
    assert served(control) == [V3, V3]
    [deployment] = (await review(actions, run.id, comment="as planned")).parsed_data
    assert (deployment.environment, deployment.ref, deployment.sha) == ("production", V2, run.head_sha)
    await is_at(run.id, "completed")
    assert served(control) == [V2, V2]
    assert [each.by for each in control.frontend_deployments()] == ["Deploy frontend"] * 2
    done = (await actions.async_get_workflow_run(OWNER, REPO, run.id)).parsed_data
    assert (done.conclusion, done.previous_attempt_url) == ("success", f"{run.url}/attempts/1")
    [approval] = (await actions.async_get_reviews_for_run(OWNER, REPO, run.id)).parsed_data
    assert (approval.state, approval.comment, approval.user.login) == ("approved", "as planned", "fundrbolt-operator")
    [known] = [each for each in control.workflow_runs() if each.id == run.id]
    assert (known.attempt, known.conclusion, known.reviews[0].comment) == (2, "success", "as planned")


async def test_the_first_attempt_is_kept_beside_the_second(actions, github, is_at):
    run = await good_run(github)
    before = (await actions.async_list_jobs_for_workflow_run(OWNER, REPO, run.id)).parsed_data.jobs
    await actions.async_re_run_workflow(OWNER, REPO, run.id)
    await is_at(run.id, "waiting")
    first = (await actions.async_get_workflow_run_attempt(OWNER, REPO, run.id, 1)).parsed_data
    assert (first.run_attempt, first.status, first.conclusion) == (1, "completed", "success")
    jobs = (await actions.async_list_jobs_for_workflow_run_attempt(OWNER, REPO, run.id, 1)).parsed_data.jobs
    assert jobs == before
    every = (await actions.async_list_jobs_for_workflow_run(OWNER, REPO, run.id, filter_="all")).parsed_data.jobs
    assert [job.run_attempt for job in every] == [1, 1, 2, 2]
    assert (await refusal(actions.async_get_workflow_run_attempt(OWNER, REPO, run.id, 3)))[0] == 404


async def test_a_rejected_deployment_ends_the_run(actions, github, control, is_at):
    run = await good_run(github)
    await actions.async_re_run_workflow(OWNER, REPO, run.id)
    await is_at(run.id, "waiting")
    await review(actions, run.id, "rejected", "not now")
    done = (await actions.async_get_workflow_run(OWNER, REPO, run.id)).parsed_data
    assert (done.status, done.conclusion, served(control)) == ("completed", "failure", [V3, V3])
    assert (await actions.async_get_pending_deployments_for_run(OWNER, REPO, run.id)).parsed_data == []
    assert (await refusal(review(actions, run.id)))[0] == 422


async def test_what_cannot_be_rerun_is_refused_in_githubs_words(actions, github, control, is_at):
    run = await good_run(github)
    again = (403, "This workflow run cannot be retried")
    assert await refusal(actions.async_re_run_workflow_failed_jobs(OWNER, REPO, run.id)) == again
    await actions.async_re_run_workflow(OWNER, REPO, run.id)
    await is_at(run.id, "waiting")
    running = (403, "This workflow is already running")
    assert await refusal(actions.async_re_run_workflow(OWNER, REPO, run.id)) == running
    assert (await actions.async_cancel_workflow_run(OWNER, REPO, run.id)).status_code == 202
    await is_at(run.id, "completed")
    assert (await refusal(actions.async_cancel_workflow_run(OWNER, REPO, run.id)))[0] == 409
    control.reset()
    control.break_("github-run-too-old")
    old = (403, "Unable to re-run this workflow run because it was created over a month ago")
    assert await refusal(actions.async_re_run_workflow(OWNER, REPO, run.id)) == old
    control.repair()
    control.break_("github-rerun-exhausted")
    assert "50 re-runs" in (await refusal(actions.async_re_run_workflow(OWNER, REPO, run.id)))[1]
    control.repair()
    assert (await actions.async_re_run_workflow(OWNER, REPO, run.id)).status_code == 201
    assert (await refusal(actions.async_re_run_workflow(OWNER, REPO, 1)))[0] == 404


async def test_a_rerun_of_the_failed_jobs_leaves_the_good_ones_alone(actions, control, is_at):
    [run] = (await actions.async_list_workflow_runs(OWNER, REPO, DEPLOY, status="failure")).parsed_data.workflow_runs
    await actions.async_re_run_workflow_failed_jobs(OWNER, REPO, run.id)
    await is_at(run.id, "waiting")
    jobs = (await actions.async_list_jobs_for_workflow_run(OWNER, REPO, run.id)).parsed_data.jobs
    assert [(job.name, job.run_attempt) for job in jobs] == [("build", 1), ("deploy", 2)]
    await review(actions, run.id)
    await is_at(run.id, "completed")
    assert served(control) == [V1, V1]


async def test_logs_are_behind_links_and_tell_the_reason(actions, https, github_token):
    [run] = (await actions.async_list_workflow_runs(OWNER, REPO, DEPLOY, status="failure")).parsed_data.workflow_runs
    jobs = (await actions.async_list_jobs_for_workflow_run(OWNER, REPO, run.id)).parsed_data.jobs
    assert [step.conclusion for step in jobs[1].steps] == ["success", "success", "failure", "skipped", "skipped"]
    headers = {"Authorization": f"Bearer {github_token}"}
    answer = await https.get(f"{API}{PATH}/actions/jobs/{jobs[1].id}/logs", headers=headers)
    assert answer.status_code == 302
    log = (await https.get(answer.headers["Location"])).text.splitlines()
    assert answer.headers["Location"].startswith("https://productionresultssa0.blob.core.windows.net/")
    assert all(re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{7}Z ", line) for line in log)
    assert [line[29:] for line in log[-2:]] == [
        "##[error]Deployment of frontend-web failed: the deployment token was not accepted.",
        "##[error]Process completed with exit code 1.",
    ]
    packed = await actions.async_download_workflow_run_logs(OWNER, REPO, run.id)
    names = zipfile.ZipFile(io.BytesIO(packed.content)).namelist()
    assert {"0_build.txt", "1_deploy.txt", "build/1_Set up job.txt", "deploy/3_Deploy.txt"} <= set(names)


async def test_a_dispatched_run_deploys_one_frontend(actions, github, control, is_at):
    async def dispatch(workflow: str = DEPLOY, **wanted: object):
        return await actions.async_create_workflow_dispatch(OWNER, REPO, workflow, **wanted)

    started = await dispatch(ref=V2, inputs={"frontend": "admin"})
    run = started.parsed_data.workflow_run_id
    await is_at(run, "waiting")
    await review(actions, run)
    await is_at(run, "completed")
    assert served(control) == [V3, V2]
    for wrong, words in (
        ({"ref": "v9"}, "No ref found for: v9"),
        ({"ref": V2, "inputs": {"release": V1}}, 'Unexpected inputs provided: ["release"]'),
        ({"ref": V2, "inputs": {"frontend": "x"}}, "not in the list of allowed values"),
        ({"ref": V2, "workflow": "ci.yml"}, "Workflow does not have 'workflow_dispatch' trigger"),
    ):
        status, told = await refusal(dispatch(**wrong))
        assert (status, words in told) == (422, True)


async def test_a_dispatch_of_the_older_api_answers_nothing(https, github_token, control):
    url, headers = f"{API}{PATH}/actions/workflows/{DEPLOY}/dispatches", {"Authorization": f"token {github_token}"}
    answer = await https.post(url, json={"ref": "main"}, headers=headers)
    assert (answer.status_code, answer.content) == (204, b"")
    told = await https.post(url, json={"ref": "refs/heads/main", "return_run_details": True}, headers=headers)
    assert told.json()["workflow_run_id"] == control.workflow_runs()[-1].id


async def test_each_deployment_has_a_history(github, actions, is_at):
    rest = github.rest.repos
    listed = (await rest.async_list_deployments(OWNER, REPO, environment="production")).parsed_data
    assert [each.ref for each in listed] == [V3, V2, V1, V1]

    async def states(deployment: int) -> list[str]:
        told = await rest.async_list_deployment_statuses(OWNER, REPO, deployment)
        return [each.state for each in told.parsed_data]

    assert [await states(each.id) for each in listed] == [
        ["success"],
        ["inactive", "success"],
        ["inactive", "success"],
        ["failure"],
    ]
    run = await good_run(github)
    await actions.async_re_run_workflow(OWNER, REPO, run.id)
    await is_at(run.id, "waiting")
    await review(actions, run.id)
    await is_at(run.id, "completed")
    newest = (await rest.async_list_deployments(OWNER, REPO, ref=V2)).parsed_data[0]
    assert await states(newest.id) == ["success", "in_progress", "pending"]
    assert (await states(listed[0].id))[0] == "inactive"


async def test_a_reset_forgets_runs_and_what_they_deployed(actions, github, control, is_at):
    run = await good_run(github)
    await actions.async_re_run_workflow(OWNER, REPO, run.id)
    await is_at(run.id, "waiting")
    await review(actions, run.id)
    control.reset()
    assert {each.attempt for each in control.workflow_runs()} == {1}
    assert served(control) == [V3, V3]


def forget_github(state: Path) -> None:
    """Leave the folder as one is from before there was a GitHub."""
    secrets, kept = Folder(state).secrets(), json.loads((state / "state.json").read_text())
    del kept["github"]
    (state / "state.json").write_text(json.dumps(kept))
    Folder(state).write_secrets(secrets.model_copy(update={"github_token": ""}))


async def test_a_waiting_run_and_a_running_one_go_on_after_down_and_up(tmp_path, monkeypatch, eventually):
    state = tmp_path / "state"

    def sandbox(*words: str) -> None:
        command = [sys.executable, "-m", "sandbox", *words, "--state", str(state)]
        subprocess.run(command, cwd=ROOT, check=True, capture_output=True)

    async def reached(run: int, status: str) -> None:
        await eventually(lambda: [each.status for each in control.workflow_runs() if each.id == run] == [status])

    # So slow that what is at work is still at work when the sandbox ends.
    sandbox("up", "--detach", "--pace", "azure", "--scale", "0.05")
    control, old = Control(state), Folder(state).secrets()
    try:
        monkeypatch.setenv("HTTPS_PROXY", control.status().proxy)
        monkeypatch.setenv("SSL_CERT_FILE", str(state / "ca.pem"))
        async with GitHub(old.github_token, auto_retry=False, http_cache=False) as github:
            waiting, working = await good_run(github), await good_run(github, V1)
            await github.rest.actions.async_re_run_workflow(OWNER, REPO, waiting.id)
            await reached(waiting.id, "waiting")
            await github.rest.actions.async_re_run_workflow(OWNER, REPO, working.id)
            await reached(working.id, "in_progress")
        sandbox("down")
        sandbox("up", "--detach")
        await reached(working.id, "waiting")
        async with GitHub(old.github_token, auto_retry=False, http_cache=False) as github:
            await review(github.rest.actions, waiting.id)
            await reached(waiting.id, "completed")
            assert served(control) == [V2, V2]
        sandbox("down")
        forget_github(state)
        sandbox("up", "--detach")
        new = Folder(state).secrets().github_token
        assert (new.startswith("github_pat_"), new == old.github_token) == (True, False)
        assert (state / "state.json").read_text().count(new) == 1, "it is in the vault"
        async with GitHub(new, auto_retry=False, http_cache=False) as github:
            assert (await good_run(github)).run_attempt == 1
    finally:
        sandbox("down")
