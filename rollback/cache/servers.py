"""One Redis server: a connection that is opened when it is needed, TLS always verified, every wait bounded.

Commands go out together and their answers are read together. Nothing is repeated here: who sends knows what may be.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import certifi
from pydantic import SecretStr

from rollback.errors import CacheMoved, CacheUnreachable, CacheUnusable, RollbackError
from rollback.models import Model

if TYPE_CHECKING:
    from redis.asyncio.connection import AbstractConnection

CONNECT_SECONDS = 10.0

Command = tuple[bytes | str | int, ...]
Fetch = Callable[[], Awaitable[tuple[SecretStr, ...]]]


class Address(Model):
    """Where a server listens."""

    host: str
    port: int
    certified: str
    """The name that its certificate proves: a cluster's servers share the cache's."""
    database: int = 0

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


class AccessKeys:
    """The cache's access keys: in memory only, primary first, and asked for when the first server wants one."""

    def __init__(self, fetch: Fetch) -> None:
        self._fetch = fetch
        self._known: tuple[SecretStr, ...] = ()

    async def known(self) -> tuple[SecretStr, ...]:
        """As they were when last asked for."""
        if not self._known:
            await self.renew()
        return self._known

    async def renew(self) -> None:
        """Ask for them again: somebody may have regenerated one."""
        self._known = await self._fetch()


class Server:
    """A server; reconnects when it is asked the next time."""

    def __init__(self, address: Address, keys: AccessKeys, answer_seconds: float) -> None:
        self.address = address
        self._keys = keys
        self._seconds = answer_seconds
        self._connection: AbstractConnection | None = None

    async def ask(self, *commands: Command) -> list[Any]:
        """Send commands at once, and return their answers in order.

        Raises `CacheUnreachable`, `CacheMoved` or `CacheUnusable`: what was sent may have happened.
        """
        from redis.exceptions import ResponseError

        answers = await self._exchange(commands)
        for answer in answers:
            if isinstance(answer, ResponseError):
                raise ours(self.address, answer) from answer
        return answers

    async def ask_each(self, commands: Sequence[Command]) -> list[Any]:
        """The same, with none in the place of an answer that is a refusal."""
        from redis.exceptions import ResponseError

        return [None if isinstance(each, ResponseError) else each for each in await self._exchange(commands)]

    async def _exchange(self, commands: Sequence[Command]) -> list[Any]:
        """All answers, refusals among them."""
        async with self.exchange() as exchange:
            await exchange.send(*commands)
            return [await exchange.read_any() for _ in commands]

    @asynccontextmanager
    async def exchange(self) -> AsyncGenerator["Exchange"]:
        """Send and read at one's own pace; raises what `ask` does. A connection not read to the end is closed."""
        exchange = Exchange(self.address, await self._open(), self._seconds)
        try:
            yield exchange
        finally:
            if exchange.unread:
                await self.close()

    async def _open(self) -> "AbstractConnection":
        """A connection that is signed in; where neither key is accepted, with the keys as they are now."""
        if self._connection is None:
            for renewed in (False, True):
                if renewed:
                    await self._keys.renew()
                for key in await self._keys.known():
                    self._connection = self._connection or await self._sign_in(key)
                if self._connection is not None:
                    break
            else:
                raise CacheUnusable(
                    f"The cache at {self.address} accepts neither of its access keys.",
                    remedy="Look whether access keys are enabled (Settings, Authentication), and who regenerated them.",
                )
        return self._connection

    async def _sign_in(self, key: SecretStr) -> "AbstractConnection | None":
        """A connection signed in with a key; none where it is not accepted."""
        from redis.exceptions import AuthenticationError, RedisError

        connection = _make_connection(self.address, key)
        try:
            async with asyncio.timeout(CONNECT_SECONDS + self._seconds):
                await connection.connect()
        except AuthenticationError:
            return None
        except (RedisError, OSError, TimeoutError) as error:
            raise ours(self.address, error) from error
        return connection

    async def close(self) -> None:
        """Close the connection; the next question opens another one."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.disconnect()


class Exchange:
    """What is sent over one connection, and its answers, in order."""

    def __init__(self, address: Address, connection: "AbstractConnection", seconds: float) -> None:
        self._address = address
        self._connection: Any = connection
        self._seconds = seconds
        self.unread = 0
        """How many answers are on their way."""

    async def send(self, *commands: Command) -> None:
        """Send commands at once. Raises `CacheUnreachable`: they may have happened."""
        import hiredis

        # redis-py packs argument by argument in Python: of a page of keys that would be most of the work.
        module: Any = hiredis
        packed = [module.pack_command(each) for each in commands]
        self.unread += len(packed)
        await self._bounded(self._connection.send_packed_command(packed, check_health=False))

    async def read(self) -> Any:
        """The next answer. Raises like `Server.ask` where it is a refusal, or does not come."""
        from redis.exceptions import ResponseError

        answer = await self.read_any()
        if isinstance(answer, ResponseError):
            raise ours(self._address, answer) from answer
        return answer

    async def read_any(self) -> Any:
        """The next answer; a refusal is one, too, and does not keep the answers after it from being read."""
        from redis.exceptions import ResponseError

        try:
            answer = await self._bounded(self._connection.read_response())
        except ResponseError as error:
            answer = error
        self.unread -= 1
        return answer

    async def _bounded(self, work: Awaitable[Any]) -> Any:
        from redis.exceptions import RedisError, ResponseError

        try:
            async with asyncio.timeout(self._seconds):
                return await work
        except ResponseError:
            raise
        except (RedisError, OSError, TimeoutError) as error:
            raise ours(self._address, error) from error


def _make_connection(address: Address, key: SecretStr) -> "AbstractConnection":
    import ssl

    from redis.asyncio.connection import SSLConnection
    from redis.asyncio.retry import Retry
    from redis.backoff import NoBackoff

    class CertifiedConnection(SSLConnection):
        """Looks for the cache's name in the certificate, wherever the server listens."""

        def _connection_arguments(self) -> Any:
            arguments: Any = super()
            return {**arguments._connection_arguments(), "server_hostname": address.certified}

    return CertifiedConnection(
        host=address.host,
        port=address.port,
        db=address.database,
        password=key.get_secret_value(),
        ssl_ca_certs=ssl.get_default_verify_paths().cafile or certifi.where(),
        ssl_min_version=ssl.TLSVersion.TLSv1_2,
        socket_connect_timeout=CONNECT_SECONDS,
        # Ours bounds each exchange; redis-py's waits for sending by asyncio.wait_for, which may swallow a cancellation.
        socket_timeout=None,
        retry=Retry(NoBackoff(), 0),
        protocol=2,
        driver_info=None,
    )


def ours(address: Address, error: Exception) -> RollbackError:
    """Our error for one of a server's or its connection's. What a server says may have keys in it: not told."""
    from redis import exceptions

    text = str(error)
    told = text.partition(" ")[0]
    if "CERTIFICATE_VERIFY_FAILED" in text:
        return CacheUnusable(
            f"The server at {address} could not prove by TLS that it is '{address.certified}'.",
            remedy="Look at its name, and at the authorities that are trusted here (SSL_CERT_FILE). Nothing was sent.",
        )
    if isinstance(error, _moved()):
        return CacheMoved(f"The server at {address} answers {told}: it failed over, or its slots moved.")
    if isinstance(error, exceptions.NoPermissionError):
        return CacheUnusable(
            f"The cache at {address} does not allow what is needed.",
            remedy="Look at the access policy of its default user: SCAN, UNLINK, FLUSHALL, INFO, OBJECT and DBSIZE.",
        )
    if isinstance(error, exceptions.ResponseError) and not isinstance(error, exceptions.ConnectionError):
        return CacheUnusable(f"The cache at {address} answers {told}.", remedy="Look at its version and its settings.")
    why = "it is loading its data" if isinstance(error, exceptions.BusyLoadingError) else "no answer"
    return CacheUnreachable(
        f"The cache at {address} cannot be reached ({why}).",
        remedy="Look whether it is running, and whether its network lets this address in.",
    )


def _moved() -> tuple[type[Exception], ...]:
    from redis import exceptions

    return (
        exceptions.ReadOnlyError,
        exceptions.AskError,
        exceptions.TryAgainError,
        exceptions.ClusterDownError,
        exceptions.MasterDownError,
    )
