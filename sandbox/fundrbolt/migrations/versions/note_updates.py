"""Note when a row was last updated. The API sets it; nothing in the database does."""

import sqlalchemy as sa
from alembic import op

revision = "b7d04e9f6c21"
down_revision = "8c52e6f0a1d3"


def upgrade() -> None:
    """Add the columns; rows that are there count as updated now."""
    for table in ("donations", "sessions"):
        added = sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now())
        op.add_column(table, added)


def downgrade() -> None:
    """Drop the columns."""
    for table in ("donations", "sessions"):
        op.drop_column(table, "updated_at")
