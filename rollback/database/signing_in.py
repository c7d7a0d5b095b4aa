"""Sessions on the platform's servers: as the Entra administrator that we are, or with what the secret holds."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager

from rollback.azure import our_errors
from rollback.context import Run
from rollback.errors import RollbackError, Transient
from rollback.postgres.connection import ENTRA_SCOPE, Limits, connect
from rollback.postgres.errors import FirewallRefuses, PasswordWrong, StatementRefused
from rollback.postgres.session import Session
from rollback.postgres.url import DatabaseUrl

AGAIN_SECONDS = 0.5


@asynccontextmanager
async def administrator(
    run: Run, host: str, database: str, *, read_only: bool = True, limits: Limits | None = None
) -> AsyncGenerator[Session]:
    """A session as the platform file's administrator, by a token of our own credential; closed at the block's end."""

    async def token() -> str:
        connection = await run.connection()
        with our_errors("Entra ID's token for PostgreSQL"):
            return (await connection.credential.get_token(ENTRA_SCOPE)).token

    user = run.database.administrator
    async with AsyncExitStack() as stack:

        async def sign_in() -> Session:
            session = connect(host, database, user, token, read_only=read_only, limits=limits)
            return await stack.enter_async_context(session)

        yield await _patiently(run, sign_in)


async def _patiently(run: Run, sign_in: Callable[[], Awaitable[Session]]) -> Session:
    """Sign in; once something was changed, again for the settling time: rules of a firewall take a while to hold."""
    clock = asyncio.get_running_loop().time
    ends = clock() + (run.database.settle_seconds if run.journal.confirmed_changes() else 0.0)
    while True:
        try:
            return await sign_in()
        except (FirewallRefuses, PasswordWrong, Transient) as error:
            if clock() >= ends:
                raise
            run.note(f"Trying again: {error.message}")
            await asyncio.sleep(AGAIN_SECONDS)


async def wait_until_usable(run: Run, host: str, database: str) -> str:
    """Wait until a new server lets us in, which it does not before its recovery has ended.

    Returns why it does not, where it still does not after `answer_timeout_seconds`; else nothing.
    """
    latest = "no answer"
    try:
        async with asyncio.timeout(run.database.answer_timeout_seconds):
            while True:
                try:
                    async with administrator(run, host, database):
                        return ""
                except RollbackError as error:
                    latest = error.message
                await asyncio.sleep(AGAIN_SECONDS)
    except TimeoutError:
        return latest


async def read_system(session: Session) -> str | None:
    """PostgreSQL's own identifier of the cluster, the same on a server restored from it; none where we may not."""
    try:
        return str(await session.fetch_value("SELECT system_identifier::text FROM pg_control_system()"))
    except StatementRefused:
        return None


@asynccontextmanager
async def as_the_apps_do(run: Run, url: DatabaseUrl, host: str, *, read_only: bool = True) -> AsyncGenerator[Session]:
    """A session with the role and password in the secret, on any host; raises `PasswordWrong` with what to do."""

    async def password() -> str:
        return url.password.get_secret_value()

    try:
        async with connect(host, url.database, url.user, password, read_only=read_only) as session:
            yield session
    except PasswordWrong as error:
        raise PasswordWrong(
            f"'{host}' does not accept role '{url.user}' with the password in secret '{run.database.secret}'.",
            remedy="It may have been changed since: give the role the password again there, or choose a later restore "
            "point. No app could use the server with this secret.",
        ) from error


async def check_password(run: Run, url: DatabaseUrl, host: str) -> None:
    """Make sure that a server accepts the apps' role with the password in the secret."""
    async with as_the_apps_do(run, url, host) as session:
        await session.fetch_value("SELECT 1")
