"""The tables of a database: what they are made of, and how big they are."""

from psycopg.sql import SQL, Composed, Identifier

from rollback.models import Model
from rollback.postgres.session import Session

_TABLES = """
SELECT n.nspname AS schema_name, c.relname AS name, pg_get_userbyid(c.relowner) AS owner,
       c.relkind = 'p' AS partitioned, c.relpersistence = 'u' AS unlogged,
       sizes.rows AS rows_estimated, sizes.bytes,
       coalesce((SELECT json_agg(json_build_object(
                    'name', a.attname, 'type', format_type(a.atttypid, a.atttypmod), 'generated', a.attgenerated <> '',
                    'always_identity', a.attidentity = 'a') ORDER BY a.attnum)
                 FROM pg_attribute a
                 WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped), '[]') AS columns,
       coalesce((SELECT json_agg(a.attname ORDER BY k.place)
                 FROM pg_constraint p, unnest(p.conkey) WITH ORDINALITY AS k(number, place), pg_attribute a
                 WHERE p.conrelid = c.oid AND p.contype = 'p'
                   AND a.attrelid = c.oid AND a.attnum = k.number), '[]') AS key,
       coalesce((SELECT json_agg(DISTINCT rn.nspname || '.' || r.relname)
                 FROM pg_constraint f JOIN pg_class r ON r.oid = f.confrelid
                 JOIN pg_namespace rn ON rn.oid = r.relnamespace
                 WHERE f.conrelid = c.oid AND f.contype = 'f' AND f.confrelid <> c.oid), '[]') AS refers_to
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace,
     LATERAL (SELECT coalesce(sum(greatest(part.reltuples, 0)), 0)::bigint AS rows,
                     coalesce(sum(CASE WHEN part.relpages > 0
                                       THEN (part.relpages::bigint + coalesce(toast.relpages, 0)) * 8192
                                       ELSE pg_relation_size(part.oid) END), 0)::bigint AS bytes
              FROM pg_class part LEFT JOIN pg_class toast ON toast.oid = part.reltoastrelid
              WHERE part.oid = c.oid
                 OR c.relkind = 'p' AND part.oid IN (SELECT relid FROM pg_partition_tree(c.oid) WHERE isleaf)) AS sizes
WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relpersistence <> 't'
  AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'
  AND NOT EXISTS (SELECT FROM pg_depend d
                  WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
ORDER BY n.nspname, c.relname
"""


class Column(Model):
    """A column, with its type as SQL writes it."""

    name: str
    type: str
    generated: bool
    """Computed from others, so that it cannot be written."""
    always_identity: bool
    """Numbered by the server, so that a number is accepted only by `OVERRIDING SYSTEM VALUE`."""


class Table(Model):
    """A table of an app; a partitioned one stands for its partitions. Tables of extensions are theirs, and not here."""

    schema_name: str
    name: str
    owner: str
    partitioned: bool
    unlogged: bool
    """Its rows are in no backup: a restored server has the table empty."""
    rows_estimated: int
    """As the last vacuum or analyze counted."""
    bytes: int
    """Rows only, without indexes, as of the last vacuum or analyze: measuring would wait for who locks the table."""
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    """Columns of the primary key; none where the table has none."""
    refers_to: tuple[str, ...]
    """Full names of the tables that its foreign keys point at."""

    @property
    def full_name(self) -> str:
        """Schema and name, for messages and for finding it on another server."""
        return f"{self.schema_name}.{self.name}"

    @property
    def identifier(self) -> Identifier:
        """Schema and name, quoted for SQL."""
        return Identifier(self.schema_name, self.name)

    @property
    def source(self) -> Composed:
        """What stands behind FROM, as `t`: its own rows, with its partitions' but without its heirs'."""
        return SQL("{} AS t" if self.partitioned else "ONLY {} AS t").format(self.identifier)

    def column(self, name: str) -> Column | None:
        """The column of a name."""
        return next((each for each in self.columns if each.name == name), None)


async def list_tables(session: Session) -> tuple[Table, ...]:
    """Every table of the database that belongs to no extension, ordered by name."""
    return await session.fetch_models(Table, _TABLES)
