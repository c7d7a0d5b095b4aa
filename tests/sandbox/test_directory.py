"""People and applications: how they sign in, what their tokens say, and tokens that are wrong on purpose."""

import base64
import json
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import jwt
import msal
import pytest
import requests
from azure_names import SITE
from support import Sandbox

from sandbox.commands import environment as environment_of
from sandbox.errors import SandboxError
from sandbox.folder import Folder

TENANT = "22222222-2222-4222-8222-222222222222"
APPROVERS = "55555555-5555-4555-8555-555555555555"
AUTHORITY = f"https://login.microsoftonline.com/{TENANT}"
ARM = "https://management.core.windows.net//.default"
APPROVALS = "api://fundrbolt-rollback/.default"
APPROVALS_CLIENT = "77777777-7777-4777-8777-777777777777"


@contextmanager
def client_of(running_sandbox: Sandbox, name: str) -> Iterator[tuple[msal.PublicClientApplication, dict[str, str]]]:
    who = environment_of(Folder(running_sandbox.folder), name)
    with requests.Session() as session:
        yield msal.PublicClientApplication(who["AZURE_CLIENT_ID"], authority=AUTHORITY, http_client=session), who


def sign_in(running_sandbox: Sandbox, name: str, scope: str, password: str | None = None) -> dict[str, object]:
    with (
        client_of(running_sandbox, name) as (client, who),
        pytest.warns(DeprecationWarning, match="deprecated for public client flows"),
    ):
        return client.acquire_token_by_username_password(
            who["AZURE_USERNAME"], password or who["AZURE_PASSWORD"], [scope]
        )


async def verified(https: httpx.AsyncClient, token: str, audience: str) -> dict[str, object]:
    keys = jwt.PyJWKSet.from_dict((await https.get(f"{AUTHORITY}/discovery/v2.0/keys")).json())
    key = keys[jwt.get_unverified_header(token)["kid"]]
    return jwt.decode(token, key, algorithms=["RS256"], audience=audience)


async def test_a_person_signs_in_with_a_password_and_the_token_says_who(control, https, running_sandbox):
    answer = sign_in(running_sandbox, "lead", APPROVALS)
    claims = await verified(https, answer["access_token"], APPROVALS_CLIENT)
    assert claims["iss"] == f"{AUTHORITY}/v2.0"
    assert (claims["ver"], claims["tid"], claims["scp"]) == ("2.0", TENANT, "user_impersonation")
    assert claims["upn"] == claims["preferred_username"] == "lead@fundrbolt.com"
    assert (claims["name"], claims["groups"]) == ("Lead", [APPROVERS])
    assert "idtyp" not in claims
    assert answer["id_token_claims"]["oid"] == claims["oid"]


async def test_an_api_of_version_two_may_be_asked_for_by_its_client_id(running_sandbox, https):
    answer = sign_in(running_sandbox, "lead", f"{APPROVALS_CLIENT}/.default")
    assert (await verified(https, answer["access_token"], APPROVALS_CLIENT))["upn"] == "lead@fundrbolt.com"


async def test_who_has_no_tenant_yet_is_told_of_the_issuer_of_all(https):
    told = (
        await https.get("https://login.microsoftonline.com/organizations/v2.0/.well-known/openid-configuration")
    ).json()
    assert told["issuer"] == "https://login.microsoftonline.com/{tenantid}/v2.0"
    assert told["token_endpoint"].startswith("https://login.microsoftonline.com/organizations/")


async def test_a_token_for_azure_is_of_version_one(control, https, running_sandbox):
    answer = sign_in(running_sandbox, "intern", ARM)
    claims = await verified(https, answer["access_token"], "https://management.core.windows.net/")
    assert claims["iss"] == f"https://sts.windows.net/{TENANT}/"
    assert (claims["unique_name"], claims["groups"]) == ("intern@fundrbolt.com", [])


async def test_a_refresh_token_gets_a_token_for_another_resource_without_the_password(control, https, running_sandbox):
    with client_of(running_sandbox, "second") as (client, who):
        with pytest.warns(DeprecationWarning, match="deprecated for public client flows"):
            client.acquire_token_by_username_password(who["AZURE_USERNAME"], who["AZURE_PASSWORD"], [ARM])
        [account] = client.get_accounts()
        assert account["username"] == "second@fundrbolt.com"
        answer = client.acquire_token_silent([APPROVALS], account)
    assert (await verified(https, answer["access_token"], APPROVALS_CLIENT))["name"] == "Second"
    [kept] = client.token_cache.search(msal.TokenCache.CredentialType.REFRESH_TOKEN)
    powershell = "1950a258-227b-4e31-a9cf-717495945fc2"
    for application, token in [(who["AZURE_CLIENT_ID"], "1.x"), (powershell, kept["secret"])]:
        form = {"grant_type": "refresh_token", "client_id": application, "scope": ARM, "refresh_token": token}
        refused = (await https.post(f"{AUTHORITY}/oauth2/v2.0/token", data=form)).json()
        assert (refused["error"], refused["error_codes"]) == ("invalid_grant", [9002313])


async def test_a_wrong_password_and_an_unknown_user_are_refused_with_entras_number(control, https, running_sandbox):
    assert sign_in(running_sandbox, "lead", ARM, "wrong")["error_codes"] == [50126]
    form = {
        "grant_type": "password",
        "client_id": "04b07795-8ddb-461a-bbee-02f9e1bf7b46",
        "scope": f"openid {ARM}",
        "username": "nobody@fundrbolt.com",
        "password": "x",
    }
    answer = await https.post(f"{AUTHORITY}/oauth2/v2.0/token", data=form)
    assert (answer.status_code, answer.json()["error_codes"]) == (400, [50034])


async def test_where_a_user_signs_in_is_told_by_the_domain(https):
    realm = "https://login.microsoftonline.com/common/userrealm"
    assert (await https.get(f"{realm}/lead@fundrbolt.com")).json()["account_type"] == "Managed"
    assert (await https.get(f"{realm}/lead@example.com")).json()["account_type"] == "Unknown"


async def test_an_application_is_called_by_its_own_id(control, running_sandbox):
    who = environment_of(Folder(running_sandbox.folder), "deployer")
    claims = jwt.decode(control.token("deployer", APPROVALS), options={"verify_signature": False})
    assert (claims["idtyp"], claims["azp"]) == ("app", who["AZURE_CLIENT_ID"])
    assert "scp" not in claims
    assert "upn" not in claims


@pytest.mark.parametrize(
    ("flaw", "code"),
    [
        ({"expired": True}, "ExpiredAuthenticationToken"),
        ({"wrong_issuer": True}, "InvalidAuthenticationTokenTenant"),
        ({"wrong_key": True}, "InvalidAuthenticationToken"),
        ({"audience": "https://vault.azure.net"}, "InvalidAuthenticationTokenAudience"),
    ],
)
async def test_a_token_with_a_flaw_is_refused_for_that_flaw(arm, control, flaw, code):
    arm.token = control.token("rollback", "https://management.azure.com/.default")
    assert (await arm.ask("GET", SITE)).status_code == 200
    arm.token = control.token("rollback", "https://management.azure.com/.default", **flaw)
    answer = await arm.ask("GET", SITE)
    assert (answer.status_code, answer.json()["error"]["code"]) == (401, code)


async def test_a_forged_token_has_the_published_keys_id(control, https):
    good, forged = (control.token("lead", APPROVALS, wrong_key=wrong) for wrong in (False, True))
    assert jwt.get_unverified_header(good) == jwt.get_unverified_header(forged)
    with pytest.raises(jwt.InvalidSignatureError):
        await verified(https, forged, APPROVALS_CLIENT)


async def test_everybody_may_do_what_their_roles_permit(arm, control):
    expected = {
        "rollback": (200, 200),
        "deployer": (200, 200),
        "oncall": (200, 403),
        "lead": (200, 403),
        "intern": (403, 403),
    }
    for name, (reads, restarts) in expected.items():
        arm.token = control.token(name, "https://management.azure.com/.default")
        assert (await arm.ask("GET", SITE)).status_code == reads, name
        assert (await arm.ask("POST", f"{SITE}/restart")).status_code == restarts, name
    assert control.audit()[-1].principal == "intern"


async def test_a_refusal_names_the_caller_and_lists_show_what_the_caller_sees(arm, control):
    arm.token = control.token("intern", "https://management.azure.com/.default")
    message = (await arm.ask("GET", SITE)).json()["error"]["message"]
    assert "The client 'intern@fundrbolt.com' with object id '66666666-" in message
    assert "action 'Microsoft.Web/sites/read'" in message
    assert (await arm.ask("GET", "/subscriptions")).json()["value"] == []
    arm.token = control.token("deployer", "https://management.azure.com/.default")
    subscription = SITE[: SITE.index("/resourceGroups")]
    groups = (await arm.ask("GET", f"{subscription}/resourceGroups")).json()["value"]
    assert [each["name"] for each in groups] == ["fundrbolt-production-rg"]


async def test_a_fault_takes_a_permission_from_the_one_who_is_named(arm, control):
    control.break_("deny", action="Microsoft.Web/sites/read", principal="oncall")
    statuses = []
    for name in ("oncall", "rollback"):
        arm.token = control.token(name, "https://management.azure.com/.default")
        statuses.append((await arm.ask("GET", SITE)).status_code)
    assert statuses == [403, 200]
    control.break_("leave-group", principal="lead")
    payload = control.token("lead", APPROVALS).split(".")[1]
    assert json.loads(base64.urlsafe_b64decode(payload + "=="))["groups"] == []
    control.repair("leave-group")
    assert APPROVERS in jwt.decode(control.token("lead", APPROVALS), options={"verify_signature": False})["groups"]


def test_who_is_not_there_gets_no_token(control, running_sandbox):
    with pytest.raises(SandboxError, match="There is no 'nobody' in the directory"):
        control.token("nobody", APPROVALS)
    with pytest.raises(SandboxError, match="The resource principal named api://nosuch was not found"):
        control.token("lead", "api://nosuch/.default")
    with pytest.raises(SandboxError, match="There is no 'approvers' who could sign in"):
        environment_of(Folder(running_sandbox.folder), "approvers")
