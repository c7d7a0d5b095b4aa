"""What goes wrong while frontends are brought back: the end state, and that nothing was deployed twice."""

import json
from pathlib import Path

import httpx
import pytest
from frontends import ADMIN, WEB, ZIP, Frontends, frontends_file, redeploy, worktrees
from support import V1, V2, V3, World

from rollback.journal import Entry, Event
from rollback.outcomes import EndState

ONCE = {WEB: 1, ADMIN: 1}


@pytest.fixture
def frontends(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Frontends:
    monkeypatch.setenv("ROLLBACK_CONFIG", str(frontends_file(tmp_path)))
    return Frontends(world, tmp_path / "state")


def script(text: str, timeout_seconds: float = 20) -> str:
    """A command for the platform file."""
    command = json.dumps(["sh", "-c", text])
    return f"{{ command = {command}, timeout_seconds = {timeout_seconds} }}"


@pytest.mark.parametrize(
    ("fault", "options"),
    [
        pytest.param("swa-answer-lost-after", {}, id="done and the answer lost"),
        pytest.param("swa-answer-lost-before", {}, id="not done and the answer lost"),
        pytest.param("swa-accepted-late", {"seconds": 0.4}, id="accepted, the answer lost, done later"),
        pytest.param("swa-conflict", {}, id="409"),
        pytest.param("swa-throttled", {"retry_after": 1}, id="429"),
        pytest.param("swa-error", {}, id="500 and not done"),
        pytest.param("swa-error-after", {}, id="500 and done"),
        pytest.param("github-secondary-limit", {"retry_after": 1}, id="GitHub asks to wait"),
    ],
)
async def test_a_deployment_that_is_answered_badly_is_made_once(
    frontends: Frontends, fault: str, options: dict[str, float]
) -> None:
    frontends.control.break_(fault, **options, **({"site": WEB} if fault.startswith("swa") else {}))
    outcome = await redeploy()
    assert outcome.end_state is EndState.ROLLED_BACK, outcome
    assert frontends.all_served() == {V2}
    assert frontends.deployed() == ONCE


async def test_one_that_azure_ends_as_failed_once_is_sent_again(frontends: Frontends) -> None:
    frontends.control.break_("swa-fails", site=WEB)
    outcome = await redeploy(frontends=("web",))
    assert outcome.end_state is EndState.ROLLED_BACK, outcome
    assert [each.outcome for each in frontends.deployments(WEB)] == [
        "Failure during content distribution.",
        "succeeded",
    ]


async def test_one_that_azure_ends_as_failed_each_time_is_told_and_the_other_is_brought_back(
    frontends: Frontends,
) -> None:
    frontends.control.break_("swa-fails", site=WEB, times=3)
    outcome = await redeploy()
    assert outcome.end_state is EndState.PART_WAY, outcome
    assert (frontends.served(WEB), frontends.served(ADMIN)) == (V3, V2)
    again = await redeploy(resume=outcome.run)
    assert again.end_state is EndState.ROLLED_BACK, again
    assert frontends.all_served() == {V2}
    assert [each.outcome for each in frontends.deployments(ADMIN)] == ["succeeded"]


async def test_where_two_fail_both_are_told(frontends: Frontends) -> None:
    for site in (WEB, ADMIN):
        frontends.control.break_("swa-fails", site=site, times=3)
    notes: list[str] = []
    outcome = await redeploy(lambda entry: notes.append(entry.text) if entry.event is Event.NOTE else None)
    assert outcome.end_state is EndState.NOTHING_CHANGED, outcome
    assert f"Azure ended the deployment to '{WEB}' as failed. That was 3 times" in outcome.headline
    (other,) = [each for each in notes if "That was 3 times" in each]
    assert other.startswith(f"Azure ended the deployment to '{ADMIN}' as failed. That was 3 times; ")
    assert frontends.all_served() == {V3}


async def test_one_that_never_ends_is_unknown_until_it_is_known(frontends: Frontends, tmp_path: Path) -> None:
    file = frontends_file(tmp_path)
    content = file.read_text(encoding="utf-8").replace("deploy_timeout_seconds = 20", "deploy_timeout_seconds = 3")
    file.write_text(content, encoding="utf-8")
    frontends.control.break_("swa-never-ends", site=WEB)
    outcome = await redeploy(frontends=("web",))
    assert outcome.end_state is EndState.OUTCOME_UNKNOWN, outcome
    assert frontends.served(WEB) == V3
    frontends.control.repair("swa-never-ends")
    again = await redeploy(frontends=("web",), resume=outcome.run)
    assert again.end_state is EndState.ROLLED_BACK, again
    assert [each.outcome for each in frontends.deployments(WEB)][-1] == "succeeded"
    assert frontends.served(WEB) == V2


async def test_a_deployment_that_is_in_progress_refuses_before_anything_is_touched(frontends: Frontends) -> None:
    frontends.control.break_("swa-never-ends", site=WEB)
    with pytest.raises(httpx.ReadTimeout):
        frontends.upload(WEB, V1, timeout=1)
    outcome = await redeploy()
    assert outcome.end_state is EndState.REFUSED, outcome
    assert f"A deployment to '{WEB}' is in progress" in outcome.headline
    assert frontends.all_served() == {V3}
    assert frontends.sent("POST", ZIP) == 0


async def test_what_somebody_else_deploys_meanwhile_is_told_and_not_fought(frontends: Frontends) -> None:
    def rival(entry: Entry) -> None:
        if entry.event is Event.SENDING:
            frontends.upload(WEB, V1)

    frontends.control.break_("swa-answer-lost-before", site=WEB, skip=1)
    outcome = await redeploy(rival, frontends=("web",))
    assert outcome.end_state is EndState.OUTCOME_UNKNOWN, outcome
    assert f"Somebody else deployed to '{WEB}' while we did" in outcome.headline
    assert frontends.served(WEB) == V1
    assert frontends.sent("POST", ZIP) == 1


async def test_what_somebody_else_deployed_right_before_ours_is_replaced_once(frontends: Frontends) -> None:
    frontends.control.break_("swa-rival", site=WEB, release=V1)
    outcome = await redeploy(frontends=("web",))
    assert outcome.end_state is EndState.ROLLED_BACK, outcome
    assert [each.version for each in frontends.deployments(WEB)] == [V1, V2]


async def test_what_was_deployed_since_the_plan_makes_it_stale(frontends: Frontends) -> None:
    def rival(entry: Entry) -> None:
        if (entry.event, entry.step) == (Event.STEP_STARTED, "Approval"):
            frontends.upload(WEB, V1)

    outcome = await redeploy(rival)
    assert outcome.end_state is EndState.REFUSED, outcome
    assert f"'{WEB}' was deployed to since the plan was made" in outcome.headline
    assert (frontends.served(WEB), frontends.served(ADMIN)) == (V1, V3)
    assert frontends.sent("POST", ZIP) == 0


async def test_a_site_that_cannot_be_read_for_a_moment_was_not_deployed_to(frontends: Frontends) -> None:
    def drop(entry: Entry) -> None:
        if (entry.event, entry.step) == (Event.STEP_STARTED, "Approval"):
            frontends.control.break_("drop-before", path="version.json|/$", host=f"{WEB}.azurestaticapps.net", times=2)

    outcome = await redeploy(drop)
    assert outcome.end_state is EndState.ROLLED_BACK, outcome
    assert frontends.deployed() == ONCE


async def test_after_a_try_that_failed_nothing_is_sent_to_a_site_that_cannot_be_read(frontends: Frontends) -> None:
    frontends.control.break_("swa-fails", site=WEB, times=3)
    failed = await redeploy(frontends=("web",))
    assert failed.end_state is EndState.NOTHING_CHANGED, failed
    frontends.control.break_("drop-before", path="version.json|/$", host=f"{WEB}.azurestaticapps.net", times=2)
    unread = await redeploy(resume=failed.run)
    assert unread.end_state is EndState.NOTHING_CHANGED, unread
    assert "What users get cannot be read" in unread.headline
    assert frontends.sent("POST", ZIP) == 3
    again = await redeploy(resume=failed.run)
    assert again.end_state is EndState.ROLLED_BACK, again


async def test_what_was_deployed_to_one_while_the_other_was_brought_back_is_told_of_that_one(
    frontends: Frontends,
) -> None:
    frontends.control.break_("swa-fails", site=ADMIN, times=3)
    outcome = await redeploy()
    assert outcome.end_state is EndState.PART_WAY, outcome
    frontends.upload(ADMIN, V1)
    again = await redeploy(resume=outcome.run)
    assert again.end_state is EndState.PART_WAY, again
    assert f"'{ADMIN}' was deployed to since the plan was made" in again.headline
    assert again.next_steps[0] == f"This run changed nothing at '{ADMIN}'. Plan again."
    assert (frontends.served(WEB), frontends.served(ADMIN)) == (V2, V1)


async def test_nobody_is_accused_where_what_was_served_before_is_unknown(frontends: Frontends, tmp_path: Path) -> None:
    file = frontends_file(tmp_path)
    content = file.read_text(encoding="utf-8").replace("deploy_timeout_seconds = 20", "deploy_timeout_seconds = 3")
    file.write_text(content, encoding="utf-8")

    def deploy_the_same(entry: Entry) -> None:
        if entry.event is Event.SENDING:
            frontends.upload(WEB, V3)

    frontends.control.break_("drop-before", path="version.json|/$", host=f"{WEB}.azurestaticapps.net", times=2)
    frontends.control.break_("swa-answer-lost-before", site=WEB, skip=1)
    outcome = await redeploy(deploy_the_same, frontends=("web",), release=V2)
    assert outcome.end_state is EndState.OUTCOME_UNKNOWN, outcome
    assert "Its effect could not be seen within 3 s." in outcome.headline
    assert frontends.sent("POST", ZIP) == 1


@pytest.mark.parametrize(
    ("fault", "options", "told"),
    [
        pytest.param("github-asset-missing", {}, "has no file 'frontend-web.zip'", id="archive missing"),
        pytest.param("github-asset-corrupt", {}, "'frontend-web.zip' is corrupt", id="archive corrupt"),
        pytest.param("github-asset-climbs", {}, "leads out of the folder", id="zip slip"),
        pytest.param("github-asset-huge", {}, "Static Web Apps takes", id="far too large"),
        pytest.param("github-token-revoked", {}, "GitHub does not accept the token", id="token revoked"),
        pytest.param("github-rate-limited", {"seconds": 900}, "rate limit is used up until", id="rate limit used up"),
    ],
)
async def test_what_github_does_not_give_as_it_must_refuses_before_anything_is_touched(
    frontends: Frontends, fault: str, options: dict[str, float], told: str
) -> None:
    frontends.control.break_(fault, **options)
    outcome = await redeploy()
    assert outcome.end_state in {EndState.REFUSED, EndState.NOTHING_CHANGED}, outcome
    assert told in outcome.headline
    assert outcome.next_steps
    assert frontends.untouched()


async def test_github_down_is_told_and_the_script_needs_it_not(frontends: Frontends, tmp_path: Path) -> None:
    frontends.control.break_("github-down")
    outcome = await redeploy()
    assert outcome.end_state is EndState.NOTHING_CHANGED, outcome
    assert "GitHub answers 503" in outcome.headline
    assert frontends.untouched()
    frontends_file(tmp_path, '{ command = ["sh", "frontend/deploy.sh", "web"] }')
    by_script = await redeploy(frontends=("web",), release=V2)
    assert by_script.end_state is EndState.ROLLED_BACK, by_script
    assert frontends.served(WEB) == V2


async def test_a_release_that_does_not_exist_is_refused_with_those_that_do(frontends: Frontends) -> None:
    outcome = await redeploy(release="v9.9.9")
    assert outcome.end_state is EndState.REFUSED, outcome
    assert "GitHub has no release 'v9.9.9'." in outcome.headline
    assert "The newest are: v1.2.3, v1.2.2, v1.2.1." in outcome.next_steps[0]
    assert frontends.untouched()


async def test_a_script_that_fails_changes_nothing_and_is_told_with_its_last_lines(
    frontends: Frontends, tmp_path: Path
) -> None:
    frontends_file(tmp_path, script("echo building; echo 'no space left' >&2; exit 3"))
    outcome = await redeploy(frontends=("web",))
    assert outcome.end_state is EndState.NOTHING_CHANGED, outcome
    assert "ended with status 3: building | no space left" in outcome.headline
    assert frontends.untouched()
    assert worktrees() == []


async def test_a_script_that_hangs_is_ended_and_its_worktree_removed(frontends: Frontends, tmp_path: Path) -> None:
    frontends_file(tmp_path, script("echo uploading; sleep 600", timeout_seconds=1))
    outcome = await redeploy(frontends=("web",))
    assert outcome.end_state is EndState.NOTHING_CHANGED, outcome
    assert "did not end within 1 s: uploading" in outcome.headline
    assert frontends.untouched()
    assert worktrees() == []


async def test_a_script_that_fails_after_it_has_deployed_is_not_run_again(frontends: Frontends, tmp_path: Path) -> None:
    frontends_file(tmp_path, script("sh frontend/deploy.sh web; exit 1"))
    outcome = await redeploy(frontends=("web",))
    assert outcome.end_state is EndState.ROLLED_BACK, outcome
    assert frontends.deployed() == {WEB: 1, ADMIN: 0}


async def test_a_token_that_the_script_prints_is_nowhere(frontends: Frontends, tmp_path: Path) -> None:
    text = 'echo "token: $SWA_CLI_DEPLOYMENT_TOKEN"; printf \'{"t":"%s"}\\n\' "$SWA_CLI_DEPLOYMENT_TOKEN"; exit 1'
    frontends_file(tmp_path, script(f"echo printed ${{#SWA_CLI_DEPLOYMENT_TOKEN}}; {text}"))
    outcome = await redeploy(frontends=("web",))
    assert outcome.end_state is EndState.NOTHING_CHANGED, outcome
    assert "printed " in outcome.headline
    assert frontends.deployment_token(WEB) not in frontends.told(outcome)


async def test_a_revoked_deployment_token_changes_nothing(frontends: Frontends, tmp_path: Path) -> None:
    frontends_file(tmp_path, '{ command = ["sh", "frontend/deploy.sh", "web"] }')
    frontends.control.break_("swa-token-revoked", site=WEB)
    outcome = await redeploy(frontends=("web",))
    assert outcome.end_state is EndState.NOTHING_CHANGED, outcome
    assert "ended with status" in outcome.headline
    assert frontends.untouched()


async def test_the_signed_address_of_the_archive_is_nowhere(frontends: Frontends) -> None:
    frontends.control.break_("swa-error", site=WEB)
    outcome = await redeploy()
    told = frontends.told(outcome)
    assert "release-assets.githubusercontent.com" not in told
    assert "github_pat_" not in told
