"""Azure Static Web Apps over Azure Resource Manager: what is shown, zip deployments, tokens."""

import gc
import io
import stat
import struct
import zipfile
from dataclasses import dataclass
from datetime import datetime

import pytest
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError
from azure.mgmt.web.models import StaticSiteZipDeploymentARMResource
from static_site_names import GROUP, HOST, PATH, SHELF, SITE, Shelf, upload, zipped

from sandbox.certificates import authority
from sandbox.folder import Folder
from sandbox.fundrbolt.frontends import archive_of
from sandbox.static_sites import archives, fetching

ADMIN = "fundrbolt-production-admin"


@pytest.fixture
async def shelf(https, arm) -> Shelf:
    return Shelf(https, await token_of(arm, SHELF, "fundrbolt-staging-rg"))


async def token_of(arm, site: str = SITE, group: str = GROUP) -> str:
    answer = await arm.ask("POST", f"{PATH.replace(GROUP, group)}/{site}/listSecrets")
    return answer.json()["properties"]["apiKey"]


async def deploy(sdk, url: str, site: str = SITE, **more: str) -> None:
    wanted = StaticSiteZipDeploymentARMResource(properties={"appZipUrl": url, **more})
    poller = await sdk.static_sites.begin_create_zip_deployment_for_static_site(GROUP, site, wanted)
    await poller.result()


async def served(https, host: str = HOST) -> str:
    return (await https.get(f"https://{host}/version.json")).json()["version"]


async def test_the_platforms_sites_are_listed_and_shown(sdk):
    every = [site async for site in sdk.static_sites.list()]
    assert [(site.name, site.sku.name) for site in every] == [
        (SITE, "Standard"),
        (ADMIN, "Standard"),
        (SHELF, "Free"),
    ]
    in_group = [site.name async for site in sdk.static_sites.get_static_sites_by_resource_group(GROUP)]
    assert in_group == [SITE, ADMIN]
    site = await sdk.static_sites.get_static_site(GROUP, SITE.upper())
    assert (site.properties.default_hostname, site.properties.custom_domains) == (HOST, ["www.fundrbolt.com"])
    assert site.tags == {"environment": "production"}
    for group, name in [(GROUP, "nosuch"), ("fundrbolt-staging-rg", SITE)]:
        with pytest.raises(ResourceNotFoundError, match="ResourceNotFound"):
            await sdk.static_sites.get_static_site(group, name)


async def test_the_production_build_and_the_custom_domain_are_shown(sdk):
    (build,) = [each async for each in sdk.static_sites.get_static_site_builds(GROUP, SITE)]
    assert build == await sdk.static_sites.get_static_site_build(GROUP, SITE, "default")
    told = build.properties
    assert (told.build_id, told.status, told.hostname) == ("default", "Ready", HOST)
    assert told.created_time_utc == told.last_updated_on
    with pytest.raises(ResourceNotFoundError):
        await sdk.static_sites.get_static_site_build(GROUP, SITE, "preview")
    (domain,) = [each async for each in sdk.static_sites.list_static_site_custom_domains(GROUP, SITE)]
    assert (domain.properties.domain_name, domain.properties.status) == ("www.fundrbolt.com", "Ready")
    assert (await sdk.static_sites.get_static_site_custom_domain(GROUP, SITE, "www.fundrbolt.com")).id == domain.id
    with pytest.raises(ResourceNotFoundError):
        await sdk.static_sites.get_static_site_custom_domain(GROUP, SITE, "x.fundrbolt.com")


@pytest.mark.parametrize("build", [None, "default"])
async def test_a_zip_deployment_is_served_under_both_names_when_it_has_ended(sdk, https, control, shelf, build):
    assert await served(https) == await served(https, "www.fundrbolt.com") == "v1.2.3"
    wanted = StaticSiteZipDeploymentARMResource(
        properties={
            "appZipUrl": await shelf.release("v1.2.2"),
            "deploymentTitle": "Back to v1.2.2",
            "provider": "rollback",
        }
    )
    sites = sdk.static_sites
    if build is None:
        poller = await sites.begin_create_zip_deployment_for_static_site(GROUP, SITE, wanted)
    else:
        poller = await sites.begin_create_zip_deployment_for_static_site_build(GROUP, SITE, build, wanted)
    assert await poller.result() is None
    assert poller.status() == "Succeeded"
    assert await served(https) == await served(https, "www.fundrbolt.com") == "v1.2.2"
    assert await served(https, f"{ADMIN}.azurestaticapps.net") == "v1.2.3"
    assert control.status().static_sites[SITE].version == "v1.2.2"
    site = await sites.get_static_site(GROUP, SITE)
    assert site.properties.provider == "rollback"


async def test_every_deployment_is_told_with_who_and_what(sdk, https, control, shelf, arm):
    url = await shelf.release("v1.2.2")
    await deploy(sdk, url)
    await upload(https, archive_of("web", "v1.2.1"), await token_of(arm))
    await upload(https, b"nothing", await token_of(arm))
    told = control.frontend_deployments()
    assert [(each.site, each.by, each.version) for each in told] == [
        (SHELF, "token", None),
        (SITE, "rollback", "v1.2.2"),
        (SITE, "token", "v1.2.1"),
        (SITE, "token", None),
    ]
    assert [each.outcome for each in told][:3] == ["succeeded"] * 3
    assert "not a zip" in told[3].outcome
    control.reset()
    assert control.frontend_deployments() == []
    assert await served(https) == "v1.2.3"


async def test_the_first_answer_says_where_the_end_can_be_read(arm, shelf):
    body = {"properties": {"appZipUrl": await shelf.release("v1.2.2")}}
    accepted = await arm.ask("POST", f"{PATH}/{SITE}/zipdeploy", json=body)
    assert (accepted.status_code, accepted.content) == (202, b"")
    location = accepted.headers["Location"]
    assert "/providers/Microsoft.Web/locations/eastus2/operationResults/" in location
    headers = {"Authorization": f"Bearer {arm.token}"}
    assert (await arm.https.get(location, headers=headers)).status_code in (200, 202)
    unknown = await arm.https.get(location.replace("operationResults/", "operationResults/x"), headers=headers)
    assert unknown.status_code == 404


async def test_while_a_deployment_is_under_way_the_build_says_so_and_another_is_refused(
    sdk, https, control, shelf, arm
):
    url = await shelf.release("v1.2.2")
    before = (await sdk.static_sites.get_static_site_build(GROUP, SITE, "default")).properties.last_updated_on
    control.break_("swa-never-ends")
    body = {"properties": {"appZipUrl": url}}
    first = await arm.ask("POST", f"{PATH}/{SITE}/zipdeploy", json=body)
    build = (await sdk.static_sites.get_static_site_build(GROUP, SITE, "default")).properties
    assert build.status == "Uploading"
    assert isinstance(build.last_updated_on, datetime)
    assert build.last_updated_on > before
    assert control.status().static_sites[SITE].deploying
    second = await arm.ask("POST", f"{PATH}/{SITE}/zipdeploy", json=body)
    assert (second.status_code, second.json()["error"]["code"]) == (409, "Conflict")
    assert (await upload(https, archive_of("web", "v1.2.1"), await token_of(arm))).status_code == 409
    headers = {"Authorization": f"Bearer {arm.token}"}
    assert (await https.get(first.headers["Location"], headers=headers)).status_code == 202
    control.repair()
    ended = await https.get(first.headers["Location"], headers=headers)
    assert (ended.status_code, ended.json()["error"]["code"]) == (500, "InternalServerError")
    assert (await arm.ask("GET", f"{PATH}/{SITE}/builds/default")).json()["properties"]["status"] == "Failed"
    assert await served(https) == "v1.2.3"
    await deploy(sdk, url)
    assert (await arm.ask("GET", f"{PATH}/{SITE}/builds/default")).json()["properties"]["status"] == "Ready"


async def test_a_signed_address_of_a_releases_file_can_be_deployed_from(sdk, https, github_token):
    headers = {"Authorization": f"Bearer {github_token}"}
    repository = "https://api.github.com/repos/fundrbolt/fundrbolt"
    release = (await https.get(f"{repository}/releases/tags/v1.2.2", headers=headers)).json()
    asset = next(each for each in release["assets"] if each["name"] == "frontend-web.zip")
    led = await https.get(asset["url"], headers={**headers, "Accept": "application/octet-stream"})
    await deploy(sdk, led.headers["Location"])
    assert await served(https) == "v1.2.2"


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("https://example.com/app.zip", "cannot be read: ClientHttpProxyError"),
        (f"http://{HOST}/app.zip", "it must be an https URL"),
        (f"https://{HOST}/assets/nosuch.zip?sig=secret", "it was answered 404"),
        ("nonsense", "appZipUrl is not a URL"),
        ("https://[", "appZipUrl is not a URL"),
        (f"https://{HOST}/a b\r\nX: y", "appZipUrl is not a URL"),
    ],
)
async def test_what_cannot_be_fetched_fails_the_operation_and_changes_nothing(sdk, https, control, url, told):
    with pytest.raises(HttpResponseError, match="cannot be read") as failed:
        await deploy(sdk, url)
    assert failed.value.status_code == 400
    assert told in control.frontend_deployments()[0].outcome
    assert "secret" not in str(failed.value) + control.frontend_deployments()[0].outcome
    assert await served(https) == "v1.2.3"
    assert control.status().static_sites[SITE].build_status == "Failed"


def damaged() -> bytes:
    """The content of a file is not what its checksum says."""
    good = zipped({"index.html": "a page", "b.txt": "something long enough"})
    return good.replace(b"something long", b"somewhere long", 1)


def linked() -> bytes:
    entry = zipfile.ZipInfo("etc")
    entry.external_attr = (stat.S_IFLNK | 0o777) << 16
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as made:
        made.writestr("index.html", "a page")
        made.writestr(entry, "/etc/passwd")
    return buffer.getvalue()


def encrypted() -> bytes:
    """Both headers of the only file say that it is encrypted."""
    good = zipped({"index.html": "a page"})
    flagged = struct.pack("<H", 1)
    good = good[:6] + flagged + good[8:]
    at = good.index(b"PK\x01\x02") + 8
    return good[:at] + flagged + good[at + 2 :]


PAGE = {"index.html": "a page"}
BAD = {
    "not a zip": (b"<html>", "not a zip that can be unpacked"),
    "nothing": (b"", "not a zip that can be unpacked"),
    "truncated": (archive_of("web", "v1.2.2")[:-30], "not a zip that can be unpacked"),
    "truncated inside": (archive_of("web", "v1.2.2")[300:], "not a zip|damaged"),
    "damaged": (damaged(), "The zip is damaged: b.txt"),
    "encrypted": (encrypted(), "not a zip that can be unpacked"),
    "climbs out": (zipped({**PAGE, "../up.html": ""}), "leads out of it"),
    "climbs out by backslash": (zipped({**PAGE, "a\\..\\..\\up.html": ""}), "leads out of it"),
    "from the root": (zipped({**PAGE, "/etc/passwd": ""}), "leads out of it"),
    "another drive": (zipped({**PAGE, "C:/up.html": ""}), "leads out of it"),
    "a link": (linked(), "has a link in it"),
    "no index.html": (zipped({"a/index.html": ""}), "Failed to find a default file"),
    "bad configuration": (zipped({**PAGE, "staticwebapp.config.json": "{"}), "validating staticwebapp.config.json"),
    "headers that are none": (
        zipped({**PAGE, "staticwebapp.config.json": '{"globalHeaders": []}'}),
        "globalHeaders must be an object",
    ),
    "a long configuration": (
        zipped({**PAGE, "staticwebapp.config.json": '{"a": "' + "x" * 20480 + '"}'}),
        "exceeds the limit of 20 KB",
    ),
}


@pytest.mark.parametrize("what", BAD)
def test_a_content_that_cannot_be_served_is_found_out(what):
    archive, told = BAD[what]
    with pytest.raises(archives.BadArchiveError, match=told):
        archives.check(archive, "Standard")


async def test_a_bad_zip_fails_the_operation_and_the_old_content_stays(sdk, https, control, shelf):
    url = await shelf.put(BAD["climbs out"][0])
    with pytest.raises(HttpResponseError, match="leads out of it") as failed:
        await deploy(sdk, url)
    assert failed.value.status_code == 400
    assert await served(https) == "v1.2.3"
    assert control.status().static_sites[SITE].build_status == "Failed"


@pytest.mark.parametrize(("sku", "limit"), [("Free", 262_144_000), ("Standard", 524_288_000)])
def test_a_site_has_a_size_and_a_number_of_files_that_it_may_have(monkeypatch, sku, limit):
    with monkeypatch.context() as less:
        less.setitem(archives.MOST_BYTES, sku, 100)
        archives.check(zipped({"index.html": "x" * 100}), sku)
        with pytest.raises(archives.BadArchiveError, match="The limit for this Static Web App is 100 bytes"):
            archives.check(zipped({"index.html": "x" * 101}, zipfile.ZIP_DEFLATED), sku)
    assert archives.MOST_BYTES[sku] == limit
    assert archives.MOST_FILES == 15_000
    monkeypatch.setattr(archives, "MOST_FILES", 2)
    archives.check(zipped({"index.html": "", "a": ""}), sku)
    with pytest.raises(archives.BadArchiveError, match="The number of static files was too large"):
        archives.check(zipped({"index.html": "", "a": "", "b": ""}), sku)


async def test_a_zip_deployment_without_a_url_is_refused_at_once(arm):
    missing = await arm.ask("POST", f"{PATH}/{SITE}/zipdeploy", json={"properties": {"deploymentTitle": "x"}})
    assert (missing.status_code, missing.json()["error"]["code"]) == (400, "BadRequest")


@pytest.mark.parametrize(
    ("path", "more"),
    [
        ("zipdeploy", {"apiZipUrl": "https://x/api.zip"}),
        ("zipdeploy", {"functionLanguage": "python"}),
        ("builds/preview/zipdeploy", {}),
    ],
)
async def test_functions_and_preview_environments_are_not_there(arm, path, more):
    body = {"properties": {"appZipUrl": f"https://{HOST}/x.zip", **more}}
    assert (await arm.ask("POST", f"{PATH}/{SITE}/{path}", json=body)).status_code == 501


async def test_the_token_deploys_until_it_is_reset(sdk, https, arm):
    secrets = await sdk.static_sites.list_static_site_secrets(GROUP, SITE)
    token = secrets.properties["apiKey"]
    done = await upload(https, archive_of("web", "v1.2.2"), token)
    assert (done.status_code, done.json()) == (200, {"site": SITE, "version": "v1.2.2"})
    assert await served(https) == "v1.2.2"
    await sdk.static_sites.reset_static_site_api_key(GROUP, SITE, {"properties": {"repositoryToken": None}})
    refused = await upload(https, archive_of("web", "v1.2.1"), token)
    assert (refused.status_code, refused.json()["error"]["code"]) == (401, "Unauthorized")
    assert await served(https) == "v1.2.2"
    assert (await upload(https, archive_of("web", "v1.2.1"), await token_of(arm))).status_code == 200


async def test_a_token_is_good_for_its_own_site_only(https, arm):
    token = await token_of(arm)
    for site in (ADMIN, "nosuch", ""):
        assert (await upload(https, archive_of("web", "v1.2.1"), token, site=site)).status_code == 401
    bad = await upload(https, b"nothing", token)
    assert (bad.status_code, "not a zip" in bad.json()["error"]["message"]) == (400, True)
    assert (await https.get("https://content.infrastructure.azurestaticapps.net/deployments")).status_code == 501


@pytest.mark.parametrize(
    ("method", "path", "action"),
    [
        ("GET", "", "read"),
        ("GET", "/builds", "builds/read"),
        ("GET", "/builds/default", "builds/read"),
        ("POST", "/listSecrets", "listsecrets/action"),
        ("POST", "/resetapikey", "resetapikey/action"),
        ("GET", "/customDomains", "customDomains/read"),
        ("POST", "/zipdeploy", "zipdeploy/action"),
        ("POST", "/builds/default/zipdeploy", "builds/zipdeploy/action"),
    ],
)
async def test_each_operation_needs_its_own_permission(arm, control, method, path, action):
    control.break_("deny", action=f"Microsoft.Web/staticSites/{action}")
    refused = await arm.ask(method, f"{PATH}/{SITE}{path}", json={})
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "AuthorizationFailed")
    assert f"Microsoft.Web/staticSites/{action}" in refused.text


async def test_sites_are_among_all_resources_and_their_type_is_known(arm):
    base = PATH.split("/resourceGroups")[0]
    query = {"$filter": "resourceType eq 'Microsoft.Web/staticSites'"}
    found = (await arm.ask("GET", f"{base}/resources", query=query)).json()["value"]
    assert {each["name"]: each["sku"]["name"] for each in found} == {SITE: "Standard", ADMIN: "Standard", SHELF: "Free"}
    types = (await arm.ask("GET", f"{base}/providers/Microsoft.Web")).json()["resourceTypes"]
    assert "staticSites" in [each["resourceType"] for each in types]


@dataclass(frozen=True)
class Place:
    """As much of the sandbox's memory as a fetch needs: where the proxy is, and whom to trust."""

    folder: Folder


async def test_a_fetch_ends_at_the_size_that_a_site_may_have_and_in_time(running_sandbox, control, monkeypatch):
    here = Place(Folder(running_sandbox.folder))
    assert b"v1.2.3" in await fetching.fetch(here, f"https://{HOST}/version.json", "Free")
    monkeypatch.setitem(archives.MOST_BYTES, "Free", 10)
    with pytest.raises(archives.BadArchiveError, match="is larger than 10 bytes"):
        await fetching.fetch(here, f"https://{HOST}/version.json", "Free")
    monkeypatch.setattr(fetching, "FETCH_SECONDS", 0.05)
    control.break_("delay", host="azurestaticapps", seconds=1)
    with pytest.raises(archives.BadArchiveError, match="cannot be read: TimeoutError"):
        await fetching.fetch(here, f"https://{HOST}/version.json", "Free")


# aiohttp leaves a connection to garbage collection when TLS through a proxy fails: here it is collected at once.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
async def test_a_fetch_verifies_who_answers(running_sandbox, control, tmp_path):
    there, stranger = Folder(running_sandbox.folder), Folder(tmp_path / "state")
    stranger.make()
    authority(stranger, [HOST])
    stranger.write_running(there.running())
    with pytest.raises(archives.BadArchiveError, match="CertificateError"):
        await fetching.fetch(Place(stranger), f"https://{HOST}/version.json", "Free")
    gc.collect()
