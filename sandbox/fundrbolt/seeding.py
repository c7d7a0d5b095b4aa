"""A PostgreSQL database as the API has left it after some weeks: alembic's schema, donations and sessions."""

from pathlib import Path

import psycopg
from alembic import command
from alembic.config import Config
from sqlalchemy import NullPool, create_engine

MIGRATIONS = Path(__file__).parent / "migrations"
DONATIONS, SESSIONS = 400, 200

DONATE = """
INSERT INTO donations (amount_cents, currency, donor, created_at, updated_at, tip_cents)
SELECT 100 + (n * 7919) %% 49900, 'USD', 'Donor ' || n, given, given, CASE WHEN n %% 3 = 0 THEN 50 + n END
FROM generate_series(1, %(rows)s) AS n,
    LATERAL (SELECT now() - (%(rows)s - n) * interval '1 hour' - interval '2 hours') AS hours(given)
"""
SIGN_IN = """
INSERT INTO sessions (id, expires_at, created_at, updated_at)
SELECT md5('session ' || n), begun + interval '1 hour', begun, begun
FROM generate_series(1, %(rows)s) AS n,
    LATERAL (SELECT now() - (%(rows)s - n) * interval '3 hours' - interval '2 hours') AS hours(begun)
"""


def migrate(conninfo: str, revision: str = "head") -> None:
    """Upgrade the database to `revision` as the role of `conninfo`, which then owns what was made."""
    engine = create_engine("postgresql+psycopg://", creator=lambda: psycopg.connect(conninfo), poolclass=NullPool)
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    with engine.connect() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, revision)


def seed(conninfo: str) -> None:
    """Migrate an empty database to the newest revision, and fill it with rows of the last weeks.

    `conninfo` is anything that libpq understands; its role must be allowed to create in schema public.
    """
    migrate(conninfo)
    with psycopg.connect(conninfo) as connection:
        connection.execute(DONATE, {"rows": DONATIONS})
        connection.execute(SIGN_IN, {"rows": SESSIONS})
