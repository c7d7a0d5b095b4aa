"""Tokens: who gets one, what is in it, and when Azure Resource Manager refuses it."""

import time

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

TENANT = "22222222-2222-4222-8222-222222222222"
ENTRA = "https://login.microsoftonline.com"


async def ask_token(https: httpx.AsyncClient, environment: dict[str, str], tenant: str = TENANT, **changes: str | None):
    form = {
        "grant_type": "client_credentials",
        "client_id": environment["AZURE_CLIENT_ID"],
        "client_secret": environment["AZURE_CLIENT_SECRET"],
        "scope": "https://management.azure.com/.default",
        **changes,
    }
    data = {name: value for name, value in form.items() if value is not None}
    return await https.post(f"{ENTRA}/{tenant}/oauth2/v2.0/token", data=data)


async def test_a_token_is_signed_by_the_published_key_and_says_who_and_for_what(https, environment):
    answer = (await ask_token(https, environment)).json()
    configuration = (await https.get(f"{ENTRA}/{TENANT}/v2.0/.well-known/openid-configuration")).json()
    keys = jwt.PyJWKSet.from_dict((await https.get(configuration["jwks_uri"])).json())
    key = keys[jwt.get_unverified_header(answer["access_token"])["kid"]]
    claims = jwt.decode(answer["access_token"], key, algorithms=["RS256"], audience="https://management.azure.com")
    assert claims["iss"] == f"https://sts.windows.net/{TENANT}/"
    assert (claims["tid"], claims["appid"]) == (TENANT, environment["AZURE_CLIENT_ID"])
    assert claims["exp"] - claims["iat"] == answer["expires_in"]


async def test_instance_discovery_names_the_tenants_configuration(https):
    query = {"api-version": "1.1", "authorization_endpoint": f"{ENTRA}/{TENANT}/oauth2/v2.0/authorize"}
    answer = (await https.get(f"{ENTRA}/common/discovery/instance", params=query)).json()
    assert answer["tenant_discovery_endpoint"] == f"{ENTRA}/{TENANT}/v2.0/.well-known/openid-configuration"


@pytest.mark.parametrize(
    ("changes", "status", "error", "number"),
    [
        ({"client_secret": "wrong"}, 401, "invalid_client", 7000215),
        ({"client_secret": None}, 401, "invalid_client", 7000215),
        ({"client_id": "55555555-5555-4555-8555-555555555555"}, 400, "unauthorized_client", 700016),
        ({"scope": None}, 400, "invalid_request", 900144),
        ({"scope": "https://management.azure.com/user_impersonation"}, 400, "invalid_scope", 1002012),
        ({"grant_type": "device_code"}, 400, "unsupported_grant_type", 70003),
        ({"grant_type": "password"}, 400, "unauthorized_client", 700016),
        ({"scope": "https://nosuch.example/.default"}, 400, "invalid_resource", 500011),
        ({"tenant": "99999999-9999-4999-8999-999999999999"}, 400, "invalid_tenant", 90002),
    ],
)
async def test_a_wrong_token_request_is_refused_with_entras_number(https, environment, changes, status, error, number):
    answer = await ask_token(https, environment, **changes)
    assert answer.status_code == status
    body = answer.json()
    assert (body["error"], body["error_codes"]) == (error, [number])
    assert body["error_description"].startswith(f"AADSTS{number}: ")
    assert environment["AZURE_CLIENT_SECRET"] not in answer.text


async def refusal(arm, **options) -> tuple[int, str, str]:
    answer = await arm.ask("GET", "/subscriptions", **options)
    return answer.status_code, answer.json()["error"]["code"], answer.headers.get("WWW-Authenticate", "")


async def test_a_request_without_a_token_is_challenged(arm):
    status, code, challenge = await refusal(arm, headers={"Authorization": ""})
    assert (status, code) == (401, "AuthenticationFailed")
    assert challenge.startswith(f'Bearer authorization_uri="https://login.windows.net/{TENANT}"')


async def test_a_token_for_another_audience_is_refused(arm, https, environment):
    arm.token = (await ask_token(https, environment, scope="https://vault.azure.net/.default")).json()["access_token"]
    assert (await refusal(arm))[:2] == (401, "InvalidAuthenticationTokenAudience")


async def test_a_token_that_somebody_else_signed_is_refused(arm):
    claims = jwt.decode(arm.token, options={"verify_signature": False})
    forged = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    arm.token = jwt.encode(claims, forged, algorithm="RS256", headers=jwt.get_unverified_header(arm.token))
    assert (await refusal(arm))[:2] == (401, "InvalidAuthenticationToken")


async def test_a_token_without_a_signature_is_refused(arm):
    arm.token = jwt.encode(jwt.decode(arm.token, options={"verify_signature": False}), None, algorithm="none")
    assert (await refusal(arm))[:2] == (401, "InvalidAuthenticationToken")


async def test_expired_tokens_are_refused_and_new_ones_work(arm, control, https, environment):
    control.break_("tokens-expire")
    assert (await refusal(arm))[:2] == (401, "ExpiredAuthenticationToken")
    arm.token = (await ask_token(https, environment)).json()["access_token"]
    assert (await arm.ask("GET", "/subscriptions")).status_code == 200


async def test_a_token_lives_as_long_as_it_says(arm, control, https, environment):
    control.break_("token-lifetime", seconds=0)
    arm.token = (await ask_token(https, environment)).json()["access_token"]
    assert (await refusal(arm))[:2] == (401, "ExpiredAuthenticationToken")
    control.repair("token-lifetime")
    answer = (await ask_token(https, environment)).json()
    assert jwt.decode(answer["access_token"], options={"verify_signature": False})["exp"] > time.time() + 3000
