"""Add a tip, and no way back."""

import sqlalchemy as sa
from alembic import op

revision = "add_tip"
down_revision = "start"


def upgrade() -> None:
    op.add_column("donations", sa.Column("tip_cents", sa.Integer))


def downgrade() -> None:
    pass
