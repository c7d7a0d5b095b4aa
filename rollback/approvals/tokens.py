"""Who signed: tokens of Entra ID, verified by the run itself, and the caller's own token for handing over.

A token's text is never logged, kept, or part of an error.
"""

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit

import httpx
import jwt

from rollback import azure
from rollback.approvals.policy import Signers
from rollback.azure import our_errors
from rollback.errors import ApprovalRefused, AzureUnreachable, RollbackError
from rollback.settings import Azure

if TYPE_CHECKING:
    from jwt import PyJWK

LEEWAY_SECONDS = 60
"""For clocks that differ."""
ALGORITHM = "RS256"
"""The only one: what a token says about its own algorithm is its author's word."""
NEEDED_CLAIMS = ("aud", "exp", "iss", "nbf", "oid", "tid")
KEYS_SECONDS = 5.0
"""For each of the two requests that fetch the tenant's keys; the approver waits meanwhile."""


@dataclass(frozen=True)
class Identity:
    """Who a token is about."""

    oid: str
    name: str | None
    upn: str | None
    is_app: bool


@dataclass(frozen=True)
class Signature:
    """A verified token."""

    by: Identity
    token_id: str
    """SHA-256 of the tenant's and the token's own id: the same token has the same."""
    until: datetime
    """When it cannot be accepted any more."""


class TokenVerifier:
    """Verifies approval tokens against the keys that the tenant publishes; these are kept for the run only."""

    def __init__(
        self, signers: Signers, *, apps: bool = False, transport: httpx.AsyncBaseTransport | None = None
    ) -> None:
        self._signers = signers
        self._apps = apps
        self._transport = transport
        self._keys: dict[str, PyJWK] = {}

    async def verify(self, token: str) -> Signature:
        """Who signed. Raises `ApprovalRefused` with the reason, `AzureUnreachable` where the keys cannot be had."""
        claims = _decode(token, await self._key_for(token), self._signers)
        if claims["tid"] != self._signers.tenant_id:
            raise ApprovalRefused("The token is from another tenant.", remedy="Sign in to the platform's tenant.")
        by = _identity(claims)
        if by.is_app and not self._apps:
            raise ApprovalRefused(
                f"The token is an application's ({by.oid}): a person has to approve.",
                remedy="Unset AZURE_CLIENT_SECRET and sign in with 'az login'.",
            )
        self._require_group(claims, by)
        token_id = claims.get("uti") or claims.get("jti")
        if not token_id:
            raise ApprovalRefused("The token has no id of its own (uti): it could be used twice.")
        until = datetime.fromtimestamp(int(claims["exp"]) + LEEWAY_SECONDS, UTC)
        digest = hashlib.sha256(f"{claims['tid']}/{token_id}".encode()).hexdigest()
        return Signature(by=by, token_id=digest, until=until)

    async def check_keys(self) -> None:
        """Make sure that signatures could be verified now; raises `AzureUnreachable` where the keys cannot be had."""
        self._keys = await self._fetch_keys()

    async def _key_for(self, token: str) -> "PyJWK":
        try:
            key_id = jwt.get_unverified_header(token).get("kid")
        except jwt.InvalidTokenError:
            raise ApprovalRefused("What was handed over is not a token.") from None
        if not isinstance(key_id, str):
            raise ApprovalRefused("The token does not name the key that it is signed with.")
        if key_id not in self._keys:
            self._keys = await self._fetch_keys()
        if key_id not in self._keys:
            raise ApprovalRefused("The token is signed with a key that the tenant does not publish.")
        return self._keys[key_id]

    async def _fetch_keys(self) -> "dict[str, PyJWK]":
        """Source: OpenID Connect Discovery 1.0, and RFC 7517 for the keys."""
        signers = self._signers
        try:
            async with httpx.AsyncClient(timeout=KEYS_SECONDS, transport=self._transport) as client:
                configuration = await _get(client, f"{signers.issuer}/.well-known/openid-configuration")
                address = str(configuration.get("jwks_uri"))
                if configuration.get("issuer") != signers.issuer or _origin(address) != _origin(signers.authority):
                    raise AzureUnreachable(
                        f"Entra ID describes another issuer than {signers.issuer}.",
                        remedy="Check approval.tenant_id, and what answers as login.microsoftonline.com.",
                    )
                published: list[dict[str, Any]] = (await _get(client, address))["keys"]
        except (httpx.HTTPError, httpx.InvalidURL, ValueError, KeyError) as error:
            raise AzureUnreachable(
                f"The keys of tenant {signers.tenant_id} cannot be had from Entra ID ({type(error).__name__}).",
                remedy="Check the network and HTTPS_PROXY, then approve again.",
            ) from error
        return {each["kid"]: jwt.PyJWK(each, ALGORITHM) for each in published if _signs(each)}

    def _require_group(self, claims: dict[str, Any], by: Identity) -> None:
        groups = claims.get("groups")
        if groups is None and ("groups" in claims.get("_claim_names", {}) or claims.get("hasgroups")):
            raise ApprovalRefused(
                f"{by.upn or by.oid} is in so many groups that Entra ID leaves them out of the token.",
                remedy="Let the app registration emit only 'groups assigned to the application' (token configuration), "
                "and assign the approvers' group to it.",
            )
        if not isinstance(groups, list) or self._signers.group not in groups:
            raise ApprovalRefused(
                f"{by.upn or by.oid} is not in the approvers' group {self._signers.group}.",
                remedy="Somebody of that group has to approve.",
            )


def _decode(token: str, key: "PyJWK", signers: Signers) -> dict[str, Any]:
    """The claims of a token that is signed with the key, for us, now."""
    try:
        return jwt.decode(
            token,
            key.key,
            algorithms=[ALGORITHM],
            audience=signers.audience,
            issuer=signers.issuer,
            leeway=LEEWAY_SECONDS,
            options={"require": list(NEEDED_CLAIMS), "strict_aud": True},
        )
    except jwt.InvalidTokenError as error:
        raise _refused(error, signers) from None


def _refused(error: jwt.InvalidTokenError, signers: Signers) -> ApprovalRefused:
    """Why, in our own words: the library's may quote the token."""
    match error:
        case jwt.ExpiredSignatureError() | jwt.ImmatureSignatureError():
            why, remedy = "has expired, or is not valid yet", "Approve again; check this machine's clock."
        case jwt.InvalidAudienceError():
            why, remedy = f"is not for {signers.audience}", "Check approval.audience: it is 'aud', exactly."
        case jwt.InvalidIssuerError():
            why = f"is not issued by {signers.issuer}"
            remedy = (
                "Sign in to that tenant, and let the app registration issue version 2 tokens "
                "(api.requestedAccessTokenVersion = 2)."
            )
        case jwt.MissingRequiredClaimError():
            why, remedy = f"lacks one of {', '.join(NEEDED_CLAIMS)}", ""
        case jwt.InvalidAlgorithmError():
            why, remedy = f"is not signed with {ALGORITHM}", ""
        case jwt.InvalidSignatureError():
            why, remedy = "has a signature that does not hold", ""
        case _:
            why, remedy = "is not well formed", ""
    return ApprovalRefused(f"The token {why}.", remedy=remedy)


def _identity(claims: dict[str, Any]) -> Identity:
    """Who the claims are about. Only tokens of people have scopes; `idtyp` is there where the registration asks."""
    return Identity(
        oid=str(claims["oid"]),
        name=claims.get("name"),
        upn=claims.get("upn") or claims.get("preferred_username"),
        is_app=claims.get("idtyp") == "app" or not claims.get("scp"),
    )


async def own_identity(settings: Azure) -> Identity | None:
    """The person with whose credential this process acts; none where it is no person's, or cannot be found out.

    Not verified: the token comes from Entra ID to us, and only somebody's own credential makes them known.
    """
    try:
        async with azure.connect(settings) as connection:
            with our_errors("Entra ID's token"):
                token = await connection.credential.get_token(azure.SCOPE)
        identity = _identity(jwt.decode(token.token, options={"verify_signature": False}))
    except (RollbackError, jwt.InvalidTokenError, KeyError):
        return None
    return None if identity.is_app else identity


def callers_token(scope: str) -> str:
    """A token of whoever runs this command: environment variables, or 'az login' and its like.

    A machine's own identity is nobody's word, and is not asked. Raises `CredentialRejected` or `AzureUnreachable`.
    """
    from azure.identity import DefaultAzureCredential

    credential = DefaultAzureCredential(
        exclude_managed_identity_credential=True, exclude_workload_identity_credential=True
    )
    with credential, our_errors("Entra ID's token"):
        return credential.get_token(scope).token


async def _get(client: httpx.AsyncClient, address: str) -> dict[str, Any]:
    answer = (await client.get(address)).raise_for_status().json()
    if not isinstance(answer, dict):
        raise ValueError("not an object")  # noqa: TRY004 - it is about what came, not about our own types
    return cast("dict[str, Any]", answer)


def _origin(address: str) -> tuple[str, str]:
    parts = urlsplit(address)
    return parts.scheme, parts.netloc


def _signs(key: dict[str, Any]) -> bool:
    return key.get("kty") == "RSA" and key.get("use", "sig") == "sig" and isinstance(key.get("kid"), str)
