"""What a database's schema is, object by object, and how two of them differ.

Every object has a definition in PostgreSQL's own words, so that only what matters to programs is compared: neither
object ids nor owners, privileges, comments, or the order of columns. Alembic's own table is left out.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from rollback.models import Model
from rollback.postgres.session import Session

LONGEST_DEFINITION = 200
"""Characters of a definition that a difference shows; of longer ones, the first line that differs."""


class Thing(Model):
    """One object of a schema."""

    kind: str
    """As in CREATE, in small letters: table, column, index, and so on."""
    name: str
    """As SQL, with its schema; a column's, constraint's or trigger's with its table."""
    parent: str
    """The table that it belongs to; empty where it stands alone."""
    definition: str
    invalid: bool = False
    """An index that PostgreSQL does not use, and that only writes pay for: CREATE INDEX CONCURRENTLY failed."""


class Schema(Model):
    """Every object of some schemas of a database."""

    things: tuple[Thing, ...]

    @property
    def fingerprint(self) -> str:
        """SHA-256 over all definitions: equal where `compare` finds nothing."""
        lines = sorted(each.model_dump_json() for each in self.things)
        return hashlib.sha256(json.dumps(lines).encode()).hexdigest()

    @property
    def invalid_indexes(self) -> tuple[str, ...]:
        """Names of the indexes that PostgreSQL does not use."""
        return tuple(each.name for each in self.things if each.invalid)


class _Key(NamedTuple):
    kind: str
    name: str


async def read_schema(session: Session, schemas: Iterable[str] = ("public",)) -> Schema:
    """Read all of it at one instant; it does not depend on who reads, nor on what else the server has."""
    async with session.repeatable_read():
        # Definitions name other schemas' objects only where the path does not lead to them.
        await session.execute("SELECT set_config('search_path', 'pg_catalog', true)")
        things = await session.fetch_models(Thing, _THINGS, (list(schemas),))
    return Schema(things=things)


def compare(first: Schema, second: Schema) -> tuple[str, ...]:
    """How they differ, in words; empty where they do not. Indexes that are invalid are told wherever they are."""
    here, there = _by_key(first), _by_key(second)
    tables = {each.name for each in (*first.things, *second.things) if not each.parent}
    on_both = {key.name for key in here.keys() & there.keys()} | {""}
    told: list[str] = []
    for key in sorted(here.keys() | there.keys()):
        one, other = here.get(key), there.get(key)
        parent = (one or other or _NOTHING).parent
        # A table that is missing is told once, not with everything in it.
        if parent in tables and parent not in on_both:
            continue
        told.extend(_differences(f"{key.kind} {key.name}", one, other))
    return tuple(told)


_NOTHING = Thing(kind="", name="", parent="", definition="")


def _by_key(schema: Schema) -> dict[_Key, Thing]:
    return {_Key(each.kind, each.name): each for each in schema.things}


def _differences(what: str, one: Thing | None, other: Thing | None) -> Iterator[str]:
    if one is None or other is None:
        yield f"{what}: only in the {'first' if one else 'second'}"
    elif one.definition != other.definition:
        yield f"{what}: {_difference(one.definition, other.definition)}"
    if one and one.invalid:
        yield f"{what}: invalid in the first"
    if other and other.invalid:
        yield f"{what}: invalid in the second"


def _difference(one: str, other: str) -> str:
    if "\n" not in one + other and max(len(one), len(other)) <= LONGEST_DEFINITION:
        return f"'{one}' in the first, '{other}' in the second"
    lines = (one.splitlines(), other.splitlines())
    for number, (left, right) in enumerate(zip(*lines, strict=False), start=1):
        if left != right:
            short = (left.strip()[:LONGEST_DEFINITION], right.strip()[:LONGEST_DEFINITION])
            return f"differs from line {number}: '{short[0]}' in the first, '{short[1]}' in the second"
    return f"has {len(lines[0])} lines in the first, {len(lines[1])} in the second"


_THINGS = """
WITH spaces AS (
    SELECT oid, nspname FROM pg_namespace WHERE nspname = ANY(%s)
), extended AS (
    -- What an extension brought is compared by the extension's version.
    SELECT classid, objid FROM pg_depend WHERE deptype = 'e'
), relations AS (
    SELECT c.*, format('%%I.%%I', nspname, relname) AS full_name
    FROM pg_class c JOIN spaces ON spaces.oid = relnamespace
    WHERE relname <> 'alembic_version'
      AND NOT EXISTS (SELECT FROM extended WHERE classid = 'pg_class'::regclass AND objid = c.oid)
), tables AS (
    SELECT * FROM relations WHERE relkind IN ('r', 'p', 'f', 'v', 'm', 'c')
)
SELECT 'extension' AS kind, format('%%I', extname) AS name, '' AS parent,
       format('version %%s in schema %%I', extversion, nspname) AS definition, false AS invalid
FROM pg_extension JOIN pg_namespace n ON n.oid = extnamespace

UNION ALL
SELECT 'schema', format('%%I', nspname), '', '', false FROM spaces

UNION ALL
SELECT CASE relkind WHEN 'v' THEN 'view' WHEN 'm' THEN 'materialized view' WHEN 'f' THEN 'foreign table'
                    WHEN 'c' THEN 'type' ELSE 'table' END,
       full_name, '',
       concat_ws(' ',
           CASE relpersistence WHEN 'u' THEN 'unlogged' END,
           CASE WHEN relkind = 'p' THEN 'partitioned by ' || pg_get_partkeydef(t.oid) END,
           CASE WHEN relispartition THEN 'partition ' || pg_get_expr(relpartbound, t.oid) END,
           (SELECT 'of ' || string_agg(inhparent::regclass::text, ', ' ORDER BY inhseqno)
            FROM pg_inherits WHERE inhrelid = t.oid),
           CASE WHEN relrowsecurity THEN 'with row level security' END,
           CASE WHEN relforcerowsecurity THEN 'also for its owner' END,
           CASE WHEN relkind IN ('r', 'p') AND relreplident <> 'd' THEN 'replica identity ' || relreplident::text END,
           (SELECT 'with ' || string_agg(option, ', ' ORDER BY option) FROM unnest(reloptions) AS option),
           CASE WHEN relkind IN ('v', 'm') THEN pg_get_viewdef(t.oid) END),
       false
FROM tables t

UNION ALL
-- Of views, the definition says it all.
SELECT 'column', format('%%s.%%I', full_name, attname), full_name,
       concat_ws(' ',
           format_type(atttypid, atttypmod),
           CASE WHEN attcollation <> typcollation THEN 'collate ' || attcollation::regcollation::text END,
           CASE WHEN attnotnull THEN 'not null' END,
           CASE attidentity WHEN 'a' THEN 'generated always as identity'
                            WHEN 'd' THEN 'generated by default as identity' END,
           CASE attgenerated WHEN '' THEN 'default ' ELSE 'generated always as ' END || pg_get_expr(adbin, adrelid),
           CASE attgenerated WHEN 's' THEN 'stored' WHEN 'v' THEN 'virtual' END),
       false
FROM tables t JOIN pg_attribute a ON attrelid = t.oid JOIN pg_type y ON y.oid = atttypid
     LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
WHERE attnum > 0 AND NOT attisdropped AND relkind NOT IN ('v', 'm')

UNION ALL
-- Whether a column may be null is told with the column: newer versions have a constraint for it, with a name.
SELECT 'constraint', format('%%s.%%I', full_name, conname), full_name, pg_get_constraintdef(c.oid), false
FROM tables t JOIN pg_constraint c ON conrelid = t.oid WHERE contype NOT IN ('n', 't')

UNION ALL
SELECT 'index', i.full_name, t.full_name, pg_get_indexdef(i.oid), NOT (indisvalid AND indisready AND indislive)
FROM tables t JOIN pg_index x ON indrelid = t.oid JOIN relations i ON i.oid = indexrelid
WHERE NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = indexrelid AND contype IN ('p', 'u', 'x'))

UNION ALL
SELECT 'sequence', full_name, '',
       concat_ws(' ',
           format('%%s start %%s increment %%s from %%s to %%s cache %%s', format_type(seqtypid, NULL), seqstart,
                  seqincrement, seqmin, seqmax, seqcache),
           CASE WHEN seqcycle THEN 'cycle' END,
           (SELECT format('owned by %%s.%%I', refobjid::regclass, attname)
            FROM pg_depend JOIN pg_attribute ON attrelid = refobjid AND attnum = refobjsubid
            WHERE classid = 'pg_class'::regclass AND objid = s.oid AND objsubid = 0
              AND refclassid = 'pg_class'::regclass AND deptype IN ('a', 'i'))),
       false
FROM relations s JOIN pg_sequence ON seqrelid = s.oid

UNION ALL
SELECT 'type', format('%%I.%%I', nspname, typname), '',
       CASE typtype
       WHEN 'e' THEN (SELECT format('enum (%%s)', string_agg(quote_literal(enumlabel), ', ' ORDER BY enumsortorder))
                      FROM pg_enum WHERE enumtypid = y.oid)
       WHEN 'd' THEN concat_ws(' ', 'domain', format_type(typbasetype, typtypmod),
                               CASE WHEN typnotnull THEN 'not null' END, 'default ' || typdefault,
                               (SELECT string_agg(pg_get_constraintdef(c.oid), ' ' ORDER BY conname)
                                FROM pg_constraint c WHERE contypid = y.oid AND contype = 'c'))
       ELSE (SELECT format('range of %%s', format_type(rngsubtype, NULL)) FROM pg_range WHERE rngtypid = y.oid)
       END, false
FROM pg_type y JOIN spaces ON spaces.oid = typnamespace
WHERE typtype IN ('e', 'd', 'r')
  AND NOT EXISTS (SELECT FROM extended WHERE classid = 'pg_type'::regclass AND objid = y.oid)

UNION ALL
SELECT CASE prokind WHEN 'p' THEN 'procedure' WHEN 'a' THEN 'aggregate' ELSE 'function' END,
       format('%%I.%%I(%%s)', nspname, proname, pg_get_function_identity_arguments(p.oid)), '',
       CASE WHEN prokind = 'a' THEN pg_get_function_result(p.oid) ELSE pg_get_functiondef(p.oid) END, false
FROM pg_proc p JOIN spaces ON spaces.oid = pronamespace
WHERE NOT EXISTS (SELECT FROM extended WHERE classid = 'pg_proc'::regclass AND objid = p.oid)

UNION ALL
SELECT 'trigger', format('%%s.%%I', full_name, tgname), full_name,
       pg_get_triggerdef(g.oid)
       || CASE tgenabled WHEN 'O' THEN '' WHEN 'D' THEN ' disabled' ELSE ' enabled ' || tgenabled::text END, false
FROM tables t JOIN pg_trigger g ON tgrelid = t.oid WHERE NOT tgisinternal

UNION ALL
SELECT 'rule', format('%%s.%%I', full_name, rulename), full_name, pg_get_ruledef(r.oid), false
FROM tables t JOIN pg_rewrite r ON ev_class = t.oid WHERE rulename <> '_RETURN'

UNION ALL
SELECT 'policy', format('%%s.%%I', full_name, polname), full_name,
       concat_ws(' ',
           CASE WHEN polpermissive THEN 'permissive' ELSE 'restrictive' END,
           CASE polcmd WHEN 'r' THEN 'for select' WHEN 'a' THEN 'for insert' WHEN 'w' THEN 'for update'
                       WHEN 'd' THEN 'for delete' ELSE 'for all' END,
           'to ' || (SELECT string_agg(CASE role WHEN 0 THEN 'public' ELSE pg_get_userbyid(role)::text END, ', '
                                       ORDER BY pg_get_userbyid(role)) FROM unnest(polroles) AS role),
           'using ' || pg_get_expr(polqual, polrelid), 'with check ' || pg_get_expr(polwithcheck, polrelid)),
       false
FROM tables t JOIN pg_policy ON polrelid = t.oid

UNION ALL
SELECT 'statistics', format('%%I.%%I', nspname, stxname), '', pg_get_statisticsobjdef(s.oid), false
FROM pg_statistic_ext s JOIN spaces ON spaces.oid = stxnamespace

ORDER BY kind, name
"""
