"""What goes wrong with deployments of static sites, and that a sandbox goes on where it was."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import httpx
import pytest
from static_site_names import GROUP, HOST, PATH, SHELF, SITE, Shelf, upload
from support import ROOT, Sandbox

from sandbox.control import Control
from sandbox.errors import SandboxError
from sandbox.folder import Folder
from sandbox.fundrbolt.frontends import archive_of
from sandbox.pace import pace
from sandbox.server import new_secrets
from sandbox.static_sites import deployments
from sandbox.static_sites.archives import kept
from sandbox.static_sites.deployments import BadArchiveError, publish
from sandbox.static_sites.model import Deployment
from sandbox.static_sites.start import folder_of
from sandbox.world import World

VERSION = f"https://{HOST}/version.json"


async def token_of(arm, site: str = SITE, group: str = GROUP) -> str:
    answer = await arm.ask("POST", f"{PATH.replace(GROUP, group)}/{site}/listSecrets")
    return answer.json()["properties"]["apiKey"]


@pytest.fixture
async def wanted(https, arm) -> dict[str, object]:
    """The body that deploys v1.2.2."""
    shelf = Shelf(https, await token_of(arm, SHELF, "fundrbolt-staging-rg"))
    return {"properties": {"appZipUrl": await shelf.release("v1.2.2")}}


class Deploying:
    """The two ways to deploy v1.2.2: by a URL over Azure Resource Manager, or with the token."""

    def __init__(self, arm, token: str, wanted: dict[str, object]) -> None:
        self.arm, self.token, self.wanted = arm, token, wanted

    async def by(self, way: str) -> httpx.Response:
        if way == "zip":
            return await self.arm.ask("POST", f"{PATH}/{SITE}/zipdeploy", json=self.wanted)
        return await upload(self.arm.https, archive_of("web", "v1.2.2"), self.token)


@pytest.fixture
async def deploy(arm, wanted) -> Deploying:
    return Deploying(arm, await token_of(arm), wanted)


async def version(https: httpx.AsyncClient) -> str:
    return (await https.get(VERSION, params={"q": "1"})).json()["version"]


def outcomes(control: Control) -> list[tuple[str, str | None]]:
    return [(each.by, each.version) for each in control.frontend_deployments() if each.site == SITE]


WAYS = pytest.mark.parametrize("way", ["zip", "token"])


@WAYS
async def test_an_answer_is_lost_after_the_deployment_is_done(https, control, deploy, way):
    control.break_("swa-answer-lost-after", site=SITE)
    with pytest.raises(httpx.RemoteProtocolError):
        await deploy.by(way)
    assert await version(https) == "v1.2.2"
    assert len(outcomes(control)) == 1


@WAYS
async def test_an_answer_is_lost_before_anything_is_deployed(https, control, deploy, way):
    control.break_("swa-answer-lost-before")
    with pytest.raises(httpx.RemoteProtocolError):
        await deploy.by(way)
    assert (await version(https), outcomes(control)) == ("v1.2.3", [])
    assert (await deploy.by(way)).status_code in (200, 202)


@WAYS
async def test_an_accepted_deployment_comes_late(https, control, deploy, way, eventually):
    control.break_("swa-accepted-late", seconds=0.3)
    with pytest.raises(httpx.RemoteProtocolError):
        await deploy.by(way)
    assert await version(https) == "v1.2.3"
    assert control.status().static_sites[SITE].deploying

    async def arrived() -> bool:
        return await version(https) == "v1.2.2"

    await eventually(arrived)


@WAYS
@pytest.mark.parametrize(
    ("fault", "status", "code"),
    [
        ("swa-conflict", 409, "Conflict"),
        ("swa-throttled", 429, "TooManyRequests"),
        ("swa-error", 500, "InternalServerError"),
    ],
)
async def test_a_deployment_is_refused_as_often_as_wanted(https, control, deploy, way, fault, status, code):
    control.break_(fault, times=2, skip=1)
    assert (await deploy.by(way)).status_code in (200, 202)
    for _ in range(2):
        refused = await deploy.by(way)
        assert (refused.status_code, refused.json()["error"]["code"]) == (status, code)
    assert refused.headers.get("Retry-After") == ("1" if status == 429 else None)


@WAYS
async def test_an_error_is_answered_though_the_deployment_happens(https, control, deploy, way, eventually):
    control.break_("swa-error-after")
    assert (await deploy.by(way)).status_code == 500

    async def arrived() -> bool:
        return await version(https) == "v1.2.2"

    await eventually(arrived)


@WAYS
async def test_a_deployment_fails_and_the_old_content_stays(https, control, deploy, way, eventually):
    control.break_("swa-fails")
    answer = await deploy.by(way)
    assert answer.status_code == (202 if way == "zip" else 500)
    await eventually(lambda: control.status().static_sites[SITE].build_status == "Failed")
    assert await version(https) == "v1.2.3"
    assert control.frontend_deployments()[-1].outcome == "Failure during content distribution."


@WAYS
async def test_somebody_elses_deployment_lands_first_and_the_clients_is_done_too(control, deploy, way, eventually):
    control.break_("swa-rival", release="v1.2.1")
    await deploy.by(way)
    await eventually(lambda: len(outcomes(control)) == 2)
    assert outcomes(control) == [("rival", "v1.2.1"), ("rollback" if way == "zip" else "token", "v1.2.2")]
    assert control.status().static_sites[SITE].version == "v1.2.2"


@WAYS
async def test_a_file_of_the_page_is_missing_after_the_next_deployment(https, control, deploy, way, eventually):
    control.break_("swa-missing-asset", site=SITE)
    await deploy.by(way)
    await eventually(lambda: control.status().static_sites[SITE].version == "v1.2.2")
    page = (await https.get(f"https://{HOST}/")).text
    asked = [word.split('"')[0] for word in page.split('"/assets/')[1:]]
    found = [(await https.get(f"https://{HOST}/assets/{name}")).status_code for name in asked]
    assert sorted(found) == [200, 404]
    await deploy.by("token")
    assert (await https.get(f"https://{HOST}/assets/{asked[0]}")).status_code == 200


async def test_a_revoked_token_is_refused_until_it_is_repaired(control, deploy):
    control.break_("swa-token-revoked", site=SITE)
    assert (await deploy.by("token")).status_code == 401
    assert (await deploy.by("zip")).status_code == 202
    control.repair("swa-token-revoked")
    assert (await deploy.by("token")).status_code in (200, 409)


async def test_the_faults_of_any_request_work_on_these_hosts_too(https, control, deploy):
    control.break_("drop-after", host="content\\.infrastructure", method="POST")
    with pytest.raises(httpx.RemoteProtocolError):
        await deploy.by("token")
    assert await version(https) == "v1.2.2"
    control.break_("error", host="azurestaticapps", status=503)
    assert (await https.get(VERSION)).status_code == 503
    control.break_("drop-before", path="/zipdeploy")
    with pytest.raises(httpx.RemoteProtocolError):
        await deploy.by("zip")


@pytest.mark.parametrize("fault", ["swa-fails", "swa-stale-edge", "swa-token-revoked"])
def test_a_fault_of_a_site_that_is_not_there_is_refused(control, fault):
    with pytest.raises(SandboxError, match="There is no static site 'nosuch'"):
        control.break_(fault, site="nosuch")
    with pytest.raises(SandboxError, match="There is no release 'v9'"):
        control.break_("swa-rival", release="v9")


async def test_two_sites_can_have_the_same_fault(https, control):
    control.break_("swa-stale-edge")
    control.break_("swa-stale-edge", site="fundrbolt-production-admin")
    for host in (HOST, "fundrbolt-production-admin.azurestaticapps.net"):
        assert (await https.get(f"https://{host}/")).headers["X-Cache"] == "HIT"


def test_the_commands_tell_what_each_site_serves_and_who_deployed_it(running_sandbox: Sandbox, control: Control):
    command = [sys.executable, "-m", "sandbox", "status", "--state", str(running_sandbox.folder)]
    told = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    assert "fundrbolt-production-web in fundrbolt-production-rg\n  v1.2.3  Ready" in told


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    made = Folder(tmp_path / "state")
    made.make()
    return made


Up = Callable[[], Awaitable[World]]


@pytest.fixture
async def up(folder: Folder) -> AsyncIterator[Up]:
    """Gives the sandbox's memory as it is after `up`; another one goes on where the one before it was stopped."""
    made, secrets = list[World](), new_secrets()

    async def stop() -> None:
        for each in made:
            await each.cancel_background()
            await each.clusters.stop()
            await each.caches.stop()

    async def begin() -> World:
        await stop()
        made.append(World(folder, secrets, pace("fast", 1)))
        return made[-1]

    yield begin
    await stop()


async def test_what_was_deployed_is_served_after_the_sandbox_has_been_stopped(folder, up):
    first = await up()
    await publish(first, first.state.static_sites[0], archive_of("web", "v1.2.2"), by="a workflow")
    again = await up()
    site = again.state.static_sites[0]
    assert (site.version, site.build_status) == ("v1.2.2", "Ready")
    assert kept(folder_of(folder.root), site.contents).version == "v1.2.2"
    assert [(each.by, each.version) for each in again.state.frontend_deployments] == [("a workflow", "v1.2.2")]


async def test_a_bad_content_is_told_to_who_publishes_it(up):
    world = await up()
    site = world.state.static_sites[0]
    with pytest.raises(BadArchiveError, match="not a zip"):
        await publish(world, site, b"nothing", by="a workflow")
    assert (site.version, site.build_status, site.deployment()) == ("v1.2.3", "Failed", None)


@pytest.mark.parametrize("url", ["", f"https://{HOST}/x.zip"])
async def test_a_deployment_that_the_end_of_the_sandbox_cut_off_ends_after_the_next_start(up, url):
    first = await up()
    deployments.begin(first, first.state.static_sites[0], Deployment(by="token", url=url, late_seconds=60), b"")
    again = await up()
    site = again.state.static_sites[0]
    (cut_off,) = site.deployments
    cut_off.late_seconds = 0
    deployments.resume(again)
    async with asyncio.timeout(10):
        while site.deployment() is not None:  # noqa: ASYNC110 - nobody else waits for its end
            await asyncio.sleep(0)
    assert ("cut off" if not url else "cannot be read") in cut_off.failure


async def test_a_reset_removes_what_tests_have_deployed(folder, up):
    world = await up()
    before = sorted(folder_of(folder.root).iterdir())
    world.state.static_sites[0].token_revoked = True
    await publish(world, world.state.static_sites[1], archive_of("web", "v1.2.1"), by="a workflow")
    assert sorted(folder_of(folder.root).iterdir()) != before
    world.state = world._begin()  # what a reset begins with; the processes are none of this test's business
    assert sorted(folder_of(folder.root).iterdir()) == before
    assert [site.version for site in world.state.static_sites] == ["v1.2.3"] * 3
    assert (world.state.static_sites[0].token_revoked, world.state.frontend_deployments) == (False, [])
