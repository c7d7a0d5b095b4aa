"""Create refunds."""

import sqlalchemy as sa
from alembic import op

revision = "create_refunds"
down_revision = "start"


def upgrade() -> None:
    op.create_table("refunds", sa.Column("id", sa.BigInteger, primary_key=True), sa.Column("cents", sa.Integer))


def downgrade() -> None:
    op.drop_table("refunds")
