"""Exporting the rows that a restore would lose into one file that can be loaded later; `salvage.py` has its contents.

The file appears complete or not at all: everything is written beside it under another name, and renamed at the end.
"""

import asyncio
import errno
import hashlib
import os
import shutil
import zipfile
from collections.abc import AsyncGenerator, Generator, Sequence
from contextlib import aclosing, contextmanager
from pathlib import Path
from typing import IO, LiteralString, cast

from psycopg.sql import SQL, Composed, Identifier, Literal

from rollback.models import Model
from rollback.postgres.comparison import Comparison, TableComparison, both_still
from rollback.postgres.errors import ExportFailed
from rollback.postgres.row_streams import RowDifference
from rollback.postgres.salvage import (
    CHANGED,
    LOST,
    RETURNED,
    Manifest,
    SalvagedRows,
    SalvagedTable,
    StagedRows,
    in_loading_order,
    instructions,
    make_scripts,
    written_columns,
)
from rollback.postgres.session import Session
from rollback.postgres.tables import Table

BATCH_ROWS = 2000
"""Keys that are looked up by one statement."""

Sides = tuple[Session, Session]


class Export(Model):
    """A finished export."""

    path: Path
    bytes: int
    sha256: str
    manifest: Manifest

    def rows(self, kind: str) -> int:
        """How many rows of a kind it holds: `lost`, `changed` or `returned`."""
        return sum(part.rows for table in self.manifest.tables for part in table.parts if part.kind == kind)


async def export_lost_rows(old: Session, new: Session, comparison: Comparison, path: Path, *, title: str) -> Export:
    """Write the rows that differ into a ZIP file, readable by its owner only; a finished file is not written again.

    Both servers stand still, as they did for the comparison. Raises `ExportFailed` where the disk is full, the folder
    cannot be written, or the file is there with other contents; nothing half-written is left.
    """
    if finished := await asyncio.to_thread(_finished, path, comparison):
        return finished
    with _writing(path, comparison) as folder:
        tables = [each for each in in_loading_order(comparison.tables) if not each.equal]
        staged: list[StagedRows] = []
        async with both_still(old, new):
            for number, table in enumerate(tables, 1):
                staged += await _export_table((old, new), table, number, folder)
        manifest = _manifest(title, old, new, comparison, staged)
        _check(manifest, comparison)
        archive = await asyncio.to_thread(_pack, folder, manifest, staged)
        archive.rename(path)
    return await asyncio.to_thread(_export, path, manifest)


@contextmanager
def _writing(path: Path, comparison: Comparison) -> Generator[Path]:
    """A folder beside the file for what is not finished; removed at the end, and what an earlier attempt left too."""
    folder = path.with_name(path.name + ".unfinished")
    try:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(mode=0o700, parents=True)
        yield folder
    except OSError as error:
        reason = "the disk is full" if error.errno in {errno.ENOSPC, errno.EDQUOT} else error.strerror or str(error)
        raise ExportFailed(
            f"The lost rows cannot be written to '{path.parent}': {reason}.",
            remedy=f"About {_needed_bytes(comparison):,} bytes are needed there; make room, then go on with this run.",
        ) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _needed_bytes(comparison: Comparison) -> int:
    """Room for the rows as text and for the file that they are packed into, from the tables' sizes."""
    needed = 2**20
    for each in comparison.tables:
        table, rows = each.old or each.new, max(each.rows_old, each.rows_new, 1)
        share = (each.only_old + each.differing + each.only_new) / rows
        needed += int(2 * share * table.bytes) if table else 0
    return needed


async def _export_table(sessions: Sides, table: TableComparison, number: int, folder: Path) -> list[StagedRows]:
    """Write the rows of one table into files of its own, one for each kind."""
    files = {kind: _RowFile(folder, number, kind) for kind in (LOST, CHANGED, RETURNED)}
    try:
        async with aclosing(_batches(table.rows(*sessions))) as batches:
            async for batch in batches:
                for file in files.values():
                    await file.add(sessions, table, batch)
        return [StagedRows(table, file.finish()) for file in files.values() if file.rows]
    finally:
        for file in files.values():
            file.close()


async def _batches(rows: AsyncGenerator[RowDifference]) -> AsyncGenerator[list[RowDifference]]:
    batch: list[RowDifference] = []
    async with aclosing(rows):
        async for row in rows:
            batch.append(row)
            if len(batch) == BATCH_ROWS:
                yield batch
                batch = []
    if batch:
        yield batch


class _RowFile:
    """Rows of one kind, in COPY's text format."""

    def __init__(self, folder: Path, number: int, kind: str) -> None:
        self.kind = kind
        self.rows = 0
        self._name = f"{number:03}-{kind}.copy"
        self._staging = f"salvage_{number:03}_{kind}"
        self._path = folder / self._name
        self._digest = hashlib.sha256()
        self._file: IO[bytes] | None = None

    async def add(self, sessions: Sides, table: TableComparison, batch: Sequence[RowDifference]) -> None:
        """Add those of the rows that are of this kind."""
        chosen = {row: copies for row in batch if (copies := _copies(self.kind, row))}
        session, source = (sessions[1], table.new) if self.kind == RETURNED else (sessions[0], table.old)
        if not chosen or source is None:
            return
        async with aclosing(session.copy(_rows_query(table, source, chosen))) as blocks:
            async for block in blocks:
                self._write(block)

    def _write(self, block: bytes) -> None:
        if self._file is None:
            self._file = self._path.open("xb")
        self._file.write(block)
        self._digest.update(block)
        # COPY's text format has a line a row: a line feed in a value is written as \n.
        self.rows += block.count(b"\n")

    def finish(self) -> SalvagedRows:
        """Close the file; what is in it."""
        self.close()
        return SalvagedRows(
            kind=self.kind,
            rows=self.rows,
            file=self._name,
            staging=self._staging,
            sha256=self._digest.hexdigest(),
        )

    def close(self) -> None:
        if self._file is not None:
            self._file.close()


def _copies(kind: str, row: RowDifference) -> int:
    """How many rows of a kind a difference stands for."""
    match kind:
        case "lost":
            return max(0, row.on_old - row.on_new)
        case "changed":
            return int(bool(row.changed))
        case _:
            return max(0, row.on_new - row.on_old)


def _rows_query(table: TableComparison, source: Table, chosen: dict[RowDifference, int]) -> Composed:
    """The written columns of the chosen rows: found by their key, or as so many of several equal ones."""
    columns = SQL(", ").join(Identifier("t", column.name) for column in written_columns(source))
    rows = SQL("SELECT {} FROM {} WHERE ").format(columns, source.source)
    if table.layout.key:
        values = [[row.key[place] for row in chosen] for place in range(len(table.layout.key))]
        types = [column.type for name in table.layout.key if (column := source.column(name))]
        names = [Identifier(f"k{place}") for place in range(len(values))]
        return rows + SQL("({}) IN (SELECT {} FROM unnest({}) AS k({}))").format(
            SQL(", ").join(Identifier("t", name) for name in table.layout.key),
            SQL(", ").join(
                SQL("{}::").format(name) + _spelled(type_) for name, type_ in zip(names, types, strict=True)
            ),
            SQL(", ").join(SQL("{}::text[]").format(Literal(each)) for each in values),
            SQL(", ").join(names),
        )
    digest = table.layout.key_text(source)
    return rows + SQL(
        "(t.tableoid, t.ctid) IN (SELECT part, place FROM"
        " (SELECT t.tableoid AS part, t.ctid AS place, {digest} AS digest,"
        " row_number() OVER (PARTITION BY {digest}) AS nth FROM {source}) AS numbered"
        " JOIN unnest({digests}::text[], {copies}::int[]) AS wanted(digest, copies) USING (digest)"
        " WHERE nth <= copies)"
    ).format(
        digest=digest,
        source=source.source,
        digests=Literal([row.identity for row in chosen]),
        copies=Literal(list(chosen.values())),
    )


def _spelled(type_: str) -> SQL:
    """A type in SQL: PostgreSQL's own spelling of it, quoted where it must be."""
    return SQL(cast("LiteralString", type_))


def _manifest(title: str, old: Session, new: Session, comparison: Comparison, staged: Sequence[StagedRows]) -> Manifest:
    tables = {each.comparison.table: each for each in staged}
    return Manifest(
        title=title,
        old_server=old.server,
        new_server=new.server,
        database=old.database,
        tables=tuple(
            SalvagedTable(
                table=name,
                columns=tuple(column.name for column in written_columns(first.source)),
                parts=tuple(each.rows for each in staged if each.comparison.table == name),
            )
            for name, first in tables.items()
        ),
        sequences=comparison.sequences,
        large_objects_not_exported=comparison.large_objects_old,
    )


def _differs(manifest: Manifest, comparison: Comparison) -> str:
    """What an export holds that a comparison did not find, or the other way round; empty where they agree."""
    held = {(table.table, part.kind): part.rows for table in manifest.tables for part in table.parts}
    found = {
        (each.table, kind): rows
        for each in comparison.tables
        for kind, rows in ((LOST, each.only_old), (CHANGED, each.differing), (RETURNED, each.only_new))
        if rows
    }
    apart = sorted(name for name in held.keys() | found.keys() if held.get(name) != found.get(name))
    return ", ".join(
        f"{table}: {held.get((table, kind), 0)} {kind} rows instead of {found.get((table, kind), 0)}"
        for table, kind in apart
    )


def _check(manifest: Manifest, comparison: Comparison) -> None:
    if apart := _differs(manifest, comparison):
        raise ExportFailed(
            f"The servers changed while the lost rows were exported: {apart}.",
            remedy="Look who writes to the old or the restored server, then go on with this run.",
        )


def _pack(folder: Path, manifest: Manifest, staged: Sequence[StagedRows]) -> Path:
    """Put everything into one file, that only its owner may read."""
    scripts = make_scripts(staged, manifest.sequences)
    texts = {
        "README.txt": instructions(manifest),
        "manifest.json": manifest.model_dump_json(indent=2),
        "load.sql": scripts.load,
        "update-changed.sql": scripts.update_changed,
        "delete-returned.sql": scripts.delete_returned,
        "drop.sql": scripts.drop,
    }
    archive = folder / "export.zip"
    descriptor = os.open(archive, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as packed:
            for name, text in texts.items():
                packed.writestr(_entry(name), text)
            for each in staged:
                _pack_rows(packed, folder / each.rows.file)
        file.flush()
        os.fsync(file.fileno())
    return archive


def _pack_rows(packed: zipfile.ZipFile, path: Path) -> None:
    """Move a file of rows into the archive."""
    with path.open("rb") as rows, packed.open(_entry(path.name), "w", force_zip64=True) as into:
        shutil.copyfileobj(rows, into, 2**20)
    path.unlink()


def _entry(name: str) -> zipfile.ZipInfo:
    """A member that unpacks readable by its owner only."""
    entry = zipfile.ZipInfo(name)
    entry.compress_type = zipfile.ZIP_DEFLATED
    entry.external_attr = 0o600 << 16
    return entry


def _finished(path: Path, comparison: Comparison) -> Export | None:
    """The export that is there, if it is the one that would be made; none where nothing is there."""
    if not path.exists():
        return None
    remedy = f"Move '{path}' away if it is not needed, then go on with this run."
    try:
        with zipfile.ZipFile(path) as packed:
            manifest = Manifest.model_validate_json(packed.read("manifest.json"))
    except (OSError, zipfile.BadZipFile, KeyError, ValueError) as error:
        raise ExportFailed(f"'{path}' is there, and is no export of lost rows.", remedy=remedy) from error
    if apart := _differs(manifest, comparison):
        raise ExportFailed(f"'{path}' is an export of other rows: {apart}.", remedy=remedy)
    return _export(path, manifest)


def _export(path: Path, manifest: Manifest) -> Export:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return Export(path=path, bytes=path.stat().st_size, sha256=digest, manifest=manifest)
