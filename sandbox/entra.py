"""Entra ID: tokens for a service principal with a secret, as Azure's identity libraries ask for them."""

import hmac
import json
import logging
import time
from base64 import urlsafe_b64encode
from datetime import UTC, datetime
from typing import Any

import jwt
from aiohttp import web
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm

from sandbox.clock import american
from sandbox.state import new_id
from sandbox.world import World

log = logging.getLogger(__name__)

HOST = "login.microsoftonline.com"
ARM_AUDIENCES = (
    "https://management.core.windows.net/",
    "https://management.core.windows.net",
    "https://management.azure.com/",
    "https://management.azure.com",
)
KEY_ID = urlsafe_b64encode(b"sandbox-signing-key").decode().rstrip("=")


def new_signing_key() -> str:
    """A private key for tokens, as PEM."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()


class TokenRefusedError(Exception):
    """A bearer token that Azure Resource Manager does not take: its code and message there."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class EntraError(Exception):
    """A token request that is refused, with Entra's own number."""

    def __init__(self, status: int, error: str, number: int, message: str) -> None:
        super().__init__(message)
        self.status, self.error, self.number = status, error, number


class Entra:
    """Issues tokens and verifies them."""

    def __init__(self, world: World) -> None:
        self._world = world
        private = serialization.load_pem_private_key(world.secrets.signing_key.encode(), password=None)
        if not isinstance(private, rsa.RSAPrivateKey):
            raise TypeError("The signing key in the state folder is not an RSA key.")
        self._private = private

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """One request to login.microsoftonline.com."""
        parts = request.path.strip("/").split("/")
        tenant, rest = parts[0], "/".join(parts[1:])
        match request.method, rest:
            case "GET", "discovery/instance":
                return self._instance_discovery(request)
            case "GET", "v2.0/.well-known/openid-configuration":
                return self._answer(lambda: self._openid_configuration(tenant))
            case "GET", "discovery/v2.0/keys":
                return self._answer(lambda: self._keys(tenant))
            case "POST", "oauth2/v2.0/token":
                form = {name: str(value) for name, value in (await request.post()).items()}
                return self._answer(lambda: self._token(tenant, form))
            case _:
                message = f"{request.method} {request.path}: this sandbox's Entra ID does not have it."
                log.warning(message)
                return web.json_response(
                    {"error": "not_implemented_in_sandbox", "error_description": message}, status=501
                )

    def _answer(self, make: Any) -> web.Response:
        try:
            return web.json_response(make(), headers={"Cache-Control": "no-store, no-cache", "Pragma": "no-cache"})
        except EntraError as error:
            return web.json_response(_error_body(error), status=error.status)

    def _instance_discovery(self, request: web.Request) -> web.Response:
        endpoint = request.query.get("authorization_endpoint", f"https://{HOST}/common/oauth2/v2.0/authorize")
        tenant = endpoint.removeprefix("https://").split("/")[1] if endpoint.count("/") > 2 else "common"
        aliases = [HOST, "login.windows.net", "login.microsoft.com", "sts.windows.net"]
        return web.json_response(
            {
                "tenant_discovery_endpoint": f"https://{HOST}/{tenant}/v2.0/.well-known/openid-configuration",
                "api-version": "1.1",
                "metadata": [{"preferred_network": HOST, "preferred_cache": "login.windows.net", "aliases": aliases}],
            }
        )

    def _require_tenant(self, tenant: str) -> None:
        if tenant.lower() != self._world.state.tenant_id:
            raise EntraError(
                400,
                "invalid_tenant",
                90002,
                f"Tenant '{tenant}' not found. Check to make sure you have the correct tenant ID and are signing into "
                "the correct cloud. Check with your subscription administrator, this may happen if there are no active "
                "subscriptions for the tenant.",
            )

    def _openid_configuration(self, tenant: str) -> dict[str, Any]:
        self._require_tenant(tenant)
        base = f"https://{HOST}/{tenant}"
        return {
            "token_endpoint": f"{base}/oauth2/v2.0/token",
            "token_endpoint_auth_methods_supported": ["client_secret_post", "private_key_jwt", "client_secret_basic"],
            "jwks_uri": f"{base}/discovery/v2.0/keys",
            "response_modes_supported": ["query", "fragment", "form_post"],
            "subject_types_supported": ["pairwise"],
            "id_token_signing_alg_values_supported": ["RS256"],
            "response_types_supported": ["code", "id_token", "code id_token", "id_token token"],
            "scopes_supported": ["openid", "profile", "email", "offline_access"],
            "issuer": f"{base}/v2.0",
            "authorization_endpoint": f"{base}/oauth2/v2.0/authorize",
            "device_authorization_endpoint": f"{base}/oauth2/v2.0/devicecode",
            "end_session_endpoint": f"{base}/oauth2/v2.0/logout",
            "tenant_region_scope": "NA",
            "cloud_instance_name": "microsoftonline.com",
        }

    def _keys(self, tenant: str) -> dict[str, Any]:
        self._require_tenant(tenant)
        public = json.loads(RSAAlgorithm.to_jwk(self._private.public_key()))
        return {"keys": [{"kty": "RSA", "use": "sig", "kid": KEY_ID, "n": public["n"], "e": public["e"]}]}

    def _token(self, tenant: str, form: dict[str, str]) -> dict[str, Any]:
        self._require_tenant(tenant)
        for name in ("grant_type", "client_id", "scope"):
            if not form.get(name):
                message = f"The request body must contain the following parameter: '{name}'."
                raise EntraError(400, "invalid_request", 900144, message)
        if form["grant_type"] != "client_credentials":
            message = f"The app requested an unsupported grant type '{form['grant_type']}'."
            raise EntraError(400, "unsupported_grant_type", 70003, message)
        state, client = self._world.state, form["client_id"]
        if client.lower() != state.client_id:
            raise EntraError(
                400,
                "unauthorized_client",
                700016,
                f"Application with identifier '{client}' was not found in the directory 'Fundrbolt'. This can happen "
                "if the application has not been installed by the administrator of the tenant or consented to by any "
                "user in the tenant. You may have sent your authentication request to the wrong tenant.",
            )
        if not hmac.compare_digest(form.get("client_secret", "").encode(), self._world.secrets.client_secret.encode()):
            raise EntraError(
                401,
                "invalid_client",
                7000215,
                "Invalid client secret provided. Ensure the secret being sent in the request is the client secret "
                f"value, not the client secret ID, for a secret added to app '{client}'.",
            )
        lifetime = state.token_lifetime_seconds
        token = self._issue(_audience(form["scope"]), lifetime)
        return {"token_type": "Bearer", "expires_in": lifetime, "ext_expires_in": lifetime, "access_token": token}

    def _issue(self, audience: str, lifetime: int) -> str:
        state, instant = self._world.state, int(time.time())
        state.tokens_issued += 1
        self._world.save()
        claims = {
            "aud": audience,
            "iss": f"https://sts.windows.net/{state.tenant_id}/",
            "iat": instant,
            "nbf": instant,
            "exp": instant + lifetime,
            "appid": state.client_id,
            "appidacr": "1",
            "idp": f"https://sts.windows.net/{state.tenant_id}/",
            "idtyp": "app",
            "oid": state.object_id,
            "sub": state.object_id,
            "tid": state.tenant_id,
            "uti": str(state.tokens_issued),
            "ver": "1.0",
        }
        return jwt.encode(claims, self._private, algorithm="RS256", headers={"kid": KEY_ID})

    def verify(self, authorization: str | None) -> None:
        """Accept a bearer token for Azure Resource Manager, or raise `TokenRefusedError` in its words."""
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
        self._verify_claims(claims)

    def _verify_claims(self, claims: dict[str, Any]) -> None:
        state, instant = self._world.state, datetime.now(UTC)
        expires = datetime.fromtimestamp(int(claims["exp"]), UTC)
        if int(claims["uti"]) <= state.tokens_refused:
            expires = min(expires, instant)
        if expires <= instant:
            raise TokenRefusedError(
                "ExpiredAuthenticationToken",
                f"The access token expiry UTC time '{american(expires)}' is earlier than current UTC time "
                f"'{american(instant)}'.",
            )
        if claims["aud"] not in ARM_AUDIENCES:
            allowed = ",".join(f"'{each}'" for each in ARM_AUDIENCES)
            raise TokenRefusedError(
                "InvalidAuthenticationTokenAudience",
                f"The access token has been obtained for wrong audience or resource '{claims['aud']}'. It should "
                f"exactly match with one of the allowed audiences {allowed}.",
            )
        issuer = f"https://sts.windows.net/{state.tenant_id}/"
        if claims["iss"] != issuer:
            raise TokenRefusedError(
                "InvalidAuthenticationTokenTenant",
                f"The access token is from the wrong issuer '{claims['iss']}'. It must match the tenant '{issuer}' "
                "associated with this subscription. Please use the authority (URL) "
                f"'https://login.windows.net/{state.tenant_id}' to get the token.",
            )


def _audience(scope: str) -> str:
    if not scope.startswith("https://") or not scope.endswith("/.default") or " " in scope:
        raise EntraError(
            400,
            "invalid_scope",
            1002012,
            f"The provided value for scope {scope} is not valid. Client credential flows must have a scope value with "
            "/.default suffixed to the resource identifier (application ID URI).",
        )
    return scope.removesuffix("/.default")


def _error_body(error: EntraError) -> dict[str, Any]:
    trace, correlation, instant = new_id(), new_id(), f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S}Z"
    description = f"AADSTS{error.number}: {error} Trace ID: {trace} Correlation ID: {correlation} Timestamp: {instant}"
    return {
        "error": error.error,
        "error_description": description,
        "error_codes": [error.number],
        "timestamp": instant,
        "trace_id": trace,
        "correlation_id": correlation,
        "error_uri": f"https://{HOST}/error?code={error.number}",
    }
