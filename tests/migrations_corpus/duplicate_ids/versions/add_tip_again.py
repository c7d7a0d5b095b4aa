"""Add a tip, copied."""

import sqlalchemy as sa
from alembic import op

revision = "add_tip"
down_revision = "start"


def upgrade() -> None:
    op.add_column("donations", sa.Column("tip", sa.Numeric))


def downgrade() -> None:
    op.drop_column("donations", "tip")
