"""What a database has besides its rows: who may do what in it, how it is set, and what it is connected with."""

from datetime import datetime

from rollback.models import Model
from rollback.postgres.errors import StatementRefused
from rollback.postgres.session import Session
from rollback.postgres.sessions import PreparedTransaction, list_prepared_transactions
from rollback.postgres.tables import Table, list_tables


class Identity(Model):
    """Which cluster and database this is. A restored server has its source's system identifier."""

    system_identifier: str | None
    """None where we may not see it."""
    version: str
    version_number: int
    database: str
    owner: str
    encoding: str
    collation: str
    started: datetime


class Extension(Model):
    """An extension of the database."""

    name: str
    version: str
    schema_name: str


class Role(Model):
    """A role that is neither PostgreSQL's own nor a superuser. Its password is nobody's to read."""

    name: str
    options: tuple[str, ...]
    """As in ALTER ROLE: LOGIN or NOLOGIN, and so on, each named either way."""
    connection_limit: int
    valid_until: str


class Membership(Model):
    """A role that has another's rights."""

    role: str
    member: str
    admin: bool
    """It may give the role to others."""


class Grant(Model):
    """A right on something of the database."""

    kind: str
    """DATABASE, SCHEMA, TABLE, SEQUENCE, ROUTINE, or COLUMN."""
    target: str
    """The thing's name as SQL; empty for the database itself."""
    grantee: str
    """Empty for PUBLIC."""
    privilege: str
    grantable: bool


class DefaultGrant(Model):
    """A right that what a role makes will have."""

    owner: str
    schema_name: str
    """Empty for every schema."""
    kind: str
    """As in ALTER DEFAULT PRIVILEGES: TABLES, SEQUENCES and so on."""
    grantee: str
    privilege: str
    grantable: bool


class Setting(Model):
    """A parameter set for the database, a role, or a role in the database."""

    role: str
    """Empty for every role."""
    everywhere: bool
    """For the role in every database, not in this one."""
    name: str
    value: str


class Publication(Model):
    """What the database offers to logical subscribers."""

    name: str
    tables: tuple[str, ...]


class Subscription(Model):
    """What the database gets from elsewhere; on a restored server it would go on, beside the old one's."""

    name: str
    enabled: bool


class ReplicationSlot(Model):
    """A reader of the write-ahead log that the server waits for; a restored server has none."""

    name: str
    kind: str
    active: bool


class Inventory(Model):
    """A database as it is described, without its rows."""

    identity: Identity
    tables: tuple[Table, ...]
    extensions: tuple[Extension, ...]
    roles: tuple[Role, ...]
    memberships: tuple[Membership, ...]
    grants: tuple[Grant, ...]
    default_grants: tuple[DefaultGrant, ...]
    settings: tuple[Setting, ...]
    publications: tuple[Publication, ...]
    subscriptions: tuple[Subscription, ...]
    replication_slots: tuple[ReplicationSlot, ...]
    prepared_transactions: tuple[PreparedTransaction, ...]
    large_objects: int


async def read_inventory(session: Session) -> Inventory:
    """Read it; what only a superuser may see is not in it."""
    return Inventory(
        identity=await read_identity(session),
        tables=await list_tables(session),
        extensions=await session.fetch_models(Extension, _EXTENSIONS),
        roles=await session.fetch_models(Role, _ROLES),
        memberships=await session.fetch_models(Membership, _MEMBERSHIPS),
        grants=await session.fetch_models(Grant, _GRANTS),
        default_grants=await session.fetch_models(DefaultGrant, _DEFAULT_GRANTS),
        settings=await session.fetch_models(Setting, _SETTINGS),
        publications=await session.fetch_models(Publication, _PUBLICATIONS),
        subscriptions=await session.fetch_models(Subscription, _SUBSCRIPTIONS),
        replication_slots=await session.fetch_models(ReplicationSlot, _SLOTS),
        prepared_transactions=await list_prepared_transactions(session),
        large_objects=int(await session.fetch_value("SELECT count(*) FROM pg_largeobject_metadata")),
    )


async def read_identity(session: Session) -> Identity:
    """Which cluster and database a session is on."""
    try:
        system: str | None = await session.fetch_value("SELECT system_identifier::text FROM pg_control_system()")
    except StatementRefused:
        system = None
    return (await session.fetch_models(Identity, _IDENTITY, (system,)))[0]


_IDENTITY = """
SELECT %s::text AS system_identifier, current_setting('server_version') AS version,
       current_setting('server_version_num')::int AS version_number, datname::text AS database,
       pg_get_userbyid(datdba)::text AS owner, pg_encoding_to_char(encoding)::text AS encoding,
       datcollate::text AS collation, pg_postmaster_start_time() AS started
FROM pg_database WHERE datname = current_database()
"""

_EXTENSIONS = """
SELECT extname::text AS name, extversion AS version, nspname::text AS schema_name
FROM pg_extension JOIN pg_namespace n ON n.oid = extnamespace ORDER BY extname
"""

_ROLES = """
SELECT rolname::text AS name,
       ARRAY[CASE WHEN rolcanlogin THEN 'LOGIN' ELSE 'NOLOGIN' END,
             CASE WHEN rolinherit THEN 'INHERIT' ELSE 'NOINHERIT' END,
             CASE WHEN rolcreaterole THEN 'CREATEROLE' ELSE 'NOCREATEROLE' END,
             CASE WHEN rolcreatedb THEN 'CREATEDB' ELSE 'NOCREATEDB' END,
             CASE WHEN rolreplication THEN 'REPLICATION' ELSE 'NOREPLICATION' END,
             CASE WHEN rolbypassrls THEN 'BYPASSRLS' ELSE 'NOBYPASSRLS' END] AS options,
       rolconnlimit AS connection_limit, coalesce(rolvaliduntil::text, 'infinity') AS valid_until
FROM pg_roles WHERE NOT rolsuper AND rolname !~ '^pg_' ORDER BY rolname
"""

_MEMBERSHIPS = """
SELECT r.rolname::text AS role, m.rolname::text AS member, bool_or(admin_option) AS admin
FROM pg_auth_members a JOIN pg_roles r ON r.oid = a.roleid JOIN pg_roles m ON m.oid = a.member
WHERE NOT m.rolsuper AND m.rolname !~ '^pg_' GROUP BY 1, 2 ORDER BY 1, 2
"""

# What is not granted explicitly is what PostgreSQL grants by default: both compare as equal.
_GRANTS = """
SELECT kind, target, coalesce(pg_roles.rolname::text, '') AS grantee, privilege_type AS privilege,
       bool_or(is_grantable) AS grantable
FROM (
    SELECT 'DATABASE' AS kind, '' AS target, coalesce(datacl, acldefault('d', datdba)) AS acl, datdba AS owner
    FROM pg_database WHERE datname = current_database()
    UNION ALL
    SELECT 'SCHEMA', format('%I', nspname), coalesce(nspacl, acldefault('n', nspowner)), nspowner
    FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'
    UNION ALL
    SELECT CASE relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END, format('%I.%I', nspname, relname),
           coalesce(relacl, acldefault(CASE relkind WHEN 'S' THEN 's'::"char" ELSE 'r' END, relowner)), relowner
    FROM pg_class JOIN pg_namespace n ON n.oid = relnamespace
    WHERE relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND nspname !~ '^pg_' AND nspname <> 'information_schema'
    UNION ALL
    SELECT 'COLUMN', format('%I.%I.%I', nspname, relname, attname), attacl, relowner
    FROM pg_attribute JOIN pg_class c ON c.oid = attrelid JOIN pg_namespace n ON n.oid = relnamespace
    WHERE attacl IS NOT NULL AND NOT attisdropped AND nspname !~ '^pg_' AND nspname <> 'information_schema'
    UNION ALL
    SELECT 'ROUTINE', format('%I.%I(%s)', nspname, proname, pg_get_function_identity_arguments(p.oid)),
           coalesce(proacl, acldefault('f', proowner)), proowner
    FROM pg_proc p JOIN pg_namespace n ON n.oid = pronamespace
    WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'
) AS things, aclexplode(acl) AS a LEFT JOIN pg_roles ON pg_roles.oid = a.grantee
WHERE a.grantee <> things.owner
GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4
"""

_DEFAULT_GRANTS = """
SELECT pg_get_userbyid(defaclrole)::text AS owner, coalesce(nspname::text, '') AS schema_name,
       CASE defaclobjtype WHEN 'r' THEN 'TABLES' WHEN 'S' THEN 'SEQUENCES' WHEN 'f' THEN 'ROUTINES'
                          WHEN 'T' THEN 'TYPES' WHEN 'n' THEN 'SCHEMAS' ELSE 'LARGE OBJECTS' END AS kind,
       coalesce(pg_roles.rolname::text, '') AS grantee, privilege_type AS privilege, is_grantable AS grantable
FROM pg_default_acl LEFT JOIN pg_namespace n ON n.oid = defaclnamespace,
     aclexplode(defaclacl) AS a LEFT JOIN pg_roles ON pg_roles.oid = a.grantee
WHERE a.grantee <> defaclrole
ORDER BY 1, 2, 3, 4, 5
"""

_SETTINGS = """
SELECT coalesce(rolname::text, '') AS role, setdatabase = 0 AS everywhere,
       split_part(entry, '=', 1) AS name, substr(entry, strpos(entry, '=') + 1) AS value
FROM pg_db_role_setting LEFT JOIN pg_roles ON pg_roles.oid = setrole, unnest(setconfig) AS entry
WHERE setdatabase IN (0, (SELECT oid FROM pg_database WHERE datname = current_database()))
  AND NOT coalesce(rolsuper, false)
ORDER BY 1, 2, 3
"""

_PUBLICATIONS = """
SELECT pubname::text AS name,
       ARRAY(SELECT format('%I.%I', schemaname, tablename) FROM pg_publication_tables t WHERE t.pubname = p.pubname
             ORDER BY 1) AS tables
FROM pg_publication p ORDER BY pubname
"""

_SUBSCRIPTIONS = """
SELECT subname::text AS name, subenabled AS enabled
FROM pg_subscription JOIN pg_database d ON d.oid = subdbid WHERE datname = current_database() ORDER BY subname
"""

_SLOTS = """
SELECT slot_name::text AS name, slot_type AS kind, active FROM pg_replication_slots WHERE NOT temporary ORDER BY 1
"""
