"""Seeded clusters, made once and copied for every server that needs one. Any number of sandboxes can share a folder."""

import asyncio
import fcntl
import json
import secrets
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from hashlib import sha256
from pathlib import Path

from psycopg import sql
from pydantic import BaseModel, TypeAdapter

from sandbox import loopback
from sandbox.postgresql import cluster
from sandbox.postgresql.cluster import Cluster, Statement
from sandbox.postgresql.seed import Seed

DATABASE, ADMIN, APP = "fundrbolt", "fundrbolt_admin", "fundrbolt_app"
ADMIN_GROUP, ENTRA_GROUP = "azure_pg_admin", "azure_ad_user"
ADMIN_RIGHTS = ("pg_monitor", "pg_signal_backend", "pg_read_all_data")
VERSION = "2"
LOCK_SECONDS = 0.05


class Setting(BaseModel):
    """One server parameter as PostgreSQL describes it."""

    name: str
    default: str
    unit: str | None
    kind: str
    """bool, integer, real, string or enum."""
    choices: list[str] | None
    least: str | None
    most: str | None
    static: bool
    """Whether it holds only after a restart."""
    description: str


SETTINGS = TypeAdapter(list[Setting])

DESCRIBE = """\
SELECT name, setting, unit, vartype, enumvals, min_val, max_val, context = 'postmaster', short_desc FROM pg_settings
WHERE context IN ('user', 'superuser', 'sighup', 'postmaster', 'backend', 'superuser-backend')
AND category NOT IN ('File Locations', 'Developer Options', 'Preset Options', 'Write-Ahead Log / Archive Recovery',
'Write-Ahead Log / Recovery Target', 'Connections and Authentication / SSL', 'Write-Ahead Log / Archiving')
AND name NOT IN ('port', 'listen_addresses', 'unix_socket_directories', 'unix_socket_group', 'unix_socket_permissions',
'fsync', 'bonjour', 'bonjour_name', 'event_source', 'io_method', 'external_pid_file')
ORDER BY name"""


class Template:
    """The template in `folder` for one seed: made when it is first needed."""

    def __init__(self, folder: Path, seed: Seed) -> None:
        self._seed = seed
        basis = [VERSION, cluster.CONFIGURATION, cluster.ACCESS, DESCRIBE, *map(str, _roles("")), seed.fingerprint]
        self._place = folder / sha256("\0".join(basis).encode()).hexdigest()[:16]

    async def copy_to(self, target: Cluster) -> None:
        """Make `target` a copy; its roles have the template's password then."""
        made = await self._made()
        await made.copy_to(target)
        target.password = made.password

    async def settings(self) -> list[Setting]:
        """Every server parameter."""
        made = await self._made()
        return SETTINGS.validate_json((made.folder / "settings.json").read_bytes())

    async def _made(self) -> Cluster:
        if not self._place.exists():
            async with self._locked():
                if not self._place.exists():
                    await self._make()
        return Cluster(self._place, "", (self._place / "password").read_text())

    @asynccontextmanager
    async def _locked(self) -> AsyncGenerator[None]:
        self._place.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with self._place.with_suffix(".lock").open("ab") as held:
            while True:
                try:
                    fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except OSError:
                    await asyncio.sleep(LOCK_SECONDS)
                else:
                    break
            yield

    async def _make(self) -> None:
        beside = self._place.with_suffix(".new")
        await cluster.remove_tree(beside)
        password = secrets.token_urlsafe(24)
        where, (held,) = loopback.pick(password, beside.name, cluster.PORT)
        made = Cluster(beside, where, password)
        try:
            await made.make()
            await made.start("archive_mode=off")
            await self._fill(made)
        finally:
            await made.stop()
            held.close()
        kept = beside / "password"
        kept.touch(mode=0o600)
        kept.write_text(password)
        beside.replace(self._place)

    async def _fill(self, made: Cluster) -> None:
        await made.run(*_roles(made.password))
        await made.run(*_owners(), database=DATABASE)
        rows = await made.run(DESCRIBE.encode())
        fields = list(Setting.model_fields)
        described = [Setting.model_validate(dict(zip(fields, row, strict=True))) for row in rows]
        (made.folder / "settings.json").write_text(json.dumps([each.model_dump() for each in described]))
        where = f"{made.address}:{cluster.UPSTREAM_PORT}"
        await self._seed.fill(f"postgresql://{APP}:{made.password}@{where}/{DATABASE}")


def _roles(password: str) -> list[Statement]:
    """Azure's roles, the administrator, and the app's role, which the administrator has made."""
    names = {name: sql.Identifier(name) for name in (ADMIN_GROUP, ENTRA_GROUP, ADMIN, APP, DATABASE)}
    group, entra, admin, app, database = names.values()
    secret = sql.Literal(password)
    return [
        sql.SQL("CREATE ROLE {}").format(group),
        sql.SQL("CREATE ROLE {}").format(entra),
        *administrator(ADMIN, password),
        sql.SQL("SET ROLE {}").format(admin),
        sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(app, secret),
        sql.SQL("RESET ROLE"),
        sql.SQL("CREATE DATABASE {} OWNER {}").format(database, group),
    ]


def administrator(name: str, password: str) -> list[Statement]:
    """Make a login role with an administrator's rights."""
    role = sql.Identifier(name)
    made = sql.SQL("CREATE ROLE {} LOGIN CREATEROLE CREATEDB PASSWORD {}").format(role, sql.Literal(password))
    return [made, grant_administration(name)]


def grant_administration(name: str) -> Statement:
    """Give a role an administrator's rights."""
    rights = sql.SQL(", ").join(map(sql.Identifier, (ADMIN_GROUP, *ADMIN_RIGHTS)))
    return sql.SQL("GRANT {} TO {}").format(rights, sql.Identifier(name))


def _owners() -> list[Statement]:
    return [sql.SQL("ALTER SCHEMA public OWNER TO {}").format(sql.Identifier(APP))]
