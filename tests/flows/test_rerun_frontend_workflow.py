"""Frontends brought back by the workflow that deployed them: run again once, approved once, followed to its end."""

import asyncio
from pathlib import Path

import pytest
from approving import WaitingRun, ask_for_approval
from dying import run_killed_at
from frontends import ADMIN, WEB, Frontends, frontends_file, rerun
from support import V1, V2, V3, World

from flows.rerun_frontend_workflow import rerun_frontend_workflow
from rollback.journal import Entry, Event
from rollback.outcomes import EndState
from sandbox.control import WorkflowRun

RERUN = r"/runs/\d+/rerun$"
REVIEW = r"/runs/\d+/pending_deployments$"
POINTS = [
    pytest.param(Event.STEP_FINISHED, "Plan", id="planned"),
    pytest.param(Event.SENDING, "Run the workflow again", id="right before it is sent"),
    pytest.param(Event.STEP_FINISHED, "Run the workflow again", id="sent"),
    pytest.param(Event.SENDING, "Approve its deployment", id="right before the approval"),
    pytest.param(Event.STEP_FINISHED, "Approve its deployment", id="approved"),
    pytest.param(Event.STEP_STARTED, "Wait for the workflow", id="waiting"),
    pytest.param(Event.STEP_STARTED, "Verify from outside", id="verifying"),
]


@pytest.fixture
def frontends(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Frontends:
    monkeypatch.setenv("ROLLBACK_CONFIG", str(frontends_file(tmp_path)))
    return Frontends(world, tmp_path / "state")


def good_run(frontends: Frontends, release: str = V2) -> WorkflowRun:
    """The run that brought the release."""
    runs = frontends.control.workflow_runs()
    (found,) = [
        each
        for each in runs
        if (each.workflow, each.ref) == ("deploy-frontend.yml", release) and each.conclusion != "failure"
    ]
    return found


def untouched(frontends: Frontends) -> bool:
    return frontends.untouched() and not frontends.sent("POST", f"{RERUN}|{REVIEW}")


def once(frontends: Frontends) -> None:
    """Run again once, approved once, each frontend deployed to once."""
    found = good_run(frontends)
    assert (found.attempt, found.status, found.conclusion) == (2, "completed", "success")
    assert [each.state for each in found.reviews] == ["approved"]
    assert frontends.deployed() == {WEB: 1, ADMIN: 1}
    assert frontends.all_served() == {V2}


async def test_the_last_good_run_is_run_again_approved_and_proven(frontends: Frontends) -> None:
    outcome = await rerun(reason="pages stay empty")
    assert outcome.end_state is EndState.ROLLED_BACK, outcome
    once(frontends)
    (review,) = good_run(frontends).reviews
    assert review.comment.startswith(f"rerun-frontend-workflow {outcome.run}, started by ")
    assert review.comment.endswith(": pages stay empty. Approval: not needed, by rule 1")
    assert any("serves v1.2.2, 3 times in a row past every cache" in each for each in outcome.evidence)


async def test_whoever_approved_the_plan_is_named_on_github(world: World, frontends: Frontends, tmp_path: Path) -> None:
    ask_for_approval('needs = "signed"\nexpires_after_minutes = 5')
    run = WaitingRun(world, tmp_path / "state", flow=rerun_frontend_workflow, release=V2)
    try:
        await run.waits()
        assert untouched(frontends)
        assert (await run.offer("lead")).accepted
        async with asyncio.timeout(60):
            outcome = await run.task
    finally:
        await run.cancel()
    assert outcome.end_state is EndState.ROLLED_BACK, outcome
    (review,) = good_run(frontends).reviews
    assert "Approval: signed by Lead (lead@fundrbolt.com" in review.comment


async def test_a_dry_run_names_the_run_and_touches_nothing(frontends: Frontends) -> None:
    outcome = await rerun(dry_run=True)
    assert outcome.end_state is EndState.PLANNED, outcome
    told = frontends.told(outcome)
    assert (
        f"all jobs of run {good_run(frontends).id} of deploy-frontend.yml (fundrbolt/fundrbolt), as attempt 2" in told
    )
    assert untouched(frontends)


async def test_what_is_served_already_is_verified_and_no_workflow_is_run(frontends: Frontends) -> None:
    await rerun()
    outcome = await rerun()
    assert outcome.end_state is EndState.ALREADY_THERE, outcome
    once(frontends)


async def test_the_progress_of_each_job_is_told(frontends: Frontends) -> None:
    told: list[str] = []
    outcome = await rerun(lambda entry: told.append(entry.text))
    assert outcome.end_state is EndState.ROLLED_BACK, outcome
    for news in ("environment 'production': waits for its approval", "deploy: success"):
        assert told.count(news) == 1


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        pytest.param("github-run-too-old", "GitHub runs again what is at most 30 old", id="too old"),
        pytest.param("github-rerun-exhausted", "GitHub allows 50", id="run again too often"),
        pytest.param("github-token-revoked", "GitHub does not accept the token", id="token revoked"),
    ],
)
async def test_what_github_would_refuse_is_refused_before_anything_is_touched(
    frontends: Frontends, fault: str, told: str
) -> None:
    frontends.control.break_(fault)
    outcome = await rerun()
    assert outcome.end_state is EndState.REFUSED, outcome
    assert told in outcome.headline
    assert untouched(frontends)


async def test_a_release_whose_workflow_never_ran_is_refused(frontends: Frontends) -> None:
    outcome = await rerun(release="v9.9.9")
    assert outcome.end_state is EndState.REFUSED, outcome
    assert "GitHub shows no tag 'v9.9.9' in fundrbolt/fundrbolt." in outcome.headline
    assert untouched(frontends)


async def test_a_workflow_that_does_not_exist_is_refused(frontends: Frontends, tmp_path: Path) -> None:
    file = frontends_file(tmp_path)
    content = file.read_text(encoding="utf-8").replace("deploy-frontend.yml", "deploy.yml")
    file.write_text(content, encoding="utf-8")
    outcome = await rerun()
    assert outcome.end_state is EndState.REFUSED, outcome
    assert "GitHub shows no workflow 'deploy.yml'" in outcome.headline
    assert untouched(frontends)


async def test_a_workflow_that_serves_another_purpose_changes_nothing(frontends: Frontends, tmp_path: Path) -> None:
    file = frontends_file(tmp_path)
    content = file.read_text(encoding="utf-8").replace("deploy-frontend.yml", "ci.yml")
    file.write_text(content, encoding="utf-8")
    outcome = await rerun(dry_run=True)
    assert outcome.end_state is EndState.PLANNED, outcome
    assert "of ci.yml" in frontends.told(outcome)


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param("github-rerun-answer-lost-after", id="the re-run's answer lost, begun"),
        pytest.param("github-rerun-answer-lost-before", id="the re-run's answer lost, not begun"),
        pytest.param("github-approval-answer-lost-after", id="the approval's answer lost"),
        pytest.param("github-secondary-limit", id="GitHub asks to wait"),
    ],
)
async def test_a_request_that_is_answered_badly_takes_effect_once(frontends: Frontends, fault: str) -> None:
    frontends.control.break_(fault)
    outcome = await rerun()
    assert outcome.end_state is EndState.ROLLED_BACK, outcome
    once(frontends)


async def test_a_job_that_fails_is_told_with_its_last_lines_and_frees_the_environment(frontends: Frontends) -> None:
    frontends.control.break_("github-rerun-fails")
    outcome = await rerun()
    assert outcome.end_state is EndState.NOTHING_CHANGED, outcome
    assert "ended as failure (deploy: failure). Users get what they got." in outcome.headline
    assert "##[error]" in frontends.told(outcome)
    assert frontends.all_served() == {V3}
    again = await rerun(release=V1)
    assert again.end_state is EndState.ROLLED_BACK, again


async def test_after_a_job_that_failed_a_site_that_cannot_be_read_is_no_change(frontends: Frontends) -> None:
    def break_(entry: Entry) -> None:
        if (entry.event, entry.step) == (Event.STEP_STARTED, "Wait for the workflow"):
            frontends.control.break_("swa-stale-edge", site=WEB)

    frontends.control.break_("github-rerun-fails")
    outcome = await rerun(break_)
    assert outcome.end_state is EndState.OUTCOME_UNKNOWN, outcome
    assert f"What users get is not known: {WEB}.azurestaticapps.net: " in outcome.headline
    frontends.control.repair("swa-stale-edge")
    again = await rerun(resume=outcome.run)
    assert again.end_state is EndState.NOTHING_CHANGED, again
    assert "Users get what they got." in again.headline


async def test_a_workflow_that_hangs_is_unknown_and_waited_for_on_resuming(
    frontends: Frontends, tmp_path: Path
) -> None:
    frontends_file(tmp_path, timeout_seconds=3)
    frontends.control.break_("github-rerun-hangs")
    outcome = await rerun()
    assert outcome.end_state is EndState.OUTCOME_UNKNOWN, outcome
    number = good_run(frontends).id
    assert outcome.headline == (f"Workflow run {number} has not ended within 3 s: build: success, deploy: in_progress.")
    frontends.control.repair("github-rerun-hangs")
    again = await rerun(resume=outcome.run)
    assert again.end_state is EndState.ROLLED_BACK, again
    once(frontends)


async def test_github_that_is_away_while_the_workflow_runs_is_waited_for(frontends: Frontends) -> None:
    def break_and_repair(entry: Entry) -> None:
        if (entry.event, entry.step) == (Event.STEP_STARTED, "Wait for the workflow"):
            frontends.control.break_("github-down")
        if entry.text.startswith("GitHub: "):
            frontends.control.repair("github-down")

    outcome = await rerun(break_and_repair)
    assert outcome.end_state is EndState.ROLLED_BACK, outcome
    once(frontends)


@pytest.mark.parametrize(("event", "step"), POINTS)
async def test_a_killed_run_is_gone_on_with_and_runs_the_workflow_once(
    frontends: Frontends, event: Event, step: str
) -> None:
    await asyncio.to_thread(run_killed_at, event, step, rerun_frontend_workflow, release=V2)
    killed = frontends.store.latest(1)[0]
    outcome = await rerun(resume=killed.header.run)
    assert outcome.end_state is EndState.ROLLED_BACK, outcome
    once(frontends)
