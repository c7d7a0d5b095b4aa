"""Tokens: how they are made and signed, what is in them, and when a resource refuses one.

Access tokens for Microsoft's own APIs are of version 1, those for an application's own API of version 2, as in Entra
ID: a version 2 token names its audience by the API's client id, whatever name of it was asked for.
"""

import json
import time
from base64 import urlsafe_b64encode
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm

from sandbox.clock import american
from sandbox.directory import ARM, Api, find_api
from sandbox.state import Principal, State
from sandbox.world import World

KEY_ID = urlsafe_b64encode(b"sandbox-signing-key").decode().rstrip("=")
FOREIGN_TENANT = "99999999-9999-4999-8999-999999999999"
REFRESH_SECONDS = 90 * 24 * 3600
REFRESH_AUDIENCE = "refresh"
EXPIRED_SECONDS = 3600


def new_key() -> rsa.RSAPrivateKey:
    """A key pair for signing."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def new_signing_key() -> str:
    """A private key for tokens, as PEM."""
    return (
        new_key()
        .private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        .decode()
    )


class TokenRefusedError(Exception):
    """A bearer token that a resource does not take: code and message of Azure Resource Manager."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True)
class Flaws:
    """What is wrong with a token that is made for a test."""

    expired: bool = False
    wrong_issuer: bool = False
    """From another tenant."""
    wrong_key: bool = False
    """Signed by a key that is not published, under the published key's id."""
    audience: str | None = None
    """For another resource than the one that was asked for."""


NO_FLAWS = Flaws()


class Tokens:
    """Makes tokens and reads them."""

    def __init__(self, world: World) -> None:
        self._world = world
        private = serialization.load_pem_private_key(world.secrets.signing_key.encode(), password=None)
        if not isinstance(private, rsa.RSAPrivateKey):
            raise TypeError("The signing key in the state folder is not an RSA key.")
        self._private = private

    @cached_property
    def _foreign(self) -> rsa.RSAPrivateKey:
        return new_key()

    def keys(self) -> dict[str, Any]:
        """The public keys, as a JSON Web Key Set."""
        public = json.loads(RSAAlgorithm.to_jwk(self._private.public_key()))
        return {"keys": [{"kty": "RSA", "use": "sig", "kid": KEY_ID, "n": public["n"], "e": public["e"]}]}

    def access(self, principal: Principal, client: str, audience: str, flaws: Flaws = NO_FLAWS) -> str:
        """A token with which `principal` may call the API that has `audience`, got through the application `client`."""
        state, api = self._world.state, find_api(audience) or ARM
        tenant = FOREIGN_TENANT if flaws.wrong_issuer else state.tenant_id
        claims = {
            "aud": flaws.audience or api.client_id or audience,
            "iss": issuer(tenant, api.version),
            **self._times(state.token_lifetime_seconds, expired=flaws.expired),
            "groups": principal.groups,
            "oid": principal.object_id,
            "sub": principal.object_id,
            "tid": tenant,
            **_who(principal, client, api),
        }
        return self._sign(claims, self._foreign if flaws.wrong_key else self._private)

    def id_token(self, principal: Principal, client: str) -> str:
        """What tells an application who has signed in."""
        state = self._world.state
        claims = {
            "aud": client,
            "iss": issuer(state.tenant_id, 2),
            **self._times(state.token_lifetime_seconds),
            "name": principal.display_name,
            "oid": principal.object_id,
            "preferred_username": principal.user_name,
            "sub": principal.object_id,
            "tid": state.tenant_id,
            "ver": "2.0",
        }
        return self._sign(claims, self._private)

    def refresh(self, principal: Principal, client: str) -> str:
        """What gets new tokens without the password, for 90 days. Opaque to clients."""
        claims = {"aud": REFRESH_AUDIENCE, "oid": principal.object_id, "appid": client, **self._times(REFRESH_SECONDS)}
        return "1." + self._sign(claims, self._private)

    def refreshed(self, token: str, client: str) -> Principal | None:
        """Who a refresh token stands for; None if it is none, or another application's."""
        try:
            claims = jwt.decode(
                token.removeprefix("1."), self._private.public_key(), algorithms=["RS256"], audience=REFRESH_AUDIENCE
            )
        except jwt.InvalidTokenError:
            return None
        return _by_object_id(self._world.state, claims["oid"]) if claims["appid"] == client else None

    def read(self, authorization: str | None, api: Api) -> Principal:
        """Who sends this `Authorization` header to `api`; `TokenRefusedError` if it proves nothing."""
        if not authorization:
            raise TokenRefusedError(
                "AuthenticationFailed", "Authentication failed. The 'Authorization' header is missing."
            )
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise TokenRefusedError(
                "AuthenticationFailedInvalidHeader",
                "Authentication failed. The 'Authorization' header is provided in an invalid format.",
            )
        try:
            claims: dict[str, Any] = jwt.decode(
                token,
                self._private.public_key(),
                algorithms=["RS256"],
                options={"verify_aud": False, "verify_exp": False, "require": ["aud", "iss", "exp", "nbf", "uti"]},
            )
        except jwt.InvalidTokenError as error:
            raise TokenRefusedError("InvalidAuthenticationToken", "The access token is invalid.") from error
        _verify_claims(self._world.state, claims, api)
        principal = _by_object_id(self._world.state, str(claims["oid"]))
        if principal is None:
            raise TokenRefusedError("InvalidAuthenticationToken", "The access token is invalid.")
        return principal

    def _times(self, lifetime: int, *, expired: bool = False) -> dict[str, Any]:
        begin = int(time.time()) - (lifetime + EXPIRED_SECONDS if expired else 0)
        return {"iat": begin, "nbf": begin, "exp": begin + lifetime}

    def _sign(self, claims: dict[str, Any], key: rsa.RSAPrivateKey) -> str:
        self._world.state.tokens_issued += 1
        self._world.save()
        numbered = {**claims, "uti": str(self._world.state.tokens_issued)}
        return jwt.encode(numbered, key, algorithm="RS256", headers={"kid": KEY_ID})


def issuer(tenant: str, version: int) -> str:
    """Who signs a tenant's tokens, as they say it."""
    if version == 1:
        return f"https://sts.windows.net/{tenant}/"
    return f"https://login.microsoftonline.com/{tenant}/v2.0"


def _who(principal: Principal, client: str, api: Api) -> dict[str, Any]:
    is_app = principal.kind == "ServicePrincipal"
    by_secret = "1" if is_app else "0"
    versions: dict[str, Any] = (
        {"appid": client, "appidacr": by_secret, "ver": "1.0", "idtyp": "user"}
        if api.version == 1
        else {"azp": client, "azpacr": by_secret, "ver": "2.0"}
    )
    if is_app:
        return {**versions, "idtyp": "app", "app_displayname": principal.display_name}
    name = "unique_name" if api.version == 1 else "preferred_username"
    return {
        **versions,
        "amr": ["pwd"],
        "name": principal.display_name,
        "scp": api.scopes,
        "upn": principal.user_name,
        name: principal.user_name,
    }


def _by_object_id(state: State, object_id: str) -> Principal | None:
    return next((each for each in state.principals if each.object_id == object_id), None)


def _verify_claims(state: State, claims: dict[str, Any], api: Api) -> None:
    instant = datetime.now(UTC)
    expires = datetime.fromtimestamp(int(claims["exp"]), UTC)
    if int(claims["uti"]) <= state.tokens_refused:
        expires = min(expires, instant)
    if expires <= instant:
        raise TokenRefusedError(
            "ExpiredAuthenticationToken",
            f"The access token expiry UTC time '{american(expires)}' is earlier than current UTC time "
            f"'{american(instant)}'.",
        )
    if claims["aud"] not in api.audiences:
        allowed = ",".join(f"'{each}'" for each in api.audiences)
        raise TokenRefusedError(
            "InvalidAuthenticationTokenAudience",
            f"The access token has been obtained for wrong audience or resource '{claims['aud']}'. It should "
            f"exactly match with one of the allowed audiences {allowed}.",
        )
    expected = issuer(state.tenant_id, api.version)
    if claims["iss"] != expected:
        raise TokenRefusedError(
            "InvalidAuthenticationTokenTenant",
            f"The access token is from the wrong issuer '{claims['iss']}'. It must match the tenant '{expected}' "
            "associated with this subscription. Please use the authority (URL) "
            f"'https://login.windows.net/{state.tenant_id}' to get the token.",
        )
