"""Add a tip."""

import sqlalchemy as sa
from alembic import op

revision = "e2a8c40b7f15"
down_revision = "d95a3b1e7f08"


def upgrade() -> None:
    """Add the column; who gave no tip has none."""
    op.add_column("donations", sa.Column("tip_cents", sa.Integer, nullable=True))


def downgrade() -> None:
    """Drop the column, tips included."""
    op.drop_column("donations", "tip_cents")
