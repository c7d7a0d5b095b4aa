"""What can be broken about GitHub, and that each of it is over after a repair."""

import io
import time
import zipfile
from hashlib import sha256

import httpx
import pytest
from github_names import API, OWNER, PATH, REPO, V1, V2, V3, good_run
from githubkit.exception import PrimaryRateLimitExceeded, RequestFailed, SecondaryRateLimitExceeded

from sandbox.errors import SandboxError
from sandbox.fundrbolt.frontends import archive_of

ENVIRONMENT = 3_300_417_221
WEB = "frontend-web.zip"


@pytest.fixture
def asset(github, https):
    """What is told of an asset, and its bytes."""

    async def get(name: str = WEB, tag: str = V2):
        release = (await github.rest.repos.async_get_release_by_tag(OWNER, REPO, tag)).parsed_data
        found = [each for each in release.assets if each.name == name]
        if not found:
            return None, b""
        accept = {"Accept": "application/octet-stream"}
        answer = await github.rest.repos.async_get_release_asset(OWNER, REPO, found[0].id, headers=accept)
        return found[0], answer.content

    return get


@pytest.fixture
def run_is(control, eventually):
    async def wait(run: int, status: str, conclusion: str | None = None) -> None:
        def reached() -> bool:
            [found] = [each for each in control.workflow_runs() if each.id == run]
            return (found.status, found.conclusion) == (status, conclusion)

        await eventually(reached)

    return wait


async def rerun(github, tag: str = V2) -> int:
    run = await good_run(github, tag)
    await github.rest.actions.async_re_run_workflow(OWNER, REPO, run.id)
    return run.id


async def approve(github, run: int) -> None:
    wanted = {"environment_ids": [ENVIRONMENT], "state": "approved", "comment": "yes"}
    await github.rest.actions.async_review_pending_deployments_for_run(OWNER, REPO, run, **wanted)


async def test_github_is_down_for_programs_and_for_people(github, https, control):
    control.break_("github-down")
    with pytest.raises(RequestFailed) as refused:
        await github.rest.repos.async_get(OWNER, REPO)
    assert (refused.value.response.status_code, "No server is currently" in refused.value.response.text) == (503, True)
    assert (await https.get("https://github.com/")).status_code == 503
    control.repair()
    assert (await github.rest.repos.async_get(OWNER, REPO)).status_code == 200


async def test_a_revoked_token_is_bad_credentials(github, control):
    control.break_("github-token-revoked")
    with pytest.raises(RequestFailed) as refused:
        await github.rest.repos.async_get(OWNER, REPO)
    assert (refused.value.response.status_code, refused.value.response.json()["message"]) == (401, "Bad credentials")
    control.repair()
    assert (await github.rest.repos.async_get(OWNER, REPO)).status_code == 200


@pytest.mark.parametrize("status", [403, 429])
async def test_a_used_up_rate_limit_says_when_it_is_reset(github, control, status):
    control.break_("github-rate-limited", seconds=30, status=status)
    with pytest.raises(PrimaryRateLimitExceeded) as limited:
        await github.rest.repos.async_get(OWNER, REPO)
    headers = limited.value.response.headers
    assert (limited.value.response.status_code, headers["x-ratelimit-remaining"]) == (status, "0")
    assert 20 < int(headers["x-ratelimit-reset"]) - time.time() < 32
    assert (await github.rest.rate_limit.async_get()).parsed_data.resources.core.remaining == 0
    control.repair()
    assert (await github.rest.repos.async_get(OWNER, REPO)).status_code == 200
    with pytest.raises(SandboxError, match="403 or 429"):
        control.break_("github-rate-limited", status=500)


async def test_a_rate_limit_is_over_when_it_is_reset(github, control, eventually):
    control.break_("github-rate-limited", seconds=0.3)
    with pytest.raises(PrimaryRateLimitExceeded):
        await github.rest.repos.async_get(OWNER, REPO)

    async def answered() -> bool:
        try:
            return (await github.rest.repos.async_get(OWNER, REPO)).status_code == 200
        except PrimaryRateLimitExceeded:
            return False

    await eventually(answered)


async def test_a_secondary_limit_asks_to_wait(github, control):
    control.break_("github-secondary-limit", retry_after=7, path="/releases")
    assert (await github.rest.repos.async_get(OWNER, REPO)).status_code == 200
    with pytest.raises(SecondaryRateLimitExceeded) as limited:
        await github.rest.repos.async_list_releases(OWNER, REPO)
    assert limited.value.retry_after.total_seconds() == 7
    assert int(limited.value.response.headers["x-ratelimit-remaining"]) > 0
    assert (await github.rest.repos.async_list_releases(OWNER, REPO)).status_code == 200


async def test_a_missing_asset_is_nowhere(github, control, asset, https):
    before, _ = await asset()
    control.break_("github-asset-missing", name=WEB, tag=V2)
    assert (await asset())[0] is None
    assert (await asset(tag=V1))[0] is not None
    with pytest.raises(RequestFailed) as refused:
        await github.rest.repos.async_get_release_asset(OWNER, REPO, before.id)
    assert refused.value.response.status_code == 404
    control.repair()
    assert (await asset())[1] == archive_of("web", V2)


async def test_an_asset_that_goes_after_its_link_was_made_is_no_blob(github_token, control, https, asset):
    told, _ = await asset()
    headers = {"Authorization": f"Bearer {github_token}", "Accept": "application/octet-stream"}
    link = (await https.get(told.url, headers=headers)).headers["Location"]
    control.break_("github-asset-missing")
    answer = await https.get(link)
    assert (answer.status_code, "<Code>BlobNotFound</Code>" in answer.text) == (404, True)


async def test_a_corrupt_asset_is_not_what_its_digest_says(control, asset):
    before, content = await asset()
    control.break_("github-asset-corrupt")
    told, half = await asset()
    assert (told.digest, told.size) == (before.digest, len(content))
    assert half == content[: len(content) // 2]
    control.repair()
    assert (await asset())[1] == content


async def test_an_archive_that_climbs_has_a_right_digest(control, asset):
    control.break_("github-asset-climbs")
    told, content = await asset()
    assert told.digest == f"sha256:{sha256(content).hexdigest()}"
    names = zipfile.ZipFile(io.BytesIO(content)).namelist()
    assert {"index.html", "../../outside.html", "/etc/outside.html"} <= set(names)


async def test_a_huge_archive_is_small_until_it_is_unpacked(control, asset):
    control.break_("github-asset-huge")
    told, content = await asset()
    assert (told.digest, told.size) == (f"sha256:{sha256(content).hexdigest()}", len(content))
    assert len(content) < 2 << 20
    packed = zipfile.ZipFile(io.BytesIO(content))
    assert sum(each.file_size for each in packed.infolist()) > 1 << 30
    with packed.open("assets/map.bin") as huge:
        assert huge.read(1000) == bytes(1000)
    with pytest.raises(SandboxError, match="is not an archive"):
        control.break_("github-asset-huge", name="release.toml")
    with pytest.raises(SandboxError, match=r"Assets are frontend-web\.zip"):
        control.break_("github-asset-missing", name="nosuch")


async def test_a_rerun_that_fails_says_why_at_the_end_of_its_log(github, control, run_is):
    control.break_("github-rerun-fails")
    run = await rerun(github)
    await run_is(run, "waiting")
    await approve(github, run)
    await run_is(run, "completed", "failure")
    jobs = (await github.rest.actions.async_list_jobs_for_workflow_run(OWNER, REPO, run)).parsed_data.jobs
    assert [(job.name, job.conclusion) for job in jobs] == [("build", "success"), ("deploy", "failure")]
    log = await github.rest.actions.async_download_job_logs_for_workflow_run(OWNER, REPO, jobs[1].id)
    assert "##[error]Deployment Failure Reason" in log.text.splitlines()[-2]
    assert control.status().static_sites["fundrbolt-production-web"].version == V3
    await github.rest.actions.async_re_run_workflow_failed_jobs(OWNER, REPO, run)
    await run_is(run, "waiting")


@pytest.mark.parametrize("job", ["build", "deploy"])
async def test_a_rerun_that_hangs_goes_on_after_the_repair(github, control, run_is, job):
    control.break_("github-rerun-hangs", job=job)
    run = await rerun(github)
    if job == "deploy":
        await run_is(run, "waiting")
        await approve(github, run)
    await run_is(run, "in_progress")
    jobs = (await github.rest.actions.async_list_jobs_for_workflow_run(OWNER, REPO, run)).parsed_data.jobs
    assert (jobs[-1].name, jobs[-1].steps[0].status) == (job, "in_progress")
    control.repair("github-rerun-hangs")
    await run_is(run, *(("waiting",) if job == "build" else ("completed", "success")))
    with pytest.raises(SandboxError, match="The jobs are"):
        control.break_("github-rerun-hangs", job="x")


async def test_a_hanging_rerun_can_be_cancelled(github, control, run_is):
    control.break_("github-rerun-hangs", job="build")
    run = await rerun(github)
    await run_is(run, "in_progress")
    await github.rest.actions.async_cancel_workflow_run(OWNER, REPO, run)
    await run_is(run, "completed", "cancelled")
    control.repair()
    await run_is(run, "completed", "cancelled")


async def test_the_good_runs_are_too_old_until_the_repair(github, control):
    before = await good_run(github)
    control.break_("github-run-too-old")
    assert (before.created_at - (await good_run(github)).created_at).days == 40
    control.repair()
    assert await good_run(github) == before


async def test_the_good_runs_are_exhausted_until_the_repair(github, control):
    control.break_("github-rerun-exhausted")
    assert (await good_run(github)).run_attempt == 51
    control.repair()
    assert (await good_run(github)).run_attempt == 1


@pytest.mark.parametrize(("fault", "attempt"), [("before", 1), ("after", 2)])
async def test_a_rerun_whose_answer_is_lost(https, github, github_token, control, fault, attempt):
    run = await good_run(github)
    control.break_(f"github-rerun-answer-lost-{fault}")
    with pytest.raises(httpx.RemoteProtocolError):
        await https.post(f"{run.url}/rerun", headers={"Authorization": f"Bearer {github_token}"})
    assert [each.attempt for each in control.workflow_runs() if each.id == run.id] == [attempt]


async def test_a_review_whose_answer_is_lost_was_entered(https, github, github_token, control, run_is):
    run = await rerun(github)
    await run_is(run, "waiting")
    control.break_("github-approval-answer-lost-after")
    wanted = {"environment_ids": [ENVIRONMENT], "state": "approved", "comment": "yes"}
    with pytest.raises(httpx.RemoteProtocolError):
        await https.post(
            f"{API}{PATH}/actions/runs/{run}/pending_deployments",
            json=wanted,
            headers={"Authorization": f"Bearer {github_token}"},
        )
    await run_is(run, "completed", "success")


async def test_the_faults_of_any_request_are_in_githubs_shape(https, github_token, control):
    headers = {"Authorization": f"Bearer {github_token}"}
    control.break_("error", status=502, host="api.github.com")
    broken = await https.get(API + PATH, headers=headers)
    assert (broken.status_code, broken.json()["status"]) == (502, "502")
    control.break_("throttle", host="github", retry_after=3)
    throttled = await https.get(API + PATH, headers=headers)
    assert (throttled.status_code, throttled.headers["Retry-After"]) == (429, "3")
    control.break_("drop-after", host="githubusercontent")
    with pytest.raises(httpx.RemoteProtocolError):
        await https.get("https://release-assets.githubusercontent.com/x")
    assert (await https.get(API + PATH, headers=headers)).status_code == 200


async def test_azure_deploys_straight_from_a_signed_link(https, github_token, asset, sdk, control):
    told, _ = await asset()
    headers = {"Authorization": f"Bearer {github_token}", "Accept": "application/octet-stream"}
    link = (await https.get(told.url, headers=headers)).headers["Location"]
    poller = await sdk.static_sites.begin_create_zip_deployment_for_static_site(
        "fundrbolt-production-rg", "fundrbolt-production-web", {"properties": {"appZipUrl": link}}
    )
    await poller.result()
    versions = [control.status().static_sites[f"fundrbolt-production-{each}"].version for each in ("web", "admin")]
    assert versions == [V2, V3]
