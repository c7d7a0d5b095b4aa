"""One connection to Azure: credential, timeouts and retries in one place, SDK errors turned into ours.

Requests that only read are tried again by the SDK, which respects `Retry-After`. Requests that change something pass
`ONE_TRY`: azure-core would otherwise repeat a POST by itself after 500, 503 and 504, and a repeated swap undoes itself.
"""

from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

from rollback import settings as platform
from rollback import throttling
from rollback.errors import (
    AzureUnreachable,
    CredentialRejected,
    OperationInProgress,
    Permanent,
    PermissionMissing,
    ResourceMissing,
    RollbackError,
)
from rollback.throttling import Throttle

if TYPE_CHECKING:
    from azure.core.credentials import AccessToken
    from azure.core.exceptions import ClientAuthenticationError, HttpResponseError
    from azure.core.pipeline.policies import AsyncBearerTokenCredentialPolicy
    from azure.core.pipeline.transport import AsyncHttpTransport
    from azure.identity.aio import DefaultAzureCredential

SCOPE = "https://management.azure.com/.default"

ONE_TRY: dict[str, Any] = {"retry_total": 0}
"""For every request that changes something."""

LONGEST_RETRY_WAIT_SECONDS = 8
"""Between two tries of a reading request, where Azure names no time itself."""

Client = TypeVar("Client")


class RenewableCredential:
    """The environment's credential, that can forget the tokens it keeps.

    Azure may refuse a token before its time (revoked, clocks apart). The SDK would present the kept one again and fail.
    """

    def __init__(self, settings: platform.Azure) -> None:
        self._settings = settings
        self._inner = self._make()
        self._forgotten: list[DefaultAzureCredential] = []

    def _make(self) -> "DefaultAzureCredential":
        from azure.identity.aio import DefaultAzureCredential

        return DefaultAzureCredential(
            retry_total=self._settings.read_retries,
            connection_timeout=self._settings.connect_timeout_seconds,
            read_timeout=self._settings.read_timeout_seconds,
        )

    async def get_token(self, *scopes: str, **options: Any) -> "AccessToken":
        """A token for the scopes, from the cache while it is good."""
        return await self._inner.get_token(*scopes, **options)

    def renew(self) -> None:
        """Forget every token: the next one comes from Entra ID. Who still waits for one of the old kind gets it."""
        self._forgotten.append(self._inner)
        self._inner = self._make()

    async def close(self) -> None:
        """Close what the credential holds open."""
        for each in (*self._forgotten, self._inner):
            await each.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None = None,
        exc_value: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        await self.close()


def _authentication(credential: RenewableCredential) -> "AsyncBearerTokenCredentialPolicy[Any, Any]":
    """Authenticate as azure-mgmt-core does, and once more with a new token where ARM refuses the one we had.

    A 401 is answered before anything is done, so that sending the same request again is safe, a swap too.
    """
    from azure.mgmt.core.policies import AsyncARMChallengeAuthenticationPolicy

    class RenewingPolicy(AsyncARMChallengeAuthenticationPolicy):
        async def on_challenge(self, request: Any, response: Any) -> bool:
            base: Any = super()
            if await base.on_challenge(request, response):
                return True
            credential.renew()
            await base.authorize_request(request, SCOPE)
            return True

    return RenewingPolicy(credential, SCOPE)


class AzureConnection:
    """A credential and a subscription, open for the length of a procedure."""

    def __init__(self, settings: platform.Azure, credential: RenewableCredential) -> None:
        self.settings = settings
        self.credential = credential
        self.throttle = Throttle()

    async def own_object_id(self) -> str:
        """Who the credential is in Entra ID; not verified, for the token comes from there to us."""
        import jwt

        with our_errors("Entra ID's token"):
            token = await self.credential.get_token(SCOPE)
        return str(jwt.decode(token.token, options={"verify_signature": False})["oid"])

    @asynccontextmanager
    async def client(self, kind: type[Client], *, once: bool = False) -> AsyncGenerator[Client]:
        """An SDK client of this subscription, closed at the end of the block.

        `once`: no request is repeated below the SDK either; see `one_try_transport`.
        """
        make: Any = kind
        own: dict[str, Any] = {"transport": one_try_transport()} if once else {}
        async with make(
            self.credential,
            self.settings.subscription_id,
            retry_total=self.settings.read_retries,
            retry_backoff_max=LONGEST_RETRY_WAIT_SECONDS,
            connection_timeout=self.settings.connect_timeout_seconds,
            read_timeout=self.settings.read_timeout_seconds,
            polling_interval=1,
            authentication_policy=_authentication(self.credential),
            per_retry_policies=[throttling.policy(self.throttle)],
            **own,
        ) as client:
            yield client


def one_try_transport() -> "AsyncHttpTransport[Any, Any]":
    """A transport that sends what it is told to once.

    aiohttp repeats a PUT by itself where the connection ends before the answer: a repeated PUT of a secret makes a
    second version, one of an ARM deployment deploys twice. It does so for two of its errors only: others stay what
    they are.
    """
    import aiohttp
    from azure.core.pipeline import transport

    async def once(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
        try:
            return await handler(request)
        except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
            raise aiohttp.ClientConnectionError(str(error)) from error

    session = aiohttp.ClientSession(
        trust_env=True, cookie_jar=aiohttp.DummyCookieJar(), auto_decompress=False, middlewares=(once,)
    )
    # The package makes this class when it is asked for, so that its type is not known.
    make: Any = transport.AioHttpTransport
    return make(session=session, session_owner=True)


@asynccontextmanager
async def connect(settings: platform.Azure) -> AsyncGenerator[AzureConnection]:
    """Connect with the credential that the environment offers: variables, workload or managed identity, Azure CLI."""
    async with RenewableCredential(settings) as credential:
        yield AzureConnection(settings, credential)


@contextmanager
def our_errors(what: str) -> Generator[None]:
    """Turn an SDK's error about `what` (a resource, in words) into one of ours, with the SDK's as its cause."""
    from azure.core.exceptions import AzureError

    try:
        yield
    except AzureError as error:
        raise ours(what, error) from error


def ours(what: str, error: Exception) -> RollbackError:
    """Our error for an SDK's error about `what`."""
    from azure.core.exceptions import ClientAuthenticationError, HttpResponseError

    if isinstance(error, ClientAuthenticationError):
        return _no_token(error)
    if isinstance(error, HttpResponseError) and error.status_code is not None:
        return _from_status(what, error)
    return AzureUnreachable(
        f"No answer from Azure about {what}.",
        remedy="Check the network, HTTPS_PROXY and https://azure.status.microsoft.",
    )


def _no_token(error: "ClientAuthenticationError") -> RollbackError:
    """Why no token could be had. The SDK's text lists every credential that it tried, over many lines."""
    lines = [line.strip() for line in str(error).splitlines()]
    rejected = next((line for line in lines if "AADSTS" in line), None)
    if rejected is not None:
        return CredentialRejected(
            f"Entra ID rejects the credential. {rejected.split('Trace ID')[0].strip()}",
            remedy="Check AZURE_TENANT_ID, AZURE_CLIENT_ID and AZURE_CLIENT_SECRET, or run 'az login'.",
        )
    if any("connect" in line.lower() or "timed out" in line.lower() for line in lines):
        return AzureUnreachable(
            "No answer from Entra ID (login.microsoftonline.com).",
            remedy="Check the network, HTTPS_PROXY and https://azure.status.microsoft.",
        )
    return CredentialRejected(
        "There is no credential for Azure.",
        remedy="Set AZURE_TENANT_ID, AZURE_CLIENT_ID and AZURE_CLIENT_SECRET, or run 'az login'.",
    )


def azure_error(error: "HttpResponseError") -> tuple[str, str]:
    """Code and message that Azure gave."""
    inner = getattr(error, "error", None)
    code = str(getattr(inner, "code", "") or error.status_code or "")
    message = str(getattr(inner, "message", "") or error.reason or "")
    return code, message


def _from_status(what: str, error: "HttpResponseError") -> RollbackError:
    code, message = azure_error(error)
    match error.status_code:
        case 401:
            return CredentialRejected(
                f"Azure does not accept the token for {what}: {code}.", remedy="Check the credential's tenant."
            )
        case 403:
            return PermissionMissing(
                f"The credential may not use {what}. {message}",
                remedy="Assign a role that has the action, on the scope that Azure names.",
            )
        case 404:
            return ResourceMissing(
                f"There is no {what}: {message}", remedy="Check names and subscription in the platform file."
            )
        case 409:
            return OperationInProgress(f"{what} is busy: {message}", remedy="Wait for it to end, then try again.")
        case status if status == 429 or ((status or 0) >= 500 and status != 501):
            return AzureUnreachable(
                f"Azure answers {status} about {what}: {code}.", remedy="See https://azure.status.microsoft."
            )
        case _:
            return Permanent(f"Azure refuses {what}: {code}: {message}")
