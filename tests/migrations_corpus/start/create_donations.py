"""Create donations."""

import sqlalchemy as sa
from alembic import op

revision = "start"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "donations",
        sa.Column("id", sa.BigInteger, sa.Identity(), primary_key=True),
        sa.Column("amount_cents", sa.Integer, nullable=False),
        sa.Column("currency", sa.Text, nullable=False),
        sa.Column("donor", sa.Text, nullable=False),
        sa.Column("note", sa.String(40)),
    )


def downgrade() -> None:
    op.drop_table("donations")
