"""What is in an export of lost rows: its manifest, and the scripts by which a person loads it.

Loading must not damage again. Rows that were lost are inserted where their key is free. Rows that were changed since
the restore point may hold the very damage that was rolled back, and rows that were deleted may be missed by nobody:
both are only laid beside, and brought back by a script of their own once somebody has looked at them.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter

from psycopg.sql import SQL, Composed, Identifier

from rollback.models import Model
from rollback.postgres.comparison import TableComparison
from rollback.postgres.sequences import SequenceComparison, advancing
from rollback.postgres.tables import Column, Table

LOST, CHANGED, RETURNED = "lost", "changed", "returned"


class SalvagedRows(Model):
    """Rows of one kind of one table, in one file in COPY's text format."""

    kind: str
    rows: int
    file: str
    staging: str
    """The table into which `load.sql` puts them, beside the real one."""
    sha256: str


class SalvagedTable(Model):
    """A table of which rows were exported."""

    table: str
    columns: tuple[str, ...]
    parts: tuple[SalvagedRows, ...]


class Manifest(Model):
    """What an export holds; stored in it as `manifest.json`."""

    title: str
    old_server: str
    new_server: str
    database: str
    tables: tuple[SalvagedTable, ...]
    sequences: tuple[SequenceComparison, ...]
    large_objects_not_exported: int


def written_columns(table: Table) -> tuple[Column, ...]:
    """The columns that hold what was written, not computed."""
    return tuple(column for column in table.columns if not column.generated)


def in_loading_order(tables: Iterable[TableComparison]) -> list[TableComparison]:
    """Tables after those that their foreign keys point at; by name where they point at each other."""
    named = {each.table: each for each in tables}
    graph = {
        name: [other for side in (each.old, each.new) if side for other in side.refers_to if other in named]
        for name, each in named.items()
    }
    try:
        return [named[name] for name in TopologicalSorter(graph).static_order()]
    except CycleError:
        return list(named.values())


def instructions(manifest: Manifest) -> str:
    """README.txt: what the files are, and how to load them."""
    lines = [f"{each.table}: {part.rows} {part.kind}" for each in manifest.tables for part in each.parts]
    return f"""{manifest.title}

Rows of database '{manifest.database}' on '{manifest.old_server}'
that '{manifest.new_server}' does not have, or has otherwise:

{chr(10).join(lines) or "none"}

The first is the server that was left, the second the one that is used now.

lost      rows that only the first one has: written after what the second one holds
changed   rows as the first one has them, where the second one has other values; after a restore they may be the damage
returned  rows that only the second one has: they were deleted on the first one

Unpack this file, go into its folder, and run as the owner of the tables (psql asks for the password):

    psql "host=SERVER dbname={manifest.database} user=OWNER sslmode=verify-full" -f load.sql

load.sql lays all rows into tables named salvage_… beside the real ones, and inserts the lost ones where their key is
free. It is one transaction: an error leaves nothing. A second run stops, as the salvage tables are there already.
Triggers of the tables fire. Then look, and bring back what is right:

    update-changed.sql    gives changed rows the values of the first one
    delete-returned.sql   deletes returned rows again, where nobody has changed them
    drop.sql              removes the salvage tables
"""


class Scripts(Model):
    """The scripts of an export."""

    load: str
    update_changed: str
    delete_returned: str
    drop: str


_BEGIN = """\\set ON_ERROR_STOP on
SET client_encoding = 'UTF8';
SET datestyle = 'ISO';
SET intervalstyle = 'postgres';
SET timezone = 'UTC';
SET lc_monetary = 'C';
BEGIN;
"""


@dataclass(frozen=True)
class StagedRows:
    """Exported rows, with the tables that they come from and go to."""

    comparison: TableComparison
    rows: SalvagedRows

    @property
    def source(self) -> Table:
        """The table on the server that the rows come from."""
        sides = self.comparison.old, self.comparison.new
        return next(side for side in (reversed(sides) if self.rows.kind == RETURNED else sides) if side)

    @property
    def loadable(self) -> tuple[Column, ...]:
        """Columns that the restored table has too."""
        new = self.comparison.new
        return tuple(each for each in written_columns(self.source) if new and new.column(each.name))

    @property
    def staging(self) -> Identifier:
        """The table beside the real one."""
        return Identifier(self.source.schema_name, self.rows.staging)

    def stage(self) -> str:
        """Make the table beside the real one, and fill it."""
        columns = written_columns(self.source)
        # The types are PostgreSQL's own spelling of them, not a name that needs quoting.
        types = ", ".join(f"{SQL('{}').format(Identifier(each.name)).as_string()} {each.type}" for each in columns)
        table, names = self.staging.as_string(), _names(columns).as_string()
        return f"CREATE TABLE {table} ({types});\n\\copy {table} ({names}) FROM '{self.rows.file}'\n"

    def insert(self) -> str:
        """Insert the rows whose key is free."""
        if not self.loadable:
            return f"-- The restored server has no {self.comparison.table}: its rows stay in {self.rows.staging}.\n"
        return _text(
            SQL(
                "INSERT INTO {} ({}) OVERRIDING SYSTEM VALUE SELECT {} FROM {} ON CONFLICT DO NOTHING;",
            ).format(self.source.identifier, _names(self.loadable), _names(self.loadable), self.staging)
        )

    def update(self) -> str:
        """Give rows the values of the old server."""
        key = self.comparison.layout.key
        columns = [each for each in self.loadable if each.name not in key and not each.always_identity]
        if not columns:
            return ""
        return _text(
            SQL("UPDATE {} AS t SET {} FROM {} AS s WHERE {};").format(
                self.source.identifier,
                SQL(", ").join(SQL("{0} = s.{0}").format(Identifier(each.name)) for each in columns),
                self.staging,
                SQL(" AND ").join(SQL("t.{0} = s.{0}").format(Identifier(name)) for name in key),
            )
        )

    def delete(self) -> str:
        """Delete rows that are still as they were restored."""
        if not self.comparison.layout.key:
            return f"-- {self.comparison.table} has no key by which one of several equal rows could be deleted.\n"
        columns = written_columns(self.source)
        return _text(
            SQL("DELETE FROM {} AS t USING {} AS s WHERE ROW({})::text = ROW({})::text;").format(
                self.source.identifier, self.staging, _names(columns, "t"), _names(columns, "s")
            )
        )

    def drop(self) -> str:
        """Remove the table beside the real one."""
        return _text(SQL("DROP TABLE {};").format(self.staging))


def make_scripts(staged: Sequence[StagedRows], sequences: Iterable[SequenceComparison]) -> Scripts:
    """The scripts for what was exported; the rows come in the order in which they can be loaded."""
    load = [each.stage() for each in staged]
    load += [each.insert() for each in staged if each.rows.kind == LOST]
    load += [_text(advancing(each)) for each in sequences if each.behind]
    return Scripts(
        load=_script(load),
        update_changed=_script(each.update() for each in staged if each.rows.kind == CHANGED),
        delete_returned=_script(each.delete() for each in reversed(staged) if each.rows.kind == RETURNED),
        drop=_script(each.drop() for each in staged),
    )


def _script(statements: Iterable[str]) -> str:
    return f"{_BEGIN}{''.join(statements)}COMMIT;\n"


def _text(statement: Composed) -> str:
    return statement.as_string() + "\n"


def _names(columns: Iterable[Column], alias: str = "") -> Composed:
    names = [(alias, each.name) if alias else (each.name,) for each in columns]
    return SQL(", ").join(Identifier(*name) for name in names)
