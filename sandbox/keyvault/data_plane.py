"""*.vault.azure.net: challenge, permission, then one operation on the vault's secrets."""

from typing import Any

import jwt
from aiohttp import web

from sandbox.arm import Bucket, missing
from sandbox.directory import VAULT
from sandbox.entra import Entra
from sandbox.faults import number, take
from sandbox.keyvault import access, answers
from sandbox.keyvault.answers import KeyVaultError
from sandbox.keyvault.model import Vault
from sandbox.keyvault.references import UNAVAILABLE
from sandbox.keyvault.secrets import OPERATIONS, Call, Operation
from sandbox.state import Principal
from sandbox.tokens import TokenRefusedError
from sandbox.world import World

DOMAIN = ".vault.azure.net"
RESOURCE = "https://vault.azure.net"
THROTTLE = "kv-throttle"
API_VERSIONS = frozenset({"7.0", "7.1", "7.2", "7.3", "7.4", "7.5", "7.6", "2025-07-01", "2026-04-01"})
MOST_TRANSACTIONS, TRANSACTIONS_PER_SECOND = 4000, 400
"""A vault's limit for secrets is 4000 in ten seconds."""
BUSY_SECONDS = 1


class KeyVault:
    """Answers for every vault."""

    def __init__(self, world: World, entra: Entra) -> None:
        self._world = world
        self._entra = entra
        self._buckets: dict[str, Bucket] = {}

    def serves(self, host: str) -> bool:
        """Whether there is a vault of that name: for any other there is no such host."""
        return self._world.state.find_vault_host(host) is not None

    async def handle(self, request: web.Request, host: str, request_id: str) -> web.Response:
        """One request to `host`; errors as Key Vault words them."""
        try:
            response = await self._handle(request, host)
        except KeyVaultError as error:
            response = error.response()
        response.headers.update(
            {
                "Cache-Control": "no-cache",
                "Pragma": "no-cache",
                "Expires": "-1",
                "x-ms-keyvault-region": self._world.state.location,
                "x-ms-keyvault-service-version": "1.9.2500.1",
                "x-ms-request-id": request_id,
                "Strict-Transport-Security": "max-age=31536000;includeSubDomains",
                "X-Content-Type-Options": "nosniff",
            }
        )
        return response

    async def _handle(self, request: web.Request, host: str) -> web.Response:
        vault = self._world.state.find_vault_host(host)
        if vault is None:
            raise KeyVaultError(404, "VaultNotFound", f"There is no vault behind the name {host}.")
        if any(fault.name == UNAVAILABLE for fault in self._world.state.faults):
            raise KeyVaultError(503, "ServiceUnavailable", "The service is unavailable.")
        caller = self._authenticate(request)
        request["principal"] = caller.name
        self._throttle(vault)
        _require_api_version(request)
        operation, names = _find(request)
        access.require(self._world.state, vault, caller, operation.permission, names.get("name"))
        unknown = sorted(name for name in request.query if name not in operation.query and name != "api-version")
        if unknown:
            raise missing(request, f"the query parameter {', '.join(unknown)} is not honoured")
        body = await request.read()
        return await operation.handler(Call(self._world, request, vault, caller, names, body))

    def _authenticate(self, request: web.Request) -> Principal:
        try:
            return self._entra.verify(request.headers.get("Authorization"), VAULT)
        except TokenRefusedError as error:
            tenant = self._world.state.tenant_id
            challenge = f'Bearer authorization="https://login.microsoftonline.com/{tenant}", resource="{RESOURCE}"'
            message = _refusal(error, request.headers.get("Authorization", ""))
            raise KeyVaultError(401, "Unauthorized", message, headers={"WWW-Authenticate": challenge}) from error

    def _throttle(self, vault: Vault) -> None:
        if (fault := take(self._world, THROTTLE)) is not None:
            raise answers.throttled(number(fault, "retry_after"))
        if not self._buckets.setdefault(vault.name, Bucket(MOST_TRANSACTIONS, TRANSACTIONS_PER_SECOND)).take():
            raise answers.throttled(BUSY_SECONDS)


def _refusal(error: TokenRefusedError, authorization: str) -> str:
    """A refused token in Key Vault's words."""

    def said(claim: str) -> str:
        return str(jwt.decode(authorization.partition(" ")[2], options={"verify_signature": False})[claim])

    match error.code:
        case "AuthenticationFailed" | "AuthenticationFailedInvalidHeader":
            return "AKV10000: Request is missing a Bearer or PoP token."
        case "InvalidAuthenticationTokenAudience":
            return f"AKV10022: Invalid audience. Expected {RESOURCE}, found: {said('aud')}."
        case "InvalidAuthenticationTokenTenant":
            return f"AKV10032: Invalid issuer. Expected one of https://sts.windows.net/, found {said('iss')}."
        case "ExpiredAuthenticationToken":
            return "AKV10001: Error validating token: IDX10223: Lifetime validation failed. The token is expired."
        case _:
            return "AKV10046: Unable to resolve the key used for signature validation."


def _require_api_version(request: web.Request) -> None:
    version = request.query.get("api-version")
    if version is None:
        raise answers.bad_parameter("api-version must be specified")
    if version not in API_VERSIONS:
        known = ", ".join(sorted(API_VERSIONS))
        raise answers.bad_parameter(f"The specified version ({version}) is not recognized. Consider using: {known}.")


def _find(request: web.Request) -> tuple[Operation, dict[str, Any]]:
    path = request.path.rstrip("/")
    for operation in OPERATIONS:
        if operation.method == request.method and (match := operation.pattern.fullmatch(path)) is not None:
            return operation, match.groupdict()
    raise missing(request, "there is no such operation")
