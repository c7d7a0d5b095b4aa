import asyncio
import socket
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest
from postgresql_server import ADMINISTRATOR, APP, PASSWORD, PORT, PostgreSql
from tls_front import fatal, make_certificate, tls_front

from rollback.errors import Permanent, RollbackError
from rollback.postgres.connection import Limits, connect
from rollback.postgres.errors import (
    ConnectionLost,
    DatabaseMissing,
    FirewallRefuses,
    PasswordWrong,
    ServerUnreachable,
    StatementRefused,
    StillRecovering,
    TlsNotVerified,
    TookTooLong,
)
from rollback.postgres.session import Session


@pytest.fixture
def certificate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A server's certificate, that is trusted here."""
    certificate = make_certificate(tmp_path, "server")
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    return certificate


def database_socket(server: PostgreSql) -> Path:
    return server.data / f".s.PGSQL.{PORT}"


def signing_in(
    port: int,
    *,
    database: str = "postgres",
    user: str = ADMINISTRATOR,
    password: str = PASSWORD,
    host: str = "127.0.0.1",
    read_only: bool = True,
    limits: Limits | None = None,
) -> AbstractAsyncContextManager[Session]:
    async def give() -> str:
        return password

    return connect(host, database, user, give, port=port, read_only=read_only, limits=limits)


async def refused(port: int, kind: type[RollbackError], **options: str) -> RollbackError:
    with pytest.raises(kind) as refusal:
        async with signing_in(port, **options):
            pass
    error = refusal.value
    assert type(error) is kind
    assert error.remedy
    assert PASSWORD not in f"{error} {error!r} {error.__cause__} {error.__context__}"
    return error


async def test_a_session_is_over_verified_tls_and_only_reads(server: PostgreSql, certificate: Path) -> None:
    async with tls_front(certificate, database_socket(server)) as port, signing_in(port) as session:
        assert session.connection.pgconn.ssl_in_use
        rows = await session.fetch("SELECT current_user, current_setting('application_name')")
        assert rows == [(ADMINISTRATOR, "fundrbolt-rollback")]
        with pytest.raises(StatementRefused, match="read-only"):
            await session.execute("CREATE ROLE nobody")


async def test_a_writing_session_writes_where_the_default_is_read_only(server: PostgreSql, certificate: Path) -> None:
    database = server.make_database("CREATE TABLE things (id int)")
    server.sql("postgres", f"ALTER DATABASE {database} SET default_transaction_read_only = on")
    async with (
        tls_front(certificate, database_socket(server)) as port,
        signing_in(port, database=database, user=APP, read_only=False) as session,
    ):
        await session.execute("INSERT INTO public.things VALUES (1)")


async def test_an_unknown_authority_is_not_trusted(
    server: PostgreSql, certificate: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(make_certificate(tmp_path, "other")))
    async with tls_front(certificate, database_socket(server)) as port:
        await refused(port, TlsNotVerified)


async def test_a_certificate_of_another_server_is_not_trusted(
    server: PostgreSql, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate = make_certificate(tmp_path, "other", "127.0.0.2")
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    async with tls_front(certificate, database_socket(server)) as port:
        await refused(port, TlsNotVerified)


async def test_a_wrong_password_is_told_and_not_shown(server: PostgreSql, certificate: Path) -> None:
    async with tls_front(certificate, database_socket(server)) as port:
        error = await refused(port, PasswordWrong, password="hunter2")  # noqa: S106 - made up
        assert "hunter2" not in str(error)
        assert ADMINISTRATOR in str(error)
        await refused(port, PasswordWrong, user="stranger")


async def test_a_missing_database_is_told(server: PostgreSql, certificate: Path) -> None:
    async with tls_front(certificate, database_socket(server)) as port:
        assert "'nowhere'" in str(await refused(port, DatabaseMissing, database="nowhere"))


@pytest.mark.parametrize(
    ("code", "message", "kind"),
    [
        (
            "28000",
            'no pg_hba.conf entry for host "203.0.113.9", user "me", database "db", SSL encryption',
            FirewallRefuses,
        ),
        ("57P03", "the database system is starting up", StillRecovering),
        ("57P03", "the database system is not yet accepting connections", StillRecovering),
        ("28P01", 'password authentication failed for user "me"', PasswordWrong),
        ("28000", 'role "me" is not permitted to log in', PasswordWrong),
        ("53300", "remaining connection slots are reserved for roles with the SUPERUSER attribute", Permanent),
    ],
)
async def test_refusals_are_told_apart(
    server: PostgreSql, certificate: Path, code: str, message: str, kind: type[RollbackError]
) -> None:
    async with tls_front(certificate, database_socket(server), refusal=fatal(code, message)) as port:
        await refused(port, kind)


async def test_a_port_where_nobody_listens_is_unreachable(certificate: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        error = await refused(free.getsockname()[1], ServerUnreachable)
    assert "Connection refused" in str(error)


async def test_a_name_that_does_not_exist_is_unreachable(certificate: Path) -> None:
    await refused(5432, ServerUnreachable, host="nowhere.invalid")


async def test_a_server_that_accepts_and_says_nothing_is_unreachable(certificate: Path) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        with pytest.raises(ServerUnreachable):
            async with signing_in(silent.getsockname()[1], limits=Limits(connect_seconds=2)):
                pass


async def test_a_name_that_is_never_resolved_is_unreachable(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(*_: object, **__: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", never)
    with pytest.raises(ServerUnreachable, match="no answer in time"):
        async with signing_in(5432, host="slow.invalid", limits=Limits(connect_seconds=0)):
            pass


async def test_rows_that_a_policy_hides_are_an_error(server: PostgreSql, certificate: Path) -> None:
    made = ["CREATE TABLE things (id int)", "ALTER TABLE things ENABLE ROW LEVEL SECURITY"]
    database = server.make_database(*made)
    async with (
        tls_front(certificate, database_socket(server)) as port,
        signing_in(port, database=database) as session,
    ):
        with pytest.raises(StatementRefused, match="row-level security"):
            await session.fetch("SELECT * FROM public.things")


async def test_a_server_that_still_recovers_is_told(
    server: PostgreSql, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def recovering(*_: object) -> bool:
        return True

    monkeypatch.setattr(Session, "fetch_value", recovering)
    async with tls_front(certificate, database_socket(server)) as port:
        await refused(port, StillRecovering)


async def test_a_statement_that_takes_too_long_ends(server: PostgreSql, certificate: Path) -> None:
    limits = Limits(statement_seconds=0.2)
    async with tls_front(certificate, database_socket(server)) as port, signing_in(port, limits=limits) as session:
        with pytest.raises(TookTooLong, match="statement timeout"):
            await session.execute("SELECT pg_sleep(30)")
        assert await session.fetch_value("SELECT 1") == 1


async def test_a_session_that_is_ended_is_lost(server: PostgreSql, certificate: Path) -> None:
    async with tls_front(certificate, database_socket(server)) as port, signing_in(port) as session:
        server.sql("postgres", f"SELECT pg_terminate_backend({session.connection.info.backend_pid})")
        with pytest.raises(ConnectionLost):
            await session.fetch("SELECT 1")


async def test_cancelling_a_procedure_ends_its_statement_on_the_server(server: PostgreSql, certificate: Path) -> None:
    running = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep(60)%' AND state = 'active'"

    async def sleep(port: int) -> None:
        async with signing_in(port) as session:
            await session.execute("SELECT pg_sleep(60)")

    async with tls_front(certificate, database_socket(server)) as port:
        task = asyncio.create_task(sleep(port))
        async with asyncio.timeout(20):
            while server.sql("postgres", running) != [(1,)]:  # noqa: ASYNC110 - the server tells when it is asked
                await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            while server.sql("postgres", running) != [(0,)]:  # noqa: ASYNC110 - the server tells when it is asked
                await asyncio.sleep(0)
