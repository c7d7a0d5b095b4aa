"""The frame around every ARM request: errors in ARM's words, permissions, headers, and nothing that is made up."""

import httpx
import pytest
from azure.mgmt.authorization.aio import AuthorizationManagementClient
from azure_names import APP, GROUP, SITE, SUBSCRIPTION

ROOT = f"/subscriptions/{SUBSCRIPTION}"
GROUPS = f"{ROOT}/resourceGroups"


def error(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"]


@pytest.mark.parametrize(
    ("path", "query", "expected", "words"),
    [
        (SITE, {"api-version": ""}, (400, "MissingApiVersionParameter"), "is required for all requests"),
        (SITE, {"api-version": "latest"}, (400, "InvalidApiVersionParameter"), "'latest' is invalid"),
        (SITE.replace("1111-4111", "9999-4111"), {}, (404, "SubscriptionNotFound"), "could not be found."),
        (SITE.replace(GROUP, "nosuch"), {}, (404, "ResourceGroupNotFound"), "Resource group 'nosuch' could not be"),
        (
            SITE.replace(APP, "nosuch"),
            {},
            (404, "ResourceNotFound"),
            f"The Resource 'Microsoft.Web/sites/nosuch' under resource group '{GROUP}' was not found.",
        ),
        (f"{SITE}/slots/nosuch", {}, (404, "ResourceNotFound"), f"'Microsoft.Web/sites/slots/{APP}/nosuch'"),
        (f"{SITE}/certificates", {}, (501, "NotImplementedInSandbox"), "there is no such operation"),
        (SITE, {"$expand": "all"}, (501, "NotImplementedInSandbox"), "$expand is not honoured"),
    ],
)
async def test_what_is_wrong_is_told_as_azure_words_it(arm, path, query, expected, words):
    answer = await arm.ask("GET", path, query=query)
    assert error(answer) == expected
    assert words in answer.json()["error"]["message"]


@pytest.mark.parametrize("body", [b"{", b"[]", b'{"properties": 1}', b'{"targetSlot": ""}', b"\xff"])
async def test_a_malformed_body_is_refused_and_changes_nothing(arm, control, body):
    headers = {"Content-Type": "application/json"}
    answer = await arm.ask("POST", f"{SITE}/slots/staging/slotsswap", content=body, headers=headers)
    assert error(answer) == (400, "InvalidRequestContent")
    assert control.status().sites["production"].operation is None


async def test_an_unknown_request_is_noted_in_the_log(arm, running_sandbox):
    await arm.ask("DELETE", SITE)
    assert f"DELETE {SITE}" in (running_sandbox.folder / "sandbox.log").read_text()


async def test_paths_have_no_case(arm):
    answer = await arm.ask("GET", SITE.upper().replace("/SUBSCRIPTIONS", "/Subscriptions"))
    assert answer.json()["name"] == APP


async def test_every_answer_has_a_request_id_and_what_remains_of_the_rate_limit(arm):
    first, second = [await arm.ask("GET", "/subscriptions") for _ in range(2)]
    assert first.headers["x-ms-request-id"] != second.headers["x-ms-request-id"]
    assert int(second.headers["x-ms-ratelimit-remaining-subscription-reads"]) > 0
    followed = await arm.ask("GET", "/subscriptions", headers={"x-ms-correlation-request-id": "from-the-client"})
    assert followed.headers["x-ms-correlation-request-id"] == "from-the-client"


async def test_the_subscription_and_its_groups_are_listed(arm):
    subscriptions = (await arm.ask("GET", "/subscriptions")).json()["value"]
    assert [each["subscriptionId"] for each in subscriptions] == [SUBSCRIPTION]
    assert (await arm.ask("GET", ROOT)).json()["state"] == "Enabled"
    names = [each["name"] for each in (await arm.ask("GET", GROUPS)).json()["value"]]
    assert names == [GROUP, "fundrbolt-staging-rg", "fundrbolt-dev-rg", "fundrbolt-rehearsal-rg"]
    assert (await arm.ask("GET", f"{GROUPS}/{GROUP}")).json()["location"] == "eastus"


async def test_a_permission_that_was_taken_away_is_refused_and_shown(arm, control, environment, credential):
    action = "Microsoft.Web/sites/slots/slotsswap/action"
    control.break_("deny", action=action)
    answer = await arm.swap()
    assert error(answer) == (403, "AuthorizationFailed")
    message = answer.json()["error"]["message"]
    assert f"does not have authorization to perform action '{action}' over scope '{SITE}/slots/staging'" in message
    verify = environment["SSL_CERT_FILE"]
    async with AuthorizationManagementClient(credential, SUBSCRIPTION, connection_verify=verify) as client:
        listed = [each async for each in client.permissions.list_for_resource_group(GROUP)]
        on_site = client.permissions.list_for_resource(GROUP, "Microsoft.Web", "", "sites", APP)
        assert [each.not_actions async for each in on_site] == [[action], [action]]
    assert (listed[0].actions, listed[0].not_actions) == (["*"], [action])
    control.repair("deny")
    assert (await arm.swap()).status_code == 202


async def test_the_audit_tells_every_request_and_no_secret(arm, control, running_sandbox, environment):
    await arm.ask("POST", f"{SITE}/config/appsettings/list", query={"password": "in-the-query"})
    entry = control.audit()[-1]
    assert (entry.method, entry.host, entry.status) == ("POST", "management.azure.com", 501)
    assert entry.path == f"{SITE}/config/appsettings/list"
    for name in ("audit.jsonl", "sandbox.log", "state.json"):
        text = (running_sandbox.folder / name).read_text()
        assert arm.token not in text
        assert environment["AZURE_CLIENT_SECRET"] not in text
        assert "in-the-query" not in text
