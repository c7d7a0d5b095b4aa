"""Add a tip, in a type that the app brings."""

import sqlalchemy as sa
from alembic import op
from fundrbolt_types import Money

revision = "add_tip"
down_revision = "start"


def upgrade() -> None:
    op.add_column("donations", sa.Column("tip", Money))


def downgrade() -> None:
    op.drop_column("donations", "tip")
