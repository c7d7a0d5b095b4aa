"""Signing in to a PostgreSQL server: TLS always verified, every wait bounded, and each refusal told apart.

libpq gives no code for a connection that is refused, only the server's words; PostgreSQL on Azure speaks English.
"""

import asyncio
import re
import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import certifi
import psycopg
from psycopg import errors as postgresql

from rollback.errors import Permanent, RollbackError
from rollback.models import Model
from rollback.postgres.errors import (
    DatabaseMissing,
    FirewallRefuses,
    PasswordWrong,
    ServerUnreachable,
    StillRecovering,
    TlsNotVerified,
)
from rollback.postgres.session import Session, first_line

APPLICATION_NAME = "fundrbolt-rollback"
"""How our own sessions are told from everybody else's in `pg_stat_activity`."""

ENTRA_SCOPE = "https://ossrdbms-aad.database.windows.net/.default"
"""What a token must be for to sign in to Azure's PostgreSQL."""

Password = Callable[[], Awaitable[str]]
"""Gives the password, or an Entra access token, when it is needed; nobody keeps it."""


class Limits(Model):
    """How long a session waits, in seconds."""

    connect_seconds: float = 10
    statement_seconds: float = 60
    lock_seconds: float = 5
    idle_in_transaction_seconds: float = 300
    """While one server of a comparison is waited for, the other one's transaction is idle."""


@asynccontextmanager
async def connect(
    host: str,
    database: str,
    user: str,
    password: Password,
    *,
    port: int = 5432,
    read_only: bool = True,
    limits: Limits | None = None,
    recovery_ended: bool = True,
) -> AsyncGenerator[Session]:
    """A session on a database, closed at the end of the block; what it writes is committed statement by statement.

    `read_only` sessions refuse to write; others may write even where the server's default is read-only. Raises
    `ServerUnreachable`, `FirewallRefuses`, `PasswordWrong`, `DatabaseMissing`, `TlsNotVerified` or `StillRecovering`.
    """
    limits = limits or Limits()
    what = f"database '{database}' on '{host}'"
    secret = await password()
    try:
        # libpq's own limit does not hold for finding the server's address.
        async with asyncio.timeout(limits.connect_seconds + 2):
            connection = await psycopg.AsyncConnection[Any].connect(
                host=host,
                port=port,
                dbname=database,
                user=user,
                password=secret,
                autocommit=True,
                prepare_threshold=None,
                **_parameters(limits, read_only=read_only),
            )
    except psycopg.Error as error:
        raise _refusal(what, user, error) from error
    except TimeoutError as error:
        raise _unreachable(what, "no answer in time") from error
    finally:
        del secret
    try:
        session = Session(connection, server=host, database=database, statement_seconds=limits.statement_seconds)
        if recovery_ended and await session.fetch_value("SELECT pg_is_in_recovery()"):
            raise StillRecovering(f"The {what} is still recovering.", remedy="Wait until its recovery has ended.")
        yield session
    finally:
        await connection.close()


def _parameters(limits: Limits, *, read_only: bool) -> dict[str, Any]:
    settings = {
        "statement_timeout": int(limits.statement_seconds * 1000),
        "lock_timeout": int(limits.lock_seconds * 1000),
        "idle_in_transaction_session_timeout": int(limits.idle_in_transaction_seconds * 1000),
        "default_transaction_read_only": "on" if read_only else "off",
        # An answer must not depend on what the server, the database or the role has as its default.
        "timezone": "UTC",
        "datestyle": "ISO",
        "intervalstyle": "postgres",
        "bytea_output": "hex",
        "extra_float_digits": 1,
        "lc_monetary": "C",
        # Rather an error than rows that a policy hides.
        "row_security": "off",
        "search_path": "pg_catalog",
    }
    return {
        "application_name": APPLICATION_NAME,
        "client_encoding": "UTF8",
        "connect_timeout": max(2, round(limits.connect_seconds)),
        "options": " ".join(f"-c {name}={value}" for name, value in settings.items()),
        "sslmode": "verify-full",
        "sslrootcert": ssl.get_default_verify_paths().cafile or certifi.where(),
        "gssencmode": "disable",
        "keepalives_idle": 10,
        "keepalives_interval": 5,
        "keepalives_count": 3,
        "tcp_user_timeout": 20_000,
    }


def _refusal(what: str, user: str, error: psycopg.Error) -> RollbackError:
    """Why a connection was refused, by the server's and libpq's words."""
    text = str(error)
    for pattern, make in _REFUSALS:
        if pattern.search(text):
            return make(what, user)
    if isinstance(error, postgresql.OperationalError) and "FATAL" not in text:
        return _unreachable(what, _reason(text))
    return Permanent(f"The {what} refuses role '{user}': {first_line(error)}.", remedy="See the server's log.")


def _reason(text: str) -> str:
    """The last part of libpq's message, which tells what happened after host and port."""
    return text.strip().partition("\n")[0].rpartition(": ")[2]


def _unreachable(what: str, reason: str) -> RollbackError:
    return ServerUnreachable(
        f"The {what} cannot be reached ({reason}).",
        remedy="Look whether the server is ready, and whether its network and name are reachable from here.",
    )


def _firewall(what: str, user: str) -> RollbackError:
    return FirewallRefuses(
        f"The {what} lets role '{user}' not in from this address.",
        remedy="Add a firewall rule for the address from which the rollback runs.",
    )


def _password(what: str, user: str) -> RollbackError:
    return PasswordWrong(
        f"The {what} does not accept role '{user}' with what it was given to sign in.",
        remedy="For a password: look at the secret. For Entra ID: look whether the role is an Entra administrator.",
    )


def _database(what: str, _: str) -> RollbackError:
    return DatabaseMissing(f"There is no {what}.", remedy="Look at the database's name in the secret.")


def _recovering(what: str, _: str) -> RollbackError:
    return StillRecovering(f"The {what} is starting or recovering.", remedy="Wait until it accepts connections.")


def _tls(what: str, _: str) -> RollbackError:
    return TlsNotVerified(
        f"The {what} could not prove by TLS that it is the server that was meant.",
        remedy="Look at its name, and at the authorities that are trusted here (SSL_CERT_FILE). Nothing was sent.",
    )


_REFUSALS: tuple[tuple[re.Pattern[str], Callable[[str, str], RollbackError]], ...] = (
    (re.compile("no pg_hba.conf entry"), _firewall),
    (re.compile("the database system is|not yet accepting connections"), _recovering),
    (re.compile("certificate verify failed|server certificate for|does not support SSL|SSL error"), _tls),
    (re.compile("authentication failed|is not permitted to log in|no password supplied"), _password),
    (re.compile('FATAL: +database ".*" does not exist'), _database),
)
