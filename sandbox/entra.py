"""Entra ID: tokens for applications with a secret and for people with a password.

As Azure's identity libraries and the Azure CLI ask for them.
"""

import hmac
import json
import logging
import re
from base64 import urlsafe_b64encode
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from aiohttp import web

from sandbox.directory import ARM, DIRECTORY, DOMAIN, PUBLIC_CLIENTS, Api, find_api
from sandbox.state import Principal, new_id
from sandbox.tokens import NO_FLAWS, Flaws, TokenRefusedError, Tokens, issuer
from sandbox.world import World

__all__ = ["Entra", "TokenRefusedError"]

log = logging.getLogger(__name__)

HOST = "login.microsoftonline.com"
ORGANIZATIONS = "organizations"
"""Stands for every tenant: who has not signed in yet has none."""
OPENID_SCOPES = {"openid", "profile", "offline_access", "email"}
GRANTS = ("client_credentials", "password", "refresh_token")


class EntraError(Exception):
    """A token request that is refused, with Entra's own number."""

    def __init__(self, status: int, error: str, number: int, message: str) -> None:
        super().__init__(message)
        self.status, self.error, self.number = status, error, number


class Entra:
    """Issues tokens and verifies them."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._tokens = Tokens(world)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """One request to login.microsoftonline.com."""
        parts = request.path.strip("/").split("/")
        tenant, rest = parts[0], "/".join(parts[1:])
        match request.method, rest:
            case "GET", "discovery/instance":
                return self._instance_discovery(request)
            case "GET", "v2.0/.well-known/openid-configuration":
                return self._answer(lambda: self._openid_configuration(tenant))
            case "GET", "discovery/v2.0/keys" | "discovery/keys":
                return self._answer(lambda: self._keys(tenant))
            case "POST", "oauth2/v2.0/token":
                form = {name: str(value) for name, value in (await request.post()).items()}
                return self._answer(lambda: self._token(tenant, form))
            case "GET", _ if tenant == "common" and rest.startswith("userrealm/"):
                return web.json_response(_user_realm(rest.removeprefix("userrealm/")))
            case _:
                message = f"{request.method} {request.path}: this sandbox's Entra ID does not have it."
                log.warning(message)
                return web.json_response(
                    {"error": "not_implemented_in_sandbox", "error_description": message}, status=501
                )

    def verify(self, authorization: str | None, api: Api = ARM) -> Principal:
        """Who sends this `Authorization` header to `api`, or `TokenRefusedError` in Azure Resource Manager's words."""
        return self._tokens.read(authorization, api)

    def make(self, principal: Principal, scope: str, flaws: Flaws = NO_FLAWS) -> str:
        """A token as `principal` gets it by signing in, or one with flaws, for tests; `EntraError` for a bad scope."""
        client = principal.client_id or next(iter(PUBLIC_CLIENTS))
        return self._tokens.access(principal, client, _registered(_user_audience([scope], scope)), flaws)

    def _answer(self, make: Callable[[], dict[str, Any]]) -> web.Response:
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
        if tenant != ORGANIZATIONS:
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
            "issuer": issuer("{tenantid}" if tenant == ORGANIZATIONS else tenant, 2),
            "authorization_endpoint": f"{base}/oauth2/v2.0/authorize",
            "device_authorization_endpoint": f"{base}/oauth2/v2.0/devicecode",
            "end_session_endpoint": f"{base}/oauth2/v2.0/logout",
            "tenant_region_scope": "NA",
            "cloud_instance_name": "microsoftonline.com",
        }

    def _keys(self, tenant: str) -> dict[str, Any]:
        self._require_tenant(tenant)
        return self._tokens.keys()

    def _token(self, tenant: str, form: dict[str, str]) -> dict[str, Any]:
        self._require_tenant(tenant)
        for name in ("grant_type", "client_id", "scope"):
            _require(form, name)
        grant = form["grant_type"]
        if grant not in GRANTS:
            message = f"The app requested an unsupported grant type '{grant}'."
            raise EntraError(400, "unsupported_grant_type", 70003, message)
        if grant == "client_credentials":
            application = self._application(form)
            audience = _registered(_audience(form["scope"]))
            return self._answered(self._tokens.access(application, form["client_id"].lower(), audience))
        client = form["client_id"].lower()
        if client not in PUBLIC_CLIENTS:
            raise _unknown_application(form["client_id"])
        user = self._user(form) if grant == "password" else self._refreshing_user(form, client)
        return self._signed_in(user, client, form)

    def _answered(self, token: str) -> dict[str, Any]:
        lifetime = self._world.state.token_lifetime_seconds
        return {"token_type": "Bearer", "expires_in": lifetime, "ext_expires_in": lifetime, "access_token": token}

    def _signed_in(self, user: Principal, client: str, form: dict[str, str]) -> dict[str, Any]:
        scopes = form["scope"].split()
        audience = _registered(_user_audience(scopes, form["scope"]))
        granted = [f"{audience}/{each}" for each in ("user_impersonation", ".default")]
        answer = self._answered(self._tokens.access(user, client, audience)) | {"scope": " ".join(granted)}
        if "offline_access" in scopes:
            answer["refresh_token"] = self._tokens.refresh(user, client)
        if "openid" in scopes:
            answer["id_token"] = self._tokens.id_token(user, client)
        if form.get("client_info") == "1":
            info = {"uid": user.object_id, "utid": self._world.state.tenant_id}
            answer["client_info"] = urlsafe_b64encode(json.dumps(info).encode()).decode().rstrip("=")
        return answer

    def _application(self, form: dict[str, str]) -> Principal:
        client = form["client_id"]
        found = next((each for each in self._world.state.principals if each.client_id == client.lower()), None)
        if found is None:
            raise _unknown_application(client)
        if not _same(form.get("client_secret", ""), self._world.secrets.password_of(found.name)):
            raise EntraError(
                401,
                "invalid_client",
                7000215,
                "Invalid client secret provided. Ensure the secret being sent in the request is the client secret "
                f"value, not the client secret ID, for a secret added to app '{client}'.",
            )
        return found

    def _user(self, form: dict[str, str]) -> Principal:
        for name in ("username", "password"):
            _require(form, name)
        wanted = form["username"].lower()
        user = next((each for each in self._world.state.principals if each.user_name == wanted), None)
        if user is None:
            raise EntraError(
                400,
                "invalid_grant",
                50034,
                "The user account {EUII Hidden} does not exist in the "
                f"{self._world.state.tenant_id} directory. To sign into this application, the account must be added "
                "to the directory.",
            )
        if not _same(form["password"], self._world.secrets.password_of(user.name)):
            message = "Error validating credentials due to invalid username or password."
            raise EntraError(400, "invalid_grant", 50126, message)
        return user

    def _refreshing_user(self, form: dict[str, str], client: str) -> Principal:
        _require(form, "refresh_token")
        user = self._tokens.refreshed(form["refresh_token"], client)
        if user is None:
            message = "Provided grant is invalid or malformed."
            raise EntraError(400, "invalid_grant", 9002313, message)
        return user


def _require(form: dict[str, str], name: str) -> None:
    if not form.get(name):
        message = f"The request body must contain the following parameter: '{name}'."
        raise EntraError(400, "invalid_request", 900144, message)


def _same(given: str, expected: str) -> bool:
    return hmac.compare_digest(given.encode(), expected.encode())


def _unknown_application(client: str) -> EntraError:
    return EntraError(
        400,
        "unauthorized_client",
        700016,
        f"Application with identifier '{client}' was not found in the directory '{DIRECTORY}'. This can happen "
        "if the application has not been installed by the administrator of the tenant or consented to by any "
        "user in the tenant. You may have sent your authentication request to the wrong tenant.",
    )


def _user_realm(user_name: str) -> dict[str, Any]:
    """Where a user signs in: here, or nobody knows."""
    domain = user_name.rpartition("@")[2].lower()
    if domain != DOMAIN:
        return {"ver": "1.0", "account_type": "Unknown", "cloud_instance_name": "microsoftonline.com"}
    return {
        "ver": "1.0",
        "account_type": "Managed",
        "domain_name": domain,
        "cloud_instance_name": "microsoftonline.com",
        "cloud_audience_urn": "urn:federation:MicrosoftOnline",
    }


def _no_resource(scope: str) -> EntraError:
    return EntraError(
        400,
        "invalid_scope",
        1002012,
        f"The provided value for scope {scope} is not valid. Client credential flows must have a scope value with "
        "/.default suffixed to the resource identifier (application ID URI).",
    )


def _user_audience(scopes: list[str], asked: str) -> str:
    """The resource that a user's scopes are for: everything before the name of the first that is none of OpenID's."""
    resource = next((each for each in scopes if each not in OPENID_SCOPES), "")
    if not _names_a_resource(resource):
        raise _no_resource(asked)
    return resource.rpartition("/")[0]


def _audience(scope: str) -> str:
    """The resource that an application asks a token for."""
    if not _names_a_resource(scope) or not scope.endswith("/.default") or " " in scope:
        raise _no_resource(scope)
    return scope.removesuffix("/.default")


def _names_a_resource(scope: str) -> bool:
    """By an address, by its `api://` name, or by its application's client id."""
    return (
        scope.startswith(("https://", "api://"))
        or re.match(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/", scope) is not None
    )


def _registered(audience: str) -> str:
    if find_api(audience) is None:
        raise EntraError(
            400,
            "invalid_resource",
            500011,
            f"The resource principal named {audience} was not found in the tenant named {DIRECTORY}. This can happen "
            "if the application has not been installed by the administrator of the tenant or consented to by any user "
            "in the tenant. You might have sent your authentication request to the wrong tenant.",
        )
    return audience


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
