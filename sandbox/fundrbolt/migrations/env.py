"""Run by alembic: migrates the database that the variable DATABASE_URL names, or the one behind a ready connection.

A ready one is in alembic's configuration as `connection`. Offline (`--sql`) no database is needed.
"""

import os
from logging.config import fileConfig

from alembic import context
from sqlalchemy import Connection, NullPool, create_engine, make_url


def migrate(connection: Connection) -> None:
    """Run the migrations that were asked for."""
    context.configure(connection=connection, transaction_per_migration=True)
    with context.begin_transaction():
        context.run_migrations()


def migrate_offline() -> None:
    """Print their statements instead."""
    context.configure(dialect_name="postgresql", literal_binds=True, transaction_per_migration=True)
    with context.begin_transaction():
        context.run_migrations()


ready: Connection | None = context.config.attributes.get("connection")
if context.config.config_file_name is not None:
    fileConfig(context.config.config_file_name)
if context.is_offline_mode():
    migrate_offline()
elif ready is not None:
    migrate(ready)
else:
    url = make_url(os.environ["DATABASE_URL"]).set(drivername="postgresql+psycopg")
    with create_engine(url, poolclass=NullPool).connect() as connection:
        migrate(connection)
