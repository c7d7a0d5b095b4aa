"""Add a tip."""

import sqlalchemy as sa
from alembic import op

revision = "add_tip"
down_revision = "start"


def upgrade() -> None:
    op.add_column("donations", sa.Column("tip_cents", sa.Integer))


def downgrade() -> None:
    op.drop_column("donations", "tip_cents")
