"""One PostgreSQL on disk: its data, its archive of the write-ahead log, the base backup that a restore begins with."""

import asyncio
import shlex
import shutil
import signal
from contextlib import suppress
from datetime import datetime
from pathlib import Path

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from sandbox.errors import SandboxError
from sandbox.postgresql import launch

Statement = bytes | sql.SQL | sql.Composed
SUPERUSER = "azuresu"
PORT, UPSTREAM_PORT = 5432, 5433
"""On the server's own address; clients find the front, on 5432."""
POLL_SECONDS = 0.02
START_SECONDS, STOP_SECONDS = 600, 10
"""A start may replay the log of a large restore."""
MOST_LOG_CHARACTERS = 600

CONFIGURATION = f"""\
port = {UPSTREAM_PORT}
unix_socket_directories = ''
fsync = off
shared_buffers = 16MB
max_connections = 100
max_worker_processes = 2
max_logical_replication_workers = 0
max_wal_senders = 4
io_method = sync
jit = off
wal_level = replica
archive_mode = on
archive_library = basic_archive
basic_archive.archive_directory = '../archive'
password_encryption = scram-sha-256
log_connections = ''
# Statements can hold passwords.
log_min_error_statement = panic
log_checkpoints = off
log_line_prefix = '%m [%p] '
"""
"""Relative to the data folder: a copy archives into its own archive."""

ACCESS = """\
host replication azuresu 127.0.0.0/8 scram-sha-256
host all azuresu 127.0.0.0/8 scram-sha-256
# The front has seen their token before; the password is known to it alone.
host all +azure_ad_user 127.0.0.0/8 password
host all all 127.0.0.0/8 scram-sha-256
"""


class Cluster:
    """A folder with `data`, `archive` and `base`, and the PostgreSQL process while it runs."""

    def __init__(self, folder: Path, address: str, password: str) -> None:
        self.folder = folder
        self.address = address
        self.password = password
        """Of the superuser."""
        self.data, self.archive, self.base = folder / "data", folder / "archive", folder / "base"
        self.log = folder / "log"
        self.backing_up = asyncio.Lock()
        """Held while something writes into `base`."""
        self._process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int | None:
        """The process while it lives."""
        return self._process.pid if self._process is not None and self._process.returncode is None else None

    async def make(self) -> None:
        """Make an empty one: a superuser, nothing else."""
        self.archive.mkdir(parents=True, mode=0o700)
        given = self.folder / "password"
        given.touch(mode=0o600)
        given.write_text(self.password)
        try:
            await launch.run(
                "initdb",
                *("--pgdata", self.data, "--username", SUPERUSER, "--auth", "scram-sha-256", "--pwfile", given),
                *("--wal-segsize=1", "--no-sync", "--no-instructions", "--encoding=UTF8", "--locale=C.UTF-8"),
            )
        finally:
            given.unlink()
        with (self.data / "postgresql.conf").open("a", encoding="utf-8") as file:
            file.write(CONFIGURATION)
        (self.data / "pg_hba.conf").write_text(ACCESS)

    async def start(self, *options: str) -> None:
        """Start it unless it runs; on return it takes connections, and recovery has ended."""
        if self.pid is not None:
            return
        await self._predecessor_gone()
        settings = [word for option in options for word in ("-c", option)]
        with self.log.open("ab") as output:
            self._process = await launch.start(
                "postgres", "-D", self.data, "-c", f"listen_addresses={self.address}", *settings, output=output
            )
        try:
            async with asyncio.timeout(START_SECONDS):
                await self._answers()
        except TimeoutError as error:
            raise SandboxError(f"The PostgreSQL in {self.folder} does not answer.") from error

    async def _answers(self) -> None:
        while True:
            try:
                await self.run(b"SELECT 1")
            except psycopg.OperationalError:
                if self.pid is None:
                    raise self._ended() from None
                await asyncio.sleep(POLL_SECONDS)
            else:
                return

    def _ended(self) -> SandboxError:
        last = self.log.read_text(encoding="utf-8", errors="replace")[-MOST_LOG_CHARACTERS:]
        return SandboxError(f"The PostgreSQL in {self.folder} ended: {last.strip()}")

    async def _predecessor_gone(self) -> None:
        """Wait for the process of a sandbox that was killed: it shuts down on its own."""
        while True:
            if not self._has_predecessor():
                return
            await asyncio.sleep(POLL_SECONDS)

    def _has_predecessor(self) -> bool:
        try:
            pid = int((self.data / "postmaster.pid").read_text().split("\n", 1)[0])
            return Path(f"/proc/{pid}/cwd").readlink() == self.data
        except (OSError, ValueError):
            return False

    async def stop(self, *, at_once: bool = False) -> None:
        """End the process: cleanly, or `at_once` where the data is not needed any more."""
        process = self._process
        if process is None or process.returncode is not None:
            return
        process.send_signal(signal.SIGQUIT if at_once else signal.SIGINT)
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await process.wait()
        except TimeoutError:
            process.send_signal(signal.SIGQUIT)
            await process.wait()

    def connection_string(self, database: str = "postgres") -> str:
        """How the sandbox itself connects, past the front."""
        return make_conninfo(
            host=self.address,
            port=UPSTREAM_PORT,
            user=SUPERUSER,
            password=self.password,
            dbname=database,
            application_name="azure",
            # The server's parameters are its users', not ours.
            options="-c default_transaction_read_only=off -c statement_timeout=0 -c lock_timeout=0",
        )

    async def run(self, *statements: Statement, database: str = "postgres") -> list[tuple[object, ...]]:
        """Run statements as the superuser, each by itself; the rows of the last one."""
        async with await psycopg.AsyncConnection.connect(self.connection_string(database), autocommit=True) as made:
            cursor = made.cursor()
            for statement in statements:
                await cursor.execute(statement)
            return await cursor.fetchall() if cursor.description is not None else []

    async def copy_to(self, target: "Cluster") -> None:
        """Copy the data of this cluster, which never runs again, as the data of a new one, whose base backup it is."""
        target.archive.mkdir(parents=True, exist_ok=True, mode=0o700)
        await copy_tree(self.data, target.data)
        # Nobody writes in either.
        target.base.symlink_to(self.data)

    async def back_up(self) -> None:
        """Take a base backup of the running server."""
        beside = self.base.with_name("base.new")
        async with self.backing_up:
            await remove_tree(beside)
            await launch.run(
                "pg_basebackup",
                *("--pgdata", beside, "--checkpoint=fast", "--wal-method=fetch", "--no-sync", "--no-manifest"),
                *("--host", self.address, "--port", str(UPSTREAM_PORT), "--username", SUPERUSER, "--no-password"),
                environment={"PGPASSWORD": self.password},
            )
            if self.base.is_symlink():
                self.base.unlink()
            beside.replace(self.base)

    async def restore(self, source: "Cluster", instant: datetime) -> None:
        """Become what `source`, which runs, was just before `instant`: its base backup, and its log replayed.

        On return recovery has ended. Parameters that were set on the source are gone.
        """
        # Recovery ends at the first commit at or after the instant: let there be one. It has to write something: only
        # then it is on disk before it is answered.
        await source.run(b"SELECT pg_logical_emit_message(true, '', '')")
        await self._predecessor_gone()
        await remove_tree(self.folder)
        self.archive.mkdir(parents=True, mode=0o700)
        await copy_tree(source.base.resolve(), self.data)
        (self.data / "postgresql.auto.conf").write_text("")
        (self.data / "recovery.signal").touch()
        await self.start(
            f"restore_command={_restore_command(source)}",
            f"recovery_target_time={instant.isoformat()}",
            "recovery_target_inclusive=off",
            "recovery_target_action=promote",
            "recovery_target_timeline=current",
            # No connection before the end: those in between would need the source's parameters, and its old passwords.
            "hot_standby=off",
        )


def _restore_command(source: Cluster) -> str:
    # What is not archived yet is in the log of the running source.
    places = (source.archive, source.data / "pg_wal")
    copies = [f'cp {shlex.quote(str(place)).replace("%", "%%")}/"%f" "%p"' for place in places]
    return f"{copies[0]} 2>/dev/null || {copies[1]} 2>/dev/null"


async def copy_tree(source: Path, target: Path) -> None:
    """Copy a folder, blocks shared where the file system can. Never hard links: PostgreSQL writes through them."""
    process = await asyncio.create_subprocess_exec("cp", "-a", "--reflink=auto", source, target)
    try:
        await process.wait()
    except asyncio.CancelledError:
        process.kill()
        raise
    if process.returncode != 0:
        raise SandboxError(f"{source} could not be copied to {target}.")


async def remove_tree(folder: Path) -> None:
    """Remove a folder with everything in it, if it is there."""
    with suppress(FileNotFoundError):
        await asyncio.to_thread(shutil.rmtree, folder)
