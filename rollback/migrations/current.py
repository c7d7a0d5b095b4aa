"""Where the database in use is in alembic's history. Only reads."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager

from psycopg.sql import SQL, Identifier

from rollback.compatibility import Current
from rollback.context import Run
from rollback.database.signing_in import administrator
from rollback.errors import RollbackError
from rollback.postgres.session import Session
from rollback.postgres.url import DatabaseUrl

PATIENCE_SECONDS = 5.0
"""Beyond what is done beside it: a rollback does not wait long for a database that does not answer."""

_TABLES = """
SELECT n.nspname
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relname = 'alembic_version' AND c.relkind IN ('r', 'p')
  AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
ORDER BY 1
"""
_SEARCH_PATHS = """
SELECT regexp_replace(setting, '^search_path=', '')
FROM pg_db_role_setting s CROSS JOIN unnest(s.setconfig) AS setting
WHERE setting LIKE 'search\\_path=%%'
  AND s.setdatabase IN (0, (SELECT oid FROM pg_database WHERE datname = current_database()))
  AND s.setrole IN (0, (SELECT oid FROM pg_roles WHERE rolname = %s))
ORDER BY s.setrole = 0, s.setdatabase = 0
LIMIT 1
"""
"""What is set for the role in this database wins over the role's own, and that over the database's."""


async def current_revisions(session: Session, role: str = "") -> tuple[str, ...]:
    """What `alembic current` would tell `role`, the apps' own in the database; empty where alembic never was.

    Where several schemas have alembic's table, the first one on the role's search path counts; the revisions of all of
    them where none is on it.
    """
    schemas = [str(row[0]) for row in await session.fetch(_TABLES)]
    if len(schemas) > 1:
        path = await session.fetch_value(_SEARCH_PATHS, (role,)) or '"$user", public'
        names = [each.strip().strip('"').replace("$user", role) for each in str(path).split(",")]
        schemas = [each for each in names if each in schemas][:1] or schemas
    found: list[str] = []
    for schema in schemas:
        table = Identifier(schema, "alembic_version")
        found += [str(row[0]) for row in await session.fetch(SQL("SELECT version_num FROM {}").format(table))]
    return tuple(sorted(found))


async def read_current(run: Run) -> Current:
    """Where the environment's database is; that it cannot be read is an answer too."""
    if run.settings.environments[run.header.environment].database is None:
        return Current(unread=f"the platform file names no database for '{run.header.environment}'")
    try:
        secret = await (await run.key_vault()).get_secret(run.database.secret)
        url = DatabaseUrl.parse(secret.value.get_secret_value())
        async with administrator(run, url.host, url.database) as session:
            return Current(revisions=await current_revisions(session, url.user))
    except RollbackError as error:
        return Current(unread=error.message)


@asynccontextmanager
async def reading(run: Run) -> AsyncGenerator[Callable[[], Awaitable[Current]]]:
    """Read while the block goes on; what it is given waits for the answer, for some seconds at the most."""
    work = asyncio.create_task(read_current(run))

    async def answer() -> Current:
        done, _ = await asyncio.wait({work}, timeout=PATIENCE_SECONDS)
        return work.result() if done else Current(unread=f"no answer within {PATIENCE_SECONDS:g} s")

    try:
        yield answer
    finally:
        work.cancel()
        await asyncio.wait({work})
