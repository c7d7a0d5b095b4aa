import os
import stat
import subprocess
import zipfile
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
from postgresql_server import APP, BINARIES, PORT, PostgreSql, environment

from rollback.postgres import export as exporting
from rollback.postgres.comparison import Comparison, compare
from rollback.postgres.errors import ExportFailed
from rollback.postgres.export import Export, export_lost_rows
from rollback.postgres.session import Session

MADE = [
    "CREATE TYPE mood AS ENUM ('sad', 'it''s \"fine\"')",
    "CREATE TABLE donors (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text)",
    "CREATE TABLE donations (id uuid PRIMARY KEY, donor int REFERENCES donors, amount numeric, paid timestamptz,"
    " note text, extra json, blob bytea, tags text[], mood mood,"
    " double numeric GENERATED ALWAYS AS (amount * 2) STORED)",
    "CREATE TABLE log (line text)",
    "INSERT INTO donors (name) SELECT 'donor ' || n FROM generate_series(1, 100) AS n",
    "INSERT INTO donations SELECT md5(n::text)::uuid, n, n, '2026-01-01+00', 'n', '{}', '', '{}', 'sad'"
    " FROM generate_series(1, 100) AS n",
    "INSERT INTO log VALUES ('a'), ('a'), ('b'), (NULL)",
]
CHANGES = [
    r"INSERT INTO donors (name) VALUES ('O''Brien \ tab	x'), (NULL)",
    "INSERT INTO donations VALUES (md5('new')::uuid, 101, 1.50, '2026-03-01 12:00:00.000001+00', E'a\\nb\\\\N', "
    "'{\"a\" : 1}', '\\x00ff', '{NULL,\"NULL\",\"a,b\"}', 'it''s \"fine\"')",
    "INSERT INTO donations (id) VALUES (md5('nulls')::uuid)",
    "UPDATE donations SET amount = 0 WHERE donor IN (7, 8)",
    "DELETE FROM donations WHERE donor IN (1, 2, 3)",
    "INSERT INTO log VALUES ('a'), ('c'), ('c'), ('b')",
    "DELETE FROM log WHERE line IS NULL",
]


class Case:
    def __init__(self, server: PostgreSql, sessions: tuple[Session, Session], comparison: Comparison) -> None:
        self.server = server
        self.sessions = sessions
        self.comparison = comparison

    async def export(self, path: Path) -> Export:
        return await export_lost_rows(*self.sessions, self.comparison, path, title="Lost rows")

    def rows(self, place: int, table: str) -> list[str]:
        query = f"SELECT t::text FROM {table} AS t ORDER BY 1"  # noqa: S608 - our tables
        return [row[0] for row in self.server.sql(self.sessions[place].database, query)]

    def psql(self, folder: Path, script: str) -> subprocess.CompletedProcess[str]:
        place = ["-h", str(self.server.data), "-p", str(PORT), "-U", APP, "-d", self.sessions[1].database]
        command = [str(BINARIES / "psql"), *place, "-f", script]
        return subprocess.run(command, cwd=folder, env=environment(), capture_output=True, text=True, check=False)


@pytest.fixture
async def case(server: PostgreSql) -> AsyncGenerator[Case]:
    old = server.make_database(*MADE)
    new = server.make_database(template=old)
    server.sql(old, *CHANGES, user=APP)
    sessions = await server.session(old), await server.session(new)
    server.sql(new, f"ALTER SCHEMA public OWNER TO {APP}")
    yield Case(server, sessions, await compare(*sessions))
    for session in sessions:
        await session.connection.close()


def unpacked(path: Path) -> Path:
    folder = path.parent / "unpacked"
    with zipfile.ZipFile(path) as packed:
        assert packed.testzip() is None
        packed.extractall(folder)
    return folder


def names(folder: Path) -> list[str]:
    return [each.name for each in folder.iterdir()]


async def test_the_lost_rows_come_back_exactly_and_nothing_else_changes(case: Case, tmp_path: Path) -> None:
    export = await case.export(tmp_path / "lost.zip")
    assert (export.rows("lost"), export.rows("changed"), export.rows("returned")) == (8, 2, 4)
    before = {table: set(case.rows(1, table)) for table in ("donors", "donations")}
    lost = {table: set(case.rows(0, table)) for table in ("donors", "donations")}

    done = case.psql(unpacked(export.path), "load.sql")

    assert done.returncode == 0, done.stderr
    assert set(case.rows(1, "donors")) == lost["donors"]
    changed = {row for row in lost["donations"] - before["donations"] if ",0," in row}
    assert len(changed) == 2
    assert set(case.rows(1, "donations")) == (before["donations"] | lost["donations"]) - changed
    assert sorted(case.rows(1, "log")) == sorted([*case.rows(0, "log"), "()"])


async def test_after_all_scripts_the_restored_database_is_as_the_old_one(case: Case, tmp_path: Path) -> None:
    folder = unpacked((await case.export(tmp_path / "lost.zip")).path)
    for script in ("load.sql", "update-changed.sql", "delete-returned.sql", "drop.sql"):
        done = case.psql(folder, script)
        assert done.returncode == 0, done.stderr
    comparison = await compare(*case.sessions)
    assert [each.table for each in comparison.tables if not each.equal] == ["public.log"]
    assert (comparison.only_old, comparison.differing, comparison.only_new) == (0, 0, 1)
    assert [each for each in comparison.sequences if (each.old or 0) > (each.new or 0)] == []


async def test_loading_a_second_time_changes_nothing(case: Case, tmp_path: Path) -> None:
    folder = unpacked((await case.export(tmp_path / "lost.zip")).path)
    assert case.psql(folder, "load.sql").returncode == 0
    log = case.rows(1, "log")
    again = case.psql(folder, "load.sql")
    assert again.returncode != 0
    assert "already exists" in again.stderr
    assert case.rows(1, "log") == log


async def test_rows_written_meanwhile_are_left_alone(case: Case, tmp_path: Path) -> None:
    new = case.sessions[1].database
    folder = unpacked((await case.export(tmp_path / "lost.zip")).path)
    case.server.sql(new, "INSERT INTO donors (name) VALUES ('written on the new server')", user=APP)
    assert case.psql(folder, "load.sql").returncode == 0
    assert '(101,"written on the new server")' in case.rows(1, "donors")


async def test_the_file_is_only_for_its_owner_and_alone(case: Case, tmp_path: Path) -> None:
    export = await case.export(tmp_path / "lost.zip")
    assert stat.S_IMODE(export.path.stat().st_mode) == 0o600
    assert export.bytes == export.path.stat().st_size
    assert names(tmp_path) == ["lost.zip"]
    assert "psql" in (unpacked(export.path) / "README.txt").read_text(encoding="utf-8")


async def test_exporting_twice_is_once(case: Case, tmp_path: Path) -> None:
    path = tmp_path / "lost.zip"
    first = await case.export(path)
    written = path.stat()
    assert await case.export(path) == first
    assert path.stat().st_mtime_ns == written.st_mtime_ns


async def test_what_a_killed_export_left_is_no_hindrance(case: Case, tmp_path: Path) -> None:
    left = tmp_path / "lost.zip.unfinished"
    left.mkdir()
    (left / "001-lost.copy").write_text("half a row", encoding="utf-8")
    await case.export(tmp_path / "lost.zip")
    assert names(tmp_path) == ["lost.zip"]


async def test_a_file_of_something_else_is_not_replaced(case: Case, tmp_path: Path) -> None:
    path = tmp_path / "lost.zip"
    path.write_text("dear diary", encoding="utf-8")
    with pytest.raises(ExportFailed, match="is no export"):
        await case.export(path)
    assert path.read_text(encoding="utf-8") == "dear diary"


async def test_an_export_of_other_rows_is_not_taken_for_this_one(case: Case, tmp_path: Path) -> None:
    await case.export(tmp_path / "lost.zip")
    case.server.sql(case.sessions[0].database, "INSERT INTO log VALUES ('one more')", user=APP)
    case.comparison = await compare(*case.sessions)
    with pytest.raises(ExportFailed, match=r"public\.log: 4 lost rows instead of 5"):
        await case.export(tmp_path / "lost.zip")


async def test_a_full_disk_is_told_with_what_is_needed_and_leaves_nothing(
    case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(exporting.os, "fsync", full)
    with pytest.raises(ExportFailed, match=r"the disk is full\. About [\d,]+ bytes") as failure:
        await case.export(tmp_path / "lost.zip")
    assert str(tmp_path) in str(failure.value)
    assert names(tmp_path) == []


async def test_rows_that_moved_since_the_comparison_are_an_error_and_no_file(case: Case, tmp_path: Path) -> None:
    case.server.sql(
        case.sessions[0].database,
        "DELETE FROM donors WHERE id = 102",
        user=APP,
    )
    with pytest.raises(ExportFailed, match="changed while"):
        await case.export(tmp_path / "lost.zip")
    assert names(tmp_path) == []


async def test_a_table_that_the_restored_server_lacks_is_exported_beside(server: PostgreSql, tmp_path: Path) -> None:
    old, new = (
        server.make_database("CREATE TABLE later (id int)", "INSERT INTO later VALUES (1)"),
        server.make_database(),
    )
    sessions = await server.session(old), await server.session(new)
    server.sql(new, f"ALTER SCHEMA public OWNER TO {APP}")
    case = Case(server, sessions, await compare(*sessions))
    done = case.psql(unpacked((await case.export(tmp_path / "lost.zip")).path), "load.sql")
    assert done.returncode == 0, done.stderr
    assert case.rows(1, "salvage_001_lost") == ["(1)"]
    for session in sessions:
        await session.connection.close()
