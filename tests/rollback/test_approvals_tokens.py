"""Whose token counts as a signature: the tenant's own, for us, now, of a person in the approvers' group."""

import base64
import hashlib
import hmac
import json
from typing import Any

import httpx
import jwt
import pytest
from approving import AUDIENCE, GROUP, LEAD, SIGNERS, Tenant
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from rollback.approvals.tokens import TokenVerifier
from rollback.errors import ApprovalRefused, AzureUnreachable

OTHER = "99999999-9999-4999-8999-999999999999"


@pytest.fixture
def tenant() -> Tenant:
    return Tenant()


@pytest.fixture
def verifier(tenant: Tenant) -> TokenVerifier:
    return TokenVerifier(SIGNERS, transport=tenant.transport)


def unsigned(part: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode()


async def refusal(verifier: TokenVerifier, token: str) -> str:
    """Why a token is refused; its text is told to nobody."""
    with pytest.raises(ApprovalRefused) as refused:
        await verifier.verify(token)
    told = f"{refused.value!r} {refused.value} {refused.value.__cause__!r}"
    assert not any(part in told for part in token.split(".") if len(part) > 8)
    return str(refused.value)


async def test_a_good_token_tells_who_signed(tenant: Tenant, verifier: TokenVerifier) -> None:
    signature = await verifier.verify(tenant.token())
    assert (signature.by.oid, signature.by.name, signature.by.upn) == (LEAD, "Lead", "lead@fundrbolt.com")
    assert not signature.by.is_app


async def test_the_same_token_has_the_same_id_and_another_one_another(tenant: Tenant, verifier: TokenVerifier) -> None:
    first, again, other = tenant.token(uti="one"), tenant.token(uti="one"), tenant.token(uti="two")
    ids = [(await verifier.verify(each)).token_id for each in (first, again, other)]
    assert ids[0] == ids[1] != ids[2]


async def test_keys_are_fetched_once_for_a_run(tenant: Tenant, verifier: TokenVerifier) -> None:
    for _ in range(3):
        await verifier.verify(tenant.token())
    assert tenant.asked == ["openid-configuration", "keys"]


async def test_a_key_that_the_tenant_published_meanwhile_is_fetched(tenant: Tenant, verifier: TokenVerifier) -> None:
    await verifier.verify(tenant.token())
    tenant.keys["second"] = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    token = jwt.encode(tenant.claims(), tenant.keys["second"], algorithm="RS256", headers={"kid": "second"})
    assert (await verifier.verify(token)).by.oid == LEAD


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"aud": "https://management.azure.com/"}, f"not for {AUDIENCE}"),
        ({"aud": f"{AUDIENCE}/"}, f"not for {AUDIENCE}"),
        ({"aud": [AUDIENCE, "api://other"]}, f"not for {AUDIENCE}"),
        ({"iss": f"https://sts.windows.net/{SIGNERS.tenant_id}/"}, "version 2 tokens"),
        ({"iss": f"https://login.microsoftonline.com/{OTHER}/v2.0"}, "not issued by"),
        ({"iss": f"{SIGNERS.issuer}/"}, "not issued by"),
        ({"tid": OTHER}, "another tenant"),
        ({"exp_in": -61}, "has expired"),
        ({"nbf_in": 120}, "not valid yet"),
        ({"exp": "soon"}, "not well formed"),
        ({"groups": []}, "not in the approvers' group"),
        ({"groups": [OTHER]}, "not in the approvers' group"),
        ({"groups": f"{GROUP} and others"}, "not in the approvers' group"),
        ({"groups": None}, "not in the approvers' group"),
        ({"groups": None, "_claim_names": {"groups": "src1"}}, "groups assigned to the application"),
        ({"groups": None, "hasgroups": True}, "groups assigned to the application"),
        ({"uti": None}, "no id of its own"),
        ({"idtyp": "app"}, "a person has to approve"),
        ({"scp": None}, "a person has to approve"),
        *(({name: None}, "lacks one of") for name in ("aud", "exp", "iss", "nbf", "oid", "tid")),
    ],
)
async def test_a_token_that_does_not_say_the_right_thing_is_refused(
    tenant: Tenant, verifier: TokenVerifier, changes: dict[str, Any], why: str
) -> None:
    assert why in await refusal(verifier, tenant.token(**changes))


@pytest.mark.parametrize("changes", [{"exp_in": -30}, {"nbf_in": 30}])
async def test_clocks_may_differ_a_little(tenant: Tenant, verifier: TokenVerifier, changes: dict[str, int]) -> None:
    assert (await verifier.verify(tenant.token(**changes))).by.oid == LEAD


async def test_an_application_counts_where_the_rule_says_so(tenant: Tenant) -> None:
    verifier = TokenVerifier(SIGNERS, apps=True, transport=tenant.transport)
    assert (await verifier.verify(tenant.token(idtyp="app", scp=None))).by.is_app


async def test_a_key_of_ones_own_under_the_published_keys_name_is_refused(
    tenant: Tenant, verifier: TokenVerifier
) -> None:
    own = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    forged = jwt.encode(tenant.claims(), own, algorithm="RS256", headers={"kid": "first"})
    assert "signature that does not hold" in await refusal(verifier, forged)


async def test_a_key_that_the_tenant_does_not_publish_is_refused(tenant: Tenant, verifier: TokenVerifier) -> None:
    own = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    forged = jwt.encode(tenant.claims(), own, algorithm="RS256", headers={"kid": "mine"})
    assert "does not publish" in await refusal(verifier, forged)
    assert "does not name the key" in await refusal(verifier, jwt.encode(tenant.claims(), own, algorithm="RS256"))


async def test_a_key_that_the_token_brings_along_is_not_used(tenant: Tenant, verifier: TokenVerifier) -> None:
    own = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    brought = jwt.algorithms.RSAAlgorithm.to_jwk(own.public_key(), as_dict=True)
    headers = {"kid": "first", "jwk": brought, "jku": "https://example.com/keys"}
    forged = jwt.encode(tenant.claims(), own, algorithm="RS256", headers=headers)
    assert "signature that does not hold" in await refusal(verifier, forged)


async def test_a_token_without_a_signature_is_refused(tenant: Tenant, verifier: TokenVerifier) -> None:
    for algorithm in ("none", "None", "nOnE"):
        head = unsigned({"alg": algorithm, "typ": "JWT", "kid": "first"})
        assert "not signed with RS256" in await refusal(verifier, f"{head}.{unsigned(tenant.claims())}.")


async def test_the_public_key_is_no_password(tenant: Tenant, verifier: TokenVerifier) -> None:
    """The classic confusion: signed with HMAC, by the public key that everybody can read."""
    public = tenant.keys["first"].public_key()
    pem = public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    message = f"{unsigned({'alg': 'HS256', 'typ': 'JWT', 'kid': 'first'})}.{unsigned(tenant.claims())}"
    mac = base64.urlsafe_b64encode(hmac.digest(pem, message.encode(), hashlib.sha256)).rstrip(b"=").decode()
    assert "not signed with RS256" in await refusal(verifier, f"{message}.{mac}")


async def test_another_algorithm_with_the_right_key_is_refused(tenant: Tenant, verifier: TokenVerifier) -> None:
    for algorithm in ("RS512", "PS256"):
        token = jwt.encode(tenant.claims(), tenant.keys["first"], algorithm=algorithm, headers={"kid": "first"})
        assert "not signed with RS256" in await refusal(verifier, token)


@pytest.mark.parametrize("text", ["", "a secret that is no token", "a.b.c", "eyJhbGciOiJSUzI1NiJ9.e30.AAAA"])
async def test_what_is_no_token_is_refused(verifier: TokenVerifier, text: str) -> None:
    assert "token" in await refusal(verifier, text)


@pytest.mark.parametrize(
    "changes",
    [
        {"jwks_uri": "https://example.com/keys"},
        {"jwks_uri": "http://login.microsoftonline.com/keys"},
        {"jwks_uri": None},
        {"issuer": f"https://login.microsoftonline.com/{OTHER}/v2.0"},
    ],
)
async def test_keys_from_elsewhere_are_not_taken(
    tenant: Tenant, verifier: TokenVerifier, changes: dict[str, Any]
) -> None:
    tenant.configuration |= changes
    with pytest.raises(AzureUnreachable, match="describes another issuer"):
        await verifier.verify(tenant.token())
    assert tenant.asked == ["openid-configuration"]


@pytest.mark.parametrize(
    "answer",
    [httpx.Response(500), httpx.Response(200, text="<html>"), httpx.Response(200, json=[]), httpx.Response(302)],
)
async def test_without_the_tenants_keys_nobody_is_known(tenant: Tenant, answer: httpx.Response) -> None:
    verifier = TokenVerifier(SIGNERS, transport=httpx.MockTransport(lambda _: answer))
    with pytest.raises(AzureUnreachable, match="cannot be had from Entra ID"):
        await verifier.verify(tenant.token())


async def test_keys_at_an_address_that_nobody_can_ask_for_are_not_had(tenant: Tenant, verifier: TokenVerifier) -> None:
    tenant.configuration["jwks_uri"] += "\x01"
    with pytest.raises(AzureUnreachable, match="cannot be had from Entra ID"):
        await verifier.verify(tenant.token())
