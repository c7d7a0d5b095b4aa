"""Tags, container logs, the log stream, containers that do not start, and the list of all resources."""

import pytest
from azure.mgmt.web.models import SiteConfigResource, StringDictionary
from azure_names import APP, GROUP, PRODUCTION_HOST, SITE, SLOT, STAGING_HOST, SUBSCRIPTION

from sandbox.container_logs import MOST_LINES, ContainerLogs
from sandbox.start import pinned

TAGS = "/providers/Microsoft.Resources/tags/default"
RECORD = {"rollback-release": "v1.2.3", "rollback-since": "2026-11-22T14:00:00Z"}


async def logs(sdk, slot: str | None = None) -> str:
    ask = sdk.web_apps.get_web_site_container_logs
    chunks = await (
        ask(GROUP, APP) if slot is None else sdk.web_apps.get_web_site_container_logs_slot(GROUP, APP, slot)
    )
    # A slot that wrote nothing yet is answered 204.
    return "" if chunks is None else b"".join([chunk async for chunk in chunks]).decode()


async def test_tags_are_patched_and_no_process_notices(sdk, arm, control):
    first = control.status().sites["production"].slots["production"].pid
    assert (await sdk.web_apps.get(GROUP, APP)).tags == {"environment": "production"}
    patched = await arm.ask("PATCH", SITE, json={"tags": RECORD})
    assert patched.json()["tags"] == RECORD
    assert (await arm.ask("PATCH", SLOT, json={"tags": None, "properties": None})).json()["tags"] == {
        "environment": "production"
    }
    assert (await sdk.web_apps.get(GROUP, APP)).tags == RECORD
    assert control.status().sites["production"].slots["production"].pid == first
    assert (await arm.ask("PATCH", SITE, json={"properties": {"unheardOf": 1}})).status_code == 501


async def test_a_whole_site_is_put_back_and_what_cannot_be_honoured_is_refused(arm):
    site = (await arm.ask("GET", SITE)).json()
    put = await arm.ask("PUT", SITE, json={**site, "tags": RECORD})
    assert (put.status_code, put.json()["tags"]) == (200, RECORD)
    for change in ({"serverFarmId": "/other"}, {"reserved": False}, {"unheardOf": 1}):
        refused = await arm.ask("PUT", SITE, json={**site, "properties": {**site["properties"], **change}})
        assert (refused.status_code, next(iter(change)) in refused.text) == (501, True)
    assert (await arm.ask("GET", SITE)).json()["tags"] == RECORD


async def test_tags_stay_where_they_are_in_a_swap(sdk, arm, swapped):
    await arm.ask("PATCH", SITE, json={"tags": RECORD})
    await arm.swap()
    await swapped(1)
    assert (await sdk.web_apps.get(GROUP, APP)).tags == RECORD
    assert (await sdk.web_apps.get_slot(GROUP, APP, "staging")).tags == {"environment": "production"}


@pytest.mark.parametrize(
    ("operation", "tags", "expected"),
    [
        ("Merge", {"a": "2", "b": "3"}, {"environment": "production", "a": "2", "b": "3"}),
        ("Replace", {"b": "3"}, {"b": "3"}),
        ("Delete", {"environment": "production"}, {"a": "1"}),
        ("Delete", {"environment": "other"}, {"environment": "production", "a": "1"}),
    ],
)
async def test_tags_are_a_resource_of_their_own(arm, operation, tags, expected):
    made = {"properties": {"tags": {"environment": "production", "a": "1"}}}
    assert (await arm.ask("PUT", SITE + TAGS, json=made)).status_code == 200
    change = {"operation": operation, "properties": {"tags": tags}}
    assert (await arm.ask("PATCH", SITE + TAGS, json=change)).json()["properties"]["tags"] == expected
    assert (await arm.ask("GET", SITE + TAGS)).json()["properties"]["tags"] == expected
    assert (await arm.ask("DELETE", SITE + TAGS)).status_code == 200
    assert (await arm.ask("GET", SITE)).json()["tags"] == {}


@pytest.mark.parametrize(
    ("tags", "code"),
    [
        ({f"t{i}": "" for i in range(51)}, "TooManyTags"),
        ({"a": "x" * 257}, "InvalidTagNameOrValue"),
        ({"a/b": ""}, "InvalidTagNameOrValue"),
    ],
)
async def test_tags_have_azures_limits(arm, tags, code):
    answer = await arm.ask("PATCH", SITE, json={"tags": tags})
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, code)


async def test_nobody_changes_tags_while_another_operation_is_in_progress(arm, control):
    control.break_("busy")
    assert (await arm.ask("PATCH", SITE, json={"tags": RECORD})).status_code == 409
    assert (await arm.ask("PUT", SITE + TAGS, json={"properties": {"tags": RECORD}})).status_code == 409


async def test_container_logs_tell_the_pull_the_start_and_what_the_app_wrote(sdk, https, eventually):
    await sdk.web_apps.update_configuration_slot(
        GROUP, APP, "staging", SiteConfigResource(properties={"linuxFxVersion": pinned("v1.2.1")})
    )

    async def told() -> bool:
        await https.get(f"https://{STAGING_HOST}/health")
        return "v1.2.1 GET /health 200" in await logs(sdk, "staging")

    await eventually(told)
    text = await logs(sdk, "staging")
    image = pinned("v1.2.1").removeprefix("DOCKER|")
    assert f"Z INFO  - Pulling image: {image}\n" in text
    assert f"Z INFO  - Digest: {image.partition('@')[2]}\n" in text
    assert "Container for site fundrbolt-production-api initialized successfully" in text
    assert "v1.2.1" not in await logs(sdk)


async def test_a_failed_pull_is_told_in_the_containers_log(sdk, control, eventually):
    control.break_("image-missing", tag="v1.2.1")
    wanted = SiteConfigResource(properties={"linuxFxVersion": "DOCKER|ghcr.io/fundrbolt/fundrbolt-api:v1.2.1"})
    await sdk.web_apps.update_configuration_slot(GROUP, APP, "staging", wanted)

    async def told() -> bool:
        return "because it failed during startup." in await logs(sdk, "staging")

    await eventually(told)
    text = await logs(sdk, "staging")
    assert "manifest for ghcr.io/fundrbolt/fundrbolt-api:v1.2.1 not found: manifest unknown" in text
    assert "Image pull failed: Verify docker image configuration" in text


async def test_another_image_that_does_not_start_leaves_the_old_one_serving(sdk, https, control, eventually):
    control.break_("image-broken", tag="v1.2.1")
    wanted = SiteConfigResource(properties={"linuxFxVersion": pinned("v1.2.1")})
    await sdk.web_apps.update_configuration_slot(GROUP, APP, "staging", wanted)

    async def told() -> bool:
        return "did not start; the old one stays" in await logs(sdk, "staging")

    await eventually(told)
    assert "fundrbolt: " in await logs(sdk, "staging")
    assert (await https.get(f"https://{STAGING_HOST}/health")).headers["X-Fundrbolt-Version"] == "v1.2.2"


async def test_settings_with_which_nothing_starts_take_the_slot_down(sdk, https, eventually):
    settings = (await sdk.web_apps.list_application_settings_slot(GROUP, APP, "staging")).properties
    broken = StringDictionary(properties={**settings, "FAILURE_SHARE": "much"})
    await sdk.web_apps.update_application_settings_slot(GROUP, APP, "staging", broken)

    async def down() -> bool:
        return (await https.get(f"https://{STAGING_HOST}/health")).status_code == 503

    await eventually(down)
    assert "FAILURE_SHARE must be a number" in await logs(sdk, "staging")


async def test_logs_follow_the_process_in_a_swap(sdk, arm, https, swapped, eventually):
    await arm.swap()
    await swapped(1)

    async def told() -> bool:
        await https.get(f"https://{PRODUCTION_HOST}/health")
        return "v1.2.2 GET /health 200" in await logs(sdk)

    await eventually(told)


async def credentials(sdk, slot: str | None = None) -> tuple[str, str]:
    apps = sdk.web_apps
    begun = (
        apps.begin_list_publishing_credentials(GROUP, APP)
        if slot is None
        else apps.begin_list_publishing_credentials_slot(GROUP, APP, slot)
    )
    found = (await (await begun).result()).properties
    return found.publishing_user_name, found.publishing_password


async def test_the_log_stream_goes_on_as_the_app_writes(sdk, https):
    user, password = await credentials(sdk)
    assert user == f"${APP}"
    url = f"https://{APP}.scm.azurewebsites.net/logstream"
    async with https.stream("GET", url, auth=(user, password)) as stream:
        lines = stream.aiter_lines()
        assert "Welcome, you are now connected to log-streaming service." in await anext(lines)
        answer = await https.get(f"https://{PRODUCTION_HOST}/health/detailed")
        assert answer.status_code == 200
        async for line in lines:
            if "GET /health/detailed 200" in line:
                break


async def test_the_log_stream_is_for_those_who_may_publish(sdk, https, arm, control):
    url = f"https://{APP}-staging.scm.azurewebsites.net/logstream"
    slot, password = await credentials(sdk, "staging")
    assert slot == f"${APP}__staging"
    for auth in [None, (f"${APP}", password), (slot, "wrong")]:
        assert (await https.get(url, auth=auth)).status_code == 401
    for name, status in [("intern", 401), ("deployer", 200)]:
        token = control.token(name, "https://management.azure.com/.default")
        async with https.stream("GET", url, headers={"Authorization": f"Bearer {token}"}) as stream:
            assert stream.status_code == status
    url = url.replace("logstream", "api/deployments")
    assert (await https.get(url, auth=(slot, password))).status_code == 501
    assert (await https.get("https://nosuch.scm.azurewebsites.net/logstream")).status_code == 404


async def test_every_resource_is_listed_to_those_who_may_see_it(arm, control):
    path = f"/subscriptions/{SUBSCRIPTION}"

    async def listed(query: str = "", scope: str = path) -> set[str]:
        answer = (await arm.ask("GET", f"{scope}/resources", query={"$filter": query})).json()["value"]
        return {each["name"] for each in answer}

    everything = await listed()
    assert {APP, f"{APP}/staging", "fundrbolt-dev-api", "fundrbolt-production-insights"} < everything
    apps = {APP, "fundrbolt-production-worker", "fundrbolt-staging-api", "fundrbolt-dev-api"}
    assert await listed("resourceType eq 'Microsoft.Web/sites'") == apps
    assert await listed("resourceGroup eq 'fundrbolt-dev-rg' and name eq 'fundrbolt-dev-api'") == {"fundrbolt-dev-api"}
    assert await listed("tagName eq 'environment' and tagValue eq 'dev'") == {"fundrbolt-dev-api", "fundrbolt-dev-plan"}
    static = await listed("location eq 'eastus2'")
    assert static == {"fundrbolt-production-web", "fundrbolt-production-admin", "fundrbolt-staging-web"}
    # A database of a cache says no location.
    assert await listed("location eq 'eastus'") == everything - static - {"fundrbolt-staging-redis/default"}
    everything_of_dev = {"fundrbolt-dev-api", "fundrbolt-dev-plan"}
    assert await listed(scope=f"{path}/resourceGroups/fundrbolt-dev-rg") == everything_of_dev
    assert (await arm.ask("GET", f"{path}/resources", query={"$filter": "x"})).status_code == 501
    arm.token = control.token("intern", "https://management.azure.com/.default")
    assert await listed() == set()


async def test_a_provider_tells_its_types_and_versions(arm):
    path = f"/subscriptions/{SUBSCRIPTION}/providers"
    found = (await arm.ask("GET", f"{path}/microsoft.web")).json()
    assert (found["namespace"], found["resourceTypes"][0]["resourceType"]) == ("Microsoft.Web", "sites")
    assert (await arm.ask("GET", f"{path}/Microsoft.Nosuch")).status_code == 404
    assert "Microsoft.Web" in [each["namespace"] for each in (await arm.ask("GET", path)).json()["value"]]


def test_the_newest_lines_are_kept_and_the_file_does_not_grow_without_end(tmp_path, monkeypatch):
    monkeypatch.setattr("sandbox.container_logs.MOST_BYTES", 50_000)
    place, made = ("app", "staging"), ContainerLogs(tmp_path / "logs")
    for number in range(3 * MOST_LINES):
        made.app(place, f"line {number}")
    assert len(made.last(place)) == MOST_LINES
    assert (tmp_path / "logs" / "app.staging.log").stat().st_size < 60_000
    again = ContainerLogs(tmp_path / "logs")
    assert again.last(place) == made.last(place)
    assert again.last(place)[-1].endswith(f"line {3 * MOST_LINES - 1}")
    again.clear()
    assert (again.last(place), list((tmp_path / "logs").iterdir())) == ([], [])
