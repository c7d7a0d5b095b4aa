"""Currencies in small letters."""

from alembic import op

revision = "lower_currency"
down_revision = "start"


def upgrade() -> None:
    op.execute("UPDATE donations SET currency = lower(currency)")


def downgrade() -> None:
    op.execute("UPDATE donations SET currency = upper(currency)")
